/**
 * A scheduler that moves only when a test says so, with a clock that is a variable.
 *
 * `step()` runs one piece of work, `run()` runs until nothing is left, `advance(ms)` moves the clock and queues the
 * timers that came due.
 */
import type { Scheduler, Timer } from '../../src/channel/scheduler.ts';

type Work = () => void;

export class StepScheduler implements Scheduler {
  #dispatch: Work[] = [];
  #passive: Work[] = [];
  #timers: { at: number; order: number; work: Work }[] = [];
  #now = 0;
  #order = 0;

  now(): number {
    return this.#now;
  }

  dispatch(work: Work): void {
    this.#dispatch.push(work);
  }

  passive(work: Work): void {
    this.#passive.push(work);
  }

  timer(delayMs: number, work: Work): Timer {
    const entry = { at: this.#now + delayMs, order: this.#order++, work };
    this.#timers.push(entry);
    return {
      cancel: () => {
        this.#timers = this.#timers.filter((timer) => timer !== entry);
      },
    };
  }

  /** Pieces of work that are ready now. */
  get ready(): number {
    return this.#dispatch.length + this.#passive.length;
  }

  get timers(): number {
    return this.#timers.length;
  }

  /** Runs one ready piece, the oldest DISPATCH one first. @returns false if nothing was ready */
  step(): boolean {
    const work = this.#dispatch.shift() ?? this.#passive.shift();
    if (work === undefined) return false;
    work();
    return true;
  }

  /** Runs until nothing is ready. @throws Error after `limit` steps: the two ends keep each other busy for ever */
  run(limit = 100_000): number {
    let steps = 0;
    while (this.step()) if (++steps > limit) throw new Error(`still busy after ${limit} steps`);
    return steps;
  }

  /** `run()`, with the microtasks of promises given their turn until nothing happens any more. */
  async settle(limit = 100_000): Promise<void> {
    for (let idleTurns = 0; idleTurns < 4; idleTurns++) {
      if (this.run(limit) > 0) idleTurns = 0;
      await new Promise<void>((resolve) => setImmediate(resolve));
    }
  }

  /** Moves the clock and runs the timers that came due, in order, each followed by what it made ready. */
  advance(ms: number): void {
    const until = this.#now + ms;
    for (;;) {
      const due = this.#timers.filter((timer) => timer.at <= until).sort((a, b) => a.at - b.at || a.order - b.order)[0];
      if (due === undefined) break;
      this.#timers = this.#timers.filter((timer) => timer !== due);
      this.#now = Math.max(this.#now, due.at);
      due.work();
      this.run();
    }
    this.#now = until;
  }
}
