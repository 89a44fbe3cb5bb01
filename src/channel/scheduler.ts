/**
 * When things run, and what time it is: the event loop in a process, a seeded queue in a simulation, a step list in a
 * test.
 */
export interface Scheduler {
  /** Monotonic milliseconds; only differences mean anything. */
  now(): number;
  /** Run soon at DISPATCH level, after the current callback returned, in the order asked. */
  dispatch(work: () => void): void;
  /** Run later at PASSIVE level, after what was dispatched before, in the order asked. */
  passive(work: () => void): void;
  /** Run once at PASSIVE level after `delayMs` milliseconds. */
  timer(delayMs: number, work: () => void): Timer;
  /** Milliseconds since 1970-01-01 UTC, for those who have a calendar. */
  wallClockMs?(): number;
}

export interface Timer {
  /** No effect once it ran. */
  cancel(): void;
}
