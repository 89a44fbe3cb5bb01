/**
 * Locks on ranges of numbered things (clusters, blocks): any number of shared holders, or one exclusive. Served in the
 * order of asking, so nobody starves and nobody deadlocks, whatever the ranges.
 */

interface Holder {
  readonly first: number;
  readonly last: number;
  readonly isExclusive: boolean;
  readonly ended: Promise<void>;
}

export class RangeLocks {
  readonly #holders = new Set<Holder>();

  /**
   * Waits until no earlier caller holds, or waits for, an overlapping range that conflicts.
   * @param first number of the first thing
   * @param last number of the last, `first` or more
   * @returns a function that lets go; call it once
   */
  async acquire(first: number, last: number, isExclusive: boolean): Promise<() => void> {
    const before: Promise<void>[] = [];
    for (const other of this.#holders) {
      const overlaps = other.first <= last && first <= other.last;
      if (overlaps && (isExclusive || other.isExclusive)) before.push(other.ended);
    }
    let end = (): void => {};
    const ended = new Promise<void>((resolve) => {
      end = resolve;
    });
    const holder: Holder = { first, last, isExclusive, ended };
    this.#holders.add(holder);
    if (before.length > 0) await Promise.all(before);
    return () => {
      this.#holders.delete(holder);
      end();
    };
  }
}
