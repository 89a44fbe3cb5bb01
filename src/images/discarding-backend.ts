/** A `BlockBackend` that can also give space back, write zeros without being sent them, and say where its data are. */
import type { BlockBackend } from '../devices/scsi/block-backend.ts';

/** Bytes of a disk that are all alike in what stores them. */
export interface Extent {
  readonly offsetBytes: number;
  readonly byteCount: number;
  /** True if the bytes have space of their own in the store. */
  readonly isAllocated: boolean;
  /** True if they are known to be zeros. */
  readonly isZero: boolean;
}

export interface DiscardingBackend extends BlockBackend {
  /**
   * Discards give space back in pieces of this many bytes, aligned to it; a multiple of `blockBytes`. 0: discarding has
   * no use here, so the guest should not be told of it (no UNMAP, no thin provisioning).
   */
  readonly discardGranularityBytes: number;
  /**
   * True if discarded bytes read as zeros, every one of the range, aligned or not (SBC-4: LBPRZ). False if `discard`
   * does nothing at all.
   */
  readonly discardReadsZeros: boolean;
  /**
   * The bytes are no longer needed. Like a write, it is on stable storage after the next `flush`.
   * @param offsetBytes multiple of `blockBytes`
   * @param byteCount multiple of `blockBytes`, wholly inside the disk; of any length
   * @throws (rejects) BackendError
   */
  discard(offsetBytes: number, byteCount: number): Promise<void>;
  /**
   * The bytes read as zeros when this resolves.
   * @param mayDeallocate their space may be given back
   * @param forceUnitAccess they are so on stable storage
   * @throws (rejects) BackendError
   */
  writeZeroes(offsetBytes: number, byteCount: number, mayDeallocate: boolean, forceUnitAccess: boolean): Promise<void>;
  /**
   * How a range is stored, in order and without gaps; neighbours may be alike.
   * @param maxExtents 1 or more; the answer ends early, at the start of the range, when there would be more
   */
  extents(offsetBytes: number, byteCount: number, maxExtents: number): Promise<Extent[]>;
}

export function canDiscard(backend: BlockBackend): backend is DiscardingBackend {
  return 'discardGranularityBytes' in backend;
}
