/**
 * Bytes that lie in several places, read and written as if they were one: the pages behind an MDL, the segments of a
 * chain. Pages that happen to be adjacent are joined, so a list over contiguous pages is one segment and one copy.
 */
import { AddressError, hex, UsageError } from '../errors.ts';
import type { GuestMemory } from './guest-memory.ts';
import { PAGE_BYTES } from './page.ts';

export class ScatterView {
  readonly byteLength: number;
  readonly #segments: readonly Uint8Array[];
  /** Where each segment starts in this view, and `byteLength` at the end. */
  readonly #starts: readonly number[];
  /** The view whose `invalidate` ends this one too: itself, or the one it was sliced from. */
  readonly #root: ScatterView;
  #endedBy: string | undefined;
  #touchedLate: (() => void) | null = null;

  /**
   * Bytes of listed pages. Every page that holds one of them is checked here, once.
   * @param memory where the pages are
   * @param pfns page frame numbers in order; those behind the last byte are not looked at
   * @param byteOffset of the first byte in the first page, 0..4095
   * @param byteCount bytes
   * @throws AddressError if a page is outside memory, or the pages end before the bytes do
   * @throws UsageError `ERR_ARGUMENT` for an offset or count that makes no sense
   */
  constructor(memory: GuestMemory, pfns: ArrayLike<number>, byteOffset: number, byteCount: number);
  /** @internal Use `ScatterView.over`. */
  constructor(segments: readonly Uint8Array[], root?: ScatterView);
  constructor(
    source: GuestMemory | readonly Uint8Array[],
    second?: ArrayLike<number> | ScatterView,
    byteOffset = 0,
    byteCount = 0,
  ) {
    const segments =
      'runAt' in source ? pageSegments(source, second as ArrayLike<number>, byteOffset, byteCount) : join(source);
    const starts: number[] = [];
    let end = 0;
    for (const segment of segments) {
      starts.push(end);
      end += segment.length;
    }
    this.byteLength = end;
    this.#segments = segments;
    this.#starts = starts;
    this.#root = second instanceof ScatterView ? second.#root : this;
  }

  /** The same over bytes at hand, in order; neighbours in one buffer are joined, empty ones left out. */
  static over(segments: readonly Uint8Array[]): ScatterView {
    return new ScatterView(segments);
  }

  /** The bytes in order, joined where adjacent: what `readv` and `writev` take. */
  get segments(): readonly Uint8Array[] {
    this.#checkAlive();
    return this.#segments;
  }

  /** All bytes as one view if they are adjacent (or none); `undefined` if they are not. */
  get contiguous(): Uint8Array | undefined {
    this.#checkAlive();
    return this.#segments.length === 0
      ? new Uint8Array(0)
      : this.#segments.length === 1
        ? this.#segments[0]
        : undefined;
  }

