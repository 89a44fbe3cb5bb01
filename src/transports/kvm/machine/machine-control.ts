/**
 * The words by which the device thread ends the vCPU threads: one that says so, and each thread's id to interrupt it.
 */
const STOPPED = 0;
const FIRST_THREAD = 1;

export class MachineControl {
  readonly buffer: SharedArrayBuffer;
  readonly #words: Int32Array;

  constructor(buffer: SharedArrayBuffer) {
    this.buffer = buffer;
    this.#words = new Int32Array(buffer);
  }

  static allocate(vpCount: number): MachineControl {
    return new MachineControl(new SharedArrayBuffer(4 * (FIRST_THREAD + vpCount)));
  }

  get isStopped(): boolean {
    return Atomics.load(this.#words, STOPPED) !== 0;
  }

  stop(): void {
    Atomics.store(this.#words, STOPPED, 1);
  }

  /** A vCPU thread says who it is, before it runs the guest. */
  started(vp: number, threadId: number): void {
    Atomics.store(this.#words, FIRST_THREAD + vp, threadId);
  }

  /** The kernel's id of the thread; 0 before it has started. */
  threadId(vp: number): number {
    return Atomics.load(this.#words, FIRST_THREAD + vp);
  }
}
