/**
 * Cuts the power in the middle of random work, many times, and checks what every store promises: after the cut it opens
 * cleanly, and each block reads as it was at the last completed flush or as some later write left it, nothing else.
 */
import fc from 'fast-check';
import type { DiscardingBackend } from '../../src/devices/scsi/block-backend.ts';
import { seededRandom } from '../../src/images/faults/random.ts';
import { type DiskCommand, pattern, readAll, scattered } from './disk-model.ts';
import type { JournalFile, SparseBytes } from './journal-file.ts';

/** What a block may hold. */
interface Content {
  readonly bytes: Uint8Array;
  /** Changes that the file had seen when the write (or discard) began. */
  readonly begunAt: number;
  isEnded: boolean;
  /** Changes that the file had seen when a flush (or its own FUA) had made it safe. */
  safeAt: number;
}

export interface CutRun {
  readonly file: JournalFile;
  readonly disk: DiscardingBackend;
}

/** Where to cut (0..1 of all moments that there are), and how much of what no sync covers survives. */
export interface Cut {
  readonly where: number;
  /** Just before a sync is done, when most is at stake; else anywhere. */
  readonly beforeSync: boolean;
  readonly keep: number;
  /** Whole changes survive or not; else each of their sectors by itself. */
  readonly wholeChanges: boolean;
  readonly seed: number;
}

export const someCuts: fc.Arbitrary<Cut[]> = fc.array(
  fc.record({
    where: fc.double({ min: 0, max: 1, noNaN: true, maxExcluded: true }),
    beforeSync: fc.boolean(),
    keep: fc.constantFrom(0, 0.1, 0.5, 0.9, 1),
    wholeChanges: fc.boolean(),
    seed: fc.integer({ min: 1, max: 0x7fff_ffff }),
  }),
  { minLength: 16, maxLength: 16 },
);

/**
 * Runs commands, several at a time where they do not touch the same blocks, then cuts at each place.
 * @param start a fresh disk on a recording file
 * @param reopen opens what a cut left
 * @returns what is wrong, in words; undefined if nothing is
 */
export async function cutAnywhere(
  commands: readonly DiskCommand[],
  cuts: readonly Cut[],
  start: () => Promise<CutRun>,
  reopen: (left: SparseBytes) => Promise<DiscardingBackend>,
): Promise<string | undefined> {
  const run = await start();
  const histories = await record(run, commands);
  for (const cut of cuts) {
    const moments = cut.beforeSync ? run.file.moments : [];
    const where = moments[Math.floor(cut.where * moments.length)] ?? Math.floor(cut.where * (run.file.changeCount + 1));
    const random = seededRandom(cut.seed);
    const left = run.file.cut(
      where,
      (change) => (cut.wholeChanges ? seededRandom(cut.seed + change * 7919)() : random()) < cut.keep,
    );
    const name = `cut after change ${where} of ${run.file.changeCount}`;
    let after: DiscardingBackend;
    try {
      after = await reopen(left);
    } catch (error) {
      return `${name}: does not open: ${String(error)}`;
    }
    const wrong = firstWrong(await readAll(after), run.disk.blockBytes, histories, where);
    if (wrong !== undefined) return `${name}: ${wrong}`;
    await after.close();
  }
  return undefined;
}

/** Every content of every block, oldest first. */
async function record({ file, disk }: CutRun, commands: readonly DiskCommand[]): Promise<Content[][]> {
  const { blockBytes } = disk;
  const initial = await readAll(disk);
  const histories: Content[][] = Array.from({ length: disk.sizeBytes / blockBytes }, (_, block) => [
    { bytes: initial.slice(block * blockBytes, (block + 1) * blockBytes), begunAt: 0, isEnded: true, safeAt: 0 },
  ]);
  const all: Content[] = [];
  const flush = async (): Promise<void> => {
    const covered = all.filter((content) => content.isEnded && content.safeAt === Number.POSITIVE_INFINITY);
    await disk.flush();
    for (const content of covered) content.safeAt = file.changeCount;
  };
  const change = async (block: number, bytes: Uint8Array, fua: boolean, work: () => Promise<void>): Promise<void> => {
    const contents: Content[] = [];
    for (let at = 0; at < bytes.length; at += blockBytes) {
      const content = {
        bytes: bytes.slice(at, at + blockBytes),
        begunAt: file.changeCount,
        isEnded: false,
        safeAt: Number.POSITIVE_INFINITY,
      };
      histories[block + at / blockBytes]?.push(content);
      contents.push(content);
    }
    await work();
    for (const content of contents) {
      content.isEnded = true;
      if (fua) content.safeAt = file.changeCount;
      all.push(content);
    }
  };
  let together: { promise: Promise<void>; first: number; last: number }[] = [];
  for (const command of commands) {
    if (command.do === 'flush') {
      together.push({ promise: flush(), first: 0, last: -1 });
    } else if (command.do === 'write' || command.do === 'discard') {
      const { block, blocks } = command;
      const meets = together.some(({ first, last }) => first < block + blocks && block <= last);
      if (meets || together.length >= 4) {
        await Promise.all(together.map(({ promise }) => promise));
        together = [];
      }
      const at = block * blockBytes;
      const byteCount = blocks * blockBytes;
      const isWrite = command.do === 'write';
      const bytes = isWrite ? pattern(command.fill, at, byteCount) : new Uint8Array(byteCount);
      const fua = isWrite && command.fua;
      const work = () => (isWrite ? disk.write(at, scattered(bytes), fua) : disk.discard(at, byteCount));
      together.push({ promise: change(block, bytes, fua, work), first: block, last: block + blocks - 1 });
    }
  }
  await Promise.all(together.map(({ promise }) => promise));
  return histories;
}

function firstWrong(
  bytes: Uint8Array,
  blockBytes: number,
  histories: readonly (readonly Content[])[],
  where: number,
): string | undefined {
  for (const [block, contents] of histories.entries()) {
    const held = bytes.subarray(block * blockBytes, (block + 1) * blockBytes);
    const oldest = contents.findLastIndex(({ safeAt }) => safeAt <= where);
    const allowed = contents.slice(oldest).filter(({ begunAt }) => begunAt <= where);
    if (!allowed.some((content) => Buffer.compare(content.bytes, held) === 0)) {
      const start = Buffer.from(held.subarray(0, 8)).toString('hex');
      return `block ${block} holds ${start}…, which none of ${allowed.length} writes left there`;
    }
  }
  return undefined;
}

/**
 * Every file that a cut may leave if each change that no sync covers survives whole or not at all: all places, and for
 * each all subsets of what is at stake there (of the newest ten, should there be more).
 */
export function* everyCut(file: JournalFile): Generator<{
  readonly name: string;
  readonly where: number;
  readonly left: SparseBytes;
}> {
  for (let where = 0; where <= file.changeCount; where++) {
    const atStake: number[] = [];
    file.cut(where, (change) => {
      if (!atStake.includes(change)) atStake.push(change);
      return true;
    });
    const newest = atStake.slice(-10);
    for (let subset = 0; subset < 2 ** newest.length; subset++) {
      const isKept = (change: number): boolean => {
        const bit = newest.indexOf(change);
        return bit < 0 || (subset & (1 << bit)) !== 0;
      };
      yield { where, name: `after change ${where}, subset ${subset.toString(2)}`, left: file.cut(where, isKept) };
    }
  }
}
