/** Many blocks in order, with many transfers under way: what `dd` does, by page frame numbers. */
import type { ScsiDisk } from '../devices/scsi/index.ts';
import { PAGE_BYTES, type PageAllocator, ScatterView } from '../memory/index.ts';

export interface TransferPlan {
  /** Pages of one transfer. */
  readonly pagesPerTransfer: number;
  /** Most transfers under way at once. */
  readonly outstanding: number;
}

/** The pages of one transfer, used again for each. */
export class TransferSlot {
  readonly pfns: readonly number[];
  readonly view: ScatterView;

  constructor(pages: PageAllocator, pageCount: number) {
    this.pfns = pages.allocate(pageCount);
    this.view = new ScatterView(pages.memory, this.pfns, 0, pageCount * PAGE_BYTES);
  }
}

/** One slot for each transfer that may be under way; the pages stay the caller's to free. */
export function allocateSlots(pages: PageAllocator, plan: TransferPlan): TransferSlot[] {
  return Array.from({ length: plan.outstanding }, () => new TransferSlot(pages, plan.pagesPerTransfer));
}

/** Blocks of a disk. */
export interface BlockRange {
  readonly lba: number;
  readonly blockCount: number;
}

export function wholeDisk(disk: ScsiDisk): BlockRange {
  return { lba: 0, blockCount: disk.blockCount };
}

/** What is done with one transfer's bytes; the view is good until it returns, or its promise settles. */
export type OnBytes = (bytes: ScatterView, offsetBytes: number) => void | Promise<void>;

/**
 * Reads every block of a range once.
 * @param onBytes gets the transfers in the order of their place on the disk
 * @param signal begin no further transfer, and reject once those under way have ended
 */
export async function readBlocks(
  disk: ScsiDisk,
  slots: readonly TransferSlot[],
  range: BlockRange,
  onBytes: OnBytes,
  signal?: AbortSignal,
): Promise<void> {
  const transfer: Transfer = {
    start: (slot, lba, blockCount) => disk.read(lba, blockCount, slot.pfns),
    finish: (slot, offsetBytes, byteCount) => onBytes(slot.view.slice(0, byteCount), offsetBytes),
  };
  await eachTransfer(disk, slots, range, transfer, signal);
}

/** Writes every block of a range once; otherwise as `readBlocks`. @param fill puts a transfer's bytes into its pages */
export async function writeBlocks(
  disk: ScsiDisk,
  slots: readonly TransferSlot[],
  range: BlockRange,
  fill: OnBytes,
  signal?: AbortSignal,
): Promise<void> {
  // One chain, so that a source that is read bit by bit is read in order.
  let filled: Promise<void> = Promise.resolve();
  const transfer: Transfer = {
    start: (slot, lba, blockCount) => {
      filled = filled.then(() => fill(slot.view.slice(0, blockCount * disk.blockBytes), lba * disk.blockBytes));
      return filled.then(() => disk.write(lba, blockCount, slot.pfns));
    },
    finish: () => {},
  };
  await eachTransfer(disk, slots, range, transfer, signal);
}

interface Transfer {
  start(slot: TransferSlot, lba: number, blockCount: number): Promise<void>;
  finish(slot: TransferSlot, offsetBytes: number, byteCount: number): void | Promise<void>;
}

async function eachTransfer(
  disk: ScsiDisk,
  slots: readonly TransferSlot[],
  range: BlockRange,
  transfer: Transfer,
  signal: AbortSignal | undefined,
): Promise<void> {
  const slotBytes = (slots[0] as TransferSlot).pfns.length * PAGE_BYTES;
  const blocksPerTransfer = Math.floor(Math.min(slotBytes, disk.maxTransferBytes) / disk.blockBytes);
  const transferCount = Math.ceil(range.blockCount / blocksPerTransfer);
  const lbaOf = (index: number): number => range.lba + index * blocksPerTransfer;
  const blocksOf = (index: number): number => Math.min(blocksPerTransfer, range.blockCount - index * blocksPerTransfer);
  const slotOf = (index: number): TransferSlot => slots[index % slots.length] as TransferSlot;

  const underWay: Promise<void>[] = [];
  const begin = (index: number): void => {
    const started = transfer.start(slotOf(index), lbaOf(index), blocksOf(index));
    // It may fail long before its turn to be waited for: that is no unhandled rejection.
    started.catch(() => {});
    underWay.push(started);
  };

  try {
    for (let index = 0; index < Math.min(slots.length, transferCount); index++) begin(index);
    for (let index = 0; index < transferCount; index++) {
      await underWay.shift();
      const finished = transfer.finish(
        slotOf(index),
        lbaOf(index) * disk.blockBytes,
        blocksOf(index) * disk.blockBytes,
      );
      if (finished !== undefined) await finished;
      signal?.throwIfAborted();
      if (index + slots.length < transferCount) begin(index + slots.length);
    }
  } finally {
    // After a failure the pages are the host's until every other transfer has ended, too.
    await Promise.allSettled(underWay);
  }
}
