/** One packet through a ring on one thread: what the ring itself costs, with nobody to wait for. */
import { ALLOCATION_METHOD, countAllocation } from '../harness/allocation.ts';
import { type Contest, DEFAULT_MEASURE, measure, QUICK_MEASURE, type Way } from '../harness/measure.ts';
import { type Row, timingRow } from '../harness/report.ts';
import type { Suite, SuiteContext } from '../harness/suite.ts';
import { NATIVE_BUILD, type NativePeer, nativePeer } from '../native/native-peer.ts';
import {
  copying,
  copyingAligned,
  copyOut,
  DATA_BYTES,
  inPlace,
  naive,
  naivePageList,
  pageList,
  pageListInPlace,
  sinkValue,
  zeroCopyRead,
} from '../ring/ring-ways.ts';

const PAYLOAD_BYTES = [16, 64, 256, 1024, 4096];
const BATCHES = [1, 32];
/** Packets that are counted for allocation; the naive way shows its figure sooner. */
const ALLOCATION_PACKETS = 200_000;
const NAIVE_ALLOCATION_PACKETS = 10_000;
const QUICK_ALLOCATION_PACKETS = 2_048;
/** Above this, storing word by word is the caller's cost and not the ring's. */
const MAX_IN_PLACE_BYTES = 256;
/** Where copying through views begins to pay; see `RingReaderOptions`. */
const VIEW_COPY_BYTES = 384;

export const ringSuite: Suite = {
  name: 'ring',
  title: 'staging plus reading one packet on one thread, and bytes allocated by it',
  async run(context) {
    const rows: Row[] = [];
    const contests = [...PAYLOAD_BYTES.flatMap(payloadContests), ...BATCHES.map(pageListContest), COPY_CONTEST];
    const wanted = contests.filter(({ name }) => context.wants(name));
    if (wanted.length === 0) return rows;
    const native = await nativePeer(context.note);
    // Code that has seen one ring only is up to a quarter faster than code in use: show it several of each kind first.
    for (const { ways } of contests) for (const way of ways(undefined)) way.run(320);
    for (const { name, ways } of wanted) {
      context.progress(name);
      rows.push(...runContest({ name, ways: ways(native) }, context));
    }
    const { rounds, roundMs } = context.isQuick ? QUICK_MEASURE : DEFAULT_MEASURE;
    context.note(`ring of ${DATA_BYTES / 1024} KiB; medians and p99 over ${rounds} rounds of about ${roundMs} ms`);
    context.note(`"x first": how many times faster than the naive way, median of the rounds; checksum ${sinkValue()}`);
    if (native !== undefined) {
      context.note(`"of C": time as a multiple of the C ring's, median of the rounds; built with ${NATIVE_BUILD}`);
    }
    context.note(`bytes allocated over ${ALLOCATION_PACKETS} packets: ${ALLOCATION_METHOD}`);
    return rows;
  },
};

/** A contest whose rings are made when it runs. */
interface LateContest {
  readonly name: string;
  ways(native: NativePeer | undefined): Way[];
}

function payloadContests(payloadBytes: number): LateContest[] {
  return BATCHES.map((batch) => ({
    name: `${payloadBytes} B, ${batchName(batch)}`,
    ways: (native) => [
      naive(payloadBytes, batch),
      ...(native === undefined
        ? []
        : [native.plainWay(DATA_BYTES, payloadBytes, batch), native.idealWay(DATA_BYTES, payloadBytes, batch)]),
      copying(payloadBytes, batch, 'SAB'),
      ...(payloadBytes > VIEW_COPY_BYTES
        ? [copying(payloadBytes, batch, 'SAB', { viewCopyBytes: VIEW_COPY_BYTES })]
        : []),
      copyingAligned(payloadBytes, batch, 'SAB'),
      copying(payloadBytes, batch, 'AB'),
      copying(payloadBytes, batch, 'scattered SAB'),
      zeroCopyRead(payloadBytes, batch, 'SAB'),
      zeroCopyRead(payloadBytes, batch, 'AB'),
      ...(payloadBytes <= MAX_IN_PLACE_BYTES ? [inPlace(payloadBytes, batch, 'SAB')] : []),
    ],
  }));
}

function pageListContest(batch: number): LateContest {
  return {
    name: `256 PFNs, ${batchName(batch)}`,
    ways: () => [naivePageList(256, batch), pageList(256, batch, 'SAB'), pageListInPlace(256, batch, 'SAB')],
  };
}

const COPY_CONTEST: LateContest = {
  name: '1 MiB out of guest memory',
  ways: (native) => [
    copyOut(256, 'SAB', 'page by page'),
    copyOut(256, 'SAB', 'in one'),
    copyOut(256, 'AB', 'in one'),
    ...(native === undefined ? [] : [native.copyWay(2 ** 20)]),
  ],
};

function batchName(batch: number): string {
  return batch === 1 ? 'one by one' : `batch ${batch}`;
}

function runContest(contest: Contest, { isQuick }: SuiteContext): Row[] {
  const unit = contest.name === COPY_CONTEST.name ? 'ns/MiB' : 'ns/packet';
  return measure(contest, isQuick ? QUICK_MEASURE : DEFAULT_MEASURE).map((timing, index) => {
    const way = contest.ways[index] as Way;
    if (way.reference !== undefined || contest.name === COPY_CONTEST.name) return timingRow('ring', unit, timing);
    const packets = index === 0 ? NAIVE_ALLOCATION_PACKETS : ALLOCATION_PACKETS;
    return timingRow('ring', unit, timing, countAllocation(way, isQuick ? QUICK_ALLOCATION_PACKETS : packets));
  });
}
