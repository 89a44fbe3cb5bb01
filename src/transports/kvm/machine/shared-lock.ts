/**
 * A lock between threads in one word of shared memory: 0 free, 1 held, 2 held and somebody waits.
 *
 * Source: Drepper, "Futexes Are Tricky", mutex 2.
 */
export class SharedLock {
  readonly #words: Int32Array;
  readonly #index: number;

  /** @param words over a SharedArrayBuffer; the word is 0 at first */
  constructor(words: Int32Array, index: number) {
    this.#words = words;
    this.#index = index;
  }

  acquire(): void {
    if (Atomics.compareExchange(this.#words, this.#index, 0, 1) === 0) return;
    while (Atomics.exchange(this.#words, this.#index, 2) !== 0) Atomics.wait(this.#words, this.#index, 2);
  }

  release(): void {
    if (Atomics.exchange(this.#words, this.#index, 0) === 2) Atomics.notify(this.#words, this.#index, 1);
  }
}
