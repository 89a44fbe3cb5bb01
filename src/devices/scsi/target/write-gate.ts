/**
 * Lets many writes of one store go on at once, and now and then one command alone: COMPARE AND WRITE, which must not see
 * half of another write, nor let one come between.
 *
 * First come, first served: who waits to be alone holds back the writes that come later, so it is never starved.
 */
interface Waiting {
  readonly isAlone: boolean;
  run(): void;
}

export class WriteGate {
  #inside = 0;
  #isAlone = false;
  readonly #waiting: Waiting[] = [];

  /** A write begins. @returns false if it has to wait: see `whenOpen` */
  tryEnter(): boolean {
    if (this.#isAlone || this.#waiting.length > 0) return false;
    this.#inside++;
    return true;
  }

  /** Calls `start` when the write may begin; it has entered then. */
  whenOpen(start: () => void): void {
    this.#waiting.push({ isAlone: false, run: start });
    this.#next();
  }

  /** A write has ended. */
  leave(): void {
    this.#inside--;
    if (this.#waiting.length > 0) this.#next();
  }

  /** Resolves when every write that began before has ended, and no other is under way; `leaveAlone` ends that. */
  enterAlone(): Promise<void> {
    return new Promise((resolve) => {
      this.#waiting.push({
        isAlone: true,
        run: () => {
          this.#isAlone = true;
          resolve();
        },
      });
      this.#next();
    });
  }

  leaveAlone(): void {
    this.#isAlone = false;
    this.#next();
  }

  /** Resolves when the write may begin; it has entered then. */
  enter(): Promise<void> {
    return this.tryEnter() ? Promise.resolve() : new Promise((resolve) => this.whenOpen(resolve));
  }

  #next(): void {
    const [first] = this.#waiting;
    if (first === undefined || this.#isAlone || (first.isAlone && this.#inside > 0)) return;
    if (first.isAlone) {
      this.#waiting.shift();
      first.run();
      return;
    }
    const alone = this.#waiting.findIndex((each) => each.isAlone);
    const open = this.#waiting.splice(0, alone < 0 ? this.#waiting.length : alone);
    // All of them before any runs: one that ends at once must not let the next lone one in.
    this.#inside += open.length;
    for (const each of open) each.run();
  }
}
