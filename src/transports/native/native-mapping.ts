/**
 * A run of mapped memory and the one ArrayBuffer over it.
 *
 * `release` gives the memory back at once; the addresses stay readable (as zeros) until the last view is collected, so
 * a stale view can never end the process.
 */
export class NativeMapping {
  /** Where it is mapped; another thread of this process makes its own view from it. */
  readonly address: number;
  readonly lengthBytes: number;
  readonly buffer: ArrayBuffer;
  readonly #replaceWithZeros: () => void;
  #isReleased = false;

  constructor(address: number, lengthBytes: number, buffer: ArrayBuffer, replaceWithZeros: () => void) {
    this.address = address;
    this.lengthBytes = lengthBytes;
    this.buffer = buffer;
    this.#replaceWithZeros = replaceWithZeros;
  }

  get isReleased(): boolean {
    return this.#isReleased;
  }

  /** All zeros again, with the memory given back to the system; the mapping goes on as anonymous memory. */
  clear(): void {
    this.#replaceWithZeros();
  }

  /** Call when nobody needs the contents any more; a second call has no effect. */
  release(): void {
    if (this.#isReleased) return;
    this.#isReleased = true;
    this.#replaceWithZeros();
  }
}
