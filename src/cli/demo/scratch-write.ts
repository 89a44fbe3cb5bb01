/** Writing, on a copy: a pattern over the whole disk, flushed, read back and compared. */
import { constants, copyFile, mkdtemp, rm, stat, truncate } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { ScsiDisk } from '../../devices/scsi/index.ts';
import type { ScatterView } from '../../memory/index.ts';
import { readBlocks, type TransferSlot, wholeDisk, writeBlocks } from '../disk-transfer.ts';
import type { WriteReport } from './demo-report.ts';

const BLOCK_BYTES = 512;

/** A private copy of `file`, made whole blocks, that is gone when `job` has ended. */
export async function withScratchCopy<Result>(file: string, job: (path: string) => Promise<Result>): Promise<Result> {
  const folder = await mkdtemp(join(tmpdir(), 'vmbus-demo-'));
  try {
    const path = join(folder, 'scratch.img');
    await copyFile(file, path, constants.COPYFILE_FICLONE);
    const { size } = await stat(path);
    await truncate(path, Math.ceil(size / BLOCK_BYTES) * BLOCK_BYTES);
    return await job(path);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

/** Writes the pattern over every block and reads it back. */
export async function writePattern(disk: ScsiDisk, slots: readonly TransferSlot[]): Promise<WriteReport> {
  const started = performance.now();
  await writeBlocks(disk, slots, wholeDisk(disk), (bytes, offsetBytes) => {
    eachWord(bytes, offsetBytes, (words, at, value) => {
      words[at] = value;
      return true;
    });
  });
  await disk.flush();

  // What is still in the pages must not pass for what was read.
  for (const slot of slots) slot.view.fill(0);
  let matches = true;
  await readBlocks(disk, slots, wholeDisk(disk), (bytes, offsetBytes) => {
    matches &&= eachWord(bytes, offsetBytes, (words, at, value) => words[at] === value);
  });
  return { bytesWritten: disk.sizeBytes, matches, elapsedMs: performance.now() - started };
}

/**
 * Every 32-bit word of the bytes with the value that belongs there: its own number on the disk, mixed, so that a block
 * in the wrong place or a word out of turn shows. @returns false as soon as `visit` does
 */
function eachWord(
  bytes: ScatterView,
  offsetBytes: number,
  visit: (words: Uint32Array, at: number, value: number) => boolean,
): boolean {
  let number = offsetBytes / 4;
  for (const segment of bytes.segments) {
    const words = new Uint32Array(segment.buffer, segment.byteOffset, segment.length / 4);
    for (let at = 0; at < words.length; at++, number++) {
      if (!visit(words, at, Math.imul(number, 0x9e37_79b1) >>> 0)) return false;
    }
  }
  return true;
}
