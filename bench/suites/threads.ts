/** Packets between two worker threads, beside what Node and npm offer for that, and the same ring in C. */
import { once } from 'node:events';
import { MessageChannel, Worker } from 'node:worker_threads';
import { RingBuffer } from 'ringbuf.js';
import { createWorkerLink, openWorkerHost } from '../../src/transports/worker/index.ts';
import { latencyRows, type Trips, timeLoopTrips } from '../harness/latency.ts';
import { measureTimed, type TimedWay } from '../harness/measure.ts';
import { type Row, timingRow } from '../harness/report.ts';
import type { Suite, SuiteContext } from '../harness/suite.ts';
import { type NativePair, type NativePeer, nativePeer } from '../native/native-peer.ts';
import { ARENA_PAGES, Arena, DATA_BYTES, type Patience, Word } from '../peers/arena.ts';
import type { ThreadJob, ThreadPeerData } from '../peers/thread-peer.ts';

const PAYLOAD_BYTES = [16, 64, 256, 1024, 4096];
const HEADER_BYTES = 16;
const ROUNDS = 41;
/** About as long as it takes the compiler to settle. */
const WARM_UP_ROUNDS = 8;
const TRIP_CONTEST = 'round trip of 64 B';
const TRIP_BYTES = 64;

export const threadsSuite: Suite = {
  name: 'threads',
  title: 'packets between two worker threads, beside MessagePort, ringbuf.js and C',
  async run(context) {
    const names = [...PAYLOAD_BYTES.map((bytes) => `${bytes} B`), TRIP_CONTEST];
    if (!names.some((name) => context.wants(name))) return [];
    const native = await nativePeer(context.note);
    const bench = await ThreadBench.start();
    const rows: Row[] = [];
    try {
      for (const payloadBytes of PAYLOAD_BYTES) {
        if (!context.wants(`${payloadBytes} B`)) continue;
        context.progress(`${payloadBytes} B`);
        rows.push(...(await bench.throughput(payloadBytes, native, context)));
      }
      if (context.wants(TRIP_CONTEST)) {
        context.progress(TRIP_CONTEST);
        rows.push(...(await bench.roundTrips(native, context)));
      }
    } finally {
      await bench.stop();
    }
    context.note(
      `ring of ${DATA_BYTES / 1024} KiB, both ends look all the time; order checked; ${ROUNDS} rounds in turns`,
    );
    context.note('"x first": how many times faster than postMessage (clone), "of C": as a multiple of two C threads');
    return rows;
  },
};

class ThreadBench {
  readonly #arena: Arena;
  readonly #byteRing: RingBuffer;
  readonly #worker: Worker;
  readonly #channel: MessageChannel;
  readonly #host: ReturnType<typeof openWorkerHost>;

