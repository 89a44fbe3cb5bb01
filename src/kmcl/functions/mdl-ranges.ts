/** Which GPA ranges a send function describes for an MDL chain. */
import { Mdl, PAGE_BYTES, sliceMdl, spanPages } from '../../memory/index.ts';
import type { GpaRange } from '../../wire/gpa-range.ts';

/** One range for each MDL of the chain that has a byte; `undefined` if none has. */
export function mdlRanges(first: Mdl): readonly GpaRange[] | undefined {
  const ranges = sliceMdl(first, 0, Mdl.totalBytes(first));
  return ranges.length === 0 ? undefined : ranges;
}

/**
 * The ranges of a part of a chain.
 * @param mdlLength bytes; 0 for all that follow `mdlOffset`
 * @param isForced only the first MDL counts, and its last page to the end
 * @returns `'offset'` or `'length'` if that argument names a byte that is not there
 */
export function mdlWindow(
  first: Mdl,
  mdlOffset: number,
  mdlLength: number,
  isForced: boolean,
): readonly GpaRange[] | 'offset' | 'length' {
  const limit = isForced ? first.byteCount : Mdl.totalBytes(first);
  if (!Number.isInteger(mdlOffset) || mdlOffset < 0 || mdlOffset >= limit) return 'offset';
  if (!Number.isInteger(mdlLength) || mdlLength < 0) return 'length';
  const length = mdlLength === 0 ? limit - mdlOffset : mdlLength;
  if (isForced) return forcedRange(first, mdlOffset, length);
  if (length > limit - mdlOffset) return 'length';
  return sliceMdl(first, mdlOffset, length);
}

function forcedRange(mdl: Mdl, mdlOffset: number, length: number): readonly GpaRange[] | 'length' {
  const start = mdl.byteOffset + mdlOffset;
  if (length > mdl.pfns.length * PAGE_BYTES - start) return 'length';
  const byteOffset = start % PAGE_BYTES;
  const firstPage = (start - byteOffset) / PAGE_BYTES;
  return [
    { byteCount: length, byteOffset, pfns: mdl.pfns.slice(firstPage, firstPage + spanPages(byteOffset, length)) },
  ];
}
