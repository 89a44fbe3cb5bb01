/** One packet through a ring on one thread: what the ring itself costs, with nobody to wait for. */
import { ALLOCATION_METHOD, countAllocation } from '../harness/allocation.ts';
import { type Contest, DEFAULT_MEASURE, measure, type Way } from '../harness/measure.ts';
import { type Row, timingRow } from '../harness/report.ts';
import type { Suite } from '../harness/suite.ts';
import {
  copying,
  copyingAligned,
  inPlace,
  naive,
  naivePageList,
  pageList,
  sinkValue,
  zeroCopyRead,
} from '../ring/ring-ways.ts';

const PAYLOAD_BYTES = [16, 64, 256, 1024, 4096];
const BATCHES = [1, 32];
/** Packets that are counted for allocation; the naive way shows its figure sooner. */
const ALLOCATION_PACKETS = 1_000_000;
const NAIVE_ALLOCATION_PACKETS = 50_000;
/** Above this, storing word by word is the caller's cost and not the ring's. */
const MAX_IN_PLACE_BYTES = 256;
/** Where copying through views begins to pay; see `RingReaderOptions`. */
const VIEW_COPY_BYTES = 384;

export const ringSuite: Suite = {
  name: 'ring',
  title: 'staging plus reading one packet on one thread, and bytes allocated by it',
  run(context) {
    const rows: Row[] = [];
    const contests = [...PAYLOAD_BYTES.flatMap(payloadContests), ...BATCHES.map(pageListContest)];
    const wanted = contests.filter(({ name }) => context.wants(name));
    if (wanted.length === 0) return rows;
    // Code that has seen one ring only is up to a quarter faster than code in use: show it several of each kind first.
    for (const { ways } of contests) for (const way of ways()) way.run(320);
    for (const { name, ways } of wanted) {
      context.progress(name);
      rows.push(...runContest({ name, ways: ways() }));
    }
    const { rounds, roundMs } = DEFAULT_MEASURE;
    context.note(`ring of 256 KiB; medians and p99 over ${rounds} rounds of about ${roundMs} ms`);
    context.note(`"x first": how many times faster than the naive way, median of the rounds; checksum ${sinkValue()}`);
    context.note(`bytes allocated over ${ALLOCATION_PACKETS} packets: ${ALLOCATION_METHOD}`);
    return rows;
  },
};

/** A contest whose rings are made when it runs. */
interface LateContest {
  readonly name: string;
  ways(): Way[];
}

function payloadContests(payloadBytes: number): LateContest[] {
  return BATCHES.map((batch) => ({
    name: `${payloadBytes} B, ${batchName(batch)}`,
    ways: () => [
      naive(payloadBytes, batch),
      copying(payloadBytes, batch, 'SAB'),
      ...(payloadBytes > VIEW_COPY_BYTES
        ? [copying(payloadBytes, batch, 'SAB', { viewCopyBytes: VIEW_COPY_BYTES })]
        : []),
      copyingAligned(payloadBytes, batch, 'SAB'),
      copying(payloadBytes, batch, 'AB'),
      copying(payloadBytes, batch, 'scattered SAB'),
      zeroCopyRead(payloadBytes, batch, 'SAB'),
      ...(payloadBytes <= MAX_IN_PLACE_BYTES ? [inPlace(payloadBytes, batch, 'SAB')] : []),
    ],
  }));
}

function pageListContest(batch: number): LateContest {
  return {
    name: `256 PFNs, ${batchName(batch)}`,
    ways: () => [naivePageList(256, batch), pageList(256, batch, 'SAB')],
  };
}

function batchName(batch: number): string {
  return batch === 1 ? 'one by one' : `batch ${batch}`;
}

function runContest(contest: Contest): Row[] {
  return measure(contest).map((timing, index) => {
    const packets = index === 0 ? NAIVE_ALLOCATION_PACKETS : ALLOCATION_PACKETS;
    return timingRow('ring', 'ns/packet', timing, countAllocation(contest.ways[index] as Way, packets));
  });
}
