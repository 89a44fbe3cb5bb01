/** A whole disk by page frame numbers over the loopback, beside plain `fs` reads of the same file into the same pages. */
import { read as fsRead } from 'node:fs';
import { open } from 'node:fs/promises';
import { allocateSlots, readBlocks, type TransferSlot, wholeDisk } from '../../src/cli/disk-transfer.ts';
import { overBus } from '../../src/cli/demo/run-demo.ts';
import { openDiskFile } from '../../src/cli/images.ts';
import { quantile } from '../harness/measure.ts';
import type { Row } from '../harness/report.ts';
import type { Suite } from '../harness/suite.ts';

const FILE = process.execPath;
const ROUNDS = 41;
/** The compiler takes some thousand packets to settle; a round of the largest chunks is about a hundred. */
const WARM_UP_ROUNDS = 40;
/** Transfers under way at once, for both ways. */
const OUTSTANDING = 32;
/** Pages of one transfer. */
const PAGES = [256, 16, 1];

export const diskSuite: Suite = {
  name: 'disk',
  title: 'a whole disk read by page frame numbers, beside plain fs reads of the same file in the same chunks',
  async run(context) {
    const rows: Row[] = [];
    for (const pagesPerTransfer of PAGES) {
      const contest = `${pagesPerTransfer * 4} KiB chunks, ${OUTSTANDING} outstanding`;
      if (!context.wants(contest)) continue;
      context.progress(contest);
      rows.push(...(await runContest(contest, pagesPerTransfer)));
    }
    if (rows.length > 0) {
      context.note(`${FILE} from the page cache; medians over ${ROUNDS} rounds, the two ways in turns`);
      context.note('"x first": share of the plain reads\' speed, median of the rounds; p99 is the slowest round');
    }
    return rows;
  },
};

async function runContest(contest: string, pagesPerTransfer: number): Promise<Row[]> {
  const backend = await openDiskFile(FILE, { readOnly: true });
  const handle = await open(FILE, 'r');
  try {
    const plan = { outstanding: OUTSTANDING, pagesPerTransfer };
    return await overBus({ ...plan, transport: 'loopback' }, { path: FILE, readOnly: true }, async ({ vmbus, disk }) => {
      const slots = allocateSlots(vmbus.pages, plan);
      const plain = new Float64Array(ROUNDS);
      const bus = new Float64Array(ROUNDS);
      for (let round = -WARM_UP_ROUNDS; round < ROUNDS; round++) {
        // Who goes first alternates, so that neither always finds the caches as the other left them.
        const ways = [
          async () => {
            plain[round] = await megabytesPerSecond(backend.fileBytes, () =>
              readPlain(handle.fd, backend.fileBytes, slots),
            );
          },
          async () => {
            bus[round] = await megabytesPerSecond(backend.fileBytes, () => readBlocks(disk, slots, wholeDisk(disk), () => {}));
          },
        ];
        for (const way of round % 2 === 0 ? ways : ways.reverse()) await way();
      }
      return [row(contest, 'plain fs.read', plain, plain), row(contest, 'VMBus by PFN', bus, plain)];
    });
  } finally {
    await handle.close();
  }
}

function row(contest: string, way: string, speeds: Float64Array, first: Float64Array): Row {
  return {
    suite: diskSuite.name,
    contest,
    way,
    unit: 'MB/s',
    median: Math.round(quantile(speeds, 0.5)),
    p99: Math.round(quantile(speeds, 0.01)),
    best: Math.round(quantile(speeds, 1)),
    ratio:
      Math.round(
        1000 *
          quantile(
            speeds.map((speed, round) => speed / (first[round] as number)),
            0.5,
          ),
      ) / 1000,
    details: { rounds: ROUNDS },
  };
}

async function megabytesPerSecond(bytes: number, job: () => Promise<void>): Promise<number> {
  const started = performance.now();
  await job();
  return bytes / 1e3 / (performance.now() - started);
}

/** The floor: callbacks only, nothing checked, the same pages and as many reads under way. */
function readPlain(fd: number, fileBytes: number, slots: readonly TransferSlot[]): Promise<void> {
  const chunkBytes = (slots[0] as TransferSlot).view.byteLength;
  const chunks = Math.ceil(fileBytes / chunkBytes);
  let begun = 0;
  let done = 0;
  return new Promise((resolve, reject) => {
    const next = (pages: Uint8Array): void => {
      if (begun === chunks) return;
      const offsetBytes = begun++ * chunkBytes;
      fsRead(fd, pages, 0, Math.min(chunkBytes, fileBytes - offsetBytes), offsetBytes, (error) => {
        if (error !== null) reject(error);
        else if (++done === chunks) resolve();
        else next(pages);
      });
    };
    for (const { view } of slots) next(view.contiguous as Uint8Array);
  });
}
