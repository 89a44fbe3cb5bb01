/** `vmbus attach PATH bench`: a disk's speed as a guest sees it, said in fio's words. */
import { Command, Option } from 'commander';
import type { ScsiDisk } from '../devices/scsi/index.ts';
import { type AttachedDisk, diskOption, withDisk } from './attach-guest.ts';
import type { DiskPlace } from './disk-spec.ts';
import { allocateSlots, type TransferSlot } from './disk-transfer.ts';
import { CommandError, ExitCode } from './exit.ts';
import { interruptible } from './interruption.ts';
import { formatBytes, formatCount, parseSize, parseTime, wholeNumber } from './quantity.ts';

const PATTERNS = ['read', 'randread', 'write', 'randwrite'] as const;
type Pattern = (typeof PATTERNS)[number];

interface BenchOptions {
  readonly rw: Pattern;
  readonly bs: number;
  readonly depth: number;
  readonly time: number;
  readonly disk: DiskPlace;
  readonly seed: number;
  readonly json: boolean;
}

export interface BenchReport {
  readonly requests: number;
  readonly bytes: number;
  readonly elapsedMs: number;
  readonly iops: number;
  readonly bytesPerSecond: number;
  /** Microseconds from submission to completion. */
  readonly latencyUs: {
    readonly min: number;
    readonly mean: number;
    readonly max: number;
    readonly percentiles: Record<string, number>;
  };
}

const PERCENTILES = [1, 5, 10, 25, 50, 75, 90, 95, 99, 99.9, 99.99];
/** Latencies kept; a longer run keeps each with equal chance (reservoir). */
const MAX_SAMPLES = 1 << 20;

export function benchCommand(): Command {
  return new Command('bench')
    .description('measure the disk: IOPS, bandwidth, latency; write patterns overwrite it')
    .argument('<path>', "the host's socket")
    .addOption(new Option('--rw <pattern>', 'what to do').choices(PATTERNS).default('randread'))
    .option('--bs <size>', 'bytes of one request, as 4k', (text) => parseSize(text.toUpperCase()), 4096)
    .option('--depth <count>', 'requests under way at once', wholeNumber(1, 1024), 32)
    .option('--time <time>', 'how long, as 5s', parseTime, 5000)
    .option('--seed <number>', 'of the random places', wholeNumber(0, 0xffff_ffff), 1)
    .addOption(diskOption())
    .option('--json', 'print one JSON object', false)
    .addHelpText('before', 'Example: vmbus attach PATH bench --rw randread --bs 4k --depth 32 --time 5s\n')
    .action(bench);
}

async function bench(path: string, options: BenchOptions): Promise<void> {
  const pagesPerTransfer = Math.ceil(options.bs / 4096);
  if (pagesPerTransfer > 256) {
    throw new CommandError(ExitCode.WrongUsage, `--bs ${options.bs} is more than one transfer holds: 1M at most`);
  }
  const report = await withDisk(
    path,
    { disk: options.disk, outstanding: options.depth, pagesPerTransfer },
    (attached) => interruptible((signal) => measure(attached, options, signal)),
  );
  process.stdout.write(
    options.json
      ? `${JSON.stringify({ schema: 'vmbus.bench/1', rw: options.rw, blockBytes: options.bs, depth: options.depth, ...report }, undefined, 2)}\n`
      : print(report, options),
  );
}

/** @param stop ends it early; the report is of what was done until then */
async function measure({ vmbus, disk }: AttachedDisk, options: BenchOptions, stop: AbortSignal): Promise<BenchReport> {
  if (options.bs % disk.blockBytes !== 0) {
    throw new CommandError(
      ExitCode.WrongUsage,
      `--bs ${options.bs} is no multiple of the disk's ${disk.blockBytes} bytes`,
    );
  }
  const isWrite = options.rw.endsWith('write');
  if (isWrite && disk.readOnly) throw new CommandError(ExitCode.Failed, 'the disk is read-only');
  const pick = placesOf(disk, options);
  const samples = new Samples(options.seed);
  const blockCount = options.bs / disk.blockBytes;
  const slots = allocateSlots(vmbus.pages, {
    outstanding: options.depth,
    pagesPerTransfer: Math.ceil(options.bs / 4096),
  });
  const started = performance.now();
  const until = started + options.time;

  const worker = async (slot: TransferSlot): Promise<void> => {
    for (let begun = performance.now(); begun < until && !stop.aborted; ) {
      await (isWrite ? disk.write(pick(), blockCount, slot.pfns) : disk.read(pick(), blockCount, slot.pfns));
      const ended = performance.now();
      samples.add((ended - begun) * 1000);
      begun = ended;
    }
  };
  await Promise.all(slots.map(worker));
  if (isWrite) await disk.flush();

  const elapsedMs = performance.now() - started;
  const requests = samples.count;
  const bytes = requests * options.bs;
  return {
    requests,
    bytes,
    elapsedMs,
    iops: requests / (elapsedMs / 1000),
    bytesPerSecond: bytes / (elapsedMs / 1000),
    latencyUs: samples.summary(),
  };
}

