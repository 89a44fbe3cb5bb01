/** The channel object: made, asked, told small things, disposed of. */
import { type ChannelEndpoint, currentIrql, Irql } from '../../channel/index.ts';
import { type Guid, ZERO_GUID } from '../../wire/guid.ts';
import {
  type NtStatus,
  STATUS_CANCELLED,
  STATUS_INVALID_DEVICE_REQUEST,
  STATUS_INVALID_DEVICE_STATE,
  STATUS_INVALID_PARAMETER_1,
  STATUS_INVALID_PARAMETER_2,
  STATUS_SUCCESS,
} from '../../wire/ntstatus.ts';
import { BugCheck, bugCheck } from '../objects/bug-check.ts';
import { ChannelObject, channelOf, findChannel, isUint16, isUint32 } from '../objects/channel-object.ts';
import type { DeviceObject } from '../objects/device-object.ts';
import type { VmbChannel, VmbClientChannel, VmbServerChannel } from '../objects/handles.ts';
import type { Out } from '../out.ts';

/** Bytes that a packet object needs beyond the largest packet: descriptor, external header, book-keeping. */
const PACKET_OVERHEAD_BYTES = 256;

/**
 * Makes a channel with default parameters and callbacks, in state Disabled.
 *
 * Defaults (undocumented in Windows, ours): packets up to 4096 bytes, no external data, no transaction quota, incoming
 * packets completed without payload.
 *
 * @param parentDeviceObject whose channel it is; its `vmbus` is the bus unless a server channel names another
 * @param isServer true for the host's endpoint, which offers; false for the guest's, which opens
 * @param channel receives the handle; nothing is stored on failure
 * @returns `STATUS_SUCCESS`; `STATUS_INVALID_PARAMETER_1` without a device object
 * @throws BugCheck K-018 at DISPATCH
 * Source: WDK `vmbuskernelmodeclientlibapi.h`, FN_VMB_CHANNEL_ALLOCATE.
 */
export function VmbChannelAllocate(
  parentDeviceObject: DeviceObject,
  isServer: false,
  channel: Out<VmbClientChannel>,
): NtStatus;
export function VmbChannelAllocate(
  parentDeviceObject: DeviceObject,
  isServer: true,
  channel: Out<VmbServerChannel>,
): NtStatus;
export function VmbChannelAllocate(
  parentDeviceObject: DeviceObject,
  isServer: boolean,
  channel: Out<VmbChannel>,
): NtStatus;
export function VmbChannelAllocate<Channel extends VmbChannel>(
  parentDeviceObject: DeviceObject,
  isServer: boolean,
  channel: Out<Channel>,
): NtStatus {
  if (currentIrql() !== Irql.Passive) throw new BugCheck('K-018', 'VmbChannelAllocate at DISPATCH; it needs PASSIVE');
  if (typeof parentDeviceObject !== 'object' || parentDeviceObject === null) return STATUS_INVALID_PARAMETER_1;
  // The overloads tie the handle's type to `isServer`.
  channel.value = new ChannelObject(parentDeviceObject, isServer).handle as Channel;
  return STATUS_SUCCESS;
}

/**
 * Disposes of a Disabled channel and of the packets on its lookaside list; the handle is dead afterwards.
 *
 * @param channel handle from `VmbChannelAllocate`
 * Packets that were restored and never enabled complete with `STATUS_CANCELLED` (undocumented); bounce buffers go back.
 * @throws BugCheck K-022 unless the channel is Disabled; K-021 for a dead handle
 * Source: WDK `vmbuskernelmodeclientlibapi.h`, FN_VMB_CHANNEL_CLEANUP.
 */
export function VmbChannelCleanup(channel: VmbChannel): void {
  const object = channelOf(channel);
  if (!object.endpoint.isDisabled) {
    const { endpoint } = object;
    throw bugCheck(endpoint, 'K-022', `VmbChannelCleanup on a channel that is ${endpoint.stage}; disable it first`);
  }
  // While the handle lives, as the routines may free their packets.
  if (object.restored !== null) object.endpoint.retire(STATUS_CANCELLED);
  object.isAlive = false;
  object.freePackets.length = 0;
  object.bounce?.release();
  object.primary?.subchannels.delete(object.subchannelIndex);
  object.endpoint.watch?.cleanedUp(object.endpoint);
}

/**
 * Stores one pointer of the driver's on the channel, in every state. `null` clears it.
 * Source: WDK `vmbuskernelmodeclientlibapi.h`, FN_VMB_CHANNEL_SET_POINTER.
 */
export function VmbChannelSetPointer(channel: VmbChannel, pointer: unknown): void {
  channelOf(channel).pointer = pointer;
}

/**
 * What `VmbChannelSetPointer` stored; `null` before.
 * Source: WDK `vmbuskernelmodeclientlibapi.h`, FN_VMB_CHANNEL_GET_POINTER.
 */
export function VmbChannelGetPointer(channel: VmbChannel): unknown {
  return channelOf(channel).pointer;
}

