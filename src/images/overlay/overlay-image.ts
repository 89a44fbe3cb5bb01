/**
 * A copy-on-write overlay: reads come from the base until a cluster is written, writes go to the delta file.
 *
 * On stable storage, in this order: the bytes of clusters, then the states that make them count. `flush` does both; what
 * was written but not flushed is found again after a clean end or not at all after a cut, never half.
 */
import {
  BackendError,
  BackendFault,
  type BlockBackend,
  canDiscard,
  checkRange,
  type DiscardingBackend,
  type Extent,
} from '../../devices/scsi/block-backend.ts';
import { UsageError } from '../../errors.ts';
import { ScatterView } from '../../memory/scatter-view.ts';
import { type BackingFile, zeroBuffers, zeroRange } from '../backing-file.ts';
import { CallCount, settle } from '../call-count.ts';
import { GroupCommit } from '../group-commit.ts';
import { type FileExtras, fileExtrasOf, openNodeFile } from '../node-file.ts';
import { RangeLocks } from '../range-locks.ts';
import { writeZerosBlockwise } from '../zero-writes.ts';
import { ClusterState, type OverlayLayout, TABLE_OFFSET, TABLE_PAGE_BYTES } from './format.ts';
import { type LoadedOverlay, loadOverlay } from './load.ts';

export interface OverlayOptions extends FileExtras {
  /** Default false. */
  readonly readOnly?: boolean;
  /** See `BlockBackend.identity`. Default `overlay:` and the id in the file, which survives a move. */
  readonly identity?: string;
}

/**
 * Opens the overlay in the file at `path` over `base`, which is closed with it, and also when this fails.
 * @throws SystemError `ERR_BACKEND` for a file that cannot be opened, is no overlay, is damaged, or is of another base
 * @throws UsageError `ERR_ARGUMENT` for a base that is open for writing
 */
export async function openOverlay(
  path: string,
  base: BlockBackend,
  options: OverlayOptions = {},
): Promise<OverlayImage> {
  try {
    const { readOnly = false } = options;
    const file = await openNodeFile(path, { readOnly, ...fileExtrasOf(options) });
    try {
      return await openOverlayFile(file, base, options.identity);
    } catch (error) {
      await file.close();
      throw error;
    }
  } catch (error) {
    await base.close();
    throw error;
  }
}

/** The same over a file that is open already. On failure both stay open. */
export async function openOverlayFile(file: BackingFile, base: BlockBackend, identity?: string): Promise<OverlayImage> {
  if (!base.readOnly) {
    throw new UsageError('ERR_ARGUMENT', 'the base of an overlay must be open for reading only: it may never change');
  }
  const loaded = await loadOverlay(file, base);
  return new OverlayImage(file, base, loaded, identity ?? `overlay:${loaded.overlayId}`);
}

export class OverlayImage implements DiscardingBackend {
  readonly sizeBytes: number;
  readonly blockBytes: number;
  readonly readOnly: boolean;
  readonly hasVolatileCache: boolean;
  readonly identity: string;
  readonly discardGranularityBytes: number;
  readonly discardReadsZeros = true;
  readonly #file: BackingFile;
  readonly #base: BlockBackend;
  readonly #layout: OverlayLayout;
  readonly #states: Uint8Array;
  /** Pages of the table whose states are newer than the file's. */
  readonly #dirtyPages = new Set<number>();
  readonly #calls = new CallCount();
  readonly #locks = new RangeLocks();
  readonly #commits = new GroupCommit(() => this.#commit());

  /** Use `openOverlay`. */
  constructor(file: BackingFile, base: BlockBackend, loaded: LoadedOverlay, identity: string) {
    this.#file = file;
    this.#base = base;
    this.#layout = loaded.layout;
    this.#states = loaded.states;
    this.sizeBytes = base.sizeBytes;
    this.blockBytes = base.blockBytes;
    this.readOnly = file.readOnly;
    this.hasVolatileCache = !file.readOnly;
    this.identity = identity;
    this.discardGranularityBytes = file.readOnly ? 0 : loaded.layout.clusterBytes;
  }

  get path(): string {
    return this.#file.path;
  }

  read(offsetBytes: number, target: ScatterView): Promise<void> {
    return this.#calls.run(async () => {
      checkRange(this, offsetBytes, target.byteLength);
      const parts: Promise<void>[] = [];
      for (const run of this.#runs(offsetBytes, target.byteLength)) {
        const part = target.slice(run.at - offsetBytes, run.byteCount);
        if (run.state === ClusterState.Zero) part.fill(0);
        else if (run.state === ClusterState.Base) parts.push(this.#base.read(run.at, part));
        else parts.push(this.#file.read(this.#layout.dataOffset + run.at, part.segments));
      }
      await settle(parts);
    });
  }

