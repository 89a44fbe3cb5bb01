/** Hands out pages of guest memory to the guest's own side: rings, buffers, the pages a transfer goes to. */
import { hex, SystemError, UsageError } from '../errors.ts';
import { STATUS_INSUFFICIENT_RESOURCES } from '../wire/ntstatus.ts';
import type { GuestMemory } from './guest-memory.ts';
import { PAGE_BYTES } from './page.ts';

export interface PageAllocatorOptions {
  /** Pages that are never handed out because somebody else has them already. */
  readonly reserved?: readonly number[];
}

export class PageAllocator {
  readonly memory: GuestMemory;
  readonly #pools: readonly Pool[];
  #freePages: number;

  constructor(memory: GuestMemory, options: PageAllocatorOptions = {}) {
    this.memory = memory;
    this.#pools = memory.regions.map(({ firstPfn, bytes }) => ({
      firstPfn,
      isTaken: new Uint8Array(bytes.length / PAGE_BYTES),
      searchFrom: 0,
    }));
    this.#freePages = memory.pageCount;
    for (const pfn of options.reserved ?? []) this.#take(pfn);
  }

  get freePages(): number {
    return this.#freePages;
  }

  /**
   * Pages one behind the other. Their bytes are as they were last left.
   * @param pageCount 1 or more
   * @throws SystemError `ERR_OUT_OF_MEMORY` if no region has such a run free
   */
  allocate(pageCount: number): number[] {
    checkCount(pageCount);
    for (const pool of this.#pools) {
      // From where the last search ended, then once from the start: the usual allocation looks at its own pages only.
      const at = findFreeRun(pool, pool.searchFrom, pageCount) ?? findFreeRun(pool, 0, pageCount);
      if (at === undefined) continue;
      pool.isTaken.fill(1, at, at + pageCount);
      pool.searchFrom = at + pageCount;
      this.#freePages -= pageCount;
      return Array.from({ length: pageCount }, (_, index) => pool.firstPfn + at + index);
    }
    throw outOfMemory(`no run of ${pageCount} pages is free (${this.#freePages} single ones are)`);
  }

  /**
   * Pages of which none lies directly behind the one listed before it, as a guest with fragmented memory has them:
   * from the top down.
   * @param pageCount 1 or more
   * @throws SystemError `ERR_OUT_OF_MEMORY` if fewer are free
   */
  allocateScattered(pageCount: number): number[] {
    checkCount(pageCount);
    if (pageCount > this.#freePages) throw outOfMemory(`${pageCount} pages asked for, ${this.#freePages} are free`);
    const pfns: number[] = [];
    for (const pool of [...this.#pools].reverse()) {
      for (let at = pool.isTaken.lastIndexOf(0); at >= 0 && pfns.length < pageCount; ) {
        pool.isTaken[at] = 1;
        pfns.push(pool.firstPfn + at);
        at = at === 0 ? -1 : pool.isTaken.lastIndexOf(0, at - 1);
      }
    }
    this.#freePages -= pageCount;
    return pfns;
  }

  /**
   * Takes pages back, in any order and grouping.
   * @throws UsageError `ERR_ARGUMENT` if one is not handed out (freed twice, or never ours); then none is freed
   */
  free(pfns: ArrayLike<number>): void {
    const seen = new Set<number>();
    for (let index = 0; index < pfns.length; index++) {
      const pfn = pfns[index] as number;
      const pool = this.#poolOf(pfn);
      if (pool === undefined)
        throw new UsageError('ERR_ARGUMENT', `page ${hex(pfn)} does not belong to this allocator`);
      if (pool.isTaken[pfn - pool.firstPfn] === 0 || seen.has(pfn)) {
        throw new UsageError('ERR_ARGUMENT', `page ${hex(pfn)} is freed twice`);
      }
      seen.add(pfn);
    }
    for (const pfn of seen) {
      const pool = this.#poolOf(pfn) as Pool;
      pool.isTaken[pfn - pool.firstPfn] = 0;
    }
    this.#freePages += seen.size;
  }

  #take(pfn: number): void {
    const pool = this.#poolOf(pfn);
    if (pool === undefined) throw new UsageError('ERR_ARGUMENT', `reserved page ${hex(pfn)} is outside guest memory`);
    if (pool.isTaken[pfn - pool.firstPfn] === 0) this.#freePages--;
    pool.isTaken[pfn - pool.firstPfn] = 1;
  }

  #poolOf(pfn: number): Pool | undefined {
    if (!Number.isInteger(pfn)) return undefined;
    return this.#pools.find((pool) => pfn >= pool.firstPfn && pfn - pool.firstPfn < pool.isTaken.length);
  }
}

/** The pages of one region. */
interface Pool {
  readonly firstPfn: number;
  /** 1 for each page that is handed out or reserved. */
  readonly isTaken: Uint8Array;
  searchFrom: number;
}

function findFreeRun(pool: Pool, from: number, pageCount: number): number | undefined {
  const { isTaken } = pool;
  for (let start = isTaken.indexOf(0, from); start >= 0 && isTaken.length - start >= pageCount; ) {
    const taken = isTaken.indexOf(1, start);
    const end = taken < 0 ? isTaken.length : taken;
    if (end - start >= pageCount) return start;
    start = isTaken.indexOf(0, end);
  }
  return undefined;
}

function checkCount(pageCount: number): void {
  if (!Number.isInteger(pageCount) || pageCount < 1) {
    throw new UsageError('ERR_ARGUMENT', `page count ${pageCount} is not a whole number of 1 or more`);
  }
}

function outOfMemory(message: string): SystemError {
  return new SystemError('ERR_OUT_OF_MEMORY', message, { status: STATUS_INSUFFICIENT_RESOURCES });
}
