/**
 * Bytes from one thread to another through shared memory, first in, first out. One writer at a time, one reader.
 */
const WRITTEN = 0;
const READ = 1;
const HEADER_BYTES = 8;

export class ByteQueue {
  readonly #counts: Int32Array;
  readonly #bytes: Uint8Array;

  /** @param buffer made by `allocate` */
  constructor(buffer: SharedArrayBuffer) {
    this.#counts = new Int32Array(buffer, 0, HEADER_BYTES / 4);
    this.#bytes = new Uint8Array(buffer, HEADER_BYTES);
  }

  /** @param capacityBytes a power of two */
  static allocate(capacityBytes: number): SharedArrayBuffer {
    return new SharedArrayBuffer(HEADER_BYTES + capacityBytes);
  }

  get isEmpty(): boolean {
    return Atomics.load(this.#counts, WRITTEN) === Atomics.load(this.#counts, READ);
  }

  /**
   * @returns false if there is no room; nothing was put. Look at `isFirst` then: a reader that was done must be told
   */
  put(byte: number): boolean {
    const written = this.#counts[WRITTEN] ?? 0;
    if (((written - Atomics.load(this.#counts, READ)) | 0) >= this.#bytes.length) return false;
    this.#bytes[written & (this.#bytes.length - 1)] = byte;
    // Pairs with the load in `take`: the byte is visible before the count.
    Atomics.store(this.#counts, WRITTEN, (written + 1) | 0);
    return true;
  }

  /**
   * Writer, right after `put`: the reader had taken everything before it. Pairs with the reader's look at `isEmpty` after
   * `take`: of two that meet, one at least sees the other's count.
   */
  get isFirst(): boolean {
    return (((this.#counts[WRITTEN] ?? 0) - Atomics.load(this.#counts, READ)) | 0) <= 1;
  }

  /** Blocks until the reader takes something, or `timeoutMs` is over. Call after `put` said no. */
  awaitRoom(timeoutMs: number): void {
    const read = Atomics.load(this.#counts, READ);
    if ((((this.#counts[WRITTEN] ?? 0) - read) | 0) < this.#bytes.length) return;
    Atomics.wait(this.#counts, READ, read, timeoutMs);
  }

  /** @returns the next byte, or -1 if there is none */
  takeByte(): number {
    const read = this.#counts[READ] ?? 0;
    if (Atomics.load(this.#counts, WRITTEN) === read) return -1;
    const byte = this.#bytes[read & (this.#bytes.length - 1)] ?? 0;
    Atomics.store(this.#counts, READ, (read + 1) | 0);
    return byte;
  }

  /** Everything that has arrived, as a copy. Look at `isEmpty` afterwards: what arrives meanwhile is announced by nobody. */
  take(): Uint8Array {
    const read = this.#counts[READ] ?? 0;
    const written = Atomics.load(this.#counts, WRITTEN);
    const taken = new Uint8Array((written - read) | 0);
    for (let at = 0; at < taken.length; at++) taken[at] = this.#bytes[(read + at) & (this.#bytes.length - 1)] ?? 0;
    Atomics.store(this.#counts, READ, written);
    // Pairs with the wait in `awaitRoom`.
    Atomics.notify(this.#counts, READ);
    return taken;
  }
}