/**
 * Instance GUID of the offer that the channel is bound to (client) or makes (server).
 *
 * Undocumented before a client is bound to an offer: the zero GUID.
 * Source: WDK `vmbuskernelmodeclientlibapi.h`, FN_VMB_CHANNEL_GET_INTERFACE_INSTANCE.
 */
export function VmbChannelGetInterfaceInstance(channel: VmbChannel, interfaceInstance: Out<Guid>): void {
  const object = channelOf(channel);
  interfaceInstance.value = object.endpoint.instanceId ?? object.server.identity?.instanceId ?? ZERO_GUID;
}

/**
 * Where the guest's bus reserved memory-mapped I/O space for the device: legal from `EvtVmbChannelOpened` on.
 *
 * Undocumented without a reservation, before Opened and on a server (the guest chooses the place): 0 and 0.
 * @param mmioAddress receives a guest physical address
 * @param mmioSize receives bytes
 * Source: WDK `vmbuskernelmodeclientlibapi.h`, FN_VMB_CHANNEL_GET_MMIO_SPACE.
 * Differs from Windows: the page calls the address virtual in one place; it is physical.
 */
export function VmbChannelGetMmioSpace(channel: VmbChannel, mmioAddress: Out<number>, mmioSize: Out<number>): void {
  const space = channelOf(channel).endpoint.mmioSpace;
  mmioAddress.value = space?.address ?? 0;
  mmioSize.value = space?.bytes ?? 0;
}

/**
 * Chooses where incoming packets are processed.
 *
 * @param requirePassive true: at PASSIVE only; false: at PASSIVE or DISPATCH
 * Source: WDK `vmbuskernelmodeclientlibapi.h`, FN_VMB_CHANNEL_SET_INCOMING_PROCESSING_AT_PASSIVE.
 */
export function VmbChannelSetIncomingProcessingAtPassive(channel: VmbChannel, requirePassive: boolean): void {
  channelOf(channel).endpoint.setPassiveOnly(requirePassive);
}

/**
 * Bounds how many incoming packets may be with the driver at once; more stay in the ring.
 *
 * May be set below what is outstanding. Raising it restarts nothing: a completion does.
 * @param quota packets, 1 or more. Undocumented for 0 and for what is no u32: nothing happens
 * Source: WDK `vmbuskernelmodeclientlibapi.h`, FN_VMB_CHANNEL_SET_TRANSACTION_QUOTA.
 */
export function VmbChannelSetTransactionQuota(channel: VmbChannel, quota: number): void {
  const object = channelOf(channel);
  if (isUint32(quota) && quota > 0) object.endpoint.setQuota(quota);
}

/**
 * Sets how long a monitored notification from the guest may be delayed.
 *
 * Legal from `EvtVmbChannelOpened` to `EvtVmbChannelClosed`, both included.
 * @param latency units of 100 ns, u16
 * @param originalLatency receives the previous value on success; 0 was in force at open
 * @returns `STATUS_SUCCESS`; `STATUS_INVALID_DEVICE_STATE` outside an open channel;
 *   `STATUS_INVALID_DEVICE_REQUEST` on a server; `STATUS_INVALID_PARAMETER_1` for a bad handle;
 *   `STATUS_INVALID_PARAMETER_2` for a latency that is no u16. Only success is documented
 * Source: WDK `vmbuskernelmodeclientlibapi.h`, FN_VMB_CHANNEL_SET_INTERRUPT_LATENCY.
 * Differs from Windows: the value is kept for the transport; a transport without monitor pages signals at once.
 */
export function VmbChannelSetInterruptLatency(
  channel: VmbChannel,
  latency: number,
  originalLatency: Out<number>,
): NtStatus {
  const object = findChannel(channel);
  if (object === undefined) return STATUS_INVALID_PARAMETER_1;
  if (!isUint16(latency)) return STATUS_INVALID_PARAMETER_2;
  if (object.isServer) return STATUS_INVALID_DEVICE_REQUEST;
  if (!object.endpoint.isOpen) return STATUS_INVALID_DEVICE_STATE;
  originalLatency.value = object.endpoint.interruptLatency100ns;
  object.endpoint.interruptLatency100ns = latency;
  return STATUS_SUCCESS;
}

/**
 * Bytes that `VmbPacketInitialize` asks for: the channel's largest packet, its inline context and a fixed overhead.
 * Source: WDK `vmbuskernelmodeclientlibapi.h`, FN_VMB_CHANNEL_SIZEOF_PACKET.
 */
export function VmbChannelSizeofPacket(channel: VmbChannel): number {
  return packetObjectBytes(channelOf(channel));
}

export function packetObjectBytes(channel: ChannelObject): number {
  const { endpoint, inlineContextBytes } = channel;
  return (
    8 * Math.ceil(endpoint.settings.maxPacketBytes / 8) + 8 * Math.ceil(inlineContextBytes / 8) + PACKET_OVERHEAD_BYTES
  );
}

/**
 * The channel beneath a handle, to look inside: statistics, `inspect()`, and the tap that tracers listen on. Not part of
 * KMCL; a driver needs none of it.
 */
export function endpointOf(channel: VmbChannel): ChannelEndpoint {
  return channelOf(channel).endpoint;
}
