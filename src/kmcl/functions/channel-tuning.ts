/** Settings that came with later interface versions, known by name only. */
import {
  type NtStatus,
  STATUS_INVALID_PARAMETER_1,
  STATUS_INVALID_PARAMETER_2,
  STATUS_SUCCESS,
} from '../../wire/ntstatus.ts';
import type { EvtVmbChannelProcessingCompleteEx, EvtVmbChannelProcessPacketEx } from '../callbacks.ts';
import { MAXIMUM_INLINE_PACKET_CONTEXT_SIZE } from '../constants.ts';
import { channelOf, findConfigurable, isUint32 } from '../objects/channel-object.ts';
import type { VmbChannel, VmbClientChannel } from '../objects/handles.ts';
import { VmbChannelInitSetProcessPacketCallbacks } from './channel-init.ts';

/**
 * Undocumented: bounds how many packets from `VmbPacketAllocate` may be out at once; one more is `null`. Packets in the
 * caller's memory do not count. Without it there is no bound.
 *
 * @param packetCount 1 or more
 * @returns `STATUS_SUCCESS`; `STATUS_INVALID_PARAMETER_1` unless Disabled; `STATUS_INVALID_PARAMETER_2` for 0 or no u32
 * Source: WDK `vmbuskernelmodeclientlibapi.h` lists VmbChannelInitSetMaximumPacketCount (V4) by name only.
 */
export function VmbChannelInitSetMaximumPacketCount(channel: VmbChannel, packetCount: number): NtStatus {
  const object = findConfigurable(channel);
  if (object === undefined) return STATUS_INVALID_PARAMETER_1;
  if (!isUint32(packetCount) || packetCount === 0) return STATUS_INVALID_PARAMETER_2;
  object.maxPacketsOut = packetCount;
  return STATUS_SUCCESS;
}

/**
 * Undocumented: gives each outgoing packet made from now on that many bytes of the driver's own; see
 * `VmbPacketGetInlinePacketContextPointer`. `VmbChannelSizeofPacket` grows by as much.
 *
 * @param contextSize bytes, at most `MAXIMUM_INLINE_PACKET_CONTEXT_SIZE`; 0 for none
 * @returns `STATUS_SUCCESS`; `STATUS_INVALID_PARAMETER_1` unless Disabled; `STATUS_INVALID_PARAMETER_2` for more
 * Source: WDK `vmbuskernelmodeclientlibapi.h` lists VmbChannelInitSetInlinePacketContextSize (V5) by name only.
 */
export function VmbChannelInitSetInlinePacketContextSize(channel: VmbChannel, contextSize: number): NtStatus {
  const object = findConfigurable(channel);
  if (object === undefined) return STATUS_INVALID_PARAMETER_1;
  if (!isUint32(contextSize) || contextSize > MAXIMUM_INLINE_PACKET_CONTEXT_SIZE) return STATUS_INVALID_PARAMETER_2;
  object.inlineContextBytes = contextSize;
  // Those have a context of the old size.
  object.freePackets.length = 0;
  return STATUS_SUCCESS;
}

/**
 * Undocumented: as `VmbChannelInitSetProcessPacketCallbacks`, and both callbacks are given `context` as their last
 * argument.
 *
 * @returns as there
 * Source: WDK `vmbuskernelmodeclientlibapi.h` lists VmbChannelInitSetProcessPacketCallbacksEx (V5) by name only.
 */
export function VmbChannelInitSetProcessPacketCallbacksEx(
  channel: VmbChannel,
  processPacketCallback: EvtVmbChannelProcessPacketEx,
  processingCompleteCallback: EvtVmbChannelProcessingCompleteEx | null,
  context: unknown,
): NtStatus {
  if (typeof processPacketCallback !== 'function') {
    return findConfigurable(channel) === undefined ? STATUS_INVALID_PARAMETER_1 : STATUS_INVALID_PARAMETER_2;
  }
  return VmbChannelInitSetProcessPacketCallbacks(
    channel,
    (handle, packet, buffer, bufferLength, flags) =>
      processPacketCallback(handle, packet, buffer, bufferLength, flags, context),
    processingCompleteCallback === null
      ? null
      : (handle, packetsProcessed) => processingCompleteCallback(handle, packetsProcessed, context),
  );
}

/**
 * Undocumented: chooses the virtual processor that the host interrupts for this channel. Without it: processor 0.
 *
 * @param processorIndex VMBus' number of the processor
 * @returns `STATUS_SUCCESS`; `STATUS_INVALID_PARAMETER_1` unless a Disabled client; `STATUS_INVALID_PARAMETER_2` for no
 *   u32. A processor that does not exist makes the host refuse the open
 * Source: WDK `vmbuskernelmodeclientlibapi.h` lists VmbClientChannelInitSetTargetProcessorIndex (V5) by name only; the
 * number is `target_vp` in Linux `include/linux/hyperv.h`, `struct vmbus_channel_open_channel`.
 */
export function VmbClientChannelInitSetTargetProcessorIndex(
  channel: VmbClientChannel,
  processorIndex: number,
): NtStatus {
  const object = findConfigurable(channel);
  if (object === undefined || object.isServer) return STATUS_INVALID_PARAMETER_1;
  if (!isUint32(processorIndex)) return STATUS_INVALID_PARAMETER_2;
  object.endpoint.settings.targetVp = processorIndex;
  return STATUS_SUCCESS;
}

/**
 * Undocumented: bounds how much of its time at DISPATCH the channel's incoming processing may take. Here time is counted
 * in packets: a turn takes that share of what it would take otherwise, and what is left over goes on at PASSIVE, where
 * others come between. Legal in every state.
 *
 * @param percent 1..100; 100 is no bound. For anything else nothing happens
 * Source: WDK `vmbuskernelmodeclientlibapi.h` lists VmbChannelSetAllowableDpcCpuUsage (V5) by name only.
 */
export function VmbChannelSetAllowableDpcCpuUsage(channel: VmbChannel, percent: number): void {
  const object = channelOf(channel);
  if (isUint32(percent) && percent >= 1 && percent <= 100) object.endpoint.setDispatchShare(percent / 100);
}
