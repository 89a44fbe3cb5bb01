/** Round trips, one by one: each has its own time, so percentiles are of single trips. */
import { quantile } from './measure.ts';
import type { Row } from './report.ts';
import { round } from './report.ts';

/** Trips of one way, nanoseconds each, of several rounds. */
export interface Trips {
  readonly way: string;
  readonly reference?: string;
  readonly rounds: readonly Float64Array[];
}

/** Rows in microseconds. "x first" and "of C" compare the medians of rounds that ran next to each other. */
export function latencyRows(suite: string, contest: string, ways: readonly Trips[]): Row[] {
  const medians = ways.map(({ rounds }) => Float64Array.from(rounds, (times) => quantile(times, 0.5)));
  const ratio = (over: number, under: number): number => {
    const other = medians[under] as Float64Array;
    const ratios = (medians[over] as Float64Array).map((value, index) => value / (other[index] as number));
    return round(quantile(ratios, 0.5));
  };
  return ways.map(({ way, rounds }, index) => {
    const all = Float64Array.from(rounds.flatMap((times) => [...times]));
    const timesOf: Record<string, number> = {};
    ways.forEach(({ reference }, of) => {
      if (reference !== undefined && of !== index) timesOf[reference] = ratio(index, of);
    });
    return {
      suite,
      contest,
      way,
      unit: 'us/round trip',
      median: round(quantile(all, 0.5) / 1000),
      p99: round(quantile(all, 0.99) / 1000),
      best: round(quantile(all, 0) / 1000),
      ratio: ratio(0, index),
      ...(Object.keys(timesOf).length === 0 ? {} : { timesOf }),
      details: { trips: all.length, rounds: rounds.length },
    };
  });
}

/**
 * Times trips on an event loop, the next one begun when the last one's answer came, or after a pause.
 * @param send begins a trip; `answered` is to be called when its answer is there
 */
export function timeLoopTrips(
  count: number,
  pauseMs: number,
  send: (answered: () => void) => void,
): Promise<Float64Array> {
  const times = new Float64Array(count);
  return new Promise((resolve) => {
    let done = 0;
    let begin = 0n;
    const answered = (): void => {
      times[done++] = Number(process.hrtime.bigint() - begin);
      if (done === count) resolve(times);
      else if (pauseMs === 0) next();
      else setTimeout(next, pauseMs);
    };
    const next = (): void => {
      begin = process.hrtime.bigint();
      send(answered);
    };
    next();
  });
}