  write(offsetBytes: number, source: ScatterView, forceUnitAccess: boolean): Promise<void> {
    return this.#change(offsetBytes, source.byteLength, forceUnitAccess, () => this.#store(offsetBytes, source));
  }

  flush(): Promise<void> {
    return this.#calls.run(async () => {
      if (!this.readOnly) await this.#commits.request();
    });
  }

  discard(offsetBytes: number, byteCount: number): Promise<void> {
    return this.#change(offsetBytes, byteCount, false, () => this.#clear(offsetBytes, byteCount));
  }

  writeZeroes(offsetBytes: number, byteCount: number, mayDeallocate: boolean, forceUnitAccess: boolean): Promise<void> {
    return this.#change(offsetBytes, byteCount, forceUnitAccess, () =>
      mayDeallocate
        ? this.#clear(offsetBytes, byteCount)
        : writeZerosBlockwise(offsetBytes, byteCount, (at, zeros) => this.#store(at, zeros)),
    );
  }

  async extents(offsetBytes: number, byteCount: number, maxExtents: number): Promise<Extent[]> {
    checkRange(this, offsetBytes, byteCount);
    const found: Extent[] = [];
    for (const { at, byteCount: runBytes, state } of this.#runs(offsetBytes, byteCount)) {
      if (found.length >= maxExtents) break;
      if (state === ClusterState.Base && canDiscard(this.#base)) {
        found.push(...(await this.#base.extents(at, runBytes, maxExtents - found.length)));
        const end = found.at(-1);
        if (end !== undefined && end.offsetBytes + end.byteCount < at + runBytes) break;
      } else {
        const isZero = state === ClusterState.Zero;
        found.push({ offsetBytes: at, byteCount: runBytes, isAllocated: !isZero, isZero });
      }
    }
    return found;
  }

  /** Flushes, then closes delta and base. The files are closed even if the flush fails. */
  async close(): Promise<void> {
    if (!(await this.#calls.close())) return;
    try {
      if (!this.readOnly) await this.#commits.request();
    } finally {
      await settle([this.#file.close(), this.#base.close()]);
    }
  }

  /** Plain facts for an inspector. */
  inspect(): Record<string, unknown> {
    let storedClusters = 0;
    let zeroClusters = 0;
    for (const state of this.#states) {
      if (state === ClusterState.Stored) storedClusters++;
      else if (state === ClusterState.Zero) zeroClusters++;
    }
    const { clusterBytes, clusterCount } = this.#layout;
    return {
      path: this.path,
      clusterBytes,
      clusterCount,
      storedClusters,
      zeroClusters,
      dirtyPages: this.#dirtyPages.size,
    };
  }

  #change(offsetBytes: number, byteCount: number, forceUnitAccess: boolean, work: () => Promise<void>): Promise<void> {
    return this.#calls.run(async () => {
      if (this.readOnly) throw new BackendError(BackendFault.ReadOnly, `${this.path} is open for reading only`);
      checkRange(this, offsetBytes, byteCount);
      if (byteCount > 0) await work();
      if (forceUnitAccess) await this.#commits.request();
    });
  }

  /** Runs of bytes in clusters of one state, in order. Looks at each state when it comes to it. */
  *#runs(offsetBytes: number, byteCount: number): Generator<{ at: number; byteCount: number; state: number }> {
    const { clusterBytes } = this.#layout;
    const end = offsetBytes + byteCount;
    for (let at = offsetBytes; at < end; ) {
      let cluster = Math.floor(at / clusterBytes);
      const state = this.#states[cluster] as number;
      while ((cluster + 1) * clusterBytes < end && this.#states[cluster + 1] === state) cluster++;
      const runEnd = Math.min((cluster + 1) * clusterBytes, end);
      yield { at, byteCount: runEnd - at, state };
      at = runEnd;
    }
  }

  /** Writes into the delta, with the rest of clusters that it had not stored before. `source` has 1 byte or more. */
  async #store(offsetBytes: number, source: ScatterView): Promise<void> {
    const { clusterBytes, dataOffset } = this.#layout;
    const end = offsetBytes + source.byteLength;
    const first = Math.floor(offsetBytes / clusterBytes);
    const last = Math.floor((end - 1) / clusterBytes);
    const isStored = (): boolean => {
      for (let cluster = first; cluster <= last; cluster++) {
        if (this.#states[cluster] !== ClusterState.Stored) return false;
      }
      return true;
    };
    let isExclusive = !isStored();
    let release = await this.#locks.acquire(first, last, isExclusive);
    if (!isExclusive && !isStored()) {
      // Discarded while we waited.
      release();
      isExclusive = true;
      release = await this.#locks.acquire(first, last, true);
    }
    try {
      if (!isExclusive) return await this.#file.write(dataOffset + offsetBytes, source.segments);
      // All in one write: what the first cluster holds before, the new bytes, what the last cluster holds after.
      const head = await this.#rest(first, first * clusterBytes, offsetBytes);
      const lastEnd = Math.min((last + 1) * clusterBytes, this.sizeBytes);
      const tail = await this.#rest(last, end, lastEnd);
      await this.#file.write(dataOffset + offsetBytes - lengthOf(head), [...head, ...source.segments, ...tail]);
      for (let cluster = first; cluster <= last; cluster++) this.#setState(cluster, ClusterState.Stored);
    } finally {
      release();
    }
  }

  /** What bytes `from..to` of a cluster hold that is not stored yet; nothing if it is, or if there are none. */
  async #rest(cluster: number, from: number, to: number): Promise<Uint8Array[]> {
    const state = this.#states[cluster];
    if (from >= to || state === ClusterState.Stored) return [];
    if (state === ClusterState.Zero) return zeroBuffers(to - from);
    const bytes = new Uint8Array(to - from);
    await this.#base.read(from, ScatterView.over([bytes]));
    return [bytes];
  }

  /** Whole clusters become zero states and give their space back; zeros are written into the parts at both ends. */
  async #clear(offsetBytes: number, byteCount: number): Promise<void> {
    const { clusterBytes, dataOffset } = this.#layout;
    const end = offsetBytes + byteCount;
    const first = Math.ceil(offsetBytes / clusterBytes);
    // The last cluster may be cut short by the end of the disk.
    const past = end === this.sizeBytes ? this.#layout.clusterCount : Math.floor(end / clusterBytes);
    if (first >= past) return this.#clearPart(offsetBytes, end);
    await this.#clearPart(offsetBytes, first * clusterBytes);
    await this.#clearPart(past * clusterBytes, end);
    const release = await this.#locks.acquire(first, past - 1, true);
    try {
      for (let cluster = first; cluster < past; cluster++) {
        if (this.#states[cluster] === ClusterState.Zero) continue;
        const isStored = this.#states[cluster] === ClusterState.Stored;
        this.#setState(cluster, ClusterState.Zero);
        if (isStored && this.#file.canPunch) {
          await this.#file.punch(dataOffset + cluster * clusterBytes, clusterBytes);
        }
      }
    } finally {
      release();
    }
  }

  /** Zeros in a part of a cluster, or of two; those that are zero already stay unstored. */
  async #clearPart(from: number, to: number): Promise<void> {
    const { clusterBytes, dataOffset } = this.#layout;
    for (let at = from; at < to; ) {
      const cluster = Math.floor(at / clusterBytes);
      const partEnd = Math.min((cluster + 1) * clusterBytes, to);
      const release = await this.#locks.acquire(cluster, cluster, true);
      const state = this.#states[cluster];
      try {
        if (state === ClusterState.Stored) await zeroRange(this.#file, dataOffset + at, partEnd - at);
      } finally {
        release();
      }
      if (state === ClusterState.Base) {
        await writeZerosBlockwise(at, partEnd - at, (place, zeros) => this.#store(place, zeros));
      }
      at = partEnd;
    }
  }

  #setState(cluster: number, state: ClusterState): void {
    if (this.#states[cluster] === state) return;
    this.#states[cluster] = state;
    this.#dirtyPages.add(Math.floor(cluster / TABLE_PAGE_BYTES));
  }

  /** Bytes first, then the states as they were before the bytes were asked for. */
  async #commit(): Promise<void> {
    const pages = [...this.#dirtyPages].map((page) => ({
      page,
      states: this.#states.slice(page * TABLE_PAGE_BYTES, (page + 1) * TABLE_PAGE_BYTES),
    }));
    this.#dirtyPages.clear();
    try {
      await this.#file.sync();
      if (pages.length === 0) return;
      await settle(pages.map(({ page, states }) => this.#file.write(TABLE_OFFSET + page * TABLE_PAGE_BYTES, [states])));
      await this.#file.sync();
    } catch (error) {
      for (const { page } of pages) this.#dirtyPages.add(page);
      throw error;
    }
  }
}

function lengthOf(buffers: readonly Uint8Array[]): number {
  return buffers.reduce((sum, buffer) => sum + buffer.length, 0);
}
