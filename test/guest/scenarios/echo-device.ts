/**
 * A device that answers every packet with its text in capitals: all that a custom device needs.
 */
import type { HostVmbus } from '../../../src/channel/index.ts';
import {
  createDeviceObject,
  endpointOf,
  out,
  VmbChannelAllocate,
  VmbChannelCleanup,
  VmbChannelDisable,
  VmbChannelEnable,
  VmbChannelInitSetProcessPacketCallbacks,
  VmbChannelPacketComplete,
  VmbChannelStart,
  type VmbServerChannel,
  VmbServerChannelInitSetTargetInterfaceId,
} from '../../../src/kmcl/index.ts';

/** A class of our own. The guest binds `uio_hv_generic` to it by this id. */
export const ECHO_CLASS = 'b7f3a1c2-5d64-4e0f-9a38-c0ffee000001';
const ECHO_INSTANCE = 'b7f3a1c2-5d64-4e0f-9a38-c0ffee000002';

export interface EchoDevice {
  stop(): Promise<void>;
  inspect(): object;
}

/** @param faulted told when the guest broke the protocol; the channel then ends by itself */
export function startEchoDevice(vmbus: HostVmbus, faulted: (reason: string) => void): EchoDevice {
  const box = out<VmbServerChannel>();
  VmbChannelAllocate(createDeviceObject({ vmbus, name: 'echo' }), true, box);
  const channel = box.value;
  VmbServerChannelInitSetTargetInterfaceId(channel, ECHO_CLASS, ECHO_INSTANCE);
  VmbChannelInitSetProcessPacketCallbacks(
    channel,
    (_channel, packet, buffer, bufferBytes) => {
      const text = new TextDecoder().decode(buffer.subarray(0, bufferBytes).slice());
      const answer = new TextEncoder().encode(text.toUpperCase()).subarray(0, bufferBytes);
      VmbChannelPacketComplete(packet, answer, answer.length);
    },
    null,
  );
  endpointOf(channel).tap = { faulted: (_endpoint, error) => faulted(error.message) };
  VmbChannelEnable(channel);
  VmbChannelStart(channel);
  return {
    stop: async () => {
      await VmbChannelDisable(channel);
      VmbChannelCleanup(channel);
    },
    inspect: () => endpointOf(channel).inspect(),
  };
}
