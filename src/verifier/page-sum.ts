/** A checksum of guest pages, to see whether they changed. */
import { AddressError, UsageError } from '../errors.ts';
import { type GuestMemory, type Mdl, ScatterView } from '../memory/index.ts';
import type { GpaRange } from '../wire/gpa-range.ts';

/** @returns `null` for pages that are not there: whoever uses them finds that out */
export function sumOfRanges(memory: GuestMemory, ranges: readonly GpaRange[]): number | null {
  try {
    return ranges.reduce((sum, { pfns, byteOffset, byteCount }) => {
      return sumOfBytes(new ScatterView(memory, pfns, byteOffset, byteCount).segments, sum);
    }, 0);
  } catch (error) {
    if (error instanceof AddressError || error instanceof UsageError) return null;
    throw error;
  }
}

export function sumOfMdl(first: Mdl): number {
  let sum = 0;
  for (let mdl: Mdl | null = first; mdl !== null; mdl = mdl.next) {
    // A view of our own: the driver's may have ended already.
    sum = sumOfBytes(new ScatterView(mdl.memory, mdl.pfns, mdl.byteOffset, mdl.byteCount).segments, sum);
  }
  return sum;
}

/** Each byte changes the sum, and so does its place. Any one changed byte is found; two may hide each other. */
function sumOfBytes(segments: readonly Uint8Array[], start: number): number {
  let sum = start;
  for (const segment of segments) {
    for (let index = 0; index < segment.length; index++) sum = (Math.imul(sum, 31) + (segment[index] as number)) | 0;
  }
  return sum;
}
