/** A whole disk, front to back, with many transfers under way: what `dd` does, by page frame numbers. */
import type { ScsiDisk } from '../../devices/scsi/index.ts';
import { PAGE_BYTES } from '../../memory/page.ts';
import type { PageAllocator } from '../../memory/page-allocator.ts';
import { ScatterView } from '../../memory/scatter-view.ts';

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

/**
 * Reads every block once, in order.
 * @param onChunk gets each transfer's bytes in order of their place on the disk; the view is good until it returns
 */
export async function readDisk(
  disk: ScsiDisk,
  slots: readonly TransferSlot[],
  onChunk: (bytes: ScatterView, offsetBytes: number) => void,
): Promise<void> {
  await eachTransfer(disk, slots, {
    start: (slot, lba, blockCount) => disk.read(lba, blockCount, slot.pfns),
    finish: (slot, offsetBytes, byteCount) => onChunk(slot.view.slice(0, byteCount), offsetBytes),
  });
}

/**
 * Writes every block once, in order.
 * @param fill puts the bytes of one transfer into its pages
 */
export async function writeDisk(
  disk: ScsiDisk,
  slots: readonly TransferSlot[],
  fill: (bytes: ScatterView, offsetBytes: number) => void,
): Promise<void> {
  await eachTransfer(disk, slots, {
    start: (slot, lba, blockCount) => {
      fill(slot.view.slice(0, blockCount * disk.blockBytes), lba * disk.blockBytes);
      return disk.write(lba, blockCount, slot.pfns);
    },
    finish: () => {},
  });
}

interface Transfer {
  start(slot: TransferSlot, lba: number, blockCount: number): Promise<void>;
  finish(slot: TransferSlot, offsetBytes: number, byteCount: number): void;
}

async function eachTransfer(disk: ScsiDisk, slots: readonly TransferSlot[], transfer: Transfer): Promise<void> {
  const slotBytes = (slots[0] as TransferSlot).pfns.length * PAGE_BYTES;
  const blocksPerTransfer = Math.floor(Math.min(slotBytes, disk.maxTransferBytes) / disk.blockBytes);
  const transferCount = Math.ceil(disk.blockCount / blocksPerTransfer);
  const blocksOf = (index: number): number => Math.min(blocksPerTransfer, disk.blockCount - index * blocksPerTransfer);
  const slotOf = (index: number): TransferSlot => slots[index % slots.length] as TransferSlot;

  const underWay: Promise<void>[] = [];
  const begin = (index: number): void => {
    const started = transfer.start(slotOf(index), index * blocksPerTransfer, blocksOf(index));
    // It may fail long before its turn to be waited for: that is no unhandled rejection.
    started.catch(() => {});
    underWay.push(started);
  };

  try {
    for (let index = 0; index < Math.min(slots.length, transferCount); index++) begin(index);
    for (let index = 0; index < transferCount; index++) {
      await underWay.shift();
      transfer.finish(slotOf(index), index * blocksPerTransfer * disk.blockBytes, blocksOf(index) * disk.blockBytes);
      if (index + slots.length < transferCount) begin(index + slots.length);
    }
  } finally {
    // After a failure the pages are the host's until every other transfer has ended, too.
    await Promise.allSettled(underWay);
  }
}
