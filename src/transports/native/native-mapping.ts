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
  readonly #release: () => void;
  #isReleased = false;

  constructor(address: number, lengthBytes: number, buffer: ArrayBuffer, release: () => void) {
    this.address = address;
    this.lengthBytes = lengthBytes;
    this.buffer = buffer;
    this.#release = release;
  }

  get isReleased(): boolean {
    return this.#isReleased;
  }

  /** Call when nobody needs the contents any more; a second call has no effect. */
  release(): void {
    if (this.#isReleased) return;
    this.#isReleased = true;
    this.#release();
  }
}
