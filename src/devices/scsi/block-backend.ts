/**
 * What stores a disk's blocks: a file, memory, whatever a user plugs in.
 *
 * The SCSI unit above checks every range and the write protection before it calls; a back end checks again, because a
 * byte written outside the image is the one fault that cannot be taken back. Many calls may be under way at once and may
 * end in any order; whatever goes wrong is a rejection, never a throw. The pages of a view belong to the guest, who may
 * write them at any time: a back end only moves bytes.
 */
import { SystemError, UsageError, type VmbusErrorOptions } from '../../errors.ts';
import type { ScatterView } from '../../memory/scatter-view.ts';

export interface BlockBackend {
  /** Bytes that the disk shows; a multiple of `blockBytes`, 1 block or more. */
  readonly sizeBytes: number;
  /** Logical block size: one of `BLOCK_SIZES`. */
  readonly blockBytes: number;
  readonly readOnly: boolean;
  /** True if a completed write may be lost by a power cut until `flush` ended: the guest is told of a write cache. */
  readonly hasVolatileCache: boolean;
  /** Names the contents the same way after a restart; the disk's identifiers (VPD 80 and 83) are made from it. */
  readonly identity: string;
  /**
   * Fills `target` with the bytes from `offsetBytes`.
   * @param offsetBytes multiple of `blockBytes`
   * @param target length a multiple of `blockBytes`, wholly inside the disk
   * @throws (rejects) BackendError
   */
  read(offsetBytes: number, target: ScatterView): Promise<void>;
  /**
   * Stores `source` from `offsetBytes` on.
   * @param forceUnitAccess the bytes are on stable storage when this resolves
   */
  write(offsetBytes: number, source: ScatterView, forceUnitAccess: boolean): Promise<void>;
  /** Resolves when every write that completed before this call is on stable storage. */
  flush(): Promise<void>;
  /** Waits for what is under way, then lets go of the store. No other call may follow. */
  close(): Promise<void>;

  // What a store may offer beside; the unit does without what is not there.

  /**
   * Discards give space back in pieces of this many bytes, aligned to it; a multiple of `blockBytes`. 0 or absent:
   * discarding has no use here, so the guest is not told of it (no UNMAP, no thin provisioning).
   */
  readonly discardGranularityBytes?: number;
  /**
   * True if discarded bytes read as zeros, every one of the range, aligned or not (SBC-3: LBPRZ). False if `discard`
   * does nothing at all.
   */
  readonly discardReadsZeros?: boolean;
  /**
   * The bytes are no longer needed. Like a write, it is on stable storage after the next `flush`.
   * @param offsetBytes multiple of `blockBytes`
   * @param byteCount multiple of `blockBytes`, wholly inside the disk; of any length
   * @throws (rejects) BackendError
   */
  discard?(offsetBytes: number, byteCount: number): Promise<void>;
  /**
   * The bytes read as zeros when this resolves.
   * @param mayDeallocate their space may be given back
   * @param forceUnitAccess they are so on stable storage
   * @throws (rejects) BackendError
   */
  writeZeroes?(offsetBytes: number, byteCount: number, mayDeallocate: boolean, forceUnitAccess: boolean): Promise<void>;
  /**
   * How a range is stored, in order and without gaps; neighbours may be alike.
   * @param maxExtents 1 or more; the answer ends early, at the start of the range, when there would be more
   */
  extents?(offsetBytes: number, byteCount: number, maxExtents: number): Promise<Extent[]>;
}

/** Bytes of a disk that are all alike in what stores them. */
export interface Extent {
  readonly offsetBytes: number;
  readonly byteCount: number;
  /** True if the bytes have space of their own in the store. */
  readonly isAllocated: boolean;
  /** True if they are known to be zeros. */
  readonly isZero: boolean;
}

type DiscardParts = 'discardGranularityBytes' | 'discardReadsZeros' | 'discard' | 'writeZeroes' | 'extents';

/** A store that can give space back, write zeros without being sent them, and say where its data are. */
export type DiscardingBackend = BlockBackend & Required<Pick<BlockBackend, DiscardParts>>;

export function canDiscard(backend: BlockBackend): backend is DiscardingBackend {
  return (
    backend.discardGranularityBytes !== undefined &&
    backend.discard !== undefined &&
    backend.writeZeroes !== undefined &&
    backend.extents !== undefined
  );
}

/** Logical block sizes that guests accept. Source: Linux `drivers/scsi/sd.c`, sd_read_capacity. */
export const BLOCK_SIZES: readonly number[] = [512, 1024, 2048, 4096];

/** What went wrong in a store, as far as a guest can be told. */
export const BackendFault = {
  /** The range is not inside the disk. */
  OutOfRange: 'out of range',
  ReadOnly: 'read only',
  /** The bytes could not be read. */
  Read: 'read',
  /** The bytes could not be written. */
  Write: 'write',
  /** The store has no room left for the bytes. */
  NoSpace: 'no space',
} as const;
export type BackendFault = (typeof BackendFault)[keyof typeof BackendFault];

/** A store could not do what it was asked. Any other rejection of a back end counts as an I/O error without details. */
export class BackendError extends SystemError {
  readonly fault: BackendFault;

  constructor(fault: BackendFault, message: string, options?: VmbusErrorOptions) {
    super('ERR_BACKEND', message, options);
    this.fault = fault;
  }
}

/** @throws BackendError `OutOfRange` unless the bytes lie inside the disk */
export function checkRange(backend: BlockBackend, offsetBytes: number, byteCount: number): void {
  if (offsetBytes < 0 || byteCount > backend.sizeBytes || offsetBytes > backend.sizeBytes - byteCount) {
    throw new BackendError(
      BackendFault.OutOfRange,
      `bytes ${offsetBytes}..${offsetBytes + byteCount} are outside the disk of ${backend.sizeBytes} bytes`,
    );
  }
}

/** @throws UsageError `ERR_ARGUMENT` for a block size that guests do not accept */
export function checkBlockBytes(blockBytes: number): void {
  if (!BLOCK_SIZES.includes(blockBytes)) {
    throw new UsageError('ERR_ARGUMENT', `block size ${blockBytes} is none of ${BLOCK_SIZES.join(', ')} bytes`);
  }
}