/** The next first block: in order and round again, or anywhere from a seed. */
function placesOf(disk: ScsiDisk, { rw, bs, seed }: BenchOptions): () => number {
  const blocksPerRequest = bs / disk.blockBytes;
  const places = Math.floor(disk.blockCount / blocksPerRequest);
  if (places < 1)
    throw new CommandError(ExitCode.Failed, `the disk has ${disk.sizeBytes} bytes, less than one request`);
  if (!rw.startsWith('rand')) {
    let next = 0;
    return () => (next++ % places) * blocksPerRequest;
  }
  const random = randomFrom(seed);
  return () => Math.floor(random() * places) * blocksPerRequest;
}

/** Latencies: all of a short run, a fair choice of a long one. */
class Samples {
  readonly #kept: number[] = [];
  readonly #random: () => number;
  #sum = 0;
  #min = Number.POSITIVE_INFINITY;
  #max = 0;
  count = 0;

  constructor(seed: number) {
    this.#random = randomFrom(seed + 1);
  }

  add(us: number): void {
    this.count++;
    this.#sum += us;
    if (us < this.#min) this.#min = us;
    if (us > this.#max) this.#max = us;
    if (this.#kept.length < MAX_SAMPLES) this.#kept.push(us);
    else {
      const at = Math.floor(this.#random() * this.count);
      if (at < MAX_SAMPLES) this.#kept[at] = us;
    }
  }

  summary(): BenchReport['latencyUs'] {
    const sorted = Float64Array.from(this.#kept).sort();
    const at = (percent: number): number =>
      sorted[Math.min(sorted.length - 1, Math.floor((sorted.length * percent) / 100))] ?? 0;
    return {
      min: round(this.#min),
      mean: round(this.#sum / this.count),
      max: round(this.#max),
      percentiles: Object.fromEntries(PERCENTILES.map((percent) => [String(percent), round(at(percent))])),
    };
  }
}

/** Numbers in 0..1 that a seed decides (xorshift32). */
function randomFrom(seed: number): () => number {
  let state = Math.imul(seed + 1, 0x9e37_79b1) >>> 0 || 1;
  return () => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return (state >>> 0) / 2 ** 32;
  };
}

function print(report: BenchReport, { rw, bs, depth }: BenchOptions): string {
  const { latencyUs } = report;
  const pairs = Object.entries(latencyUs.percentiles).map(([percent, us]) => `${percent}th=[${us}]`);
  const lines: string[] = [];
  for (let at = 0; at < pairs.length; at += 4) lines.push(`     | ${pairs.slice(at, at + 4).join(', ')}`);
  return [
    `${rw}: bs=${bs}B, iodepth=${depth}`,
    `  ${rw.replace('rand', '')}: IOPS=${formatCount(Math.round(report.iops))}, BW=${formatBytes(report.bytesPerSecond)}/s ` +
      `(${(report.bytesPerSecond / 1e6).toFixed(1)}MB/s)(${formatBytes(report.bytes)}/${Math.round(report.elapsedMs)}msec); ${formatCount(report.requests)} requests`,
    `    lat (usec): min=${latencyUs.min}, max=${latencyUs.max}, avg=${latencyUs.mean}`,
    '    lat percentiles (usec):',
    ...lines,
    '',
  ].join('\n');
}

function round(value: number): number {
  return Math.round(value * 10) / 10;
}
