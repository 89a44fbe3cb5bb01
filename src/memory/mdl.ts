/**
 * A memory descriptor list: some bytes of some guest pages, and perhaps a next one behind it.
 *
 * Source: WDK `wdm.h`, `MDL`; Microsoft, "Using MDLs". Differs from Windows: the pages are named in guest memory, and
 * an MDL that its owner took back says so when it is touched.
 */
import { AddressError, hex, UsageError } from '../errors.ts';
import type { GpaRange } from '../wire/gpa-range.ts';
import type { GuestMemory } from './guest-memory.ts';
import { PAGE_BYTES, spanPages } from './page.ts';
import { ScatterView } from './scatter-view.ts';

export class Mdl {
  readonly memory: GuestMemory;
  /** First byte in the first page, 0..4095. */
  readonly byteOffset: number;
  readonly byteCount: number;
  /** Exactly the pages that hold the bytes. */
  readonly pfns: readonly number[];
  next: Mdl | null = null;
  /** Called before a touch after the end is refused: for a verifier, which knows who ended it. */
  touchedLate: (() => void) | null = null;
  #view: ScatterView | undefined;
  #chainView: ScatterView | undefined;
  #endedBy: string | undefined;

  private constructor(memory: GuestMemory, pfns: readonly number[], byteOffset: number, byteCount: number) {
    this.memory = memory;
    this.pfns = pfns;
    this.byteOffset = byteOffset;
    this.byteCount = byteCount;
  }

  /**
   * Describes bytes of pages; the list is copied, pages behind the last byte are left out. Whether the pages are in
   * guest memory is found out by `view()`: whoever sends an MDL need not have it mapped.
   * @param byteOffset first byte in the first page, 0..4095
   * @param byteCount bytes; to the end of the last page unless given
   * @throws UsageError `ERR_ARGUMENT` if offset, count and number of pages do not agree
   */
  static fromPfns(
    memory: GuestMemory,
    pfns: ArrayLike<number>,
    byteOffset = 0,
    byteCount = pfns.length * PAGE_BYTES - byteOffset,
  ): Mdl {
    if (!Number.isInteger(byteOffset) || byteOffset < 0 || byteOffset >= PAGE_BYTES) {
      throw new UsageError('ERR_ARGUMENT', `MDL byte offset ${byteOffset} is outside 0..${PAGE_BYTES - 1}`);
    }
    if (!Number.isSafeInteger(byteCount) || byteCount < 0) {
      throw new UsageError('ERR_ARGUMENT', `MDL byte count ${byteCount} is not a whole number of 0 or more`);
    }
    const pageCount = byteCount === 0 ? 0 : spanPages(byteOffset, byteCount);
    if (pageCount > pfns.length) {
      throw new UsageError(
        'ERR_ARGUMENT',
        `${byteCount} bytes at ${byteOffset} need ${pageCount} pages, not ${pfns.length}`,
      );
    }
    // A plain loop: this runs for each packet with external data, and `Array.from` costs ten times as much.
    const copy: number[] = [];
    for (let index = 0; index < pageCount; index++) copy.push(pfns[index] as number);
    return new Mdl(memory, copy, byteOffset, byteCount);
  }

  /** Links the MDLs in order and returns the first. @throws UsageError `ERR_ARGUMENT` for none, or one that is linked */
  static chain(...mdls: readonly Mdl[]): Mdl {
    const [first] = mdls;
    if (first === undefined) throw new UsageError('ERR_ARGUMENT', 'a chain needs at least one MDL');
    if (new Set(mdls).size !== mdls.length || mdls.some((mdl) => mdl.next !== null)) {
      throw new UsageError('ERR_ARGUMENT', 'an MDL is already part of a chain');
    }
    mdls.forEach((mdl, index) => {
      mdl.next = mdls[index + 1] ?? null;
    });
    return first;
  }

  /** Bytes of this MDL and all behind it. */
  static totalBytes(first: Mdl | null): number {
    let total = 0;
    for (let mdl = first; mdl !== null; mdl = mdl.next) total += mdl.byteCount;
    return total;
  }

  get isValid(): boolean {
    return this.#endedBy === undefined;
  }

  /**
   * The bytes of this MDL alone, mapped once and kept.
   * @throws UsageError `ERR_STATE` after `invalidate`
   * @throws AddressError if a page is outside guest memory
   */
  view(): ScatterView {
    if (this.#endedBy !== undefined) {
      this.touchedLate?.();
      throw new UsageError('ERR_STATE', `the MDL is gone: ${this.#endedBy}`);
    }
    this.#view ??= new ScatterView(this.memory, this.pfns, this.byteOffset, this.byteCount);
    return this.#view;
  }

  /** The bytes of this MDL and all behind it; throws as `view` does. */
  chainView(): ScatterView {
    if (this.next === null) return this.view();
    const segments: Uint8Array[] = [];
    for (let mdl: Mdl | null = this; mdl !== null; mdl = mdl.next) segments.push(...mdl.view().segments);
    this.#chainView = ScatterView.over(segments);
    return this.#chainView;
  }

  /**
   * The owner takes the memory back: this MDL, all behind it and their views can no longer be touched.
   * @param reason shown to whoever touches them, such as `packet 7 was completed`
   */
  invalidate(reason: string): void {
    for (let mdl: Mdl | null = this; mdl !== null; mdl = mdl.next) {
      mdl.#endedBy ??= reason;
      mdl.#view?.invalidate(reason, mdl.touchedLate);
      mdl.#chainView?.invalidate(reason, mdl.touchedLate);
    }
  }
}

/**
 * The GPA ranges of a window of bytes over a chain, one for each MDL that has a byte in it.
 * @param first first MDL of the chain
 * @param offset of the window's first byte, counted over the whole chain
 * @param length bytes of the window
 * @throws AddressError if the window is not inside the chain
 */
export function sliceMdl(first: Mdl, offset: number, length: number): GpaRange[] {
  const total = Mdl.totalBytes(first);
  const isInside = Number.isSafeInteger(offset) && Number.isSafeInteger(length) && offset >= 0 && length >= 0;
  if (!isInside || length > total - offset) {
    throw new AddressError(`bytes ${hex(offset)} + ${hex(length)} are outside an MDL chain of ${hex(total)} bytes`);
  }
  const ranges: GpaRange[] = [];
  let skip = offset;
  let left = length;
  for (let mdl: Mdl | null = first; mdl !== null && left > 0; mdl = mdl.next) {
    const byteCount = Math.min(mdl.byteCount - skip, left);
    if (byteCount > 0) {
      const start = mdl.byteOffset + skip;
      const byteOffset = start % PAGE_BYTES;
      const firstPage = (start - byteOffset) / PAGE_BYTES;
      const pfns = mdl.pfns.slice(firstPage, firstPage + spanPages(byteOffset, byteCount));
      ranges.push({ byteCount, byteOffset, pfns });
      left -= byteCount;
    }
    skip = Math.max(skip - mdl.byteCount, 0);
  }
  return ranges;
}
