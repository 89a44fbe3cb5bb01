/**
 * How long to keep looking before going to sleep, learned from how long the last gaps in the work were.
 *
 * A wake-up costs tens of microseconds whatever carries it, because the idle processor must be started again; a look
 * costs nanoseconds. So after a short gap that we slept through we look longer the next time, after a long one less: the
 * rule that Linux uses for halt polling. The limit must exceed one wake-up: two ends that play ping-pong asleep only find
 * out that neither needs to sleep when one still looks while the other wakes.
 *
 * Looking in vain again and again means that the other end cannot run while we look (the processors are busy with
 * others, or it shares ours): then looking is what makes it late, and we pause it for a while.
 *
 * Source: Linux `Documentation/virt/kvm/halt-polling.rst`.
 */
export interface SpinWindowOptions {
  /** Longest time to keep looking, microseconds; 0 turns looking off. Default 100. */
  readonly maxUs?: number;
  /** A gap shorter than this is worth looking through, microseconds. Default 200: a wake-up of each end. */
  readonly shortGapUs?: number;
}

/** Below this a window is not worth its two clock reads, microseconds. */
const MIN_US = 5;
/** Looks in vain, one after the other, before looking is paused. */
const MAX_MISSES = 8;
/** Sleeps that a pause lasts. */
const PAUSE_SLEEPS = 64;

export class SpinWindow {
  readonly #maxUs: number;
  readonly #shortGapUs: number;
  #us: number;
  #misses = 0;
  #pauseSleeps = 0;

  constructor(options: SpinWindowOptions = {}) {
    this.#maxUs = options.maxUs ?? 100;
    this.#shortGapUs = options.shortGapUs ?? 200;
    this.#us = Math.min(this.#maxUs, 20);
  }

  /** Microseconds to keep looking after the last work; 0 means sleep at once. */
  get us(): number {
    return this.#us;
  }

  /** Something came while we looked. */
  found(): void {
    this.#misses = 0;
  }

  /** Learns from a sleep: the other end ended it, `gapUs` microseconds after the last work before it. */
  wokenAfter(gapUs: number): void {
    if (this.#us > 0 && ++this.#misses === MAX_MISSES) {
      this.#misses = 0;
      this.#pauseSleeps = PAUSE_SLEEPS;
      this.#us = 0;
    } else if (this.#pauseSleeps > 0) {
      this.#pauseSleeps--;
    } else if (gapUs < this.#shortGapUs) {
      this.#us = Math.min(this.#maxUs, Math.max(MIN_US, this.#us * 2));
    } else {
      this.#us = this.#us >= 2 * MIN_US ? this.#us / 2 : 0;
    }
  }
}
