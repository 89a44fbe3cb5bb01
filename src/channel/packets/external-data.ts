/** From the GPA ranges in a packet's private copy to an MDL chain over guest memory. */
import { AddressError, PeerError } from '../../errors.ts';
import { type GuestMemory, Mdl, PAGE_BYTES } from '../../memory/index.ts';
import type { GpaRange } from '../../wire/gpa-range.ts';
import { GpaRangeReader } from '../../wire/gpa-range.ts';
import {
  type NtStatus,
  STATUS_INVALID_BUFFER_SIZE,
  STATUS_INVALID_PARAMETER,
  STATUS_SUCCESS,
} from '../../wire/ntstatus.ts';
import type { IncomingPacket } from './incoming-packet.ts';

/** What became of a wish for external data: a chain, or the status that says why there is none. */
export interface ExternalData {
  readonly status: NtStatus;
  readonly mdl: Mdl | null;
}

/** Bytes of descriptor and GPA-direct header: the first range is behind them. */
const RANGES_AT_BYTES = 24;

const malformed: ExternalData = { status: STATUS_INVALID_PARAMETER, mdl: null };
const tooMuch: ExternalData = { status: STATUS_INVALID_BUFFER_SIZE, mdl: null };
/** One walker for all channels: it is at rest between two calls. */
const walker = new GpaRangeReader();

/**
 * Maps what a packet describes: every page is looked up once, here.
 * @param maxBytes of all ranges together
 * @param maxRanges longest chain; a longer one is joined where a range ends a page and the next begins one
 * @returns `STATUS_INVALID_PARAMETER` for malformed ranges or pages outside memory, `STATUS_INVALID_BUFFER_SIZE` above
 *   the limits
 */
export function mapExternalData(
  packet: IncomingPacket,
  memory: GuestMemory,
  maxBytes: number,
  maxRanges: number,
): ExternalData {
  try {
    let ranges = readRanges(packet, maxBytes);
    if (ranges === undefined) return tooMuch;
    if (ranges.length > maxRanges) ranges = joinWholePages(ranges);
    if (ranges.length > maxRanges) return tooMuch;
    return { status: STATUS_SUCCESS, mdl: chainOf(memory, ranges) };
  } catch (error) {
    if (error instanceof PeerError || error instanceof AddressError) return malformed;
    throw error;
  }
}

/** The MDL chain of these ranges, every page of it looked up. @throws AddressError for a page outside memory */
export function chainOf(memory: GuestMemory, ranges: readonly GpaRange[]): Mdl {
  const mdls = ranges.map((range) => mdlOf(memory, range));
  const [first] = mdls;
  return first !== undefined && mdls.length === 1 ? first : Mdl.chain(...mdls);
}

function mdlOf(memory: GuestMemory, { pfns, byteOffset, byteCount }: GpaRange): Mdl {
  const mdl = Mdl.fromPfns(memory, pfns, byteOffset, byteCount);
  mdl.view();
  return mdl;
}

function readRanges(packet: IncomingPacket, maxBytes: number): GpaRange[] | undefined {
  const ranges: GpaRange[] = [];
  let totalBytes = 0;
  walker.start(packet.words, RANGES_AT_BYTES, packet.dataOffset, packet.rangeCount);
  while (walker.next()) {
    const { byteCount, byteOffset, pfnCount } = walker;
    // Before the list is built: a peer's count must not make us allocate beyond what we allow.
    if (byteCount > maxBytes - totalBytes) return undefined;
    totalBytes += byteCount;
    // Bounded by the bytes that are there: the walker has checked that so many numbers follow.
    const pfns = new Array<number>(pfnCount);
    for (let index = 0; index < pfnCount; index++) pfns[index] = walker.pfn(index);
    ranges.push({ byteCount, byteOffset, pfns });
  }
  return ranges;
}

/** One range for each run that has no gap between: the bytes and their order stay the same. */
function joinWholePages(ranges: readonly GpaRange[]): GpaRange[] {
  const joined: { byteCount: number; readonly byteOffset: number; readonly pfns: number[] }[] = [];
  for (const { byteCount, byteOffset, pfns } of ranges) {
    const before = joined.at(-1);
    if (before !== undefined && byteOffset === 0 && (before.byteOffset + before.byteCount) % PAGE_BYTES === 0) {
      before.byteCount += byteCount;
      for (let index = 0; index < pfns.length; index++) before.pfns.push(pfns[index] as number);
    } else {
      joined.push({ byteCount, byteOffset, pfns: Array.from(pfns) });
    }
  }
  return joined;
}
