/**
 * GPA ranges: runs of guest memory named by page frame numbers. The same format stands in GPA-direct packets and in
 * GPADL messages: u32 byte count, u32 byte offset into the first page, then one u64 PFN per page touched.
 *
 * Source: Linux `include/linux/hyperv.h`, `struct gpa_range`; checks as in OpenVMM `vmbus_ring` `gparange.rs`.
 */
import { hex, PeerError, UsageError } from '../errors.ts';
import { struct, u32 } from './struct.ts';

/** Source: Linux `include/linux/hyperv.h`, `struct gpa_range`. */
export const GpaRangeHeader = struct('GpaRangeHeader', 8, {
  byteCount: u32(0),
  byteOffset: u32(4), // into the first page, 0..4095
});

/** Only the first page may start late and only the last may end early; the pages between are whole. */
export interface GpaRange {
  /** Bytes, 1 or more. */
  readonly byteCount: number;
  /** First byte in the first page, 0..4095. */
  readonly byteOffset: number;
  /** Page frame numbers, one for each page that the range touches; each is below 2^52. */
  readonly pfns: ArrayLike<number>;
}

/** What a receiver lets a peer name at most; without limits the bytes present are the limit. */
export interface GpaRangeLimits {
  readonly maxRanges?: number;
  /** Pages over all ranges. */
  readonly maxPages?: number;
}

const PAGE_BYTES = 4096;
const WORD_SIZE = 2 ** 32;

/** Pages that a range touches; both arguments are checked (`byteOffset + byteCount + 4095` is below 2^32). */
function pagesTouched(byteOffset: number, byteCount: number): number {
  return (byteOffset + byteCount + PAGE_BYTES - 1) >>> 12;
}

/**
 * Walks the ranges of one packet or GPADL without allocating. It judges: after `next()` returned true the fields
 * describe a range that lies whole inside the words given.
 */
export class GpaRangeReader {
  byteCount = 0;
  byteOffset = 0;
  pfnCount = 0;

  #words: Int32Array = new Int32Array(0);
  #pfnsAt = 0;
  #nextAt = 0;
  #end = 0;
  #left = 0;

  /**
   * @param words a PRIVATE copy of what the peer sent: it is read again after it was checked
   * @param startBytes where the first range begins, a multiple of 4
   * @param endBytes where the range data ends, at most the length of `words`; ranges may end before
   * @param rangeCount ranges that the peer announced, any u32
   */
  start(words: Int32Array, startBytes: number, endBytes: number, rangeCount: number): void {
    if ((startBytes & 3) !== 0 || startBytes < 0 || startBytes > endBytes || endBytes > words.length * 4) {
      throw new UsageError('ERR_ARGUMENT', `ranges from ${startBytes} to ${endBytes} of ${words.length * 4} bytes`);
    }
    this.#words = words;
    this.#nextAt = startBytes >>> 2;
    this.#end = endBytes >>> 2;
    this.#left = rangeCount;
  }

