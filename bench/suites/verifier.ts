/** What the verifier costs a round trip through KMCL, on and off, beside an empty tap. */
import { type EchoOptions, type EchoPair, echoPair } from '../channel/echo-pair.ts';
import { ALLOCATION_METHOD, countAllocation } from '../harness/allocation.ts';
import { DEFAULT_MEASURE, measure, QUICK_MEASURE, type Way } from '../harness/measure.ts';
import { type Row, timingRow } from '../harness/report.ts';
import type { Suite } from '../harness/suite.ts';

const WAYS = [
  { name: 'verifier off', hasVerifier: false, hasTap: false },
  { name: 'verifier off, empty tap', hasVerifier: false, hasTap: true },
  { name: 'verifier on', hasVerifier: true, hasTap: false },
];
const CONTESTS = [
  { name: '64 B there, 16 B back', withPages: false, depth: 1 },
  { name: '64 B there, 16 B back, 16 in flight', withPages: false, depth: 16 },
  { name: '64 B and 8 pages there, 16 in flight', withPages: true, depth: 16 },
];
const ALLOCATION_ROUND_TRIPS = 100_000;
const QUICK_ALLOCATION_ROUND_TRIPS = 2_048;

export const verifierSuite: Suite = {
  name: 'verifier',
  title: 'a round trip through KMCL, both ends on one thread, with and without the verifier',
  async run(context) {
    const rows: Row[] = [];
    const { isQuick } = context;
    for (const { name, ...kind } of CONTESTS.filter((contest) => context.wants(contest.name))) {
      context.progress(name);
      const ways: Way[] = [];
      for (const way of WAYS) ways.push(wayOf(way.name, await echoPair({ ...way, ...kind } satisfies EchoOptions)));
      measure({ name, ways }, isQuick ? QUICK_MEASURE : DEFAULT_MEASURE).forEach((timing, index) => {
        const roundTrips = isQuick ? QUICK_ALLOCATION_ROUND_TRIPS : ALLOCATION_ROUND_TRIPS;
        rows.push(timingRow('verifier', 'ns/trip', timing, countAllocation(ways[index] as Way, roundTrips)));
      });
    }
    context.note(`bytes allocated over ${ALLOCATION_ROUND_TRIPS} round trips: ${ALLOCATION_METHOD}`);
    context.note('off, each step of a packet asks one field that is null; on, it captures a stack for each call');
    return rows;
  },
};

function wayOf(name: string, pair: EchoPair): Way {
  return {
    name,
    run: (operations) => {
      pair.run(operations);
      // A driver without faults has no findings; otherwise something else was measured.
      if (pair.verifier !== null && pair.verifier.findings.length > 0) throw new Error('the verifier found something');
    },
  };
}
