/**
 * The three send functions.
 *
 * All three: `STATUS_SUCCESS` means accepted, in the ring or queued in order behind what waits; the completion routine
 * then runs exactly once. Any other status means that nothing was sent, no routine will run and the packet is still the
 * caller's. The inline buffer and the page numbers are copied before the call returns, so both may be overwritten at
 * once; the pages themselves belong to the peer until the completion. All statuses but `STATUS_SUCCESS` are
 * undocumented and chosen by the position of the argument.
 *
 * PAGED_BUFFER asks that the inline buffer be read before the call returns; it always is, so the flag changes nothing.
 */
import { OutgoingState } from '../../channel/index.ts';
import type { Mdl } from '../../memory/index.ts';
import {
  type NtStatus,
  STATUS_INVALID_DEVICE_REQUEST,
  STATUS_INVALID_DEVICE_STATE,
  STATUS_INVALID_PARAMETER_1,
  STATUS_INVALID_PARAMETER_3,
  STATUS_INVALID_PARAMETER_4,
  STATUS_INVALID_PARAMETER_5,
  STATUS_INVALID_PARAMETER_6,
  STATUS_INVALID_PARAMETER_7,
  STATUS_SUCCESS,
} from '../../wire/ntstatus.ts';
import { inBandBytes } from '../../wire/packet.ts';
import {
  VMBUS_CHANNEL_FORMAT_FLAG_FORCE_MDL_LENGTH,
  VMBUS_CHANNEL_FORMAT_FLAG_WAIT_FOR_COMPLETION,
  VMBUS_CHANNEL_FORMAT_FLAGS,
} from '../constants.ts';
import { bugCheck } from '../objects/bug-check.ts';
import type { VmbPacket } from '../objects/handles.ts';
import { type PacketObject, packetOf } from '../objects/packet-object.ts';
import { mdlRanges, mdlWindow } from './mdl-ranges.ts';
import { areRangesAllowed, checkBuffer, checkPfns, isPageCountAllowed, mayReferToMemory } from './send-checks.ts';

/**
 * Sends bytes, and optionally all of an MDL chain by reference.
 *
 * @param packetObject idle packet with a completion routine
 * @param buffer inline bytes; `null` only if `bufferLength` is 0
 * @param bufferLength bytes of `buffer` to send, at most the channel's maximum packet size
 * @param externalDataMdl chain whose pages the peer shall reach; `null` for none. One GPA range for each MDL
 * @param flags WAIT_FOR_COMPLETION: complete when the peer completes, not when the bytes are in the ring; PAGED_BUFFER
 * @returns `STATUS_SUCCESS` if accepted; `STATUS_INVALID_PARAMETER_1` for a packet without completion routine, `_2` for
 *   a buffer that is missing or shorter than `bufferLength`, `_3` for a length above the maximum, `_4` for external data
 *   above the channel's maximum or the ring's capacity, `_5` for other flag bits, or for WAIT on a pipe;
 *   `STATUS_INVALID_DEVICE_REQUEST` for external data on a server or a pipe;
 *   `STATUS_INVALID_DEVICE_STATE` on a Disabled channel
 * @throws BugCheck K-132 for a freed packet, K-154 for one that is queued or in flight
 * Source: WDK `vmbuskernelmodeclientlibapi.h`, FN_VMB_PACKET_SEND.
 */
