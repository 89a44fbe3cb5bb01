/**
 * VHDX images, fixed and dynamic, for reading and writing.
 *
 * A block gets its place in the file when it is first written; the table in the file learns of it at the next flush, in
 * this order: the blocks' bytes on stable storage, the table's new sectors in the log on stable storage, the sectors in
 * the table. So the table never points at bytes that are not there, and a cut between any two writes leaves a file that
 * opens, with everything that was flushed. Space that a discard frees is used again only when no stable table points at
 * it. Section numbers are those of [MS-VHDX].
 */
import { randomUUID } from 'node:crypto';
import {
  BackendError,
  BackendFault,
  checkRange,
  type DiscardingBackend,
  type Extent,
} from '../../devices/scsi/block-backend.ts';
import type { ScatterView } from '../../memory/scatter-view.ts';
import { ZERO_GUID } from '../../wire/guid.ts';
import { type BackingFile, writeZeros, zeroBuffers, zeroRange } from '../backing-file.ts';
import { CallCount, settle } from '../call-count.ts';
import { GroupCommit } from '../group-commit.ts';
import { RangeLocks } from '../range-locks.ts';
import { writeZerosBlockwise } from '../zero-writes.ts';
import type { BlockTable } from './block-table.ts';
import { MIB, SECTOR_BYTES } from './format.ts';
import type { FreeSpace } from './free-space.ts';
import type { VhdxHeaders } from './headers.ts';
import { LogWriter, MAX_ENTRY_SECTORS } from './log-writer.ts';
import type { VhdxDisk } from './metadata.ts';

/** What opening found, all checked. */
export interface VhdxParts {
  readonly file: BackingFile;
  readonly headers: VhdxHeaders;
  readonly disk: VhdxDisk;
  readonly table: BlockTable;
  readonly space: FreeSpace;
  /** Where the table is in the file, bytes. */
  readonly batOffset: number;
  readonly fileBytes: number;
}

export class VhdxImage implements DiscardingBackend {
  readonly sizeBytes: number;
  readonly blockBytes: number;
  readonly readOnly: boolean;
  readonly hasVolatileCache: boolean;
  readonly identity: string;
  readonly discardGranularityBytes: number;
  readonly discardReadsZeros = true;
  readonly #file: BackingFile;
  readonly #headers: VhdxHeaders;
  readonly #disk: VhdxDisk;
  readonly #table: BlockTable;
  readonly #space: FreeSpace;
  readonly #batOffset: number;
  readonly #calls = new CallCount();
  readonly #locks = new RangeLocks();
  readonly #commits = new GroupCommit(() => this.#commit());
  /** Places that discards freed since the last commit. */
  #freed: number[] = [];
  #fileBytes: number;
  #growing: Promise<void> = Promise.resolve();
  #log: LogWriter | undefined;
  #beginning: Promise<void> | undefined;

  /** Use `openVhdxImage`. */
  constructor(parts: VhdxParts, identity: string) {
    this.#file = parts.file;
    this.#headers = parts.headers;
    this.#disk = parts.disk;
    this.#table = parts.table;
    this.#space = parts.space;
    this.#batOffset = parts.batOffset;
    this.#fileBytes = parts.fileBytes;
    this.sizeBytes = parts.disk.diskBytes;
    this.blockBytes = parts.disk.sectorBytes;
    this.readOnly = parts.file.readOnly;
    this.hasVolatileCache = !parts.file.readOnly;
    this.identity = identity;
    const givesBack = !parts.file.readOnly && (!parts.disk.keepsBlocks || parts.file.canPunch);
    this.discardGranularityBytes = givesBack ? (parts.disk.keepsBlocks ? SECTOR_BYTES : parts.disk.blockBytes) : 0;
  }

  get path(): string {
    return this.#file.path;
  }

