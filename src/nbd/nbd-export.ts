/** What an NBD server serves: anything that stores blocks, over a bus, in a file, in memory. */
import { NbdErrno } from './protocol.ts';

/** Bytes that are stored alike. */
export interface NbdExtent {
  readonly byteCount: number;
  /** True if no space is taken for them. */
  readonly isHole: boolean;
  /** True if they are known to be zeros. */
  readonly isZero: boolean;
}

/**
 * Any number of calls may be under way at once, and may end in any order. The server checks every range, alignment and
 * length before it calls. A rejection becomes an error reply: see `errnoOf`.
 */
export interface NbdExport {
  /** A multiple of `blockBytes`. */
  readonly sizeBytes: number;
  /** Every offset and length is a multiple of it: a power of two, at most 64 KiB. */
  readonly blockBytes: number;
  /** Best length and alignment of a request, a power of two. Default 4096, or the block if that is larger. */
  readonly preferredBytes?: number;
  readonly readOnly: boolean;
  /** False if there is no cache to flush; then FUA is not offered either. */
  readonly canFlush: boolean;
  /** For people. */
  readonly description?: string;
  /** Fills `target`. */
  read(offsetBytes: number, target: Buffer): Promise<void>;
  /**
   * Stores `source`, which is this call's until it ends.
   * @param forceUnitAccess it is on stable storage when this resolves
   */
  write(offsetBytes: number, source: Buffer, forceUnitAccess: boolean): Promise<void>;
  /** Resolves when every write that ended before is on stable storage, whichever connection it came by. */
  flush(): Promise<void>;
  /** The bytes are no longer needed. Without it, clients are not offered TRIM. Any length. */
  trim?(offsetBytes: number, byteCount: number, forceUnitAccess: boolean): Promise<void>;
  /** Without it, the server writes the zeros itself. Any length. */
  writeZeroes?(offsetBytes: number, byteCount: number, mayDeallocate: boolean, forceUnitAccess: boolean): Promise<void>;
  /**
   * How a range is stored, from its start, without gaps; may end early. Without it, clients are not offered
   * "base:allocation".
   */
  extents?(offsetBytes: number, byteCount: number, maxExtents: number): Promise<readonly NbdExtent[]>;
  /** What a rejection says to the client. Default: EIO for everything. */
  errnoOf?(error: unknown): NbdErrno;
}

/** What the client is told of an error. */
export function errnoOf(store: NbdExport, error: unknown): NbdErrno {
  return store.errnoOf?.(error) ?? NbdErrno.Io;
}
