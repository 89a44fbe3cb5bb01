/**
 * The InitSet functions of servers, and the handles that name a guest's bus.
 *
 * All InitSet functions return `STATUS_INVALID_PARAMETER_1` for a bad handle, a client channel, or a channel that is
 * not Disabled.
 */
import type { Guid } from '../../wire/guid.ts';
import {
  type NtStatus,
  STATUS_INVALID_PARAMETER,
  STATUS_INVALID_PARAMETER_1,
  STATUS_INVALID_PARAMETER_2,
  STATUS_INVALID_PARAMETER_3,
  STATUS_SUCCESS,
} from '../../wire/ntstatus.ts';
import type {
  EvtVmbChannelRestorePacket,
  EvtVmbChannelRestorePacketEx,
  EvtVmbChannelSavePacket,
  EvtVmbChannelSavePacketEx,
} from '../callbacks.ts';
import { VMBUS_SERVER_CHANNEL_INIT_FLAGS } from '../constants.ts';
import { type ChannelObject, findConfigurable, isUint16, isUint32 } from '../objects/channel-object.ts';
import type { VmbServerChannel } from '../objects/handles.ts';
import { kernelHandleOf, type VmbusKernelHandle, type VmbusUserHandle, vmbusOf } from '../objects/vmbus-handle.ts';
import type { Out } from '../out.ts';
import { findGuid } from './channel-init.ts';

/** Virtual trust levels that Hyper-V defines. Source: Hyper-V TLFS, "Virtual Secure Mode". */
const VTL_COUNT = 16;

function findServer(channel: VmbServerChannel): ChannelObject | undefined {
  const object = findConfigurable(channel);
  return object?.isServer === true ? object : undefined;
}

/**
 * Sets what only servers may choose.
 *
 * @param flags `VMBUS_SERVER_CHANNEL_INIT_FLAG_…` bits; they appear in the offer, except FORCE_NEW_CHANNEL,
 *   which says what becomes of a restored channel
 * @returns `STATUS_SUCCESS`; `STATUS_INVALID_PARAMETER_1` unless a Disabled server;
 *   `STATUS_INVALID_PARAMETER_2` for bits outside 0x1f
 * Source: WDK `vmbuskernelmodeclientlibapi.h`, FN_VMB_SERVER_CHANNEL_INIT_SET_FLAGS.
 */
export function VmbServerChannelInitSetFlags(channel: VmbServerChannel, flags: number): NtStatus {
  const object = findServer(channel);
  if (object === undefined) return STATUS_INVALID_PARAMETER_1;
  if (!isUint32(flags) || (flags & ~VMBUS_SERVER_CHANNEL_INIT_FLAGS) !== 0) return STATUS_INVALID_PARAMETER_2;
  object.server.flags = flags;
  return STATUS_SUCCESS;
}

/**
 * Asks the guest's bus to reserve memory-mapped I/O space for the device.
 *
 * @param mmioMegabytes needed, u16
 * @param mmioMegabytesOptional welcome beyond that, u16
 * @returns `STATUS_SUCCESS`; `STATUS_INVALID_PARAMETER_1` unless a Disabled server; `STATUS_INVALID_PARAMETER` if both
 *   are 0; `STATUS_INVALID_PARAMETER_2` and `_3` (undocumented) for what is no u16
 * Source: WDK `vmbuskernelmodeclientlibapi.h`, FN_VMB_SERVER_CHANNEL_INIT_SET_MMIO_MEGABYTES.
 */
export function VmbServerChannelInitSetMmioMegabytes(
  channel: VmbServerChannel,
  mmioMegabytes: number,
  mmioMegabytesOptional: number,
): NtStatus {
  const object = findServer(channel);
  if (object === undefined) return STATUS_INVALID_PARAMETER_1;
  if (!isUint16(mmioMegabytes)) return STATUS_INVALID_PARAMETER_2;
  if (!isUint16(mmioMegabytesOptional)) return STATUS_INVALID_PARAMETER_3;
  if (mmioMegabytes === 0 && mmioMegabytesOptional === 0) return STATUS_INVALID_PARAMETER;
  object.server.mmioMegabytes = mmioMegabytes;
  object.server.mmioMegabytesOptional = mmioMegabytesOptional;
  return STATUS_SUCCESS;
}

/**
 * Sets the callbacks that save and restore packets. Without them packets are saved without a part of the driver's, and
 * none can be restored.
 *
 * @returns `STATUS_SUCCESS`; `STATUS_INVALID_PARAMETER_1` unless a Disabled server
 * Source: WDK `vmbuskernelmodeclientlibapi.h`, FN_VMB_SERVER_CHANNEL_INIT_SET_SAVE_RESTORE_PACKET_CALLBACKS.
 */
export function VmbServerChannelInitSetSaveRestorePacketCallbacks(
  channel: VmbServerChannel,
  savePacketCallback: EvtVmbChannelSavePacket,
  restorePacketCallback: EvtVmbChannelRestorePacket,
): NtStatus {
  const object = findServer(channel);
  if (object === undefined) return STATUS_INVALID_PARAMETER_1;
  object.server.savePacket = savePacketCallback;
  object.server.restorePacket = restorePacketCallback;
  return STATUS_SUCCESS;
}

