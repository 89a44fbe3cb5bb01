/**
 * Save and restore: a paused server channel is written down on one host and goes on at another, packets under way
 * included, while its guest notices nothing but a pause.
 *
 * ```
 *   old host   VmbChannelPause, VmbChannelSaveBegin, VmbChannelSaveContinue until success, VmbChannelSaveEnd;
 *              then HostVmbus.save, and HostVmbus.leave once the other host has it
 *   new host   HostVmbus.restore; VmbChannelAllocate, the same InitSet calls, VmbChannelRestoreFromBuffer until success,
 *              VmbChannelEnable, VmbChannelStart; HostVmbus.revokeUnclaimed when all devices are there
 * ```
 *
 * From SaveBegin to the next start neither ring is touched, so what the guest puts in meanwhile waits for the new host.
 * All functions are of servers, at PASSIVE. Undocumented: the format, which is ours (`objects/saved-form.ts`).
 */
import { currentIrql, Irql, OutgoingState } from '../../channel/index.ts';
import { PeerError } from '../../errors.ts';
import {
  type NtStatus,
  STATUS_BUFFER_OVERFLOW,
  STATUS_BUFFER_TOO_SMALL,
  STATUS_DATA_ERROR,
  STATUS_INVALID_DEVICE_REQUEST,
  STATUS_INVALID_DEVICE_STATE,
  STATUS_INVALID_PARAMETER_1,
  STATUS_INVALID_PARAMETER_2,
  STATUS_INVALID_PARAMETER_3,
  STATUS_MORE_PROCESSING_REQUIRED,
  STATUS_SUCCESS,
} from '../../wire/ntstatus.ts';
import { BugCheck } from '../objects/bug-check.ts';
import { channelOf, findChannel } from '../objects/channel-object.ts';
import type { VmbPacket, VmbServerChannel } from '../objects/handles.ts';
import { packetOf } from '../objects/packet-object.ts';
import { RestoreContext } from '../objects/restore-context.ts';
import { SaveContext } from '../objects/save-context.ts';
import type { Out } from '../out.ts';

/**
 * Begins a save: what is under way is captured, and stays as it is until the channel starts again or ends.
 *
 * @returns `STATUS_SUCCESS`. Undocumented: `STATUS_INVALID_PARAMETER_1` for a bad handle;
 *   `STATUS_INVALID_DEVICE_REQUEST` on a client; `STATUS_INVALID_DEVICE_STATE` unless the channel is paused (or enabled
 *   and not open), when a save is under way already, and from inside a routine or a batch of this channel
 * @throws BugCheck K-285 at DISPATCH, as the others
 * Source: WDK `vmbuskernelmodeclientlibapi.h`, FN_VMB_CHANNEL_SAVE_BEGIN.
 */
export function VmbChannelSaveBegin(channel: VmbServerChannel): NtStatus {
  requirePassive('VmbChannelSaveBegin');
  const object = findChannel(channel);
  if (object === undefined) return STATUS_INVALID_PARAMETER_1;
  if (!object.isServer) return STATUS_INVALID_DEVICE_REQUEST;
  if (object.saving !== null) return STATUS_INVALID_DEVICE_STATE;
  // A save that was made and not used: the channel did not move, so it may be made again.
  if (object.endpoint.isFrozen) object.endpoint.thaw();
  const saved = object.endpoint.freeze();
  if (saved === null) return STATUS_INVALID_DEVICE_STATE;
  object.saving = new SaveContext(object, saved);
  return STATUS_SUCCESS;
}

