/**
 * The scheduler of an ordinary process: work runs on Node's event loop.
 *
 * DISPATCH work runs first and in order, PASSIVE work after it. Both run from a microtask, which costs no turn of the
 * loop; after `TURN_BUDGET` pieces of work the rest waits for the next turn, so that timers, sockets and file
 * completions are never starved by two ends that keep each other busy.
 */
import type { Scheduler, Timer } from '../channel/scheduler.ts';

type Work = () => void;

/** Pieces of work before the loop gets a turn: long enough to amortise it (about 1 us), short enough to stay responsive. */
const TURN_BUDGET = 512;

export class EventLoopScheduler implements Scheduler {
  readonly #dispatch = new WorkQueue();
  readonly #passive = new WorkQueue();
  readonly #drain = (): void => this.#run();
  readonly #next: (drain: Work) => void;
  #isArmed = false;

  /** @param next how the first drain is reached; a microtask unless a test wants to see each turn */
  constructor(next: (drain: () => void) => void = queueMicrotask) {
    this.#next = next;
  }

  now(): number {
    return performance.now();
  }

  dispatch(work: Work): void {
    this.#dispatch.push(work);
    this.#arm();
  }

  passive(work: Work): void {
    this.#passive.push(work);
    this.#arm();
  }

  timer(delayMs: number, work: Work): Timer {
    const handle = setTimeout(() => this.passive(work), delayMs);
    return { cancel: () => clearTimeout(handle) };
  }

  #arm(): void {
    if (this.#isArmed) return;
    this.#isArmed = true;
    this.#next(this.#drain);
  }

  #run(): void {
    for (let done = 0; done < TURN_BUDGET; done++) {
      const work = this.#dispatch.shift() ?? this.#passive.shift();
      if (work === undefined) {
        this.#isArmed = false;
        return;
      }
      try {
        work();
      } catch (error) {
        // One callback's fault must reach the process as uncaught, without losing what others queued behind it.
        setImmediate(this.#drain);
        throw error;
      }
    }
    setImmediate(this.#drain);
  }
}

/** First in, first out, without an allocation per piece of work once it has grown. */
class WorkQueue {
  #slots: (Work | undefined)[] = new Array(64).fill(undefined);
  #first = 0;
  #count = 0;

  push(work: Work): void {
    if (this.#count === this.#slots.length) this.#grow();
    this.#slots[(this.#first + this.#count) & (this.#slots.length - 1)] = work;
    this.#count++;
  }

  shift(): Work | undefined {
    if (this.#count === 0) return undefined;
    const work = this.#slots[this.#first];
    this.#slots[this.#first] = undefined;
    this.#first = (this.#first + 1) & (this.#slots.length - 1);
    this.#count--;
    return work;
  }

  #grow(): void {
    const larger: (Work | undefined)[] = new Array(this.#slots.length * 2).fill(undefined);
    for (let index = 0; index < this.#count; index++) {
      larger[index] = this.#slots[(this.#first + index) & (this.#slots.length - 1)];
    }
    this.#slots = larger;
    this.#first = 0;
  }
}
