/** The ways to name guest memory, and the GPA ranges that they come to. */
import { UsageError } from '../../errors.ts';
import { type GuestMemory, Mdl, PAGE_BYTES, sliceMdl, spanPages } from '../../memory/index.ts';
import type { GpaRange } from '../../wire/gpa-range.ts';

interface WholePages {
  /** Whole pages by page frame number, each below 2^52; adjacent or not, in any order. */
  readonly pfns: ArrayLike<number>;
  readonly mdl?: never;
  readonly ranges?: never;
}

interface MdlWindow {
  /** First of a chain. */
  readonly mdl: Mdl;
  /** Bytes of the chain to skip. Default 0. */
  readonly mdlOffset?: number;
  /** Bytes to name. Default: all that follow. */
  readonly mdlBytes?: number;
  readonly pfns?: never;
  readonly ranges?: never;
}

interface Ranges {
  /** Ranges as they go on the wire. */
  readonly ranges: readonly GpaRange[];
  readonly pfns?: never;
  readonly mdl?: never;
}

/** Guest memory, named in one of three ways. */
export type ExternalPages = WholePages | MdlWindow | Ranges;

export interface NoPages {
  readonly pfns?: never;
  readonly mdl?: never;
  readonly ranges?: never;
}

/** Guest memory for longer than a packet: pages, or a view into guest memory. */
export type SharedPages = ExternalPages | (NoPages & { readonly bytes: Uint8Array });

const PFN_LIMIT = 2 ** 52;

/** @throws UsageError `ERR_ARGUMENT` for what is no list of page frame numbers */
export function checkPfns(pfns: ArrayLike<number>, pfnCount: number): void {
  if (!Number.isInteger(pfnCount) || pfnCount < 1 || pfnCount > pfns.length) {
    throw new UsageError('ERR_ARGUMENT', `${pfnCount} of ${pfns.length} page frame numbers; 1 or more are needed`);
  }
  for (let index = 0; index < pfnCount; index++) {
    const pfn = pfns[index] as number;
    if (!(pfn >= 0 && pfn < PFN_LIMIT && Number.isInteger(pfn))) {
      throw new UsageError('ERR_ARGUMENT', `page frame number ${pfn} (at ${index}) is not a whole number below 2^52`);
    }
  }
}

/** @throws AddressError for a window outside the chain; UsageError `ERR_ARGUMENT` for an empty one */
export function mdlRanges({ mdl, mdlOffset = 0, mdlBytes }: MdlWindow): readonly GpaRange[] {
  const ranges = sliceMdl(mdl, mdlOffset, mdlBytes ?? Math.max(0, Mdl.totalBytes(mdl) - mdlOffset));
  if (ranges.length === 0) throw new UsageError('ERR_ARGUMENT', 'the MDL chain has no byte there');
  return ranges;
}

/** @throws as `checkPfns` and `mdlRanges`; UsageError `ERR_ARGUMENT` for bytes outside guest memory */
export function sharedRanges(pages: SharedPages, memory: GuestMemory): readonly GpaRange[] {
  if ('bytes' in pages) return [rangeOfView(memory, pages.bytes)];
  if (pages.mdl !== undefined) return mdlRanges(pages);
  if (pages.ranges !== undefined) return pages.ranges;
  const { pfns } = pages;
  checkPfns(pfns, pfns.length);
  return [{ byteCount: pfns.length * PAGE_BYTES, byteOffset: 0, pfns: Array.from(pfns) }];
}

function rangeOfView(memory: GuestMemory, view: Uint8Array): GpaRange {
  for (const { firstPfn, bytes } of memory.regions) {
    const start = view.byteOffset - bytes.byteOffset;
    if (view.length === 0 || view.buffer !== bytes.buffer || start < 0 || view.length > bytes.length - start) continue;
    const byteOffset = start % PAGE_BYTES;
    const first = firstPfn + (start - byteOffset) / PAGE_BYTES;
    const pfns = Array.from({ length: spanPages(byteOffset, view.length) }, (_, index) => first + index);
    return { byteCount: view.length, byteOffset, pfns };
  }
  throw new UsageError('ERR_ARGUMENT', 'the bytes to share are none, or no view into guest memory');
}
