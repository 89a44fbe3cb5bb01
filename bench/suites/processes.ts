/** Packets between two processes over mapped memory, beside a Unix socket and `child_process` messages. */
import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer, type Server, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { listenShm, type ShmGuest, type ShmListener } from '../../src/transports/shm/index.ts';
import { latencyRows, type Trips, timeLoopTrips } from '../harness/latency.ts';
import { measureTimed, type TimedWay } from '../harness/measure.ts';
import { type Row, timingRow } from '../harness/report.ts';
import type { Suite, SuiteContext } from '../harness/suite.ts';
import { type NativePair, type NativePeer, nativePeer } from '../native/native-peer.ts';
import { ARENA_PAGES, Arena, DATA_BYTES, Word } from '../peers/arena.ts';
import type { ProcessJob } from '../peers/process-peer.ts';

const PAYLOAD_BYTES = [16, 256, 4096];
const HEADER_BYTES = 16;
const ROUNDS = 41;
const WARM_UP_ROUNDS = 8;
const TRIP_CONTEST = 'round trip of 64 B';
const ASLEEP_CONTEST = 'round trip of 64 B, both asleep before';
const TRIP_BYTES = 64;
/** Long enough that the other end stops looking (100 us) and its processor idles. */
const PAUSE_MS = 3;

export const processesSuite: Suite = {
  name: 'processes',
  title: 'packets between two processes over shm, beside a Unix socket and child_process messages',
  async run(context) {
    const names = [...PAYLOAD_BYTES.map((bytes) => `${bytes} B`), TRIP_CONTEST, ASLEEP_CONTEST];
    if (!names.some((name) => context.wants(name))) return [];
    const native = await nativePeer(context.note);
    const bench = await startBench(context);
    if (bench === undefined) return [];
    const rows: Row[] = [];
    try {
      for (const payloadBytes of PAYLOAD_BYTES) {
        if (!context.wants(`${payloadBytes} B`)) continue;
        context.progress(`${payloadBytes} B`);
        rows.push(...(await bench.throughput(payloadBytes, native, context)));
      }
      for (const [contest, pauseMs] of [
        [TRIP_CONTEST, 0],
        [ASLEEP_CONTEST, PAUSE_MS],
      ] as const) {
        if (!context.wants(contest)) continue;
        context.progress(contest);
        rows.push(...(await bench.roundTrips(contest, pauseMs, context)));
      }
    } finally {
      await bench.stop();
    }
    context.note(
      `ring of ${DATA_BYTES / 1024} KiB, both ends look all the time; order checked; ${ROUNDS} rounds in turns`,
    );
    context.note('"x first": how many times faster than the Unix socket; "of C": as a multiple of two C threads');
    return rows;
  },
};

async function startBench(context: SuiteContext): Promise<ProcessBench | undefined> {
  try {
    return await ProcessBench.start();
  } catch (error) {
    // Without koffi, or on another system than Linux: nothing to measure, and no reason to lose the other suites.
    context.note(`left out: ${(error as Error).message}`);
    return undefined;
  }
}

interface Parts {
  readonly directory: string;
  readonly listener: ShmListener;
  readonly guest: ShmGuest;
  readonly child: ChildProcess;
  readonly server: Server;
  readonly socket: Socket;
}

class ProcessBench {
  readonly #parts: Parts;
  readonly #arena: Arena;

  static async start(): Promise<ProcessBench> {
    const directory = mkdtempSync(join(tmpdir(), 'vmbus-bench-'));
    const attached: { guest?: ShmGuest } = {};
    const shmUrl = `shm:${join(directory, 'shm', 'bench.sock')}`;
    try {
      const listener = await listenShm(shmUrl, {
        onGuest: (guest) => {
          attached.guest = guest;
        },
      });
      const socketPath = join(directory, 'plain.sock');
      const server = createServer();
      server.listen(socketPath);
      const child = fork(fileURLToPath(new URL('../peers/process-peer.js', import.meta.url)), [shmUrl, socketPath], {
        serialization: 'advanced',
      });
      const [[socket]] = await Promise.all([once(server, 'connection'), once(child, 'message')]);
      const { guest } = attached;
      if (guest === undefined) throw new Error('the other process did not attach');
      return new ProcessBench({ directory, listener, guest, child, server, socket });
    } catch (error) {
      rmSync(directory, { recursive: true, force: true });
      throw error;
    }
  }

  private constructor(parts: Parts) {
    this.#parts = parts;
    this.#arena = new Arena(parts.guest.environment.memory.bytes(0, ARENA_PAGES * 4096), 'bench');
  }

  async stop(): Promise<void> {
    const { child, socket, server, listener, directory } = this.#parts;
    const ended = once(child, 'exit');
    child.send({ job: 'stop' } satisfies ProcessJob);
    await ended;
    socket.destroy();
    server.close();
    await listener.close();
    rmSync(directory, { recursive: true, force: true });
  }

  async throughput(payloadBytes: number, native: NativePeer | undefined, context: SuiteContext): Promise<Row[]> {
    const share = context.isQuick ? 0.02 : 1;
    const packets = Math.round((payloadBytes > 256 ? 8_000 : 20_000) * share);
    const messages = Math.round(1_000 * share);
    const pairs: NativePair[] = [];
    const ways: TimedWay[] = [
      this.#socketWay(messages, payloadBytes, 1),
      this.#socketWay(messages * 4, payloadBytes, 32),
      this.#messageWay(messages, payloadBytes),
      this.#ringWay(packets, payloadBytes, 1),
      this.#ringWay(packets, payloadBytes, 32),
    ];
    if (native !== undefined) {
      const pair = native.openPair(DATA_BYTES, payloadBytes);
      pairs.push(pair);
      ways.push({
        name: 'C, two threads, publish each packet',
        reference: 'C',
        operationsPerRound: packets,
        round: () => pair.twoThreadsNs(packets, 0) / packets,
      });
    }
    const [rounds, warmUp] = context.isQuick ? [3, 1] : [ROUNDS, WARM_UP_ROUNDS];
    const timings = await measureTimed({ name: `${payloadBytes} B`, ways }, rounds, warmUp);
    for (const pair of pairs) pair.destroy();
    return timings.map((timing) => timingRow('processes', 'ns/packet', timing));
  }

