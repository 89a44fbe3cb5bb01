/** Outgoing packet objects: allocated, set up, freed. */
import { OutgoingState } from '../../channel/index.ts';
import {
  type NtStatus,
  STATUS_INVALID_PARAMETER_1,
  STATUS_INVALID_PARAMETER_3,
  STATUS_SUCCESS,
} from '../../wire/ntstatus.ts';
import type { EvtVmbPacketCompletionRoutine, EvtVmbPacketCompletionRoutineEx } from '../callbacks.ts';
import { bugCheck } from '../objects/bug-check.ts';
import { channelOf, findChannel } from '../objects/channel-object.ts';
import type { VmbChannel, VmbPacket } from '../objects/handles.ts';
import { PacketObject, packetOf } from '../objects/packet-object.ts';
import type { Out } from '../out.ts';
import { packetObjectBytes } from './channel.ts';

/**
 * A packet from the channel's lookaside list, with all that a transaction needs: a later send cannot fail for lack of
 * resources. Until `VmbPacketSetCompletionRoutine` says otherwise it frees itself when it completes.
 *
 * @returns the packet, or `null` if there is none (a dead channel, or `VmbChannelInitSetMaximumPacketCount` of them
 *   are out)
 * Source: WDK `vmbuskernelmodeclientlibapi.h`, FN_VMB_PACKET_ALLOCATE.
 */
export function VmbPacketAllocate(channel: VmbChannel): VmbPacket | null {
  const object = findChannel(channel);
  if (object === undefined) return null;
  if (object.packetsOut >= object.maxPacketsOut) return null;
  object.packetsOut++;
  const packet = object.freePackets.pop() ?? new PacketObject(object, true);
  packet.isFreed = false;
  object.endpoint.watch?.allocated(object.endpoint, packet, true);
  return packet.handle;
}

/**
 * Builds a packet in the caller's memory, which here is the out-parameter. It has no completion routine: set one before
 * sending it. Never free it with `VmbPacketFree`.
 *
 * @param packetObject receives the packet
 * @param byteCount size of the caller's memory: at least `VmbChannelSizeofPacket`
 * @returns `STATUS_SUCCESS`; `STATUS_INVALID_PARAMETER_3` if `byteCount` is too small;
 *   `STATUS_INVALID_PARAMETER_1` (undocumented) for a bad channel handle
 * Source: WDK `vmbuskernelmodeclientlibapi.h`, FN_VMB_PACKET_INITIALIZE.
 */
export function VmbPacketInitialize(channel: VmbChannel, packetObject: Out<VmbPacket>, byteCount: number): NtStatus {
  const object = findChannel(channel);
  if (object === undefined) return STATUS_INVALID_PARAMETER_1;
  if (!(byteCount >= packetObjectBytes(object))) return STATUS_INVALID_PARAMETER_3;
  const packet = new PacketObject(object, false);
  object.endpoint.watch?.allocated(object.endpoint, packet, false);
  packetObject.value = packet.handle;
  return STATUS_SUCCESS;
}

/**
 * Gives back a packet from `VmbPacketAllocate` that was not sent, or whose completion routine was replaced; legal
 * inside that routine.
 *
 * @throws BugCheck K-135 while it is queued or in flight; K-136 for a packet from `VmbPacketInitialize`; K-132 if it
 *   was freed before
 * Source: WDK `vmbuskernelmodeclientlibapi.h`, FN_VMB_PACKET_FREE.
 */
export function VmbPacketFree(packetObject: VmbPacket): void {
  const packet = packetOf(packetObject);
  const { endpoint } = packet.channel;
  if (!packet.isOwned)
    throw bugCheck(endpoint, 'K-136', 'VmbPacketFree on a packet in the caller’s own memory', packet);
  refuseBusy(packet, 'VmbPacketFree');
  packet.free();
}

/**
 * The channel that the packet belongs to.
 * Source: WDK `vmbuskernelmodeclientlibapi.h`, FN_VMB_PACKET_GET_CHANNEL.
 */
export function VmbPacketGetChannel(packetObject: VmbPacket): VmbChannel {
  return channelOf(packetOf(packetObject).channel.handle).handle;
}

/**
 * Stores one pointer of the driver's on the packet; it survives send and completion. `null` clears it.
 * Source: WDK `vmbuskernelmodeclientlibapi.h`, FN_VMB_PACKET_SET_POINTER.
 */
export function VmbPacketSetPointer(packetObject: VmbPacket, pointer: unknown): void {
  packetOf(packetObject).pointer = pointer;
}

/**
 * What `VmbPacketSetPointer` stored; `null` before.
 * Source: WDK `vmbuskernelmodeclientlibapi.h`, FN_VMB_PACKET_GET_POINTER.
 */
export function VmbPacketGetPointer(packetObject: VmbPacket): unknown {
  return packetOf(packetObject).pointer;
}

/**
 * Replaces the completion routine; from then on the driver frees the packet.
 *
 * @throws BugCheck K-135 while it is queued or in flight (undocumented)
 * Source: WDK `vmbuskernelmodeclientlibapi.h`, FN_VMB_PACKET_SET_COMPLETION_ROUTINE.
 */
export function VmbPacketSetCompletionRoutine(
  packetObject: VmbPacket,
  completionRoutine: EvtVmbPacketCompletionRoutine,
): void {
  const packet = packetOf(packetObject);
  refuseBusy(packet, 'VmbPacketSetCompletionRoutine');
  packet.routine = completionRoutine;
  packet.routineContext = undefined;
}

/**
 * Undocumented: as `VmbPacketSetCompletionRoutine`, and the routine is given `context` as its last argument.
 *
 * @throws BugCheck K-135 while it is queued or in flight
 * Source: WDK `vmbuskernelmodeclientlibapi.h` lists VmbPacketSetCompletionRoutineEx (V5) by name only.
 */
export function VmbPacketSetCompletionRoutineEx(
  packetObject: VmbPacket,
  completionRoutine: EvtVmbPacketCompletionRoutineEx,
  context: unknown,
): void {
  const packet = packetOf(packetObject);
  refuseBusy(packet, 'VmbPacketSetCompletionRoutineEx');
  packet.routine = completionRoutine;
  packet.routineContext = context;
}

/**
 * Undocumented: bytes of the driver's own inside the packet, as `VmbChannelInitSetInlinePacketContextSize` asked. They
 * stay as they are through send and completion, and are zero in a packet just allocated.
 *
 * @returns `null` if that size is 0
 * Source: WDK `vmbuskernelmodeclientlibapi.h` lists VmbPacketGetInlinePacketContextPointer (V5) by name only.
 */
export function VmbPacketGetInlinePacketContextPointer(packetObject: VmbPacket): Uint8Array | null {
  return packetOf(packetObject).inlineContext;
}

function refuseBusy(packet: PacketObject, name: string): void {
  if (packet.state !== OutgoingState.Idle) {
    const message = `${name} on a packet that is queued or in flight; wait for its completion routine`;
    throw bugCheck(packet.channel.endpoint, 'K-135', message, packet);
  }
}
