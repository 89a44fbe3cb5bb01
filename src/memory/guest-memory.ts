/**
 * Guest physical memory as one end of the bus sees it: regions of whole pages at page frame numbers.
 *
 * Every access goes through the bounds here. A page or byte outside is an `AddressError`, whatever garbage the number
 * was (negative, fractional, NaN, beyond 2^53), so that a page frame number from a peer may be handed in unchecked.
 */
import { AddressError, hex, SystemError, UsageError } from '../errors.ts';
import { PAGE_BYTES } from './page.ts';

/** Pages that lie one behind the other, both in guest physical memory and in a buffer of ours. */
export interface MemoryRegion {
  /** Page frame number of the first page. */
  readonly firstPfn: number;
  /**
   * The pages themselves: a whole number of them, at an offset in its buffer that is a multiple of 8. The buffer is an
   * ArrayBuffer, a SharedArrayBuffer or an ArrayBuffer over mapped memory, never a resizable one.
   */
  readonly bytes: Uint8Array;
}

export interface AllocateMemoryOptions {
  /** Page frame number of the first page; 0 unless given. */
  readonly firstPfn?: number;
  /** Put the pages into a SharedArrayBuffer, for ends that live in different threads. */
  readonly shared?: boolean;
}

/** Highest page frame number plus one: below it a byte address is exact as a number (2^53 / 4096). */
export const MAX_PFN_END = 2 ** 41;

export class GuestMemory {
  /** As given, lowest page first. */
  readonly regions: readonly MemoryRegion[];
  /** Pages in all regions. */
  readonly pageCount: number;
  /** Runs of pages that are adjacent in one buffer: neighbouring regions of one buffer are one run. */
  readonly #runs: readonly PageRun[];
  /** The run that answered last; page lists stay in one run nearly always. */
  #recent: PageRun;

  /**
   * @param regions in any order; they may leave holes but not overlap
   * @throws UsageError `ERR_ARGUMENT` for a region that is empty, overlaps, is not whole pages or not 8-aligned
   */
  constructor(regions: readonly MemoryRegion[]) {
    for (const region of regions) checkRegion(region);
    const sorted = [...regions].sort((a, b) => a.firstPfn - b.firstPfn);
    const runs = joinRegions(sorted);
    const first = runs[0];
    if (first === undefined) throw new UsageError('ERR_ARGUMENT', 'guest memory needs at least one region');
    this.regions = sorted;
    this.pageCount = runs.reduce((sum, run) => sum + (run.endPfn - run.firstPfn), 0);
    this.#runs = runs;
    this.#recent = first;
  }

  /**
   * Fresh zeroed memory of one region.
   * @param pageCount pages, 1 or more
   * @throws UsageError `ERR_ARGUMENT` for a count or first page that makes no sense
   * @throws SystemError `ERR_OUT_OF_MEMORY` if this process cannot have that much
   */
  static allocate(pageCount: number, options: AllocateMemoryOptions = {}): GuestMemory {
    if (!Number.isInteger(pageCount) || pageCount < 1 || pageCount > MAX_PFN_END) {
      throw new UsageError('ERR_ARGUMENT', `page count ${pageCount} is not a whole number of 1 or more`);
    }
    const lengthBytes = pageCount * PAGE_BYTES;
    try {
      const buffer = options.shared === true ? new SharedArrayBuffer(lengthBytes) : new ArrayBuffer(lengthBytes);
      return new GuestMemory([{ firstPfn: options.firstPfn ?? 0, bytes: new Uint8Array(buffer) }]);
    } catch (cause) {
      if (!(cause instanceof RangeError)) throw cause;
      throw new SystemError('ERR_OUT_OF_MEMORY', `${pageCount} pages of guest memory are more than there is`, {
        cause,
      });
    }
  }

  hasPage(pfn: number): boolean {
    return this.#find(pfn) !== undefined;
  }

  /** True if every page of `pfn .. pfn + pageCount - 1` is there, in whatever buffers; an empty run is not. */
  hasRun(pfn: number, pageCount: number): boolean {
    if (!Number.isInteger(pageCount) || pageCount < 1) return false;
    let left = pageCount;
    for (let at = pfn; left > 0; ) {
      const run = this.#find(at);
      if (run === undefined) return false;
      const pages = Math.min(left, run.endPfn - at);
      at += pages;
      left -= pages;
    }
    return true;
  }

  /**
   * A view of guest physical bytes. It aliases the memory: what the peer may write changes under the reader.
   * @param gpa byte address of the first byte
   * @param byteCount bytes, 0 or more; for 0 the address itself must still be inside
   * @throws AddressError if a byte is outside, or the bytes are not adjacent in one buffer
   */
  bytes(gpa: number, byteCount: number): Uint8Array {
    const run = this.#find(Math.floor(gpa / PAGE_BYTES));
    if (run === undefined || !Number.isSafeInteger(gpa) || !Number.isSafeInteger(byteCount) || byteCount < 0) {
      throw outside(`bytes ${hex(gpa)} + ${hex(byteCount)}`);
    }
    const at = gpa - run.firstPfn * PAGE_BYTES;
    if (byteCount > run.bytes.length - at) throw outside(`bytes ${hex(gpa)} + ${hex(byteCount)}`);
    return run.bytes.subarray(at, at + byteCount);
  }

