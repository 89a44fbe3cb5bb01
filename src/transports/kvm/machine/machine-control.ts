/**
 * The word by which the device thread tells all vCPU threads to end.
 */
export class MachineControl {
  readonly buffer: SharedArrayBuffer;
  readonly #words: Int32Array;

  constructor(buffer: SharedArrayBuffer = new SharedArrayBuffer(4)) {
    this.buffer = buffer;
    this.#words = new Int32Array(buffer);
  }

  get isStopped(): boolean {
    return Atomics.load(this.#words, 0) !== 0;
  }

  stop(): void {
    Atomics.store(this.#words, 0, 1);
  }
}
