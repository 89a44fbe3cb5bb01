/** A disk in memory. */
import { UsageError } from '../../errors.ts';
import type { ScatterView } from '../../memory/scatter-view.ts';
import {
  BackendError,
  BackendFault,
  type BlockBackend,
  checkBlockBytes,
  checkRange,
  type Extent,
} from './block-backend.ts';

export interface MemoryBackendOptions {
  /** Default 512. */
  readonly blockBytes?: number;
  /** Default false. */
  readonly readOnly?: boolean;
  /**
   * Guests are told that they may give blocks back. It saves no memory: for trying out what guests do. Default false.
   */
  readonly isThin?: boolean;
  /** See `BlockBackend.identity`; two memory disks of one guest need two. Default `memory`. */
  readonly identity?: string;
}

export class MemoryBackend implements BlockBackend {
  readonly sizeBytes: number;
  readonly blockBytes: number;
  readonly readOnly: boolean;
  readonly hasVolatileCache = false;
  readonly identity: string;
  readonly discardGranularityBytes: number;
  readonly discardReadsZeros = true;
  readonly #bytes: Uint8Array;
  /** For each block of a thin disk: 1 if it was written since it was given back. */
  readonly #isMapped: Uint8Array | undefined;

  /**
   * @param bytes the disk's contents, used in place; length a multiple of the block size
   * @throws UsageError `ERR_ARGUMENT` for a length that makes no disk
   */
  constructor(bytes: Uint8Array, options: MemoryBackendOptions = {}) {
    this.blockBytes = options.blockBytes ?? 512;
    checkBlockBytes(this.blockBytes);
    if (bytes.length === 0 || bytes.length % this.blockBytes !== 0) {
      throw new UsageError(
        'ERR_ARGUMENT',
        `${bytes.length} bytes do not make a disk: it needs whole blocks of ${this.blockBytes} bytes, one or more`,
      );
    }
    this.#bytes = bytes;
    this.sizeBytes = bytes.length;
    this.readOnly = options.readOnly ?? false;
    this.identity = options.identity ?? 'memory';
    const isThin = options.isThin ?? false;
    this.discardGranularityBytes = isThin ? this.blockBytes : 0;
    this.#isMapped = isThin ? new Uint8Array(bytes.length / this.blockBytes).fill(1) : undefined;
  }

  async read(offsetBytes: number, target: ScatterView): Promise<void> {
    checkRange(this, offsetBytes, target.byteLength);
    target.write(0, this.#bytes.subarray(offsetBytes, offsetBytes + target.byteLength));
  }

  async write(offsetBytes: number, source: ScatterView): Promise<void> {
    this.#checkWrite(offsetBytes, source.byteLength);
    source.read(0, this.#bytes.subarray(offsetBytes, offsetBytes + source.byteLength));
    this.#mark(offsetBytes, source.byteLength, 1);
  }

  async flush(): Promise<void> {}

  async discard(offsetBytes: number, byteCount: number): Promise<void> {
    await this.writeZeroes(offsetBytes, byteCount, true);
  }

  async writeZeroes(offsetBytes: number, byteCount: number, mayDeallocate: boolean): Promise<void> {
    this.#checkWrite(offsetBytes, byteCount);
    this.#bytes.fill(0, offsetBytes, offsetBytes + byteCount);
    this.#mark(offsetBytes, byteCount, mayDeallocate ? 0 : 1);
  }

  async extents(offsetBytes: number, byteCount: number, maxExtents: number): Promise<Extent[]> {
    checkRange(this, offsetBytes, byteCount);
    const found: { offsetBytes: number; byteCount: number; isAllocated: boolean; isZero: boolean }[] = [];
    for (let at = offsetBytes; at < offsetBytes + byteCount; at += this.blockBytes) {
      const isAllocated = this.#isMapped === undefined || this.#isMapped[at / this.blockBytes] === 1;
      const last = found.at(-1);
      if (last?.isAllocated === isAllocated) last.byteCount += this.blockBytes;
      else if (found.length === maxExtents) break;
      else found.push({ offsetBytes: at, byteCount: this.blockBytes, isAllocated, isZero: !isAllocated });
    }
    return found;
  }

  async close(): Promise<void> {}

  #checkWrite(offsetBytes: number, byteCount: number): void {
    if (this.readOnly) throw new BackendError(BackendFault.ReadOnly, 'the memory disk is read-only');
    checkRange(this, offsetBytes, byteCount);
  }

  #mark(offsetBytes: number, byteCount: number, isMapped: 0 | 1): void {
    this.#isMapped?.fill(isMapped, offsetBytes / this.blockBytes, (offsetBytes + byteCount) / this.blockBytes);
  }
}
