/** What a driver does with an incoming packet. */
import { type ExternalData, IncomingPacket, IncomingState } from '../../channel/index.ts';
import type { Mdl } from '../../memory/index.ts';
import {
  type NtStatus,
  STATUS_INVALID_PARAMETER_1,
  STATUS_INVALID_PARAMETER_2,
  STATUS_SUCCESS,
} from '../../wire/ntstatus.ts';
import {
  VMBUS_CHANNEL_PACKET_EXTERNAL_DATA_FLAG_READ_ONLY,
  VMBUS_CHANNEL_PACKET_EXTERNAL_DATA_FLAGS,
} from '../constants.ts';
import { BugCheck, bugCheck } from '../objects/bug-check.ts';
import type { VmbPacketCompletion } from '../objects/handles.ts';
import type { Out } from '../out.ts';

/**
 * Finishes an incoming packet, in its `ProcessPacket` or later, in any order. Its external MDL is invalid from here on,
 * and so is its buffer. If the sender asked for a completion, one is sent with its transaction id and these bytes; a
 * full ring queues it. If not, nothing is sent and the bytes are ignored.
 *
 * @param packet what `EvtVmbChannelProcessPacket` was given
 * @param completionBuffer payload of the completion; `null` only if `bufferSize` is 0
 * @param bufferSize bytes of it
 * @throws BugCheck K-221 if the packet is not with the driver (completed, deferred or failed before); K-028 for a
 *   payload that is missing or longer than the ring can ever take, which nobody would notice otherwise
 * Source: WDK `vmbuskernelmodeclientlibapi.h`, FN_VMB_CHANNEL_PACKET_COMPLETE.
 */
export function VmbChannelPacketComplete(
  packet: VmbPacketCompletion,
  completionBuffer: Uint8Array | null,
  bufferSize: number,
): void {
  const incoming = heldPacket(packet, 'VmbChannelPacketComplete');
  const isThere = Number.isInteger(bufferSize) && bufferSize >= 0 && (completionBuffer?.length ?? 0) >= bufferSize;
  if (!isThere || !incoming.endpoint.canCarryCompletion(bufferSize)) {
    const message = `a completion of ${bufferSize} bytes is not there, or could never fit the ring`;
    throw bugCheck(incoming.endpoint, 'K-028', message, incoming);
  }
  incoming.endpoint.complete(incoming, completionBuffer, bufferSize);
}

/**
 * Asks for the packet again at PASSIVE; legal only inside its `ProcessPacket`, which then returns. This delivery is not
 * completed; packets that arrived after it wait.
 *
 * @throws BugCheck K-233 outside that packet's `ProcessPacket`
 * Source: WDK `vmbuskernelmodeclientlibapi.h`, FN_VMB_CHANNEL_PACKET_DEFER_TO_PASSIVE.
 */
export function VmbChannelPacketDeferToPassive(packet: VmbPacketCompletion): void {
  const incoming = deliveredPacket(packet);
  if (incoming === undefined) {
    throw refusal(packet, 'K-233', 'a packet may be deferred only inside its ProcessPacket');
  }
  incoming.endpoint.deferToPassive(incoming);
}

/**
 * Gives up on the channel: no packet is delivered any more until it is closed and opened again. No completion is sent
 * for this one, and it needs none (undocumented).
 *
 * @throws BugCheck K-221 if the packet is not with the driver
 * Source: WDK `vmbuskernelmodeclientlibapi.h`, FN_VMB_CHANNEL_PACKET_FAIL.
 */
export function VmbChannelPacketFail(packet: VmbPacketCompletion): void {
  const incoming = heldPacket(packet, 'VmbChannelPacketFail');
  incoming.endpoint.failIncoming(incoming);
}

/**
 * The pages that the sender described, as an MDL chain over guest memory: one MDL for each range, never a byte beyond
 * them. Map it with `MmGetSystemAddressForMdlSafe`; do not free it. It is invalid once the packet is completed.
 *
 * A chain longer than the channel allows is joined where one range ends a page and the next begins one, because senders
 * may describe the same pages by one range or by many.
 *
 * @param packet what `EvtVmbChannelProcessPacket` was given
 * @param flags 0 or `VMBUS_CHANNEL_PACKET_EXTERNAL_DATA_FLAG_READ_ONLY`; read-only is a promise of the caller's
 * @param externalMdl receives the chain on `STATUS_SUCCESS` only; a second call gives the same
 * @returns `STATUS_SUCCESS`; `STATUS_PENDING` (which passes `NT_SUCCESS`) if the pages are not there yet: return from
 *   `ProcessPacket`, it is called again with the same packet. Undocumented: `STATUS_INVALID_PARAMETER_1` for a packet
 *   without external data, `_2` for other flags; `STATUS_INVALID_PARAMETER` for malformed ranges or pages outside guest
 *   memory; `STATUS_INVALID_BUFFER_SIZE` for more data, or a longer chain, than the channel allows
 * @throws BugCheck K-221 if the packet is not with the driver
 * Source: WDK `vmbuskernelmodeclientlibapi.h`, FN_VMB_CHANNEL_PACKET_GET_EXTERNAL_DATA.
 */
export function VmbChannelPacketGetExternalData(
  packet: VmbPacketCompletion,
  flags: number,
  externalMdl: Out<Mdl>,
): NtStatus {
  const incoming = heldPacket(packet, 'VmbChannelPacketGetExternalData');
  if ((flags & ~VMBUS_CHANNEL_PACKET_EXTERNAL_DATA_FLAGS) !== 0) return STATUS_INVALID_PARAMETER_2;
  if (!incoming.hasExternalData) return STATUS_INVALID_PARAMETER_1;
  const isReadOnly = (flags & VMBUS_CHANNEL_PACKET_EXTERNAL_DATA_FLAG_READ_ONLY) !== 0;
  const data: ExternalData = incoming.endpoint.externalData(incoming, isReadOnly);
  if (data.mdl === null) return data.status;
  externalMdl.value = data.mdl;
  return STATUS_SUCCESS;
}

/**
 * Undocumented: the bytes of the driver's own that came with the packet; see `VmbChannelInitSetClientContextSize`. They are the same
 * until completion.
 *
 * @returns `null` if the context size is 0
 * @throws BugCheck K-221 if the packet is not with the driver
 * Source: WDK `vmbuskernelmodeclientlibapi.h` lists VmbChannelPacketGetClientContext (V2) by name; its signature is
 * not public, this one follows from the name.
 */
export function VmbChannelPacketGetClientContext(packet: VmbPacketCompletion): Uint8Array | null {
  return heldPacket(packet, 'VmbChannelPacketGetClientContext').context;
}

function heldPacket(packet: VmbPacketCompletion, name: string): IncomingPacket {
  if (packet instanceof IncomingPacket) {
    if (packet.state === IncomingState.Delivering || packet.state === IncomingState.Held) return packet;
  }
  const message = `${name} on a packet that is not with the driver: completed, deferred or failed before`;
  throw refusal(packet, 'K-221', message);
}

/** Names the packet to the verifier, if it is one. */
function refusal(packet: VmbPacketCompletion, rule: string, message: string): BugCheck {
  if (packet instanceof IncomingPacket) return bugCheck(packet.endpoint, rule, message, packet);
  return new BugCheck(rule, message);
}

function deliveredPacket(packet: VmbPacketCompletion): IncomingPacket | undefined {
  return packet instanceof IncomingPacket && packet.state === IncomingState.Delivering ? packet : undefined;
}
