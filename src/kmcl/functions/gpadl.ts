/**
 * GPADLs: memory of the guest's that it shares with the host for longer than a packet.
 *
 * They exist from `EvtVmbChannelOpened` to the end of `EvtVmbChannelClosed`. The wire has no place for read-only; both
 * ends see the flag when they share a process, and a foreign peer's GPADL counts as writable. The flag is no barrier.
 */
import { currentIrql, type GpadlAccess, Irql } from '../../channel/index.ts';
import type { GuestMemory } from '../../memory/index.ts';
import { Mdl, PAGE_BYTES, spanPages } from '../../memory/index.ts';
import type { GpaRange } from '../../wire/gpa-range.ts';
import {
  type NtStatus,
  STATUS_INVALID_DEVICE_REQUEST,
  STATUS_INVALID_DEVICE_STATE,
  STATUS_INVALID_PARAMETER_1,
  STATUS_INVALID_PARAMETER_2,
  STATUS_INVALID_PARAMETER_3,
  STATUS_INVALID_PARAMETER_4,
  STATUS_INVALID_PARAMETER_5,
  STATUS_SUCCESS,
} from '../../wire/ntstatus.ts';
import { VMBUS_CHANNEL_GPADL_FLAG_READ_ONLY, VMBUS_CHANNEL_GPADL_FLAGS } from '../constants.ts';
import { bugCheck } from '../objects/bug-check.ts';
import { type ChannelObject, channelOf, findChannel } from '../objects/channel-object.ts';
import type { VmbClientChannel, VmbServerChannel } from '../objects/handles.ts';
import type { Out } from '../out.ts';
import { mdlWindow } from './mdl-ranges.ts';

/**
 * Shares a buffer. When the promise resolves with success the host has confirmed it and may map it.
 *
 * @param flags 0 or `VMBUS_CHANNEL_GPADL_FLAG_READ_ONLY`
 * @param buffer view into guest memory; other memory cannot be shared with a host
 * @param byteCount bytes of it, 1 or more
 * @param gpadlHandle receives the handle to tell the host, on success only
 * @returns `STATUS_SUCCESS`; undocumented: `STATUS_INVALID_PARAMETER_1` for a bad handle, `_2` for other flags, `_3` for
 *   a buffer outside guest memory, `_4` for a count that is 0 or more than the buffer has;
 *   `STATUS_INVALID_DEVICE_REQUEST` on a server; `STATUS_INVALID_DEVICE_STATE` unless open;
 *   `STATUS_INVALID_BUFFER_SIZE` for more pages than a GPADL can name; what the host answered if it refused;
 *   `STATUS_DEVICE_REMOVED` if the offer was taken back, or the channel closed, meanwhile
 * Source: WDK `vmbuskernelmodeclientlibapi.h`, FN_VMB_CHANNEL_CREATE_GPADL_FROM_BUFFER.
 * Differs from Windows: guest memory is always resident, so nothing is probed or locked.
 */
export async function VmbChannelCreateGpadlFromBuffer(
  channel: VmbClientChannel,
  flags: number,
  buffer: Uint8Array,
  byteCount: number,
  gpadlHandle: Out<number>,
): Promise<NtStatus> {
  const object = findChannel(channel);
  const status = checkCreate(object, flags);
  if (object === undefined || status !== STATUS_SUCCESS) return status;
  const memory = object.endpoint.memory;
  if (memory === undefined) return STATUS_INVALID_DEVICE_STATE;
  if (!Number.isInteger(byteCount) || byteCount < 1 || byteCount > buffer.length) return STATUS_INVALID_PARAMETER_4;
  const range = rangeOfView(memory, buffer, byteCount);
  if (range === undefined) return STATUS_INVALID_PARAMETER_3;
  return await create(object, [range], flags, gpadlHandle);
}

/**
 * Shares what an MDL chain describes, or a part of it.
 *
 * @param mdl first MDL of the chain
 * @param startOffsetWithinMdl bytes to skip
 * @param dataLengthWithinMdl bytes to share; 0 for all that follow
 * @param gpadlHandle receives the handle, on success only
 * @returns as `VmbChannelCreateGpadlFromBuffer`, with `STATUS_INVALID_PARAMETER_3` without an MDL, `_4` for an offset
 *   and `_5` for a length outside the chain
 * Source: WDK `vmbuskernelmodeclientlibapi.h`, FN_VMB_CHANNEL_CREATE_GPADL_FROM_MDL.
 */
