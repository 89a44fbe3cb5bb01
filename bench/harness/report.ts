/** One row of a report, whatever suite it comes from, and how a table of them looks. */
import type { Allocation } from './allocation.ts';
import type { Machine } from './machine.ts';
import type { Timing } from './measure.ts';

export interface Row {
  readonly suite: string;
  /** What is measured, such as `64 B, batch 32`; rows of one contest are compared with its first. */
  readonly contest: string;
  readonly way: string;
  /** What `median`, `p99` and `best` count, such as `ns/packet` or `MB/s`. */
  readonly unit: string;
  readonly median: number;
  readonly p99?: number;
  readonly best?: number;
  /** How many times better than the first row of the contest, both taken in the same rounds. */
  readonly ratio?: number;
  /** How many times the reading of a reference this is, by its name (`C`), both taken in the same rounds. */
  readonly timesOf?: Readonly<Record<string, number>>;
  /** Bytes allocated per operation, heap and buffers together. */
  readonly allocatedBytes?: number;
  /** Anything else worth keeping; goes into the JSON only. */
  readonly details?: Readonly<Record<string, number | string>>;
}

/** Version 1 of the JSON that `--json` writes. */
export interface Report {
  readonly version: 1;
  readonly machine: Machine;
  /** How the figures came about, one sentence each. */
  readonly notes: readonly string[];
  readonly rows: readonly Row[];
}

export function timingRow(suite: string, unit: string, timing: Timing, allocation?: Allocation): Row {
  return {
    suite,
    contest: timing.contest,
    way: timing.way,
    unit,
    median: round(timing.medianNs),
    p99: round(timing.p99Ns),
    best: round(timing.minNs),
    ratio: round(timing.speedup),
    ...(Object.keys(timing.timesOf).length === 0
      ? {}
      : { timesOf: Object.fromEntries(Object.entries(timing.timesOf).map(([name, value]) => [name, round(value)])) }),
    ...(allocation === undefined ? {} : { allocatedBytes: round(allocation.heapBytes + allocation.externalBytes) }),
    details: {
      operationsPerRound: timing.operationsPerRound,
      rounds: timing.rounds,
      ...(allocation === undefined
        ? {}
        : { allocationOperations: allocation.operations, allocationSkippedSlices: allocation.skippedSlices }),
    },
  };
}

const HEADINGS = [
  'suite',
  'contest',
  'way',
  'median',
  'p99',
  'best',
  'unit',
  'x first',
  'of C',
  'of C ideal',
  'bytes/op',
] as const;
const FIRST_NUMBER = 3;

/** Text columns to the left, numbers to the right; a blank line between contests. */
export function formatTable(rows: readonly Row[]): string {
  const lines = rows.map((row) => [
    row.suite,
    row.contest,
    row.way,
    format(row.median),
    format(row.p99),
    format(row.best),
    row.unit,
    format(row.ratio),
    format(row.timesOf?.['C']),
    format(row.timesOf?.['C ideal']),
    format(row.allocatedBytes),
  ]);
  const widths = HEADINGS.map((heading, column) =>
    Math.max(heading.length, ...lines.map((line) => line[column]?.length ?? 0)),
  );
  const formatLine = (cells: readonly string[]): string =>
    cells
      .map((cell, column) =>
        column < FIRST_NUMBER || column === 6 ? cell.padEnd(widths[column] ?? 0) : cell.padStart(widths[column] ?? 0),
      )
      .join('  ')
      .trimEnd();
  const out = [formatLine(HEADINGS)];
  rows.forEach((row, index) => {
    const before = rows[index - 1];
    if (before?.contest !== row.contest || before.suite !== row.suite) out.push('');
    out.push(formatLine(lines[index] as string[]));
  });
  return out.join('\n');
}

/** Three figures are more than any of this is exact to. */
function format(value: number | undefined): string {
  if (value === undefined) return '';
  if (value < 1) return value.toFixed(2);
  return value >= 100 || Number.isInteger(value) ? value.toFixed(0) : value.toPrecision(3);
}

export function round(value: number): number {
  return Math.round(value * 1000) / 1000;
}
