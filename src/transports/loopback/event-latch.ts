import type { Scheduler } from '../../channel/scheduler.ts';

/** Most distinct ids that can be pending at once: one per channel of a guest, and a few to spare. */
const CAPACITY = 2048;

/**
 * Edge-triggered events between two ends of one scheduler: any number of raises of one id before its delivery merge
 * into one delivery. Raising allocates nothing.
 */
export class EventLatch {
  readonly #scheduler: Scheduler;
  readonly #pending = new Float64Array(CAPACITY);
  readonly #delivering = new Float64Array(CAPACITY);
  readonly #deliver = (): void => this.#run();
  #count = 0;
  #sink: ((id: number) => void) | undefined;

  constructor(scheduler: Scheduler) {
    this.#scheduler = scheduler;
  }

  set sink(sink: ((id: number) => void) | undefined) {
    this.#sink = sink;
  }

  raise(id: number): void {
    const pending = this.#pending;
    for (let index = 0; index < this.#count; index++) if (pending[index] === id) return;
    // More ids than a guest has channels: a raise of something that exists is among those already pending.
    if (this.#count === CAPACITY) return;
    pending[this.#count++] = id;
    if (this.#count === 1) this.#scheduler.dispatch(this.#deliver);
  }

  /** Forgets what is pending and delivers nothing any more. */
  close(): void {
    this.#sink = undefined;
    this.#count = 0;
  }

  #run(): void {
    const count = this.#count;
    const delivering = this.#delivering;
    for (let index = 0; index < count; index++) delivering[index] = this.#pending[index] as number;
    this.#count = 0; // A raise from inside the sink is a new edge.
    for (let index = 0; index < count; index++) this.#sink?.(delivering[index] as number);
  }
}
