/**
 * The interrupt request level of the running callback.
 *
 * In Windows a property of the processor; here a tag on what runs now. Work that a doorbell started runs at DISPATCH and
 * must neither wait nor return a promise; everything else is at PASSIVE. One thread runs one callback at a time, so one
 * variable holds it.
 */

/** Levels, with Windows' values. Source: WDK `wdm.h`, `PASSIVE_LEVEL` and `DISPATCH_LEVEL`. */
export const Irql = { Passive: 0, Dispatch: 2 } as const;
export type Irql = (typeof Irql)[keyof typeof Irql];

let current: Irql = Irql.Passive;

export function currentIrql(): Irql {
  return current;
}

/**
 * Sets the level; whoever calls it puts back what it returns, in a `finally`.
 * @returns the level before
 */
export function swapIrql(level: Irql): Irql {
  const before = current;
  current = level;
  return before;
}