export function VmbPacketSend(
  packetObject: VmbPacket,
  buffer: Uint8Array | null,
  bufferLength: number,
  externalDataMdl: Mdl | null,
  flags: number,
): NtStatus {
  const packet = sendable(packetObject);
  const { channel } = packet;
  const { endpoint } = channel;
  const wantsCompletion = (flags & VMBUS_CHANNEL_FORMAT_FLAG_WAIT_FOR_COMPLETION) !== 0;
  const bufferStatus = checkPacket(packet, buffer, bufferLength);
  if (bufferStatus !== STATUS_SUCCESS) return bufferStatus;
  if ((flags & ~VMBUS_CHANNEL_FORMAT_FLAGS) !== 0) return STATUS_INVALID_PARAMETER_5;
  if ((flags & VMBUS_CHANNEL_FORMAT_FLAG_FORCE_MDL_LENGTH) !== 0) return STATUS_INVALID_PARAMETER_5;
  if (externalDataMdl === null) {
    if (wantsCompletion && endpoint.settings.isPipe) return STATUS_INVALID_PARAMETER_5;
    if (endpoint.isDisabled) return STATUS_INVALID_DEVICE_STATE;
    if (!endpoint.canCarry(inBandBytes(bufferLength))) return STATUS_INVALID_PARAMETER_3;
    endpoint.sendInBand(packet, buffer, bufferLength, wantsCompletion);
    return STATUS_SUCCESS;
  }
  if (!mayReferToMemory(channel)) return STATUS_INVALID_DEVICE_REQUEST;
  if (endpoint.isDisabled) return STATUS_INVALID_DEVICE_STATE;
  const ranges = mdlRanges(externalDataMdl);
  if (ranges === undefined || !areRangesAllowed(channel, ranges, bufferLength)) return STATUS_INVALID_PARAMETER_4;
  endpoint.sendRanges(packet, ranges, buffer, bufferLength, wantsCompletion);
  return STATUS_SUCCESS;
}

/**
 * Sends bytes and a part of an MDL chain by reference.
 *
 * Without FORCE_MDL_LENGTH the part is `mdlLength` bytes from `mdlOffset` on, counted over the whole chain; members
 * that have no byte in it give no range. With FORCE_MDL_LENGTH only the first MDL counts, and the part may go beyond its
 * byte count to the end of its last page.
 *
 * @param packetObject idle packet with a completion routine
 * @param buffer inline bytes; `null` only if `bufferLength` is 0
 * @param bufferLength bytes of `buffer` to send
 * @param externalDataMdl the chain; required
 * @param mdlOffset bytes to skip
 * @param mdlLength bytes to describe; 0 for all that follow `mdlOffset` (in the first MDL, with FORCE_MDL_LENGTH)
 * @param flags WAIT_FOR_COMPLETION, which must be set; FORCE_MDL_LENGTH; PAGED_BUFFER
 * @returns `STATUS_SUCCESS` if accepted; `STATUS_INVALID_PARAMETER_1` to `_3` as for `VmbPacketSend`, `_4` without an
 *   MDL, `_5` for an offset outside the chain, `_6` for a length that goes beyond it, beyond the channel's maximum of
 *   external data or beyond the ring's capacity, `_7` for flags; `STATUS_INVALID_DEVICE_REQUEST` on a server or a pipe;
 *   `STATUS_INVALID_DEVICE_STATE` on a Disabled channel
 * @throws BugCheck K-132 for a freed packet, K-154 for one that is queued or in flight
 * Source: WDK `vmbuskernelmodeclientlibapi.h`, FN_VMB_PACKET_SEND_WITH_EXTERNAL_MDL.
 */
export function VmbPacketSendWithExternalMdl(
  packetObject: VmbPacket,
  buffer: Uint8Array | null,
  bufferLength: number,
  externalDataMdl: Mdl,
  mdlOffset: number,
  mdlLength: number,
  flags: number,
): NtStatus {
  const packet = sendable(packetObject);
  const { channel } = packet;
  const bufferStatus = checkPacket(packet, buffer, bufferLength);
  if (bufferStatus !== STATUS_SUCCESS) return bufferStatus;
  if (externalDataMdl === null) return STATUS_INVALID_PARAMETER_4;
  if ((flags & ~VMBUS_CHANNEL_FORMAT_FLAGS) !== 0) return STATUS_INVALID_PARAMETER_7;
  if ((flags & VMBUS_CHANNEL_FORMAT_FLAG_WAIT_FOR_COMPLETION) === 0) return STATUS_INVALID_PARAMETER_7;
  if (!mayReferToMemory(channel)) return STATUS_INVALID_DEVICE_REQUEST;
  if (channel.endpoint.isDisabled) return STATUS_INVALID_DEVICE_STATE;
  const isForced = (flags & VMBUS_CHANNEL_FORMAT_FLAG_FORCE_MDL_LENGTH) !== 0;
  const window = mdlWindow(externalDataMdl, mdlOffset, mdlLength, isForced);
  if (window === 'offset') return STATUS_INVALID_PARAMETER_5;
  if (window === 'length' || !areRangesAllowed(channel, window, bufferLength)) return STATUS_INVALID_PARAMETER_6;
  channel.endpoint.sendRanges(packet, window, buffer, bufferLength, true);
  return STATUS_SUCCESS;
}

