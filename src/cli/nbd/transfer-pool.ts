/**
 * The guest pages through which an export's bytes go: a fixed number of transfers, small and large, and a queue for
 * those who come when all are taken. That bounds what any number of NBD requests may use of the guest's memory and of
 * the host, and costs no allocation per request.
 */
import { PAGE_BYTES, type PageAllocator } from '../../memory/index.ts';
import { TransferSlot } from '../disk-transfer.ts';

export interface TransferPoolOptions {
  readonly smallCount: number;
  readonly smallPages: number;
  readonly largeCount: number;
  readonly largePages: number;
}

export const DEFAULT_POOL: TransferPoolOptions = { smallCount: 64, smallPages: 16, largeCount: 16, largePages: 256 };

/** Pages that a pool takes from the guest's allocator. */
export function poolPages({ smallCount, smallPages, largeCount, largePages }: TransferPoolOptions): number {
  return smallCount * smallPages + largeCount * largePages;
}

export class TransferPool {
  /** Most bytes of one transfer. */
  readonly maxBytes: number;
  readonly #smallBytes: number;
  readonly #small: SlotClass;
  readonly #large: SlotClass;

  /** The pages stay the pool's for the life of the guest. */
  constructor(pages: PageAllocator, options: TransferPoolOptions = DEFAULT_POOL) {
    this.maxBytes = options.largePages * PAGE_BYTES;
    this.#smallBytes = options.smallPages * PAGE_BYTES;
    this.#small = new SlotClass(pages, options.smallCount, options.smallPages);
    this.#large = new SlotClass(pages, options.largeCount, options.largePages);
  }

  /** Runs `work` with the pages for a transfer, first come, first served. @param byteCount 0 to `maxBytes` */
  async run(byteCount: number, work: (slot: TransferSlot) => Promise<void>): Promise<void> {
    const slots = byteCount <= this.#smallBytes ? this.#small : this.#large;
    const slot = slots.take() ?? (await slots.wait());
    try {
      await work(slot);
    } finally {
      slots.giveBack(slot);
    }
  }
}

/** Transfers of one size. */
class SlotClass {
  readonly #free: TransferSlot[];
  readonly #waiting: ((slot: TransferSlot) => void)[] = [];

  constructor(pages: PageAllocator, count: number, pagesEach: number) {
    this.#free = Array.from({ length: count }, () => new TransferSlot(pages, pagesEach));
  }

  take(): TransferSlot | undefined {
    return this.#free.pop();
  }

  wait(): Promise<TransferSlot> {
    return new Promise((resolve) => this.#waiting.push(resolve));
  }

  giveBack(slot: TransferSlot): void {
    const next = this.#waiting.shift();
    if (next === undefined) this.#free.push(slot);
    else next(slot);
  }
}
