/**
 * How long to keep looking before going to sleep, learned from how long the last sleeps were.
 *
 * A wake-up costs tens of microseconds whatever carries it, because the idle processor must be started again; a look
 * costs nanoseconds. So after a sleep that ended soon we look longer the next time, after a long one less: the rule that
 * Linux uses for halt polling.
 *
 * Source: Linux `Documentation/virt/kvm/halt-polling.rst`.
 */
export interface SpinWindowOptions {
  /** Longest time to keep looking, microseconds; 0 turns looking off. Default 50. */
  readonly maxUs?: number;
  /** A sleep shorter than this should have been a look, microseconds. Default 200: a few wake-ups of both ends. */
  readonly shortSleepUs?: number;
}

/** Below this a window is not worth its two clock reads, microseconds. */
const MIN_US = 5;

export class SpinWindow {
  readonly #maxUs: number;
  readonly #shortSleepUs: number;
  #us: number;

  constructor(options: SpinWindowOptions = {}) {
    this.#maxUs = options.maxUs ?? 50;
    this.#shortSleepUs = options.shortSleepUs ?? 200;
    this.#us = Math.min(this.#maxUs, 20);
  }

  /** Microseconds to keep looking after the last work; 0 means sleep at once. */
  get us(): number {
    return this.#us;
  }

  /** Learns from a sleep that the other end ended after `sleptUs` microseconds. */
  wokenAfter(sleptUs: number): void {
    if (sleptUs < this.#shortSleepUs) this.#us = Math.min(this.#maxUs, Math.max(MIN_US, this.#us * 2));
    else this.#us = this.#us >= 2 * MIN_US ? this.#us / 2 : 0;
  }
}