  read(offsetBytes: number, target: ScatterView): Promise<void> {
    return this.#calls.run(async () => {
      checkRange(this, offsetBytes, target.byteLength);
      if (target.byteLength === 0) return;
      // Shared, so that no block is freed and given to another while its bytes are read.
      const release = await this.#locks.acquire(...this.#blocksOf(offsetBytes, target.byteLength), false);
      try {
        await settle(
          [...this.#runs(offsetBytes, target.byteLength)].map(async ({ at, byteCount, place }) => {
            const part = target.slice(at - offsetBytes, byteCount);
            if (place === undefined) part.fill(0);
            else await this.#file.read(place, part.segments);
          }),
        );
      } finally {
        release();
      }
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
    for (const run of this.#runs(offsetBytes, byteCount)) {
      if (found.length >= maxExtents) break;
      const isAllocated = run.place !== undefined;
      found.push({ offsetBytes: run.at, byteCount: run.byteCount, isAllocated, isZero: !isAllocated });
    }
    return found;
  }

  /** Flushes and marks the log as empty, so that the next reader has nothing to replay; closes the file in any case. */
  async close(): Promise<void> {
    if (!(await this.#calls.close())) return;
    try {
      if (this.#beginning !== undefined) await this.#end();
    } finally {
      await this.#file.close();
    }
  }

  /** Plain facts for an inspector. */
  inspect(): Record<string, unknown> {
    const { blockBytes, keepsBlocks } = this.#disk;
    let presentBlocks = 0;
    for (let block = 0; block < this.#table.blockCount; block++) if (this.#table.placeOf(block) !== 0) presentBlocks++;
    const type = keepsBlocks ? 'fixed' : 'dynamic';
    return {
      path: this.path,
      type,
      blockBytes,
      blocks: this.#table.blockCount,
      presentBlocks,
      fileBytes: this.#fileBytes,
    };
  }

  #change(offsetBytes: number, byteCount: number, forceUnitAccess: boolean, work: () => Promise<void>): Promise<void> {
    return this.#calls.run(async () => {
      if (this.readOnly) throw new BackendError(BackendFault.ReadOnly, `${this.path} is open for reading only`);
      checkRange(this, offsetBytes, byteCount);
      if (byteCount > 0) {
        await this.#begin();
        await work();
      }
      if (forceUnitAccess) await this.#commits.request();
    });
  }

  #blocksOf(offsetBytes: number, byteCount: number): [first: number, last: number] {
    const { blockBytes } = this.#disk;
    return [Math.floor(offsetBytes / blockBytes), Math.floor((offsetBytes + byteCount - 1) / blockBytes)];
  }

  /** Pieces of a range that lie in one place of the file, or in none, in order; neighbours in the file are joined. */
  *#runs(
    offsetBytes: number,
    byteCount: number,
  ): Generator<{ at: number; byteCount: number; place: number | undefined }> {
    const { blockBytes } = this.#disk;
    const end = offsetBytes + byteCount;
    for (let at = offsetBytes; at < end; ) {
      let block = Math.floor(at / blockBytes);
      const place = this.#table.placeOf(block);
      const next = (): number => (place === 0 ? 0 : this.#table.placeOf(block) + blockBytes);
      while ((block + 1) * blockBytes < end && this.#table.placeOf(block + 1) === next()) block++;
      const runEnd = Math.min((block + 1) * blockBytes, end);
      yield { at, byteCount: runEnd - at, place: place === 0 ? undefined : place + (at % blockBytes) };
      at = runEnd;
    }
  }

  async #store(offsetBytes: number, source: ScatterView): Promise<void> {
    const [first, last] = this.#blocksOf(offsetBytes, source.byteLength);
    const isPresent = (): boolean => {
      for (let block = first; block <= last; block++) if (this.#table.placeOf(block) === 0) return false;
      return true;
    };
    let release = await this.#locks.acquire(first, last, !isPresent());
    if (!isPresent()) {
      // Discarded while we waited, or it never was: from here on nobody else is in these blocks.
      release();
      release = await this.#locks.acquire(first, last, true);
    }
    try {
      const parts: Promise<void>[] = [];
      for (const { at, byteCount, place } of this.#runs(offsetBytes, source.byteLength)) {
        const part = source.slice(at - offsetBytes, byteCount);
        if (place === undefined) parts.push(this.#storeNew(at, part));
        else parts.push(this.#file.write(place, part.segments));
      }
      await settle(parts);
    } finally {
      release();
    }
  }

  /** Writes to blocks that have no place yet. */
  async #storeNew(offsetBytes: number, source: ScatterView): Promise<void> {
    const { blockBytes } = this.#disk;
    const end = offsetBytes + source.byteLength;
    for (let at = offsetBytes; at < end; ) {
      const block = Math.floor(at / blockBytes);
      const partEnd = Math.min((block + 1) * blockBytes, end);
      const part = source.slice(at - offsetBytes, partEnd - at);
      const { at: place, isFresh } = this.#space.take();
      try {
        await this.#fillBlock(place, isFresh, at % blockBytes, part);
      } catch (error) {
        this.#space.give(place);
        throw error;
      }
      this.#table.setPresent(block, place);
      at = partEnd;
    }
  }

  /** Gives a block's place its first bytes: those that are written, and zeros everywhere else. */
  async #fillBlock(place: number, isFresh: boolean, atInBlock: number, part: ScatterView): Promise<void> {
    const { blockBytes } = this.#disk;
    await this.#growTo(place + blockBytes);
    const isPunched = !isFresh && this.#file.canPunch && (await this.#file.punch(place, blockBytes));
    if (isFresh || isPunched) return this.#file.write(place + atInBlock, part.segments);
    const tailAt = atInBlock + part.byteLength;
    await this.#file.write(place, [...zeroBuffers(atInBlock), ...part.segments]);
    await writeZeros(this.#file, place + tailAt, blockBytes - tailAt);
  }

  /** Lengthens the file, one caller after another: a shorter length may never come after a longer one. */
  #growTo(fileBytes: number): Promise<void> {
    const grown = this.#growing.then(async () => {
      if (fileBytes <= this.#fileBytes) return;
      await this.#file.resize(fileBytes);
      this.#fileBytes = fileBytes;
    });
    // Whoever grows next is not hurt by this failure.
    this.#growing = grown.catch(() => undefined);
    return grown;
  }

  /** Whole blocks lose their place; zeros are written into the parts at both ends, and into all of a fixed disk. */
  async #clear(offsetBytes: number, byteCount: number): Promise<void> {
    const { blockBytes, keepsBlocks } = this.#disk;
    const end = offsetBytes + byteCount;
    const release = await this.#locks.acquire(...this.#blocksOf(offsetBytes, byteCount), true);
    try {
      for (let at = offsetBytes; at < end; ) {
        const block = Math.floor(at / blockBytes);
        const blockEnd = Math.min((block + 1) * blockBytes, this.sizeBytes);
        const partEnd = Math.min(blockEnd, end);
        const place = this.#table.placeOf(block);
        if (place !== 0 && !keepsBlocks && at === block * blockBytes && partEnd === blockEnd) {
          this.#table.setZero(block);
          this.#freed.push(place);
        } else if (place !== 0) {
          await zeroRange(this.#file, place + (at % blockBytes), partEnd - at);
        }
        at = partEnd;
      }
    } finally {
      release();
    }
  }

  /** Before the first change: new identifiers in the headers, and a log that is ours. Sections 2.2.2 and 2.3. */
  #begin(): Promise<void> {
    this.#beginning ??= this.#startLog().catch((error: unknown) => {
      this.#beginning = undefined;
      throw error;
    });
    return this.#beginning;
  }

  async #startLog(): Promise<void> {
    const { logBytes, logOffset } = this.#headers;
    // The headers name the log only when it holds an entry: a log without one is a corrupt file.
    await this.#headers.update({ logGuid: ZERO_GUID, newFileWriteGuid: true, newDataWriteGuid: true });
    const log = new LogWriter(this.#file, logOffset, logBytes, randomUUID());
    await log.append([], wholeMib(this.#fileBytes), this.#space.endBytes);
    await this.#file.sync();
    await this.#headers.update({ logGuid: log.logGuid });
    this.#log = log;
  }

  async #end(): Promise<void> {
    await this.#commits.request();
    await this.#file.sync();
    await this.#headers.update({ logGuid: ZERO_GUID });
  }

  /** One flush. What it covers is fixed at its start: blocks enter the table when their bytes are written. */
  async #commit(): Promise<void> {
    const log = this.#log;
    const changes = this.#table.takeChanges();
    const freed = this.#freed;
    this.#freed = [];
    const stableBytes = wholeMib(this.#fileBytes);
    let done = 0;
    try {
      // The bytes of blocks; and what the last log entry stood for, so that the next may take its place.
      await this.#file.sync();
      while (done < changes.length && log !== undefined) {
        const batch = changes.slice(done, done + MAX_ENTRY_SECTORS);
        const sectors = batch.map(({ sector, bytes }) => ({
          fileOffset: this.#batOffset + sector * SECTOR_BYTES,
          bytes,
        }));
        await log.append(sectors, stableBytes, this.#space.endBytes);
        await this.#file.sync();
        await settle(sectors.map(({ fileOffset, bytes }) => this.#file.write(fileOffset, [bytes])));
        done += batch.length;
        if (done < changes.length) await this.#file.sync();
      }
    } catch (error) {
      this.#table.markChanged(changes.slice(done).map(({ sector }) => sector));
      this.#freed.push(...freed);
      throw error;
    }
    for (const place of freed) this.#space.give(place);
  }
}

/** The log counts lengths in whole MiB. */
function wholeMib(byteCount: number): number {
  return Math.floor(byteCount / MIB) * MIB;
}