/**
 * Sends bytes and whole pages by page frame number: the pages are described to the peer, in the order given, and
 * neither copied, probed nor locked. The caller keeps them in place until the completion routine runs.
 *
 * The packet is of type GPA-direct with one range of `4096 * pfnLength` bytes from offset 0, completion requested.
 * Undocumented: with `pfnLength` 0 it is an in-band packet, as no receiver accepts a range count of 0.
 *
 * @param packetObject idle packet with a completion routine
 * @param buffer inline bytes; `null` only if `bufferLength` is 0
 * @param bufferLength bytes of `buffer` to send
 * @param externalDataPfns page frame numbers, each below 2^52; adjacent or not, in any order, repeated or not
 * @param pfnLength how many of them, from index 0 on
 * @param flags WAIT_FOR_COMPLETION, which must be set; PAGED_BUFFER
 * @returns `STATUS_SUCCESS` if accepted; `STATUS_INVALID_PARAMETER_1` to `_3` as for `VmbPacketSend`, `_4` for a missing
 *   array, one shorter than `pfnLength` or an element that is no page frame number, `_5` for more data than the
 *   channel's maximum, the ring or a packet descriptor can take, `_6` for flags;
 *   `STATUS_INVALID_DEVICE_REQUEST` on a server or a pipe; `STATUS_INVALID_DEVICE_STATE` on a Disabled channel
 * @throws BugCheck K-132 for a freed packet, K-154 for one that is queued or in flight
 * Source: WDK `vmbuskernelmodeclientlibapi.h`, FN_VMB_PACKET_SEND_WITH_EXTERNAL_PFNS. Its text still mentions a
 * `PfnOffset`, which the prototype lost in 2018: pass a sub-array.
 */
export function VmbPacketSendWithExternalPfns(
  packetObject: VmbPacket,
  buffer: Uint8Array | null,
  bufferLength: number,
  externalDataPfns: ArrayLike<number> | null,
  pfnLength: number,
  flags: number,
): NtStatus {
  const packet = sendable(packetObject);
  const { channel } = packet;
  const { endpoint } = channel;
  const bufferStatus = checkPacket(packet, buffer, bufferLength);
  if (bufferStatus !== STATUS_SUCCESS) return bufferStatus;
  const pfnStatus = checkPfns(externalDataPfns, pfnLength);
  if (pfnStatus !== STATUS_SUCCESS) return pfnStatus;
  if ((flags & ~VMBUS_CHANNEL_FORMAT_FLAGS) !== 0) return STATUS_INVALID_PARAMETER_6;
  if ((flags & VMBUS_CHANNEL_FORMAT_FLAG_FORCE_MDL_LENGTH) !== 0) return STATUS_INVALID_PARAMETER_6;
  if ((flags & VMBUS_CHANNEL_FORMAT_FLAG_WAIT_FOR_COMPLETION) === 0) return STATUS_INVALID_PARAMETER_6;
  if (!mayReferToMemory(channel)) return STATUS_INVALID_DEVICE_REQUEST;
  if (endpoint.isDisabled) return STATUS_INVALID_DEVICE_STATE;
  if (externalDataPfns === null || pfnLength === 0) {
    if (!endpoint.canCarry(inBandBytes(bufferLength))) return STATUS_INVALID_PARAMETER_3;
    endpoint.sendInBand(packet, buffer, bufferLength, true);
    return STATUS_SUCCESS;
  }
  if (!isPageCountAllowed(channel, pfnLength, bufferLength)) return STATUS_INVALID_PARAMETER_5;
  endpoint.sendPfns(packet, externalDataPfns, pfnLength, buffer, bufferLength);
  return STATUS_SUCCESS;
}

function sendable(handle: VmbPacket): PacketObject {
  const packet = packetOf(handle);
  if (packet.state !== OutgoingState.Idle) {
    const message = 'a packet was sent again before its completion routine ran';
    throw bugCheck(packet.channel.endpoint, 'K-154', message, packet);
  }
  return packet;
}

function checkPacket(packet: PacketObject, buffer: Uint8Array | null, bufferLength: number): NtStatus {
  return packet.hasRoutine ? checkBuffer(packet.channel, buffer, bufferLength) : STATUS_INVALID_PARAMETER_1;
}
