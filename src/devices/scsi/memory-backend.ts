/** A disk in memory. */
import { UsageError } from '../../errors.ts';
import type { ScatterView } from '../../memory/scatter-view.ts';
import { BackendError, BackendFault, type BlockBackend, checkBlockBytes, checkRange } from './block-backend.ts';

export interface MemoryBackendOptions {
  /** Default 512. */
  readonly blockBytes?: number;
  /** Default false. */
  readonly readOnly?: boolean;
  /** See `BlockBackend.identity`; two memory disks of one guest need two. Default `memory`. */
  readonly identity?: string;
}

export class MemoryBackend implements BlockBackend {
  readonly sizeBytes: number;
  readonly blockBytes: number;
  readonly readOnly: boolean;
  readonly hasVolatileCache = false;
  readonly identity: string;
  readonly #bytes: Uint8Array;

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
  }

  async read(offsetBytes: number, target: ScatterView): Promise<void> {
    checkRange(this, offsetBytes, target.byteLength);
    target.write(0, this.#bytes.subarray(offsetBytes, offsetBytes + target.byteLength));
  }

  async write(offsetBytes: number, source: ScatterView): Promise<void> {
    if (this.readOnly) throw new BackendError(BackendFault.ReadOnly, 'the memory disk is read-only');
    checkRange(this, offsetBytes, source.byteLength);
    source.read(0, this.#bytes.subarray(offsetBytes, offsetBytes + source.byteLength));
  }

  async flush(): Promise<void> {}

  async close(): Promise<void> {}
}