  /**
   * Moves to the next range.
   * @returns false when all ranges announced were read; words behind the last one are ignored
   * @throws PeerError `ERR_GPA_RANGE`
   */
  next(): boolean {
    if (this.#left === 0) return false;
    const at = this.#nextAt;
    if (this.#end - at < 2) throw malformed(at, `${this.#left} more announced, but the data ends`);
    const byteCount = (this.#words[at] as number) >>> 0;
    const byteOffset = (this.#words[at + 1] as number) >>> 0;
    if (byteCount === 0) throw malformed(at, 'byte count 0');
    if (byteOffset >= PAGE_BYTES) throw malformed(at, `byte offset ${hex(byteOffset)} is not inside a page`);
    // A u32 is at most 2^32 - 1, so this difference is positive and the sum of pagesTouched stays below 2^32.
    if (byteCount > 0xffff_ffff - (PAGE_BYTES - 1) - byteOffset) throw malformed(at, `byte count ${hex(byteCount)}`);
    const pfnCount = pagesTouched(byteOffset, byteCount);
    const present = (this.#end - at - 2) >>> 1;
    if (pfnCount > present) throw malformed(at, `touches ${pfnCount} pages, ${present} page frame numbers are there`);
    this.byteCount = byteCount;
    this.byteOffset = byteOffset;
    this.pfnCount = pfnCount;
    this.#pfnsAt = at + 2;
    this.#nextAt = at + 2 + 2 * pfnCount;
    this.#left--;
    return true;
  }

  /**
   * Page frame number of the current range.
   *
   * Not judged: whether the page exists, guest memory knows. A peer's value of 2^53 or more comes out rounded, but
   * never smaller than 2^52, so it cannot turn into the number of a page that exists.
   * @param index 0..pfnCount - 1
   */
  pfn(index: number): number {
    const at = this.#pfnsAt + 2 * index;
    const low = this.#words[at] as number;
    const high = this.#words[at + 1] as number;
    // Small integers, which page frame numbers nearly always are, never become floats.
    return high === 0 && low >= 0 ? low : (low >>> 0) + (high >>> 0) * WORD_SIZE;
  }
}

function malformed(wordAt: number, what: string): PeerError {
  return new PeerError('ERR_GPA_RANGE', `GPA range at byte ${wordAt * 4}: ${what}`);
}

/**
 * All ranges in `bytes[start..end)`. The result shares no memory with `bytes`.
 * @param bytes a PRIVATE copy of what the peer sent
 * @param rangeCount ranges that the peer announced
 * @returns exactly `rangeCount` ranges; bytes behind the last one are ignored
 * @throws PeerError `ERR_GPA_RANGE`; before memory is taken for what is not there
 */
export function parseGpaRanges(
  bytes: Uint8Array,
  start: number,
  end: number,
  rangeCount: number,
  limits: GpaRangeLimits = {},
): GpaRange[] {
  const { maxRanges = Number.POSITIVE_INFINITY, maxPages = Number.POSITIVE_INFINITY } = limits;
  if (rangeCount > maxRanges) {
    throw new PeerError('ERR_GPA_RANGE', `${rangeCount} GPA ranges, at most ${maxRanges} are accepted`);
  }
  if (!(start >= 0 && start <= end && end <= bytes.length)) {
    throw new UsageError('ERR_ARGUMENT', `ranges from ${start} to ${end} of ${bytes.length} bytes`);
  }
  // Half a u64 at the end is no word; the copy is aligned, which a GPADL message (data at byte 20) is not.
  const wholeBytes = (end - start) & ~7;
  const copy = bytes.slice(start, start + wholeBytes);
  const reader = new GpaRangeReader();
  reader.start(new Int32Array(copy.buffer, copy.byteOffset, wholeBytes >>> 2), 0, wholeBytes, rangeCount);
  const ranges: GpaRange[] = [];
  let pagesLeft = maxPages;
  while (reader.next()) {
    if (reader.pfnCount > pagesLeft) {
      throw new PeerError('ERR_GPA_RANGE', `GPA ranges name more than the ${maxPages} pages that are accepted`);
    }
    pagesLeft -= reader.pfnCount;
    const pfns = Array.from({ length: reader.pfnCount }, (_, index) => reader.pfn(index));
    ranges.push({ byteCount: reader.byteCount, byteOffset: reader.byteOffset, pfns });
  }
  return ranges;
}

/** Bytes of a range on the wire: always a multiple of 8, so ranges follow each other without padding. */
export function gpaRangeBytes(pfnCount: number): number {
  return GpaRangeHeader.size + 8 * pfnCount;
}

/**
 * Refuses a range that we must not send.
 * @throws UsageError `ERR_ARGUMENT` for byte count 0, an offset outside the page, or the wrong number of PFNs
 */
export function checkGpaRange(range: GpaRange): void {
  const { byteCount, byteOffset, pfns } = range;
  const isOffset = Number.isInteger(byteOffset) && byteOffset >= 0 && byteOffset < PAGE_BYTES;
  const isCount = Number.isInteger(byteCount) && byteCount > 0 && byteCount < WORD_SIZE - PAGE_BYTES - byteOffset;
  if (isOffset && isCount && pagesTouched(byteOffset, byteCount) === pfns.length) return;
  throw new UsageError(
    'ERR_ARGUMENT',
    `a GPA range of ${byteCount} bytes from offset ${byteOffset} does not fit ${pfns.length} pages`,
  );
}

/**
 * Writes a range at `words[wordAt]` and following; the caller has made sure of the room (`gpaRangeBytes`).
 * @param pfnCount page frame numbers to take from `pfns`
 * @returns index of the word behind it
 */
export function encodeGpaRange(
  words: Int32Array,
  wordAt: number,
  byteCount: number,
  byteOffset: number,
  pfns: ArrayLike<number>,
  pfnCount: number,
): number {
  words[wordAt] = byteCount;
  words[wordAt + 1] = byteOffset;
  let at = wordAt + 2;
  for (let index = 0; index < pfnCount; index++) {
    const pfn = pfns[index] as number;
    const low = pfn | 0; // the low 32 bits, of any integer
    words[at] = low;
    // Small integers, which page frame numbers nearly always are, never become floats.
    words[at + 1] = low === pfn ? 0 : (pfn / WORD_SIZE) | 0;
    at += 2;
  }
  return at;
}