export async function VmbChannelCreateGpadlFromMdl(
  channel: VmbClientChannel,
  flags: number,
  mdl: Mdl,
  startOffsetWithinMdl: number,
  dataLengthWithinMdl: number,
  gpadlHandle: Out<number>,
): Promise<NtStatus> {
  const object = findChannel(channel);
  const status = checkCreate(object, flags);
  if (object === undefined || status !== STATUS_SUCCESS) return status;
  if (!(mdl instanceof Mdl)) return STATUS_INVALID_PARAMETER_3;
  const window = mdlWindow(mdl, startOffsetWithinMdl, dataLengthWithinMdl, false);
  if (window === 'offset') return STATUS_INVALID_PARAMETER_4;
  if (window === 'length') return STATUS_INVALID_PARAMETER_5;
  return await create(object, window, flags, gpadlHandle);
}

/**
 * Undocumented: shares whole pages given by number, in that order; otherwise as `VmbChannelCreateGpadlFromBuffer`.
 *
 * @param pfns page frame numbers in guest memory
 * @param pfnCount how many of them, from index 0 on; 1 or more
 * @param gpadlHandle receives the handle, on success only
 * @returns as `VmbChannelCreateGpadlFromBuffer`, with `STATUS_INVALID_PARAMETER_3` without an array, for one that is
 *   shorter than `pfnCount` or names a page outside guest memory, and `_4` for a count of 0
 * Source: WDK `vmbuskernelmodeclientlibapi.h` lists VmbChannelCreateGpadlFromPfnList (V4) by name only.
 */
export async function VmbChannelCreateGpadlFromPfnList(
  channel: VmbClientChannel,
  flags: number,
  pfns: ArrayLike<number>,
  pfnCount: number,
  gpadlHandle: Out<number>,
): Promise<NtStatus> {
  const object = findChannel(channel);
  const status = checkCreate(object, flags);
  if (object === undefined || status !== STATUS_SUCCESS) return status;
  const memory = object.endpoint.memory;
  if (memory === undefined) return STATUS_INVALID_DEVICE_STATE;
  if (!Number.isInteger(pfnCount) || pfnCount < 1) return STATUS_INVALID_PARAMETER_4;
  if (pfns === null || pfns.length < pfnCount) return STATUS_INVALID_PARAMETER_3;
  const pages = Array.from(pfns).slice(0, pfnCount);
  if (!pages.every((pfn) => memory.hasPage(pfn))) return STATUS_INVALID_PARAMETER_3;
  const range = { byteCount: pfnCount * PAGE_BYTES, byteOffset: 0, pfns: pages };
  return await create(object, [range], flags, gpadlHandle);
}

/**
 * Takes shared memory back. Resolves when the host has let go of it, which it does not before it unmaps it.
 *
 * @param gpadlHandle from a create function on this channel
 * @throws BugCheck K-261 for a handle that is not this channel's; K-018 at DISPATCH; the promise rejects with them
 * Source: WDK `vmbuskernelmodeclientlibapi.h`, FN_VMB_CHANNEL_DELETE_GPADL.
 */
export async function VmbChannelDeleteGpadl(channel: VmbClientChannel, gpadlHandle: number): Promise<void> {
  const object = channelOf(channel);
  refuseAtDispatch(object, 'VmbChannelDeleteGpadl');
  if (!object.gpadls.delete(gpadlHandle)) {
    const message = `GPADL ${gpadlHandle} does not exist on this channel, or was deleted before`;
    throw bugCheck(object.endpoint, 'K-261', message, gpadlHandle);
  }
  await object.endpoint.deleteGpadl(gpadlHandle);
}

/**
 * Reaches memory that the guest shared: an MDL chain of exactly its ranges. One mapping at a time.
 *
 * @param flags 0 to write too; `VMBUS_CHANNEL_GPADL_FLAG_READ_ONLY` to read only
 * @param gpadlHandle what the guest told
 * @param mdl receives the chain on success; it is invalid after `VmbChannelUnmapGpadl`
 * @returns `STATUS_SUCCESS`; undocumented: `STATUS_INVALID_PARAMETER_1` for a bad handle, `_2` for other flags, or for
 *   write access to a GPADL that was created read-only; `STATUS_INVALID_DEVICE_REQUEST` on a client; `STATUS_NOT_FOUND`
 *   for a handle that does not exist; `STATUS_INVALID_DEVICE_STATE` if it is mapped already, or the channel not open
 * Source: WDK `vmbuskernelmodeclientlibapi.h`, FN_VMB_CHANNEL_MAP_GPADL.
 */
