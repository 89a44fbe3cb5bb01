/**
 * Times small pieces of code against each other.
 *
 * Pieces that belong together run in turns, round by round, so that whatever the machine does meanwhile hits all of
 * them; ratios are taken inside a round. A round is long enough for the clock (a millisecond or so) and short enough
 * that a hundred of them are over soon.
 */

/** One way of doing something. */
export interface Way {
  readonly name: string;
  /** A peer that the others are compared with under this name, such as `C`. */
  readonly reference?: string;
  /** Does it `operations` times. Whatever it computes must be used, or the compiler leaves it out. */
  run(operations: number): void;
}

/** Ways that do the same work; the first is what the others are compared with. */
export interface Contest {
  readonly name: string;
  readonly ways: readonly Way[];
}

export interface Timing {
  readonly contest: string;
  readonly way: string;
  /** Nanoseconds per operation: the median and the 99th percentile of the rounds' means, and the best round. */
  readonly medianNs: number;
  readonly p99Ns: number;
  readonly minNs: number;
  /** Median over the rounds of the first way's time divided by this one's: how many times faster this is. */
  readonly speedup: number;
  /** Median over the rounds of this way's time divided by a reference's, by the name of the reference. */
  readonly timesOf: Readonly<Record<string, number>>;
  readonly operationsPerRound: number;
  readonly rounds: number;
}

export interface MeasureOptions {
  readonly rounds: number;
  readonly warmUpOperations: number;
  /** How long a round of one way should take. */
  readonly roundMs: number;
}

export const DEFAULT_MEASURE: MeasureOptions = { rounds: 60, warmUpOperations: 10_000, roundMs: 1 };
/** To see that a benchmark runs; its figures mean little. */
export const QUICK_MEASURE: MeasureOptions = { rounds: 7, warmUpOperations: 2_000, roundMs: 0.2 };

export function measure(contest: Contest, options: MeasureOptions = DEFAULT_MEASURE): Timing[] {
  const { rounds, warmUpOperations, roundMs } = options;
  for (const way of contest.ways) way.run(warmUpOperations);
  const operations = contest.ways.map((way) => operationsFor(way, roundMs));
  const times = contest.ways.map(() => new Float64Array(rounds));
  for (let round = 0; round < rounds; round++) {
    contest.ways.forEach((way, index) => {
      const count = operations[index] as number;
      const begin = process.hrtime.bigint();
      way.run(count);
      (times[index] as Float64Array)[round] = Number(process.hrtime.bigint() - begin) / count;
    });
  }
  return contest.ways.map((_, index) =>
    summarise(contest.name, contest.ways, times, index, operations[index] as number),
  );
}

/** Something that takes turns with an other thread or process: it times itself. */
export interface TimedWay {
  readonly name: string;
  readonly reference?: string;
  /** Does a round. @returns nanoseconds per operation */
  round(): Promise<number> | number;
  readonly operationsPerRound: number;
}

/** As `measure`, for ways that time themselves. */
export async function measureTimed(
  contest: { readonly name: string; readonly ways: readonly TimedWay[] },
  rounds: number,
  warmUpRounds: number,
): Promise<Timing[]> {
  const times = contest.ways.map(() => new Float64Array(rounds));
  for (let round = -warmUpRounds; round < rounds; round++) {
    for (const [index, way] of contest.ways.entries()) {
      const time = await way.round();
      if (round >= 0) (times[index] as Float64Array)[round] = time;
    }
  }
  return contest.ways.map((way, index) => summarise(contest.name, contest.ways, times, index, way.operationsPerRound));
}

function summarise(
  contest: string,
  ways: readonly { readonly name: string; readonly reference?: string }[],
  times: readonly Float64Array[],
  index: number,
  operationsPerRound: number,
): Timing {
  const own = times[index] as Float64Array;
  const timesOf: Record<string, number> = {};
  ways.forEach(({ reference }, of) => {
    if (reference !== undefined && of !== index) timesOf[reference] = medianRatio(own, times[of] as Float64Array);
  });
  return {
    contest,
    way: (ways[index] as { readonly name: string }).name,
    medianNs: quantile(own, 0.5),
    p99Ns: quantile(own, 0.99),
    minNs: quantile(own, 0),
    speedup: medianRatio(times[0] as Float64Array, own),
    timesOf,
    operationsPerRound,
    rounds: own.length,
  };
}

/** A multiple of 32 operations (whole batches) that takes about `roundMs`. */
function operationsFor(way: Way, roundMs: number): number {
  let operations = 320;
  for (;;) {
    const begin = process.hrtime.bigint();
    way.run(operations);
    const tookMs = Number(process.hrtime.bigint() - begin) / 1e6;
    if (tookMs >= roundMs / 2) return Math.max(32, Math.round((operations * roundMs) / tookMs / 32) * 32);
    operations *= 2;
  }
}

/** Median over the rounds of `over / under`, round by round: what hit a round hit both. */
export function medianRatio(over: Float64Array, under: Float64Array): number {
  return quantile(
    over.map((value, round) => value / (under[round] as number)),
    0.5,
  );
}

/** @param share 0 for the least, 0.5 for the median, 1 for the most */
export function quantile(values: Float64Array, share: number): number {
  const sorted = values.slice().sort();
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] as number;
}
