/**
 * The InitSet functions of either endpoint and of clients: legal on a Disabled channel, before `VmbChannelEnable`.
 *
 * All return `STATUS_INVALID_PARAMETER_1` for a bad handle or a channel that is not Disabled. (The documentation words
 * the latter as "invalid state (Disabled)", which contradicts its own state model; Disabled is when they are legal.)
 */
import { canonicalGuid, type Guid } from '../../wire/guid.ts';
import {
  type NtStatus,
  STATUS_INVALID_PARAMETER_1,
  STATUS_INVALID_PARAMETER_2,
  STATUS_INVALID_PARAMETER_3,
  STATUS_SUCCESS,
} from '../../wire/ntstatus.ts';
import type {
  EvtVmbChannelPnpFailure,
  EvtVmbChannelProcessingComplete,
  EvtVmbChannelProcessPacket,
  VmbChannelStateChangeCallbacks,
} from '../callbacks.ts';
import {
  VMB_CHANNEL_STATE_CHANGE_CALLBACKS_SIZE,
  VMB_CHANNEL_STATE_CHANGE_CALLBACKS_VERSION,
  VMBUS_CHANNEL_INIT_FLAG_IS_PIPE,
  VMBUS_CHANNEL_INIT_FLAGS,
} from '../constants.ts';
import { findConfigurable, isUint32 } from '../objects/channel-object.ts';
import type { VmbChannel, VmbClientChannel } from '../objects/handles.ts';

/** Both rings and their control pages are one GPADL of a single range, which names 8190 pages at most. */
const MAX_RING_PAGES = 4094;

/**
 * Sets the largest packet this channel will ever deliver or send.
 *
 * A longer packet from the peer closes the channel; a longer one of ours is refused by the send functions. Feeds the
 * size of the rings and of packet objects.
 *
 * @param channel handle from `VmbChannelAllocate`
 * @param packetSize bytes of payload, header not counted; 1 or more
 * @returns `STATUS_SUCCESS`; `STATUS_INVALID_PARAMETER_1` unless Disabled;
 *   `STATUS_INVALID_PARAMETER_2` if `packetSize` is 0 or not a u32
 * Source: WDK `vmbuskernelmodeclientlibapi.h`, FN_VMB_CHANNEL_INIT_SET_MAXIMUM_PACKET_SIZE.
 */
export function VmbChannelInitSetMaximumPacketSize(channel: VmbChannel, packetSize: number): NtStatus {
  const object = findConfigurable(channel);
  if (object === undefined) return STATUS_INVALID_PARAMETER_1;
  if (!isUint32(packetSize) || packetSize === 0) return STATUS_INVALID_PARAMETER_2;
  object.endpoint.settings.maxPacketBytes = packetSize;
  return STATUS_SUCCESS;
}

/**
 * Sets how much external data one packet may carry.
 *
 * On the receiving endpoint a packet with more is refused by `VmbChannelPacketGetExternalData`; on the sending one by
 * the send functions. Feeds the size of the rings. Undocumented before the call: no external data at all.
 *
 * @param dataSize bytes, 1 or more
 * @param chainLength MDLs in an incoming chain, 1 or more
 * @returns `STATUS_SUCCESS`; `STATUS_INVALID_PARAMETER_1` unless Disabled; `STATUS_INVALID_PARAMETER_2` and `_3` if the
 *   second or third argument is 0 or not a u32, the lower number first
 * Source: WDK `vmbuskernelmodeclientlibapi.h`, FN_VMB_CHANNEL_INIT_SET_MAXIMUM_EXTERNAL_DATA.
 */
export function VmbChannelInitSetMaximumExternalData(
  channel: VmbChannel,
  dataSize: number,
  chainLength: number,
): NtStatus {
  const object = findConfigurable(channel);
  if (object === undefined) return STATUS_INVALID_PARAMETER_1;
  if (!isUint32(dataSize) || dataSize === 0) return STATUS_INVALID_PARAMETER_2;
  if (!isUint32(chainLength) || chainLength === 0) return STATUS_INVALID_PARAMETER_3;
  object.endpoint.settings.maxExternalBytes = dataSize;
  object.endpoint.settings.maxExternalRanges = chainLength;
  return STATUS_SUCCESS;
}

