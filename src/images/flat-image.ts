/** Disks whose byte n is byte n of the file: raw files, block devices, VHD fixed. */
import {
  BackendError,
  BackendFault,
  checkRange,
  type DiscardingBackend,
  type Extent,
} from '../devices/scsi/block-backend.ts';
import type { ScatterView } from '../memory/scatter-view.ts';
import { type BackingFile, writeZeros, zeroRange } from './backing-file.ts';
import { CallCount } from './call-count.ts';

export interface FlatShape {
  /** Bytes of the file that are the disk's, from its start; the disk may end in a block that is partly padding. */
  readonly dataBytes: number;
  readonly blockBytes: number;
  readonly identity: string;
  /** Smallest piece that a hole frees, bytes. Default 4096, the block of common file systems. */
  readonly holeBytes?: number;
}

export class FlatImage implements DiscardingBackend {
  readonly sizeBytes: number;
  readonly blockBytes: number;
  readonly readOnly: boolean;
  readonly hasVolatileCache: boolean;
  readonly identity: string;
  readonly discardGranularityBytes: number;
  readonly discardReadsZeros: boolean;
  readonly #file: BackingFile;
  readonly #dataBytes: number;
  readonly #calls = new CallCount();

  /** @param shape checked by the format that opened the file */
  constructor(file: BackingFile, shape: FlatShape) {
    const canPunch = file.canPunch && !file.readOnly;
    this.#file = file;
    this.#dataBytes = shape.dataBytes;
    this.sizeBytes = Math.ceil(shape.dataBytes / shape.blockBytes) * shape.blockBytes;
    this.blockBytes = shape.blockBytes;
    this.readOnly = file.readOnly;
    this.hasVolatileCache = !file.readOnly;
    this.identity = shape.identity;
    this.discardGranularityBytes = canPunch ? Math.max(shape.holeBytes ?? 4096, shape.blockBytes) : 0;
    this.discardReadsZeros = canPunch;
  }

  get path(): string {
    return this.#file.path;
  }

  /** Zero bytes that the disk shows after the file's own end, 0..blockBytes-1. */
  get paddingBytes(): number {
    return this.sizeBytes - this.#dataBytes;
  }

  read(offsetBytes: number, target: ScatterView): Promise<void> {
    return this.#calls.run(async () => {
      checkRange(this, offsetBytes, target.byteLength);
      const fileBytes = Math.min(target.byteLength, this.#dataBytes - offsetBytes);
      const own = fileBytes === target.byteLength ? target : target.slice(0, fileBytes);
      await this.#file.read(offsetBytes, own.segments);
      if (fileBytes < target.byteLength) target.fill(0, fileBytes);
    });
  }

  write(offsetBytes: number, source: ScatterView, forceUnitAccess: boolean): Promise<void> {
    return this.#change(offsetBytes, source.byteLength, forceUnitAccess, () =>
      this.#file.write(offsetBytes, source.segments),
    );
  }

  flush(): Promise<void> {
    return this.#calls.run(async () => {
      if (!this.readOnly) await this.#file.sync();
    });
  }

  /**
   * Makes a hole, or does nothing if there never was a way to. A file system that turns out to know no holes gets zeros
   * written instead, because the guest was told that discarded blocks read as zeros.
   */
  discard(offsetBytes: number, byteCount: number): Promise<void> {
    return this.#change(offsetBytes, byteCount, false, async () => {
      if (this.discardReadsZeros) await zeroRange(this.#file, offsetBytes, byteCount);
    });
  }

  writeZeroes(offsetBytes: number, byteCount: number, mayDeallocate: boolean, forceUnitAccess: boolean): Promise<void> {
    return this.#change(offsetBytes, byteCount, forceUnitAccess, () =>
      mayDeallocate ? zeroRange(this.#file, offsetBytes, byteCount) : writeZeros(this.#file, offsetBytes, byteCount),
    );
  }

  /** One extent of data: Node has no way to ask where the holes are. */
  async extents(offsetBytes: number, byteCount: number): Promise<Extent[]> {
    checkRange(this, offsetBytes, byteCount);
    return [{ offsetBytes, byteCount, isAllocated: true, isZero: false }];
  }

  async close(): Promise<void> {
    if (await this.#calls.close()) await this.#file.close();
  }

  #change(offsetBytes: number, byteCount: number, forceUnitAccess: boolean, work: () => Promise<void>): Promise<void> {
    return this.#calls.run(async () => {
      if (this.readOnly) throw new BackendError(BackendFault.ReadOnly, `${this.path} is open for reading only`);
      checkRange(this, offsetBytes, byteCount);
      await work();
      if (forceUnitAccess) await this.#file.sync();
    });
  }
}