  async roundTrips(contest: string, pauseMs: number, context: SuiteContext): Promise<Row[]> {
    const [rounds, count] = context.isQuick ? [2, 20] : [9, pauseMs === 0 ? 400 : 40];
    const ways: [string, () => Promise<Float64Array>][] = [
      ['Unix socket (net.Socket)', () => this.#socketTrips(count, pauseMs)],
      ['child_process messages', () => this.#messageTrips(count, pauseMs)],
      ['shm transport doorbells on two event loops', () => this.#doorbellTrips(count, pauseMs)],
    ];
    if (pauseMs === 0) ways.push(['ring, spin', () => this.#ringTrips(count * 10)]);
    const trips: Trips[] = [];
    const times = ways.map((): Float64Array[] => []);
    for (let round = -1; round < rounds; round++) {
      for (const [index, [, one]] of ways.entries()) {
        const result = await one();
        if (round >= 0) times[index]?.push(result);
      }
    }
    ways.forEach(([way], index) => {
      trips.push({ way, rounds: times[index] ?? [] });
    });
    return latencyRows('processes', contest, trips);
  }

  #ringWay(count: number, payloadBytes: number, batch: number): TimedWay {
    return {
      name: batch === 1 ? 'ring over shm, publish each packet' : `ring over shm, publish per ${batch}`,
      operationsPerRound: count,
      round: async () => {
        await this.#start({ job: 'receive', count, batch });
        const begin = process.hrtime.bigint();
        this.#arena.sendAll(count, payloadBytes, batch);
        this.#arena.spinUntil(Word.Done, 1);
        const ns = Number(process.hrtime.bigint() - begin);
        const bad = this.#arena.words[Word.Bad];
        if (bad !== 0) throw new Error(`${bad} packets out of order`);
        return ns / count;
      },
    };
  }

  /** @param batch packets that one write carries */
  #socketWay(count: number, payloadBytes: number, batch: number): TimedWay {
    const { socket } = this.#parts;
    const bytes = Buffer.alloc((HEADER_BYTES + payloadBytes) * batch, 7);
    const writes = Math.ceil(count / batch);
    return {
      name: batch === 1 ? 'Unix socket, a write per packet' : `Unix socket, a write per ${batch} packets`,
      operationsPerRound: writes * batch,
      round: async () => {
        await this.#start({ job: 'count bytes', byteCount: writes * bytes.length });
        const done = once(socket, 'data');
        const begin = process.hrtime.bigint();
        for (let index = 0; index < writes; index++) {
          if (!socket.write(bytes)) await once(socket, 'drain');
        }
        await done;
        return Number(process.hrtime.bigint() - begin) / (writes * batch);
      },
    };
  }

  #messageWay(count: number, payloadBytes: number): TimedWay {
    const { child } = this.#parts;
    const message = new Uint8Array(payloadBytes).fill(7);
    return {
      name: 'child_process messages',
      operationsPerRound: count,
      round: async () => {
        await this.#start({ job: 'count messages', count });
        const done = once(child, 'message');
        const begin = process.hrtime.bigint();
        for (let index = 0; index < count; index++) child.send(message);
        await done;
        return Number(process.hrtime.bigint() - begin) / count;
      },
    };
  }

  async #start(job: ProcessJob): Promise<void> {
    const { words } = this.#arena;
    Atomics.store(words, Word.Ready, 0);
    Atomics.store(words, Word.Done, 0);
    await new Promise<void>((resolve, reject) => {
      this.#parts.child.send(job, (error) => (error === null ? resolve() : reject(error)));
    });
    this.#arena.spinUntil(Word.Ready, 1);
  }

  async #ringTrips(count: number): Promise<Float64Array> {
    await this.#start({ job: 'echo', count, payloadBytes: TRIP_BYTES, patience: 'spin' });
    const times = new Float64Array(count);
    this.#arena.timeRoundTrips(times, TRIP_BYTES, 'spin');
    this.#arena.spinUntil(Word.Done, 1);
    return times;
  }

  async #socketTrips(count: number, pauseMs: number): Promise<Float64Array> {
    await this.#start({ job: 'echo bytes' });
    const { socket } = this.#parts;
    const message = Buffer.alloc(TRIP_BYTES);
    return await timeLoopTrips(count, pauseMs, (answered) => {
      socket.once('data', answered);
      socket.write(message);
    });
  }

  async #messageTrips(count: number, pauseMs: number): Promise<Float64Array> {
    const { child } = this.#parts;
    const message = new Uint8Array(TRIP_BYTES);
    return await timeLoopTrips(count, pauseMs, (answered) => {
      child.once('message', answered);
      child.send(message);
    });
  }

  async #doorbellTrips(count: number, pauseMs: number): Promise<Float64Array> {
    const { environment } = this.#parts.guest;
    let answer = (): void => {};
    environment.onSignal(() => answer());
    return await timeLoopTrips(count, pauseMs, (answered) => {
      answer = answered;
      environment.signal(5, 0);
    });
  }
}