/**
 * Gives each incoming packet that many bytes of the driver's own.
 *
 * @param contextSize bytes; 0 for none
 * @returns `STATUS_SUCCESS`; `STATUS_INVALID_PARAMETER_1` unless Disabled;
 *   `STATUS_INVALID_PARAMETER_2` (undocumented) if not a u32
 * Source: WDK `vmbuskernelmodeclientlibapi.h`, FN_VMB_CHANNEL_INIT_SET_CLIENT_CONTEXT_SIZE.
 */
export function VmbChannelInitSetClientContextSize(channel: VmbChannel, contextSize: number): NtStatus {
  const object = findConfigurable(channel);
  if (object === undefined) return STATUS_INVALID_PARAMETER_1;
  if (!isUint32(contextSize)) return STATUS_INVALID_PARAMETER_2;
  object.endpoint.settings.contextBytes = contextSize;
  return STATUS_SUCCESS;
}

/**
 * Sets who is given incoming packets, and who learns that a batch of them is over.
 *
 * @param processPacketCallback called once for each data packet
 * @param processingCompleteCallback may be `null`
 * @returns `STATUS_SUCCESS`; `STATUS_INVALID_PARAMETER_1` unless Disabled;
 *   `STATUS_INVALID_PARAMETER_2` (undocumented) without a first callback
 * Source: WDK `vmbuskernelmodeclientlibapi.h`, FN_VMB_CHANNEL_INIT_SET_PROCESS_PACKET_CALLBACKS.
 */
export function VmbChannelInitSetProcessPacketCallbacks(
  channel: VmbChannel,
  processPacketCallback: EvtVmbChannelProcessPacket,
  processingCompleteCallback: EvtVmbChannelProcessingComplete | null,
): NtStatus {
  const object = findConfigurable(channel);
  if (object === undefined) return STATUS_INVALID_PARAMETER_1;
  if (typeof processPacketCallback !== 'function') return STATUS_INVALID_PARAMETER_2;
  object.processPacket = processPacketCallback;
  object.processingComplete = processingCompleteCallback;
  return STATUS_SUCCESS;
}

/**
 * Sets the state-change callbacks; the structure is copied, members may be `null`.
 *
 * @param callbacks prepared with `VMB_CHANNEL_STATE_CHANGE_CALLBACKS_INIT`
 * @returns `STATUS_SUCCESS`; `STATUS_INVALID_PARAMETER_1` unless Disabled;
 *   `STATUS_INVALID_PARAMETER_2` if its `Version` is not 1 or its `Size` is not that of version 1
 * Source: WDK `vmbuskernelmodeclientlibapi.h`, FN_VMB_CHANNEL_INIT_SET_STATE_CHANGE_CALLBACKS.
 */
export function VmbChannelInitSetStateChangeCallbacks(
  channel: VmbChannel,
  callbacks: VmbChannelStateChangeCallbacks,
): NtStatus {
  const object = findConfigurable(channel);
  if (object === undefined) return STATUS_INVALID_PARAMETER_1;
  const isVersion1 = callbacks.Version === VMB_CHANNEL_STATE_CHANGE_CALLBACKS_VERSION;
  if (!isVersion1 || callbacks.Size !== VMB_CHANNEL_STATE_CHANGE_CALLBACKS_SIZE) return STATUS_INVALID_PARAMETER_2;
  object.stateChange = { ...callbacks };
  return STATUS_SUCCESS;
}

/**
 * Names the channel for people: in messages and `inspect()`, never on the wire.
 *
 * @returns `STATUS_SUCCESS`; `STATUS_INVALID_PARAMETER_1` unless Disabled
 * Source: WDK `vmbuskernelmodeclientlibapi.h`, FN_VMB_CHANNEL_INIT_SET_FRIENDLY_NAME.
 */
export function VmbChannelInitSetFriendlyName(channel: VmbChannel, friendlyName: string): NtStatus {
  const object = findConfigurable(channel);
  if (object === undefined) return STATUS_INVALID_PARAMETER_1;
  object.friendlyName = friendlyName;
  object.endpoint.settings.name = friendlyName;
  return STATUS_SUCCESS;
}

