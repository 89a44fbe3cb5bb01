/** Two ends of a channel in one thread: the client asks, the server answers, and nothing else happens. */
import { type ChannelWatch, GuestVmbus, HostVmbus, type Scheduler, type Timer } from '../../src/channel/index.ts';
import * as kmcl from '../../src/kmcl/index.ts';
import { GuestMemory } from '../../src/memory/index.ts';
import { createLoopback } from '../../src/transports/loopback/index.ts';

const INTERFACE_ID = '4c9ab6f2-66cd-4c0b-93a8-0a6d9c1b7e55';
const INSTANCE_ID = '9d5b1f8e-1f0c-49c7-8a53-5f0a9d6f3b21';
const COMMAND_BYTES = 64;
const ANSWER_BYTES = 16;
const PFNS = [100, 101, 102, 103, 110, 111, 112, 113];

/** Runs work in the order it came, from memory taken once: what it costs is the same for all that are compared. */
class OrderedScheduler implements Scheduler {
  readonly #work: (() => void)[] = new Array(1024).fill(() => {});
  #first = 0;
  #count = 0;

  now(): number {
    return 0;
  }

  dispatch(work: () => void): void {
    if (this.#count === this.#work.length) throw new Error('too much work at once');
    this.#work[(this.#first + this.#count++) % this.#work.length] = work;
  }

  passive(work: () => void): void {
    this.dispatch(work);
  }

  timer(): Timer {
    throw new Error('no timers here');
  }

  runAll(): void {
    while (this.#count > 0) {
      const work = this.#work[this.#first] as () => void;
      this.#first = (this.#first + 1) % this.#work.length;
      this.#count--;
      work();
    }
  }
}

export interface EchoOptions {
  readonly hasVerifier: boolean;
  readonly hasTap: boolean;
  /** Eight pages by number with each request. */
  readonly withPages: boolean;
  /** Requests in flight. */
  readonly depth: number;
}

export interface EchoPair {
  readonly verifier: ChannelWatch | null;
  /** @param roundTrips a multiple of the depth */
  run(roundTrips: number): void;
}

export async function echoPair(options: EchoOptions): Promise<EchoPair> {
  const { hasVerifier, hasTap, withPages, depth } = options;
  const scheduler = new OrderedScheduler();
  const loopback = createLoopback({ memory: GuestMemory.allocate(512), scheduler });
  const guest = new GuestVmbus(loopback.guest, { verifier: hasVerifier });
  const host = new HostVmbus(loopback.host, { verifier: hasVerifier });
  const connected = guest.connect();
  scheduler.runAll();
  await connected;
  const server = kmcl.out<kmcl.VmbServerChannel>();
  const client = kmcl.out<kmcl.VmbClientChannel>();
  kmcl.VmbChannelAllocate(kmcl.createDeviceObject({ vmbus: host }), true, server);
  kmcl.VmbChannelAllocate(kmcl.createDeviceObject({ vmbus: guest }), false, client);
  kmcl.VmbServerChannelInitSetTargetInterfaceId(server.value, INTERFACE_ID, INSTANCE_ID);
  kmcl.VmbClientChannelInitSetTargetPnp(client.value, INTERFACE_ID, INSTANCE_ID, null);
  for (const channel of [client.value, server.value]) {
    kmcl.VmbChannelInitSetMaximumExternalData(channel, 2 ** 20, 1);
    if (hasTap) kmcl.endpointOf(channel).tap = { packetSent: () => {}, packetReceived: () => {} };
  }
  const answer = new Uint8Array(ANSWER_BYTES);
  kmcl.VmbChannelInitSetProcessPacketCallbacks(
    server.value,
    (_channel, packet) => kmcl.VmbChannelPacketComplete(packet, answer, ANSWER_BYTES),
    null,
  );
  kmcl.VmbChannelEnable(server.value);
  kmcl.VmbChannelStart(server.value);
  kmcl.VmbChannelEnable(client.value);
  scheduler.runAll();

  const command = new Uint8Array(COMMAND_BYTES);
  let left = 0;
  const send = (packet: kmcl.VmbPacket): number =>
    withPages
      ? kmcl.VmbPacketSendWithExternalPfns(packet, command, COMMAND_BYTES, PFNS, PFNS.length, 1)
      : kmcl.VmbPacketSend(packet, command, COMMAND_BYTES, null, 1);
  const packets = Array.from({ length: depth }, () => {
    const packet = kmcl.VmbPacketAllocate(client.value) as kmcl.VmbPacket;
    kmcl.VmbPacketSetCompletionRoutine(packet, (own) => {
      if (--left >= depth) send(own);
    });
    return packet;
  });
  return {
    verifier: guest.verifier,
    run: (roundTrips) => {
      left = roundTrips;
      for (const packet of packets) send(packet);
      scheduler.runAll();
      if (left !== 0) throw new Error(`${left} round trips are missing`);
    },
  };
}