/**
 * Writes as many whole chunks as there is room for. For each packet object in use `EvtVmbChannelSavePacket` is called
 * once, and a second time if the first call said how many bytes it needs.
 *
 * @param saveBuffer receives the chunks
 * @param saveBufferSize bytes of it
 * @param bytesFilled receives the bytes that were written
 * @param bytesRequired receives the bytes that the next chunk takes; 0 after the last
 * @returns `STATUS_SUCCESS` with the last chunk; `STATUS_BUFFER_OVERFLOW` if there are more, go on with another buffer;
 *   `STATUS_BUFFER_TOO_SMALL` if not even one fitted. Undocumented: `STATUS_INVALID_PARAMETER_1` to `_3` by argument;
 *   `STATUS_INVALID_DEVICE_REQUEST` on a client; `STATUS_INVALID_DEVICE_STATE` without `VmbChannelSaveBegin`, after the
 *   last chunk, or when the channel moved on meanwhile; what the callback failed with;
 *   `STATUS_INVALID_BUFFER_SIZE` if it asked for more than 16 MiB
 * Source: WDK `vmbuskernelmodeclientlibapi.h`, FN_VMB_CHANNEL_SAVE_CONTINUE, where the second is misspelt
 * `STATUS_STATUS_BUFFER_OVERFLOW`.
 */
export function VmbChannelSaveContinue(
  channel: VmbServerChannel,
  saveBuffer: Uint8Array,
  saveBufferSize: number,
  bytesFilled: Out<number>,
  bytesRequired: Out<number>,
): NtStatus {
  requirePassive('VmbChannelSaveContinue');
  const object = findChannel(channel);
  if (object === undefined) return STATUS_INVALID_PARAMETER_1;
  if (!object.isServer) return STATUS_INVALID_DEVICE_REQUEST;
  const { saving } = object;
  if (saving === null || saving.isDone || !object.endpoint.isFrozen) return STATUS_INVALID_DEVICE_STATE;
  if (!(saveBuffer instanceof Uint8Array)) return STATUS_INVALID_PARAMETER_2;
  if (!isSizeOf(saveBufferSize, saveBuffer)) return STATUS_INVALID_PARAMETER_3;
  let filled = 0;
  for (;;) {
    const next = saving.next();
    bytesFilled.value = filled;
    bytesRequired.value = 0;
    if ('failedWith' in next) return next.failedWith;
    if (next.chunk === null) return STATUS_SUCCESS;
    bytesRequired.value = next.chunk.length;
    if (next.chunk.length > saveBufferSize - filled)
      return filled > 0 ? STATUS_BUFFER_OVERFLOW : STATUS_BUFFER_TOO_SMALL;
    saveBuffer.set(next.chunk, filled);
    filled += next.chunk.length;
    saving.taken();
  }
}

/**
 * Ends a save, whole or not. After a whole one the channel stays at rest, for `HostVmbus.leave`; after `VmbChannelStart`
 * it goes on here as if nothing had been saved.
 *
 * Undocumented: without a save under way nothing happens.
 * @throws BugCheck K-021 for a dead handle, K-283 on a client, K-285 at DISPATCH
 * Source: WDK `vmbuskernelmodeclientlibapi.h`, FN_VMB_CHANNEL_SAVE_END.
 */
export function VmbChannelSaveEnd(channel: VmbServerChannel): void {
  requirePassive('VmbChannelSaveEnd');
  const object = channelOf(channel);
  if (!object.isServer) throw new BugCheck('K-283', 'VmbChannelSaveEnd on a client channel');
  const { saving } = object;
  object.saving = null;
  if (saving !== null && !saving.isDone) object.endpoint.thaw();
}

/**
 * Takes chunks back, in the order in which they were written. With the last one `EvtVmbChannelRestorePacket` is called
 * for each packet, and then the channel has taken everything up; before that nothing is.
 *
 * @param buffer whole chunks
 * @param bufferSize bytes of it
 * @returns `STATUS_SUCCESS` with the last chunk; `STATUS_MORE_PROCESSING_REQUIRED` (which fails `NT_SUCCESS`): feed the
 *   next. Anything else abandons the restore, and the next call begins anew. Undocumented:
 *   `STATUS_INVALID_PARAMETER_1` to `_3` by argument; `STATUS_INVALID_DEVICE_REQUEST` on a client;
 *   `STATUS_INVALID_DEVICE_STATE` unless Disabled and not restored yet, and for packets without a callback to make them,
 *   or a callback that did not call `VmbPacketRestore`; `STATUS_DATA_ERROR` for chunks that are damaged, cut off, out of
 *   order, of another version or another channel, or do not fit what this channel is configured for; what the callback
 *   failed with
 * Source: WDK `vmbuskernelmodeclientlibapi.h`, FN_VMB_CHANNEL_RESTORE_FROM_BUFFER.
 */