/**
 * Sets what either endpoint may choose.
 *
 * @param flags 0 or `VMBUS_CHANNEL_INIT_FLAG_IS_PIPE`
 * @returns `STATUS_SUCCESS`; `STATUS_INVALID_PARAMETER_1` unless Disabled; `STATUS_INVALID_PARAMETER_2` for other bits
 * Source: WDK `vmbuskernelmodeclientlibapi.h`, FN_VMB_CHANNEL_INIT_SET_FLAGS.
 */
export function VmbChannelInitSetFlags(channel: VmbChannel, flags: number): NtStatus {
  const object = findConfigurable(channel);
  if (object === undefined) return STATUS_INVALID_PARAMETER_1;
  if (!isUint32(flags) || (flags & ~VMBUS_CHANNEL_INIT_FLAGS) !== 0) return STATUS_INVALID_PARAMETER_2;
  object.flags = flags;
  object.endpoint.settings.isPipe = (flags & VMBUS_CHANNEL_INIT_FLAG_IS_PIPE) !== 0;
  return STATUS_SUCCESS;
}

/**
 * Sets the sizes of the rings that the client donates.
 *
 * @param incomingPageCount data pages of the ring from the host, 1..4094; its control page is extra
 * @param outgoingPageCount data pages of the ring to the host
 * @returns `STATUS_SUCCESS`; `STATUS_INVALID_PARAMETER_1` unless a Disabled client; `STATUS_INVALID_PARAMETER_2` and
 *   `_3` (undocumented) for a count outside 1..4094
 * Source: WDK `vmbuskernelmodeclientlibapi.h`, FN_VMB_CLIENT_CHANNEL_INIT_SET_RING_BUFFER_PAGE_COUNT.
 */
export function VmbClientChannelInitSetRingBufferPageCount(
  channel: VmbClientChannel,
  incomingPageCount: number,
  outgoingPageCount: number,
): NtStatus {
  const object = findConfigurable(channel);
  if (object === undefined || object.isServer) return STATUS_INVALID_PARAMETER_1;
  if (!isPageCount(incomingPageCount)) return STATUS_INVALID_PARAMETER_2;
  if (!isPageCount(outgoingPageCount)) return STATUS_INVALID_PARAMETER_3;
  object.endpoint.settings.incomingRingPages = incomingPageCount;
  object.endpoint.settings.outgoingRingPages = outgoingPageCount;
  return STATUS_SUCCESS;
}

/**
 * Binds a client to an offer by its identity.
 *
 * @param interfaceType interface GUID to look for
 * @param interfaceInstance instance GUID; `null` for any instance of that type
 * @param pnpFailureCallback told when a located device fails to connect; may be `null`
 * @returns `STATUS_SUCCESS`; `STATUS_INVALID_PARAMETER_1` unless a Disabled client;
 *   `STATUS_INVALID_PARAMETER_2` and `_3` (undocumented) for what is no GUID
 * Source: WDK `vmbuskernelmodeclientlibapi.h`, FN_VMB_CLIENT_CHANNEL_INIT_SET_TARGET_PNP.
 */
export function VmbClientChannelInitSetTargetPnp(
  channel: VmbClientChannel,
  interfaceType: Guid,
  interfaceInstance: Guid | null,
  pnpFailureCallback: EvtVmbChannelPnpFailure | null,
): NtStatus {
  const object = findConfigurable(channel);
  if (object === undefined || object.isServer) return STATUS_INVALID_PARAMETER_1;
  const interfaceId = findGuid(interfaceType);
  if (interfaceId === undefined) return STATUS_INVALID_PARAMETER_2;
  const instanceId = interfaceInstance === null ? null : findGuid(interfaceInstance);
  if (instanceId === undefined) return STATUS_INVALID_PARAMETER_3;
  object.target = { interfaceId, instanceId, subchannelIndex: 0 };
  object.pnpFailure = pnpFailureCallback;
  return STATUS_SUCCESS;
}

/** The canonical spelling, or `undefined` for what is no GUID. */
export function findGuid(text: Guid): Guid | undefined {
  try {
    return canonicalGuid(text);
  } catch {
    // Not a GUID: a KMCL function answers that with a status.
    return undefined;
  }
}

function isPageCount(pages: number): boolean {
  return Number.isInteger(pages) && pages >= 1 && pages <= MAX_RING_PAGES;
}