  /**
   * How many pages from `pfn` on lie one behind the other in one buffer.
   * @param maxPages look no further than this; at least 1
   * @returns 0 if the page itself is outside
   */
  runAt(pfn: number, maxPages: number): number {
    const run = this.#find(pfn);
    return run === undefined ? 0 : Math.min(maxPages, run.endPfn - pfn);
  }

  /** A view of one page. @throws AddressError if it is outside */
  page(pfn: number): Uint8Array {
    const run = this.#find(pfn);
    if (run === undefined) throw outside(`page ${hex(pfn)}`);
    const at = (pfn - run.firstPfn) * PAGE_BYTES;
    return run.bytes.subarray(at, at + PAGE_BYTES);
  }

  inspect(): { pageCount: number; regions: { firstPfn: number; pageCount: number; shared: boolean }[] } {
    return {
      pageCount: this.pageCount,
      regions: this.regions.map(({ firstPfn, bytes }) => ({
        firstPfn,
        pageCount: bytes.length / PAGE_BYTES,
        shared: bytes.buffer instanceof SharedArrayBuffer,
      })),
    };
  }

  #find(pfn: number): PageRun | undefined {
    if (!Number.isInteger(pfn)) return undefined;
    const recent = this.#recent;
    if (pfn >= recent.firstPfn && pfn < recent.endPfn) return recent;
    const found = findRun(this.#runs, pfn);
    if (found !== undefined) this.#recent = found;
    return found;
  }
}

interface PageRun {
  readonly firstPfn: number;
  readonly endPfn: number;
  readonly bytes: Uint8Array;
}

function findRun(runs: readonly PageRun[], pfn: number): PageRun | undefined {
  let low = 0;
  let high = runs.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    const run = runs[middle] as PageRun;
    if (pfn < run.firstPfn) high = middle;
    else if (pfn >= run.endPfn) low = middle + 1;
    else return run;
  }
  return undefined;
}

function outside(what: string): AddressError {
  return new AddressError(`${what} is outside guest memory`);
}

function checkRegion({ firstPfn, bytes }: MemoryRegion): void {
  const pages = bytes.length / PAGE_BYTES;
  if (!Number.isInteger(firstPfn) || firstPfn < 0 || !Number.isInteger(pages) || pages < 1) {
    throw new UsageError('ERR_ARGUMENT', `a region of ${bytes.length} bytes at page ${firstPfn} is not whole pages`);
  }
  if (pages > MAX_PFN_END - firstPfn) {
    throw new UsageError('ERR_ARGUMENT', `a region at page ${hex(firstPfn)} ends above page ${hex(MAX_PFN_END)}`);
  }
  if (bytes.byteOffset % 8 !== 0) {
    // Rings are read as 4- and 8-byte words where they lie.
    throw new UsageError(
      'ERR_ARGUMENT',
      `a region starts ${bytes.byteOffset} bytes into its buffer, not a multiple of 8`,
    );
  }
  if (isResizable(bytes.buffer)) {
    // A view over it could shrink after we checked a bound.
    throw new UsageError('ERR_ARGUMENT', 'a region lies in a resizable buffer');
  }
}

function isResizable(buffer: ArrayBufferLike): boolean {
  return ('resizable' in buffer && buffer.resizable === true) || ('growable' in buffer && buffer.growable === true);
}

/** @param sorted lowest first */
function joinRegions(sorted: readonly MemoryRegion[]): PageRun[] {
  const runs: PageRun[] = [];
  for (const { firstPfn, bytes } of sorted) {
    const endPfn = firstPfn + bytes.length / PAGE_BYTES;
    const before = runs.at(-1);
    if (before !== undefined && firstPfn < before.endPfn) {
      throw new UsageError('ERR_ARGUMENT', `two regions hold page ${hex(firstPfn)}`);
    }
    if (before !== undefined && firstPfn === before.endPfn && isBehind(before.bytes, bytes)) {
      const joined = new Uint8Array(bytes.buffer, before.bytes.byteOffset, before.bytes.length + bytes.length);
      runs[runs.length - 1] = { firstPfn: before.firstPfn, endPfn, bytes: joined };
    } else {
      runs.push({ firstPfn, endPfn, bytes });
    }
  }
  return runs;
}

function isBehind(before: Uint8Array, bytes: Uint8Array): boolean {
  return before.buffer === bytes.buffer && before.byteOffset + before.length === bytes.byteOffset;
}
