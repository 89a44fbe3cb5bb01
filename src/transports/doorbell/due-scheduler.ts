import type { Timer } from '../../channel/scheduler.ts';
import { EventLoopScheduler } from '../event-loop-scheduler.ts';

/** The event loop's scheduler, which also knows when its next timer is due: a thread that blocks must not oversleep. */
export class DueScheduler extends EventLoopScheduler {
  readonly #dueMs = new Set<{ readonly ms: number }>();

  override timer(delayMs: number, work: () => void): Timer {
    const due = { ms: this.now() + delayMs };
    this.#dueMs.add(due);
    const timer = super.timer(delayMs, () => {
      this.#dueMs.delete(due);
      work();
    });
    return {
      cancel: () => {
        this.#dueMs.delete(due);
        timer.cancel();
      },
    };
  }

  /** When the next timer is due, on the clock of `now`; infinity if there is none. Looks at every timer. */
  get nextDueMs(): number {
    let next = Number.POSITIVE_INFINITY;
    for (const { ms } of this.#dueMs) next = Math.min(next, ms);
    return next;
  }
}
