/**
 * The C ring beside ours, compiled when the benches run and called through koffi. Where there is no compiler or no
 * koffi it is left out, and the report says so.
 *
 * A call costs some 250 ns and does a millisecond of work, so the calls do not show.
 */
import { execFileSync } from 'node:child_process';
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { loadKoffi, type NativeFunction } from '../../src/transports/native/index.ts';
import { projectDirectory } from '../harness/machine.ts';
import type { Way } from '../harness/measure.ts';

const SOURCE = join(projectDirectory(), 'bench/native/peer.c');
const LIBRARY = join(import.meta.dirname, 'peer.so');
const COMPILER = process.env['CC'] ?? 'cc';
const FLAGS = ['-O2', '-shared', '-fPIC', '-pthread'];

/** How the C code was built, for the report. */
export const NATIVE_BUILD = `${COMPILER} -O2`;

/** A ring in C with both its ends. */
export interface NativePair {
  /** @param batch 0 for the plain way (every packet published and released by itself), else packets per publication */
  twoThreadsNs(packets: number, batch: number): number;
  destroy(): void;
}

export class NativePeer {
  readonly #create: NativeFunction;
  readonly #destroy: NativeFunction;
  readonly #plain: NativeFunction;
  readonly #ideal: NativeFunction;
  readonly #threads: NativeFunction;
  readonly #roundTrips: NativeFunction;
  readonly #copy: NativeFunction;

  /** @throws Error if there is no compiler, or no koffi */
  static async load(): Promise<NativePeer> {
    const koffi = await loadKoffi();
    mkdirSync(import.meta.dirname, { recursive: true });
    execFileSync(COMPILER, [...FLAGS, SOURCE, '-o', LIBRARY], { stdio: ['ignore', 'ignore', 'pipe'] });
    return new NativePeer(koffi.load(LIBRARY));
  }

  private constructor(library: { func(name: string, result: string, parameters: readonly string[]): NativeFunction }) {
    const func = (name: string, ...parameters: string[]): NativeFunction => library.func(name, 'int64_t', parameters);
    this.#create = func('pair_create', 'uint32_t', 'uint32_t');
    this.#destroy = library.func('pair_destroy', 'void', ['int64_t']);
    this.#plain = func('pair_plain', 'int64_t', 'int64_t', 'int32_t');
    this.#ideal = func('pair_ideal', 'int64_t', 'int64_t', 'int32_t');
    this.#threads = func('pair_threads', 'int64_t', 'int64_t', 'int32_t');
    this.#roundTrips = library.func('line_round_trips', 'int32_t', ['void *', 'int64_t']);
    this.#copy = func('copy_bytes', 'int64_t', 'int64_t');
  }

  /** The plain way on one thread. */
  plainWay(dataBytes: number, payloadBytes: number, batch: number): Way {
    const pair = this.#open(dataBytes, payloadBytes);
    return {
      name: 'C, publish each packet',
      reference: 'C',
      run: (operations) => check(this.#plain(pair, operations, batch)),
    };
  }

  /** The ideal way on one thread. */
  idealWay(dataBytes: number, payloadBytes: number, batch: number): Way {
    const pair = this.#open(dataBytes, payloadBytes);
    return {
      name: 'C, cached indexes, publish per batch',
      reference: 'C ideal',
      run: (operations) => check(this.#ideal(pair, operations, batch)),
    };
  }

  /** A buffer of `byteCount` bytes copied once per operation. */
  copyWay(byteCount: number): Way {
    return { name: 'C memcpy', reference: 'C', run: (operations) => check(this.#copy(byteCount, operations)) };
  }

  /** A pair for two threads of C. */
  openPair(dataBytes: number, payloadBytes: number): NativePair {
    const pair = this.#open(dataBytes, payloadBytes);
    return {
      twoThreadsNs: (packets, batch) => check(this.#threads(pair, packets, batch)),
      destroy: () => {
        this.#destroy(pair);
      },
    };
  }

  /** Round trips of a cache line between two spinning threads, nanoseconds each. */
  lineRoundTrips(count: number): Float64Array {
    const times = new Float64Array(count);
    check(this.#roundTrips(new Uint8Array(times.buffer), count));
    return times;
  }

  #open(dataBytes: number, payloadBytes: number): number {
    const pair = this.#create(dataBytes, payloadBytes);
    if (pair === 0) throw new Error('the C ring has no memory');
    return pair;
  }
}

function check(result: number): number {
  if (result < 0) throw new Error('the C ring failed');
  return result;
}

let loading: Promise<NativePeer | undefined> | undefined;

/** Compiled and loaded once. @param note told why it is missing */
export function nativePeer(note: (text: string) => void): Promise<NativePeer | undefined> {
  loading ??= NativePeer.load().catch((error: Error) => {
    note(`without the C ring: ${error.message.split('\n')[0]}`);
    return undefined;
  });
  return loading;
}