export function VmbChannelRestoreFromBuffer(
  channel: VmbServerChannel,
  buffer: Uint8Array,
  bufferSize: number,
): NtStatus {
  requirePassive('VmbChannelRestoreFromBuffer');
  const object = findChannel(channel);
  if (object === undefined) return STATUS_INVALID_PARAMETER_1;
  if (!object.isServer) return STATUS_INVALID_DEVICE_REQUEST;
  if (!object.endpoint.isDisabled || object.restored !== null) return STATUS_INVALID_DEVICE_STATE;
  if (!(buffer instanceof Uint8Array)) return STATUS_INVALID_PARAMETER_2;
  if (!isSizeOf(bufferSize, buffer)) return STATUS_INVALID_PARAMETER_3;
  const context = object.restoring ?? new RestoreContext(object);
  // From inside its own callback there is nothing to feed.
  if (context.isWhole) return STATUS_INVALID_DEVICE_STATE;
  object.restoring = context;
  let status: NtStatus = STATUS_DATA_ERROR;
  try {
    context.feed(buffer.subarray(0, bufferSize));
    status = context.isWhole ? context.finish() : STATUS_MORE_PROCESSING_REQUIRED;
  } catch (error) {
    if (!(error instanceof PeerError)) throw error;
  } finally {
    if (status !== STATUS_MORE_PROCESSING_REQUIRED) object.restoring = null;
  }
  return status;
}

/**
 * Gives a packet the state that the library had for it: it waits for the ring, or for its completion, under the same
 * transaction id. Its completion routine must be the right one by then. If the restore fails after all, the packet is
 * idle again and its routine does not run.
 *
 * @param packetObject fresh packet of the channel
 * @param buffer the `libBuffer` that `EvtVmbChannelRestorePacket` was given
 * @param bufferSize bytes of it
 * @returns `STATUS_SUCCESS`. Undocumented: `STATUS_INVALID_PARAMETER_1` for a packet of another channel or without a
 *   routine; `STATUS_INVALID_PARAMETER_2` for other bytes; `STATUS_INVALID_DEVICE_REQUEST` on a client;
 *   `STATUS_INVALID_DEVICE_STATE` outside that callback, or for a second packet
 * @throws BugCheck K-132 for a freed packet, K-135 for one that is queued or in flight
 * Source: WDK `vmbuskernelmodeclientlibapi.h`, FN_VMB_PACKET_RESTORE.
 */
export function VmbPacketRestore(packetObject: VmbPacket, buffer: Uint8Array, bufferSize: number): NtStatus {
  const packet = packetOf(packetObject);
  if (!packet.channel.isServer) return STATUS_INVALID_DEVICE_REQUEST;
  if (packet.state !== OutgoingState.Idle) {
    throw new BugCheck('K-135', 'VmbPacketRestore on a packet that is queued, in flight or restored');
  }
  return packet.channel.restoring?.give(packet, buffer, bufferSize) ?? STATUS_INVALID_DEVICE_STATE;
}

function requirePassive(name: string): void {
  if (currentIrql() !== Irql.Passive) throw new BugCheck('K-285', `${name} at DISPATCH; it needs PASSIVE`);
}

function isSizeOf(size: number, buffer: Uint8Array): boolean {
  return Number.isInteger(size) && size >= 0 && size <= buffer.length;
}