export function VmbChannelMapGpadl(
  channel: VmbServerChannel,
  flags: number,
  gpadlHandle: number,
  mdl: Out<Mdl>,
): NtStatus {
  const object = findChannel(channel);
  if (object === undefined) return STATUS_INVALID_PARAMETER_1;
  if ((flags & ~VMBUS_CHANNEL_GPADL_FLAGS) !== 0) return STATUS_INVALID_PARAMETER_2;
  if (!object.isServer) return STATUS_INVALID_DEVICE_REQUEST;
  const isReadOnly = (flags & VMBUS_CHANNEL_GPADL_FLAG_READ_ONLY) !== 0;
  const mapping = object.endpoint.mapGpadl(gpadlHandle, isReadOnly ? 'read' : 'write');
  if (mapping.mdl === null) return mapping.status;
  mdl.value = mapping.mdl;
  return STATUS_SUCCESS;
}

/**
 * Ends a mapping; the MDL is invalid from here on, and a waiting delete goes through.
 *
 * @throws BugCheck K-262 for what is not mapped
 * Source: WDK `vmbuskernelmodeclientlibapi.h`, FN_VMB_CHANNEL_UNMAP_GPADL.
 */
export function VmbChannelUnmapGpadl(channel: VmbServerChannel, gpadlHandle: number): void {
  const object = channelOf(channel);
  if (!object.endpoint.unmapGpadl(gpadlHandle)) {
    const message = `VmbChannelUnmapGpadl of GPADL ${gpadlHandle}, which is not mapped`;
    throw bugCheck(object.endpoint, 'K-262', message, gpadlHandle);
  }
}

/** @throws BugCheck K-018 at DISPATCH: creating waits for the host */
function checkCreate(object: ChannelObject | undefined, flags: number): NtStatus {
  if (object === undefined) return STATUS_INVALID_PARAMETER_1;
  refuseAtDispatch(object, 'creating a GPADL');
  if ((flags & ~VMBUS_CHANNEL_GPADL_FLAGS) !== 0) return STATUS_INVALID_PARAMETER_2;
  if (object.isServer) return STATUS_INVALID_DEVICE_REQUEST;
  return object.endpoint.isOpen ? STATUS_SUCCESS : STATUS_INVALID_DEVICE_STATE;
}

function refuseAtDispatch(object: ChannelObject, what: string): void {
  if (currentIrql() === Irql.Passive) return;
  throw bugCheck(object.endpoint, 'K-018', `${what} at DISPATCH; it waits, so it needs PASSIVE`);
}

async function create(
  object: ChannelObject,
  ranges: readonly GpaRange[],
  flags: number,
  gpadlHandle: Out<number>,
): Promise<NtStatus> {
  const access: GpadlAccess = (flags & VMBUS_CHANNEL_GPADL_FLAG_READ_ONLY) !== 0 ? 'read' : 'write';
  const created = await object.endpoint.createGpadl(ranges, access);
  if (created.status !== STATUS_SUCCESS) return created.status;
  object.gpadls.set(created.gpadlId, access);
  gpadlHandle.value = created.gpadlId;
  return STATUS_SUCCESS;
}

/** The pages behind a view into guest memory; `undefined` if it is a view of something else. */
function rangeOfView(memory: GuestMemory, view: Uint8Array, byteCount: number): GpaRange | undefined {
  for (const { firstPfn, bytes } of memory.regions) {
    const start = view.byteOffset - bytes.byteOffset;
    if (view.buffer !== bytes.buffer || start < 0 || byteCount > bytes.length - start) continue;
    const byteOffset = start % PAGE_BYTES;
    const first = firstPfn + (start - byteOffset) / PAGE_BYTES;
    const pfns = Array.from({ length: spanPages(byteOffset, byteCount) }, (_, index) => first + index);
    return { byteCount, byteOffset, pfns };
  }
  return undefined;
}
