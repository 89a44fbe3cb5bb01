/** Bounce buffers: pages that the host may see, for guests whose other memory it may not. */
import type { GuestVmbus } from '../../channel/index.ts';
import { Mdl, PAGE_BYTES } from '../../memory/index.ts';

export class BounceBuffers {
  /** Bytes of all buffers together, and of the largest one. */
  readonly poolBytes: number;
  readonly largestBytes: number;
  #usedBytes = 0;
  readonly #mdls: { readonly vmbus: GuestVmbus; readonly mdl: Mdl }[] = [];

  constructor(poolBytes: number, largestBytes: number) {
    this.poolBytes = poolBytes;
    this.largestBytes = largestBytes;
  }

  /**
   * Zeroed whole pages: nothing of the guest's old contents may be seen by the host.
   * @returns `null` beyond the pool
   * @throws SystemError `ERR_OUT_OF_MEMORY` if the guest has no such run of pages
   */
  allocate(vmbus: GuestVmbus, byteCount: number): Mdl | null {
    const pageCount = Math.ceil(byteCount / PAGE_BYTES);
    if (pageCount * PAGE_BYTES > this.poolBytes - this.#usedBytes) return null;
    const pfns = vmbus.hostVisiblePages.allocate(pageCount);
    for (const pfn of pfns) vmbus.memory.page(pfn).fill(0);
    this.#usedBytes += pageCount * PAGE_BYTES;
    const mdl = Mdl.fromPfns(vmbus.memory, pfns, 0, byteCount);
    this.#mdls.push({ vmbus, mdl });
    return mdl;
  }

  /** Gives all of them back. */
  release(): void {
    for (const { vmbus, mdl } of this.#mdls.splice(0)) {
      mdl.invalidate('the channel of this bounce buffer was cleaned up');
      vmbus.hostVisiblePages.free([...mdl.pfns]);
    }
    this.#usedBytes = 0;
  }
}
