/**
 * Adaptive waiting on an event loop: drain, keep looking for a moment, then sleep.
 *
 * One poller serves every link of its thread. Links that had work lately are awake: they are looked at in turns, for as
 * long as their `SpinWindow` says, and the other end rings them without a system call. The others sleep, cost nothing,
 * and are woken by whatever their transport has (`Atomics.waitAsync`, a pipe).
 *
 * The loop stays alive for everybody else. A turn looks for at most `SLICE_MS` before timers, sockets and file
 * completions get theirs; after work the promises of that work run before the next look.
 */
import { availableParallelism } from 'node:os';
import { DueScheduler } from './due-scheduler.ts';
import { SpinWindow, type SpinWindowOptions } from './spin-window.ts';

/** What a poller looks at: one end of one link. */
export interface PollSource {
  /** Delivers what there is. @returns false if there was nothing */
  poll(): boolean;
  /** True if `poll` would deliver something; called very often, so only loads. */
  readonly isPending: boolean;
  /** Tells the other end that it has to wake us from now on. @returns false if something came meanwhile: still awake */
  sleep(): boolean;
  /** Tells the other end that it need not wake us. */
  wakeUp(): void;
}

/** How a poller reaches the event loop; tests hand in their own. */
export interface PollerLoop {
  /** Monotonic milliseconds with a fraction. */
  nowMs(): number;
  /** Runs `work` (always the same) after the promises that are ready, before the loop turns. */
  soon(work: () => void): void;
  /** Runs `work` after the loop turned once. */
  nextTurn(work: () => void): void;
}

export interface PollerOptions {
  readonly loop?: PollerLoop;
  /** How long links keep looking. On a machine with one processor they never do: the other end could not run. */
  readonly spin?: SpinWindowOptions;
}

/** Longest look at a stretch. Sockets and file completions wait no longer than this for it, milliseconds. */
const SLICE_MS = 0.005;
/** Longest time of work before the loop turns, milliseconds. */
const BUSY_MS = 0.1;
/** Looks between two readings of the clock. */
const LOOKS_PER_CLOCK = 32;

export class Poller {
  /** Runs on the same turns as the links, so that what a delivery dispatches runs before the next look. */
  readonly scheduler: DueScheduler;
  readonly #loop: PollerLoop;
  readonly #spin: SpinWindowOptions;
  readonly #runTurn = (): void => this.#turn();
  readonly #runLoopTurn = (): void => {
    this.#busySince = this.#loop.nowMs();
    this.#turn();
  };
  readonly #runDrain = (): void => {
    this.#drain();
  };
  #awake: PollHandle[] = [];
  #pendingDrain: (() => void) | undefined;
  #busySince = 0;
  #isArmed = false;
  #isInTurn = false;

  constructor(options: PollerOptions = {}) {
    this.#loop = options.loop ?? new NodeLoop();
    this.#spin = options.spin ?? { maxUs: availableParallelism() > 1 ? 100 : 0 };
    this.scheduler = new DueScheduler((drain) => this.#drainSoon(drain));
  }

  /** Starts to serve a link's end, awake. */
  attach(source: PollSource): PollHandle {
    const handle: PollHandle = new PollHandle(source, new SpinWindow(this.#spin), {
      nowMs: () => this.#loop.nowMs(),
      awaken: () => {
        this.#awake.push(handle);
        this.#arm();
      },
      runNow: () => {
        if (this.#isInTurn) return;
        this.#busySince = this.#loop.nowMs();
        this.#turn();
      },
    });
    handle.touch();
    return handle;
  }

  /** Links that are looked at now. */
  get awakeCount(): number {
    return this.#awake.filter((handle) => !handle.isClosed).length;
  }

  #arm(): void {
    if (this.#isArmed || this.#isInTurn) return;
    this.#isArmed = true;
    this.#loop.soon(this.#runTurn);
  }

  #drainSoon(drain: () => void): void {
    this.#pendingDrain = drain;
    if (!this.#isInTurn) queueMicrotask(this.#runDrain);
  }

  #drain(): boolean {
    const drain = this.#pendingDrain;
    if (drain === undefined) return false;
    this.#pendingDrain = undefined;
    drain();
    return true;
  }

  #turn(): void {
    this.#isArmed = false;
    this.#isInTurn = true;
    let next: 'soon' | 'nextTurn' | 'rest' = 'nextTurn';
    try {
      const didWork = this.#deliver() || (this.#look() && this.#deliver());
      const isLoopDue = this.#loop.nowMs() - this.#busySince >= BUSY_MS;
      // Among busy links, too, the idle ones go to sleep.
      const hasAwake = (didWork && !isLoopDue) || this.#retire();
      if (!hasAwake) next = 'rest';
      else if (didWork && !isLoopDue) next = 'soon';
    } finally {
      this.#isInTurn = false;
      // Also when a sink threw: the other links are served on.
      if (next !== 'rest') this.#armFor(next);
    }
  }

  #armFor(next: 'soon' | 'nextTurn'): void {
    if (this.#isArmed) return;
    this.#isArmed = true;
    if (next === 'soon') this.#loop.soon(this.#runTurn);
    else this.#loop.nextTurn(this.#runLoopTurn);
  }

  /** One delivery from each link that has something, then what the deliveries dispatched. */
  #deliver(): boolean {
    let didWork = this.#drain();
    const awake = this.#awake;
    let nowMs = -1;
    // The length is read each time: a delivery may wake another link, which is served in the same turn.
    for (let index = 0; index < awake.length; index++) {
      const handle = awake[index] as PollHandle;
      if (handle.isClosed || !handle.source.poll()) continue;
      didWork = true;
      if (nowMs < 0) nowMs = this.#loop.nowMs();
      handle.delivered(nowMs);
    }
    return this.#drain() || didWork;
  }

  /** @returns true as soon as a link has something, false when the slice is over */
  #look(): boolean {
    const awake = this.#awake;
    if (awake.length === 0) return false;
    const loop = this.#loop;
    const startedMs = loop.nowMs();
    let isWorthIt = false;
    for (const handle of awake) isWorthIt = handle.isWithinWindow(startedMs) || isWorthIt;
    if (!isWorthIt) return false;
    do {
      for (let look = 0; look < LOOKS_PER_CLOCK; look++) {
        for (let index = 0; index < awake.length; index++) {
          if ((awake[index] as PollHandle).source.isPending) return true;
        }
      }
    } while (loop.nowMs() - startedMs < SLICE_MS);
    return false;
  }

  /** Sends to sleep the links whose window is over. @returns true if some are still awake */
  #retire(): boolean {
    const nowMs = this.#loop.nowMs();
    this.#awake = this.#awake.filter((handle) => {
      if (handle.isClosed) return false;
      if (handle.isWithinWindow(nowMs)) return true;
      return !handle.fallAsleep();
    });
    return this.#awake.length > 0;
  }
}

