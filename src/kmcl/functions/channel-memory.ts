/** Channels in the driver's own memory. */
import {
  type NtStatus,
  STATUS_INVALID_PARAMETER_2,
  STATUS_INVALID_PARAMETER_3,
  STATUS_SUCCESS,
} from '../../wire/ntstatus.ts';
import { isUint32 } from '../objects/channel-object.ts';
import type { DeviceObject } from '../objects/device-object.ts';
import type { VmbChannel, VmbClientChannel, VmbServerChannel } from '../objects/handles.ts';
import type { Out } from '../out.ts';
import { VmbChannelAllocate } from './channel.ts';

/** What we say a channel takes. Nothing depends on it but the caller's allocation, which has no use here. */
const CHANNEL_BYTES = 4096;

/**
 * Undocumented: bytes of memory that `VmbChannelInitialize` asks for.
 *
 * Source: WDK `vmbuskernelmodeclientlibapi.h` lists VmbSizeofChannel (V5) by name only.
 */
export function VmbSizeofChannel(): number {
  return CHANNEL_BYTES;
}

/**
 * Undocumented: as `VmbChannelAllocate`, in memory that the caller brings, which here is the out-parameter as with
 * `VmbPacketInitialize`. `VmbChannelCleanup` ends the channel and leaves the memory to its owner.
 *
 * @param channelMemory receives the handle
 * @param byteCount size of that memory: at least `VmbSizeofChannel`
 * @param parentDeviceObject whose channel it is
 * @param isServer true for the host's endpoint
 * @returns `STATUS_SUCCESS`; `STATUS_INVALID_PARAMETER_2` if `byteCount` is too small; `_3` without a device object
 * @throws BugCheck K-018 at DISPATCH
 * Source: WDK `vmbuskernelmodeclientlibapi.h` lists VmbChannelInitialize (V5) by name only; that VmbChannelCleanup takes
 * such a channel is in the header's comments.
 */
export function VmbChannelInitialize(
  channelMemory: Out<VmbClientChannel>,
  byteCount: number,
  parentDeviceObject: DeviceObject,
  isServer: false,
): NtStatus;
export function VmbChannelInitialize(
  channelMemory: Out<VmbServerChannel>,
  byteCount: number,
  parentDeviceObject: DeviceObject,
  isServer: true,
): NtStatus;
export function VmbChannelInitialize<Channel extends VmbChannel>(
  channelMemory: Out<Channel>,
  byteCount: number,
  parentDeviceObject: DeviceObject,
  isServer: boolean,
): NtStatus {
  if (!isUint32(byteCount) || byteCount < CHANNEL_BYTES) return STATUS_INVALID_PARAMETER_2;
  // The overloads tie the handle's type to `isServer`.
  const status = VmbChannelAllocate(parentDeviceObject, isServer, channelMemory as Out<VmbChannel>);
  return status === STATUS_SUCCESS ? status : STATUS_INVALID_PARAMETER_3;
}
