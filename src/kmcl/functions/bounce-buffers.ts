/**
 * Bounce buffers: memory that the host can see, for guests (confidential ones) that hide the rest of theirs. A driver
 * copies its data there and describes the buffer, by packet or GPADL, in place of its own pages.
 *
 * Which pages the host can see is for the guest's bus to say: `GuestVmbusOptions.hostVisiblePages`.
 */
import { GuestVmbus } from '../../channel/index.ts';
import { SystemError } from '../../errors.ts';
import type { Mdl } from '../../memory/index.ts';
import {
  type NtStatus,
  STATUS_DEVICE_DOES_NOT_EXIST,
  STATUS_INSUFFICIENT_RESOURCES,
  STATUS_INVALID_DEVICE_REQUEST,
  STATUS_INVALID_DEVICE_STATE,
  STATUS_INVALID_PARAMETER_1,
  STATUS_INVALID_PARAMETER_2,
  STATUS_INVALID_PARAMETER_3,
  STATUS_SUCCESS,
} from '../../wire/ntstatus.ts';
import { BounceBuffers } from '../objects/bounce-buffers.ts';
import { findChannel, findConfigurable, isUint32 } from '../objects/channel-object.ts';
import type { VmbClientChannel } from '../objects/handles.ts';
import type { Out } from '../out.ts';

/**
 * Undocumented, also which sizes: bounds the bounce buffers of a client, all together and each. Buffers from before are
 * given back.
 *
 * @param poolSize bytes of all of them; whole pages are counted
 * @param maximumBufferSize bytes of one, at most `poolSize`
 * @returns `STATUS_SUCCESS`; `STATUS_INVALID_PARAMETER_1` unless a Disabled client; `_2` for a pool of less than a page,
 *   `_3` for a buffer of 0 bytes or more than the pool has
 * Source: WDK `vmbuskernelmodeclientlibapi.h` lists VmbChannelInitSetBounceBufferSizes (V3) by name only.
 */
export function VmbChannelInitSetBounceBufferSizes(
  channel: VmbClientChannel,
  poolSize: number,
  maximumBufferSize: number,
): NtStatus {
  const object = findConfigurable(channel);
  if (object === undefined || object.isServer) return STATUS_INVALID_PARAMETER_1;
  if (!isUint32(poolSize) || poolSize < 4096) return STATUS_INVALID_PARAMETER_2;
  if (!isUint32(maximumBufferSize) || maximumBufferSize === 0 || maximumBufferSize > poolSize) {
    return STATUS_INVALID_PARAMETER_3;
  }
  object.bounce?.release();
  object.bounce = new BounceBuffers(poolSize, maximumBufferSize);
  return STATUS_SUCCESS;
}

/**
 * Undocumented: one bounce buffer, zeroed. There is no function that gives one back: all go at `VmbChannelCleanup`, and
 * their MDLs are invalid from then on, so a driver allocates what it needs once. Legal in every state.
 *
 * @param byteCount bytes, at most the maximum that was set
 * @param bounceMdl receives one MDL over whole pages, offset 0, on success only
 * @returns `STATUS_SUCCESS`; `STATUS_INVALID_PARAMETER_1` for a bad handle, `_2` for 0 bytes or more than the maximum;
 *   `STATUS_INVALID_DEVICE_REQUEST` on a server; `STATUS_INVALID_DEVICE_STATE` before
 *   `VmbChannelInitSetBounceBufferSizes`; `STATUS_DEVICE_DOES_NOT_EXIST` without a guest's bus;
 *   `STATUS_INSUFFICIENT_RESOURCES` when the pool, or the guest's memory, has no such run of pages
 * Source: WDK `vmbuskernelmodeclientlibapi.h` lists VmbChannelAllocateBounceBuffer (V3) by name only.
 */
export function VmbChannelAllocateBounceBuffer(
  channel: VmbClientChannel,
  byteCount: number,
  bounceMdl: Out<Mdl>,
): NtStatus {
  const object = findChannel(channel);
  if (object === undefined) return STATUS_INVALID_PARAMETER_1;
  if (object.isServer) return STATUS_INVALID_DEVICE_REQUEST;
  const { bounce, device } = object;
  if (bounce === null) return STATUS_INVALID_DEVICE_STATE;
  if (!isUint32(byteCount) || byteCount === 0 || byteCount > bounce.largestBytes) return STATUS_INVALID_PARAMETER_2;
  if (!(device.vmbus instanceof GuestVmbus)) return STATUS_DEVICE_DOES_NOT_EXIST;
  try {
    const mdl = bounce.allocate(device.vmbus, byteCount);
    if (mdl === null) return STATUS_INSUFFICIENT_RESOURCES;
    bounceMdl.value = mdl;
    return STATUS_SUCCESS;
  } catch (error) {
    if (error instanceof SystemError) return STATUS_INSUFFICIENT_RESOURCES;
    throw error;
  }
}