interface PollerServices {
  nowMs(): number;
  awaken(): void;
  runNow(): void;
}

/** A link's end as its poller knows it. */
export class PollHandle {
  readonly source: PollSource;
  readonly window: SpinWindow;
  readonly #services: PollerServices;
  #isAwake = false;
  #isClosed = false;
  #isTouched = false;
  #isRung = false;
  #lastWorkMs = 0;

  constructor(source: PollSource, window: SpinWindow, services: PollerServices) {
    this.source = source;
    this.window = window;
    this.#services = services;
  }

  get isClosed(): boolean {
    return this.#isClosed;
  }

  get isAwake(): boolean {
    return this.#isAwake;
  }

  /** We sent something, so an answer may come soon. */
  touch(): void {
    this.#isTouched = true;
    if (!this.#isAwake) this.#awaken();
  }

  /** The other end woke us. Runs a turn before it returns, so call it from a fresh callback. */
  rung(): void {
    if (this.#isClosed) return;
    if (!this.#isAwake) {
      this.window.wokenAfter((this.#services.nowMs() - this.#lastWorkMs) * 1000);
      this.#isRung = true;
      this.#awaken();
    }
    this.#services.runNow();
  }

  /** The link's `poll` found something at `nowMs`. */
  delivered(nowMs: number): void {
    this.#lastWorkMs = nowMs;
    // What the other end woke us for was not found by looking.
    if (this.#isRung) this.#isRung = false;
    else this.window.found();
  }

  /** Is never polled again. */
  close(): void {
    this.#isClosed = true;
  }

  isWithinWindow(nowMs: number): boolean {
    if (this.#isTouched) {
      this.#isTouched = false;
      this.#lastWorkMs = nowMs;
    }
    return (nowMs - this.#lastWorkMs) * 1000 < this.window.us;
  }

  /** @returns false if something came meanwhile */
  fallAsleep(): boolean {
    if (!this.source.sleep()) return false;
    this.#isAwake = false;
    return true;
  }

  #awaken(): void {
    if (this.#isClosed) return;
    this.#isAwake = true;
    this.source.wakeUp();
    this.#services.awaken();
  }
}

class NodeLoop implements PollerLoop {
  #work: () => void = () => {};
  // Made once: this runs for every batch. There is one thing to run soon, the poller's turn.
  readonly #tick = (): void => process.nextTick(this.#work);

  nowMs(): number {
    return performance.now();
  }

  soon(work: () => void): void {
    this.#work = work;
    // A tick that a microtask asks for runs when all microtasks are done, those of resolved promises included.
    queueMicrotask(this.#tick);
  }

  nextTurn(work: () => void): void {
    setImmediate(work);
  }
}

let poller: Poller | undefined;

/** The poller that links of this thread share unless they are given one. */
export function threadPoller(): Poller {
  poller ??= new Poller();
  return poller;
}
