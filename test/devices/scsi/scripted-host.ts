/**
 * A host's controller that answers exactly what the test says, over real KMCL: initialisation by the book, everything
 * else by `answer`.
 */
import { GuestVmbus, HostVmbus } from '../../../src/channel/index.ts';
import {
  createDeviceObject,
  out,
  VmbChannelAllocate,
  VmbChannelCleanup,
  VmbChannelDisable,
  VmbChannelEnable,
  VmbChannelInitSetMaximumExternalData,
  VmbChannelInitSetProcessPacketCallbacks,
  VmbChannelPacketComplete,
  VmbChannelPacketGetExternalData,
  VmbChannelStart,
  type VmbPacket,
  VmbPacketAllocate,
  VmbPacketSend,
  type VmbServerChannel,
  VmbServerChannelInitSetTargetInterfaceId,
} from '../../../src/kmcl/index.ts';
import { GuestMemory } from '../../../src/memory/guest-memory.ts';
import type { Mdl } from '../../../src/memory/mdl.ts';
import { createLoopback } from '../../../src/transports/loopback/index.ts';
import { ClassId } from '../../../src/wire/class-ids.ts';
import { INSTANCE_ID } from './some-storage.ts';
import { EXECUTE_SRB, QUERY_PROPERTIES } from './vstor-packets.ts';

/** Makes the completion of an EXECUTE_SRB; `data` are the guest's pages, `undefined` without. */
export type Answer = (packet: Uint8Array, data: Mdl | undefined) => Uint8Array;

export async function scriptedHost(answer: Answer) {
  const memory = GuestMemory.allocate(1024, { firstPfn: 0x100 });
  const loopback = createLoopback({ memory });
  const host = new HostVmbus(loopback.host);
  const guest = new GuestVmbus(loopback.guest);
  const box = out<VmbServerChannel>();
  VmbChannelAllocate(createDeviceObject({ vmbus: host }), true, box);
  const channel = box.value;
  VmbChannelInitSetMaximumExternalData(channel, 1 << 20, 256);
  VmbChannelInitSetProcessPacketCallbacks(
    channel,
    (_channel, packet, buffer, bufferBytes, flags) => {
      const request = buffer.slice(0, bufferBytes);
      const mdl = out<Mdl>();
      if (flags !== 0) VmbChannelPacketGetExternalData(packet, 0, mdl);
      const completion =
        request[0] === EXECUTE_SRB
          ? answer(request, mdl.isEmpty ? undefined : mdl.value)
          : initialisationAnswer(request);
      VmbChannelPacketComplete(packet, completion, completion.length);
    },
    null,
  );
  VmbServerChannelInitSetTargetInterfaceId(channel, ClassId.Scsi, INSTANCE_ID);
  VmbChannelEnable(channel);
  VmbChannelStart(channel);
  await guest.connect();
  return {
    memory,
    guest,
    pages: guest.pages,
    /** A packet of the host's own, without a wish for a completion. */
    tell(bytes: Uint8Array): void {
      VmbPacketSend(VmbPacketAllocate(channel) as VmbPacket, bytes, bytes.length, null, 0);
    },
    async end(): Promise<void> {
      await VmbChannelDisable(channel);
      VmbChannelCleanup(channel);
    },
  };
}

/** COMPLETE_IO, status 0; with 1 MiB as the largest transfer when properties are asked for. */
function initialisationAnswer(request: Uint8Array): Uint8Array {
  const completion = new Uint8Array(request.length);
  completion[0] = 1;
  if (request[0] === QUERY_PROPERTIES) completion[26] = 0x10;
  return completion;
}

export interface ScriptedResult {
  srbStatus?: number;
  scsiStatus?: number;
  transferredBytes?: number;
  /** Key, ASC, ASCQ; autosense. */
  sense?: [number, number, number];
  operation?: number;
  completionBytes?: number;
}

/** The completion of an EXECUTE_SRB: success unless told otherwise. */
export function srbCompletion(result: ScriptedResult = {}): Uint8Array {
  const completion = new Uint8Array(64);
  completion[0] = result.operation ?? 1;
  completion[14] = (result.srbStatus ?? (result.sense === undefined ? 1 : 4)) | (result.sense === undefined ? 0 : 0x80);
  completion[15] = result.scsiStatus ?? (result.sense === undefined ? 0 : 2);
  completion[21] = 20;
  new DataView(completion.buffer).setUint32(24, result.transferredBytes ?? 0, true);
  if (result.sense !== undefined) {
    const [key, asc, ascq] = result.sense;
    completion.set([0x70, 0, key, 0, 0, 0, 0, 10, 0, 0, 0, 0, asc, ascq], 28);
  }
  return completion.subarray(0, result.completionBytes ?? 64);
}
