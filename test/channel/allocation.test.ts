/**
 * The packet path allocates nothing per packet once it is warm: shown by heap statistics, not by time.
 */
import v8 from 'node:v8';
import vm from 'node:vm';
import { expect, test } from 'vitest';
import { GuestVmbus, HostVmbus, type Scheduler, type Timer } from '../../src/channel/index.ts';
import {
  createDeviceObject,
  VmbChannelEnable,
  VmbChannelInitSetMaximumExternalData,
  VmbChannelInitSetProcessPacketCallbacks,
  VmbChannelPacketComplete,
  VmbChannelStart,
  VmbPacketSend,
  VmbPacketSendWithExternalPfns,
} from '../../src/kmcl/index.ts';
import { GuestMemory } from '../../src/memory/index.ts';
import { createLoopback } from '../../src/transports/loopback/index.ts';
import { someClient, somePacket, someServer } from '../kmcl/two-endpoints.ts';

/** Runs what is asked for in order, from memory that it took once. */
class FixedScheduler implements Scheduler {
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

  /** @returns false if there was nothing to do */
  step(): boolean {
    if (this.#count === 0) return false;
    const work = this.#work[this.#first] as () => void;
    this.#first = (this.#first + 1) % this.#work.length;
    this.#count--;
    work();
    return true;
  }
}

/** Packets in flight; 16 share a turn and its doorbells, one has all costs for itself. */
const DEPTHS = [1, 16];

/** A channel that echoes, and a client that keeps `depth` packets in flight for as long as it is stepped. */
async function echo(withPages: boolean, depth: number): Promise<{ run: (roundTrips: number) => void }> {
  const scheduler = new FixedScheduler();
  const loopback = createLoopback({ memory: GuestMemory.allocate(512), scheduler });
  const guest = new GuestVmbus(loopback.guest);
  const host = new HostVmbus(loopback.host);
  const connected = guest.connect();
  while (scheduler.step());
  await connected;
  const server = someServer(createDeviceObject({ vmbus: host }));
  const client = someClient(createDeviceObject({ vmbus: guest }));
  for (const channel of [client, server]) VmbChannelInitSetMaximumExternalData(channel, 2 ** 20, 1);
  const answer = new Uint8Array(16);
  VmbChannelInitSetProcessPacketCallbacks(
    server,
    (_channel, packet) => VmbChannelPacketComplete(packet, answer, 16),
    null,
  );
  VmbChannelEnable(server);
  VmbChannelStart(server);
  VmbChannelEnable(client);
  while (scheduler.step());

  const command = new Uint8Array(64);
  const pfns = [100, 101, 102, 103, 110, 111, 112, 113];
  let left = 0;
  const send = (packet: Parameters<typeof VmbPacketSend>[0]): number =>
    withPages
      ? VmbPacketSendWithExternalPfns(packet, command, 64, pfns, 8, 1)
      : VmbPacketSend(packet, command, 64, null, 1);
  const packets = Array.from({ length: depth }, () =>
    somePacket(client, (packet) => {
      if (--left >= depth) send(packet);
    }),
  );
  return {
    run: (roundTrips) => {
      left = roundTrips;
      for (const packet of packets) send(packet);
      while (scheduler.step());
      if (left !== 0) throw new Error(`${left} round trips are missing`);
    },
  };
}

function collectGarbage(): void {
  v8.setFlagsFromString('--expose-gc');
  vm.runInNewContext('gc')();
}

/** Bytes taken from the heap by `work`; it must be too little to start a collection. */
function allocatedBytes(work: () => void): number {
  collectGarbage();
  const before = v8.getHeapStatistics().used_heap_size;
  work();
  return v8.getHeapStatistics().used_heap_size - before;
}

test.each(DEPTHS.flatMap((depth) => [['in-band', depth, false] as const, ['with eight pages', depth, true] as const]))(
  'a steady stream of round trips %s, %i at a time, takes nothing from the heap',
  async (_name, depth, withPages) => {
    const { run } = await echo(withPages, depth);
    run(30_000);

    const roundTrips = 100_000;
    const bytes = Math.min(...[1, 2].map(() => allocatedBytes(() => run(roundTrips))));

    // One smallest object per round trip would be 16 bytes each. The heap counts in pages of 256 KiB, hence not 0.
    expect(bytes / roundTrips).toBeLessThan(4);
  },
);