/**
 * Undocumented: as `VmbServerChannelInitSetSaveRestorePacketCallbacks`, and both callbacks are given `context` as their
 * last argument.
 *
 * @returns `STATUS_SUCCESS`; `STATUS_INVALID_PARAMETER_1` unless a Disabled server
 * Source: WDK `vmbuskernelmodeclientlibapi.h` lists VmbServerChannelInitSetSaveRestorePacketCallbacksEx (V5) by name
 * only.
 */
export function VmbServerChannelInitSetSaveRestorePacketCallbacksEx(
  channel: VmbServerChannel,
  savePacketCallback: EvtVmbChannelSavePacketEx,
  restorePacketCallback: EvtVmbChannelRestorePacketEx,
  context: unknown,
): NtStatus {
  return VmbServerChannelInitSetSaveRestorePacketCallbacks(
    channel,
    (...args) => savePacketCallback(...args, context),
    (...args) => restorePacketCallback(...args, context),
  );
}

/**
 * Sets the identity that the channel is offered under.
 *
 * @param interfaceType interface GUID: the protocol
 * @param interfaceInstance instance GUID: this device
 * @returns `STATUS_SUCCESS`; `STATUS_INVALID_PARAMETER_1` unless a Disabled server;
 *   `STATUS_INVALID_PARAMETER_2` and `_3` (undocumented) for what is no GUID
 * Source: WDK `vmbuskernelmodeclientlibapi.h`, FN_VMB_SERVER_CHANNEL_INIT_SET_TARGET_INTERFACE_ID.
 */
export function VmbServerChannelInitSetTargetInterfaceId(
  channel: VmbServerChannel,
  interfaceType: Guid,
  interfaceInstance: Guid,
): NtStatus {
  const object = findServer(channel);
  if (object === undefined) return STATUS_INVALID_PARAMETER_1;
  const interfaceId = findGuid(interfaceType);
  if (interfaceId === undefined) return STATUS_INVALID_PARAMETER_2;
  const instanceId = findGuid(interfaceInstance);
  if (instanceId === undefined) return STATUS_INVALID_PARAMETER_3;
  object.server.identity = { interfaceId, instanceId };
  return STATUS_SUCCESS;
}

/**
 * Offers the channel to clients in one virtual trust level only.
 *
 * @param targetVtl 0..15
 * @returns `STATUS_SUCCESS`; `STATUS_INVALID_PARAMETER_1` unless a Disabled server;
 *   `STATUS_INVALID_PARAMETER_2` for a level that does not exist
 * Source: WDK `vmbuskernelmodeclientlibapi.h`, FN_VMB_SERVER_CHANNEL_INIT_SET_TARGET_VTL.
 */
export function VmbServerChannelInitSetTargetVtl(channel: VmbServerChannel, targetVtl: number): NtStatus {
  const object = findServer(channel);
  if (object === undefined) return STATUS_INVALID_PARAMETER_1;
  if (!Number.isInteger(targetVtl) || targetVtl < 0 || targetVtl >= VTL_COUNT) return STATUS_INVALID_PARAMETER_2;
  object.server.targetVtl = targetVtl;
  return STATUS_SUCCESS;
}

/**
 * Binds the channel to the bus of one guest: it decides which guest receives the offer.
 *
 * @param vmbusHandle open kernel handle
 * @returns `STATUS_SUCCESS`; `STATUS_INVALID_PARAMETER_1` unless a Disabled server;
 *   `STATUS_INVALID_PARAMETER_2` (undocumented) for a handle that is not open
 * Source: WDK `vmbuskernelmodeclientlibapi.h`, FN_VMB_SERVER_CHANNEL_INIT_SET_VMBUS_HANDLE.
 */
export function VmbServerChannelInitSetVmbusHandle(
  channel: VmbServerChannel,
  vmbusHandle: VmbusKernelHandle,
): NtStatus {
  const object = findServer(channel);
  if (object === undefined) return STATUS_INVALID_PARAMETER_1;
  const vmbus = vmbusOf(vmbusHandle);
  if (vmbus === undefined) return STATUS_INVALID_PARAMETER_2;
  object.server.vmbus = vmbus;
  return STATUS_SUCCESS;
}

/**
 * Turns a handle of the VM's worker process into one that the driver may keep; the driver closes it with
 * `closeVmbusHandle`.
 *
 * @param vmbusHandle from `openVmbusHandle`, in this process
 * @param kernelHandle receives the new handle
 * @returns `STATUS_SUCCESS`; `STATUS_INVALID_PARAMETER_1` (undocumented) if this process did not open the handle
 * Source: WDK `vmbuskernelmodeclientlibapi.h`, FN_VMB_CONVERT_VMBUS_HANDLE_TO_KERNEL_HANDLE.
 */
export function VmbConvertVmbusHandleToKernelHandle(
  vmbusHandle: VmbusUserHandle,
  kernelHandle: Out<VmbusKernelHandle>,
): NtStatus {
  const handle = kernelHandleOf(vmbusHandle);
  if (handle === undefined) return STATUS_INVALID_PARAMETER_1;
  kernelHandle.value = handle;
  return STATUS_SUCCESS;
}