  static async start(): Promise<ThreadBench> {
    const bench = new ThreadBench();
    await once(bench.#worker, 'online');
    bench.#worker.on('error', (error) => console.error(error));
    return bench;
  }

  private constructor() {
    const memory = new SharedArrayBuffer(ARENA_PAGES * 4096);
    const ringbuf = RingBuffer.getStorageForCapacity(DATA_BYTES, Uint8Array);
    const link = createWorkerLink();
    this.#arena = new Arena(new Uint8Array(memory), 'bench');
    this.#byteRing = new RingBuffer(ringbuf, Uint8Array);
    this.#channel = new MessageChannel();
    this.#host = openWorkerHost(link.host);
    const workerData: ThreadPeerData = { arena: memory, ringbuf, data: this.#channel.port2, end: link.guest };
    this.#worker = new Worker(new URL('../peers/thread-peer.js', import.meta.url), {
      workerData,
      transferList: [this.#channel.port2, link.guest.port],
    });
  }

  async stop(): Promise<void> {
    this.#host.close();
    this.#channel.port1.close();
    await this.#worker.terminate();
  }

  async throughput(payloadBytes: number, native: NativePeer | undefined, context: SuiteContext): Promise<Row[]> {
    const share = context.isQuick ? 0.02 : 1;
    const packets = Math.round((payloadBytes > 256 ? 8_000 : 20_000) * share);
    const messages = Math.round(1_000 * share);
    const pairs: NativePair[] = [];
    const ways: TimedWay[] = [
      this.#messageWay(messages, payloadBytes, false),
      this.#messageWay(messages, payloadBytes, true),
      this.#byteRingWay(packets, payloadBytes),
      this.#ringWay(packets, payloadBytes, 1),
      this.#ringWay(packets, payloadBytes, 32),
    ];
    if (native !== undefined) {
      const cWay = (name: string, reference: string, batch: number): TimedWay => {
        // One for each: the two ways keep their indexes in different places.
        const pair = native.openPair(DATA_BYTES, payloadBytes);
        pairs.push(pair);
        const round = (): number => pair.twoThreadsNs(packets, batch) / packets;
        return { name, reference, operationsPerRound: packets, round };
      };
      ways.push(cWay('C, publish each packet', 'C', 0), cWay('C, publish per 32', 'C ideal', 32));
    }
    const [rounds, warmUp] = context.isQuick ? [3, 1] : [ROUNDS, WARM_UP_ROUNDS];
    const timings = await measureTimed({ name: `${payloadBytes} B`, ways }, rounds, warmUp);
    for (const pair of pairs) pair.destroy();
    return timings.map((timing) => timingRow('threads', 'ns/packet', timing));
  }

  async roundTrips(native: NativePeer | undefined, context: SuiteContext): Promise<Row[]> {
    const [rounds, fast, slow] = context.isQuick ? [2, 500, 20] : [9, 5_000, 300];
    const collect = async (way: string, one: () => Promise<Float64Array>, reference?: string): Promise<Trips> => {
      const times = [];
      for (let round = -1; round < rounds; round++) {
        const trip = await one();
        if (round >= 0) times.push(trip);
      }
      return { way, rounds: times, ...(reference === undefined ? {} : { reference }) };
    };
    const ways = [
      await collect('MessagePort', () => this.#messageTrips(slow)),
      await collect('ring, spin', () => this.#ringTrips(fast, 'spin')),
      await collect('ring, spin, then Atomics.wait', () => this.#ringTrips(fast, 'spin, then Atomics.wait')),
      await collect('ring, Atomics.wait at once', () => this.#ringTrips(slow, 'Atomics.wait at once')),
      await collect('worker transport doorbells on two event loops', () => this.#doorbellTrips(slow)),
    ];
    if (native !== undefined) {
      ways.push(await collect('C, cache line, spin', async () => native.lineRoundTrips(fast), 'C'));
    }
    return latencyRows('threads', TRIP_CONTEST, ways);
  }

  #ringWay(count: number, payloadBytes: number, batch: number): TimedWay {
    return {
      name: batch === 1 ? 'ring, publish each packet' : `ring, publish per ${batch}`,
      operationsPerRound: count,
      round: () =>
        this.#timed({ job: 'receive', count, batch }, count, () => this.#arena.sendAll(count, payloadBytes, batch)),
    };
  }

  #byteRingWay(count: number, payloadBytes: number): TimedWay {
    // It carries bytes, not packets: the header is part of what is pushed.
    const packetBytes = HEADER_BYTES + payloadBytes;
    const packet = new Uint8Array(packetBytes).fill(7);
    const words = new Int32Array(packet.buffer);
    const ring = this.#byteRing;
    return {
      name: 'ringbuf.js',
      operationsPerRound: count,
      round: () =>
        this.#timed({ job: 'ringbuf', count, packetBytes }, count, () => {
          for (let id = 0; id < count; id++) {
            words[2] = id;
            while (ring.availableWrite() < packetBytes);
            ring.push(packet);
          }
        }),
    };
  }

  #messageWay(count: number, payloadBytes: number, isTransfer: boolean): TimedWay {
    const message = new Uint8Array(payloadBytes).fill(7);
    const port = this.#channel.port1;
    return {
      name: isTransfer ? 'postMessage (transfer)' : 'postMessage (clone)',
      operationsPerRound: count,
      round: async () => {
        this.#start({ job: 'count messages', count });
        const done = once(port, 'message');
        const begin = process.hrtime.bigint();
        for (let id = 0; id < count; id++) {
          if (isTransfer) {
            const copy = message.slice();
            port.postMessage(copy, [copy.buffer]);
          } else port.postMessage(message);
        }
        await done;
        return Number(process.hrtime.bigint() - begin) / count;
      },
    };
  }

  /** Tells the other thread what to do, and waits until it is about to. */
  #start(job: ThreadJob): void {
    const { words } = this.#arena;
    Atomics.store(words, Word.Ready, 0);
    Atomics.store(words, Word.Done, 0);
    this.#worker.postMessage(job);
    this.#arena.spinUntil(Word.Ready, 1);
  }

  /** @returns nanoseconds per packet */
  #timed(job: ThreadJob, count: number, send: () => void): number {
    this.#start(job);
    const begin = process.hrtime.bigint();
    send();
    this.#arena.spinUntil(Word.Done, 1);
    const ns = Number(process.hrtime.bigint() - begin);
    const bad = this.#arena.words[Word.Bad];
    if (bad !== 0) throw new Error(`${bad} packets out of order`);
    return ns / count;
  }

  async #ringTrips(count: number, patience: Patience): Promise<Float64Array> {
    this.#start({ job: 'echo', count, payloadBytes: TRIP_BYTES, patience });
    const times = new Float64Array(count);
    this.#arena.timeRoundTrips(times, TRIP_BYTES, patience);
    this.#arena.spinUntil(Word.Done, 1);
    return times;
  }

  async #messageTrips(count: number): Promise<Float64Array> {
    this.#start({ job: 'echo messages' });
    const port = this.#channel.port1;
    const message = new Uint8Array(TRIP_BYTES);
    const times = await timeLoopTrips(count, 0, (answered) => {
      port.once('message', answered);
      port.postMessage(message);
    });
    return times;
  }

  async #doorbellTrips(count: number): Promise<Float64Array> {
    let answer = (): void => {};
    this.#host.environment.onSignal(() => answer());
    return await timeLoopTrips(count, 0, (answered) => {
      answer = answered;
      this.#host.environment.signal(5, 0);
    });
  }
}
