/**
 * Wakes the device thread from a vCPU thread, at most once until it has looked.
 *
 * The flag is shared by all vCPU threads: whoever sets it sends the one message that turns the device thread's event
 * loop. The device thread lowers the flag before it looks at anything, so what comes after that sends another.
 */
export interface Bell {
  ring(): void;
}

export class SharedBell implements Bell {
  readonly #flag: Int32Array;
  readonly #wake: () => void;

  /** @param buffer 4 bytes, zero at first, shared by all threads @param wake posts a message to the device thread */
  constructor(buffer: SharedArrayBuffer, wake: () => void) {
    this.#flag = new Int32Array(buffer);
    this.#wake = wake;
  }

  ring(): void {
    // Pairs with `lower`: what was stored before this exchange is visible to whoever lowers the flag after it.
    if (Atomics.exchange(this.#flag, 0, 1) === 0) this.#wake();
  }

  /** The device thread's side: call before looking. */
  lower(): void {
    Atomics.store(this.#flag, 0, 0);
  }
}