  /** Copies `target.length` bytes from `at` on. @throws AddressError if they are not all inside; then none is copied */
  read(at: number, target: Uint8Array): void {
    this.#checkInside(at, target.length);
    let done = 0;
    for (let index = this.#indexAt(at); done < target.length; index++) {
      const segment = this.#segments[index] as Uint8Array;
      const from = at + done - (this.#starts[index] as number);
      const byteCount = Math.min(target.length - done, segment.length - from);
      target.set(exactly(segment, from, byteCount), done);
      done += byteCount;
    }
  }

  /** Copies all of `source` to `at` and on. @throws AddressError if it does not fit; then nothing is written */
  write(at: number, source: Uint8Array): void {
    this.#checkInside(at, source.length);
    let done = 0;
    for (let index = this.#indexAt(at); done < source.length; index++) {
      const segment = this.#segments[index] as Uint8Array;
      const to = at + done - (this.#starts[index] as number);
      const byteCount = Math.min(source.length - done, segment.length - to);
      segment.set(exactly(source, done, byteCount), to);
      done += byteCount;
    }
  }

  /** Sets the bytes `at .. end - 1` to `value` (0..255). @throws AddressError if they are not all inside */
  fill(value: number, at = 0, end = this.byteLength): void {
    this.#checkInside(at, end - at);
    for (let index = this.#indexAt(at); index < this.#segments.length; index++) {
      const segment = this.#segments[index] as Uint8Array;
      const start = this.#starts[index] as number;
      if (start >= end) return;
      segment.fill(value, Math.max(at - start, 0), Math.min(end - start, segment.length));
    }
  }

  /** A view of `byteCount` of these bytes; it ends when this view is invalidated. @throws AddressError if not inside */
  slice(at: number, byteCount: number): ScatterView {
    this.#checkInside(at, byteCount);
    const picked: Uint8Array[] = [];
    let done = 0;
    for (let index = this.#indexAt(at); done < byteCount; index++) {
      const segment = this.#segments[index] as Uint8Array;
      const from = at + done - (this.#starts[index] as number);
      const part = segment.subarray(from, from + Math.min(byteCount - done, segment.length - from));
      picked.push(part);
      done += part.length;
    }
    return new ScatterView(picked, this);
  }

  /** A private copy of all bytes. */
  toBytes(): Uint8Array {
    const copy = new Uint8Array(this.byteLength);
    this.read(0, copy);
    return copy;
  }

  /**
   * Ends this view and all slices of it: from now on every access is a `UsageError` that names `reason`. Segments
   * handed out before cannot be called back.
   * @param touchedLate called before each access that is refused so
   */
  invalidate(reason: string, touchedLate: (() => void) | null = null): void {
    this.#root.#endedBy ??= reason;
    this.#root.#touchedLate ??= touchedLate;
  }

  #checkAlive(): void {
    const endedBy = this.#root.#endedBy;
    if (endedBy === undefined) return;
    this.#root.#touchedLate?.();
    throw new UsageError('ERR_STATE', `these bytes are no longer ours to touch: ${endedBy}`);
  }

  #checkInside(at: number, byteCount: number): void {
    this.#checkAlive();
    const isInside =
      Number.isInteger(at) &&
      Number.isInteger(byteCount) &&
      at >= 0 &&
      byteCount >= 0 &&
      byteCount <= this.byteLength - at;
    if (!isInside) {
      throw new AddressError(
        `bytes ${hex(at)} + ${hex(byteCount)} are outside a view of ${hex(this.byteLength)} bytes`,
      );
    }
  }

  /** The segment that holds byte `at`; the number of segments if `at` is the end. */
  #indexAt(at: number): number {
    let low = 0;
    let high = this.#starts.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if ((this.#starts[middle] as number) <= at) low = middle + 1;
      else high = middle;
    }
    return at === this.byteLength ? this.#segments.length : low - 1;
  }
}

/** `bytes` itself when that is the whole of it: a view costs more than a short copy. */
function exactly(bytes: Uint8Array, at: number, byteCount: number): Uint8Array {
  return byteCount === bytes.length ? bytes : bytes.subarray(at, at + byteCount);
}

function pageSegments(
  memory: GuestMemory,
  pfns: ArrayLike<number>,
  byteOffset: number,
  byteCount: number,
): Uint8Array[] {
  if (!Number.isInteger(byteOffset) || byteOffset < 0 || byteOffset >= PAGE_BYTES) {
    throw new UsageError('ERR_ARGUMENT', `byte offset ${byteOffset} is outside 0..${PAGE_BYTES - 1}`);
  }
  if (!Number.isSafeInteger(byteCount) || byteCount < 0) {
    throw new UsageError('ERR_ARGUMENT', `byte count ${byteCount} is not a whole number of 0 or more`);
  }
  if (byteCount > pfns.length * PAGE_BYTES - byteOffset && byteCount > 0) {
    throw new AddressError(`${pfns.length} pages end before byte ${hex(byteOffset)} + ${hex(byteCount)}`);
  }
  const segments: Uint8Array[] = [];
  let left = byteCount;
  let skip = byteOffset;
  for (let index = 0; left > 0; ) {
    const pfn = pfns[index] as number;
    const pages = listedRun(memory, pfns, index);
    if (pages === 0)
      throw new AddressError(`page ${hex(pfn)} (number ${index} of ${pfns.length}) is outside guest memory`);
    const lengthBytes = Math.min(left, pages * PAGE_BYTES - skip);
    segments.push(memory.bytes(pfn * PAGE_BYTES + skip, lengthBytes));
    left -= lengthBytes;
    skip = 0;
    index += pages;
  }
  return segments;
}

/** Pages from `index` on that are listed one after the other and lie one after the other; 0 if the first is outside. */
function listedRun(memory: GuestMemory, pfns: ArrayLike<number>, index: number): number {
  const first = pfns[index] as number;
  const limit = memory.runAt(first, pfns.length - index);
  let pages = Math.min(limit, 1);
  while (pages < limit && pfns[index + pages] === first + pages) pages++;
  return pages;
}

function join(segments: readonly Uint8Array[]): Uint8Array[] {
  const joined: Uint8Array[] = [];
  for (const segment of segments) {
    const before = joined.at(-1);
    if (segment.length === 0) continue;
    if (before?.buffer === segment.buffer && before.byteOffset + before.length === segment.byteOffset) {
      joined[joined.length - 1] = new Uint8Array(segment.buffer, before.byteOffset, before.length + segment.length);
    } else {
      joined.push(segment);
    }
  }
  return joined;
}
