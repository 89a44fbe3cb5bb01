/** The block allocation table in memory: each payload block's state and place. Section 2.5. */
import { type BackingFile, readBytes } from '../backing-file.ts';
import { ImageError } from '../image-error.ts';
import {
  BAT_ENTRIES_PER_SECTOR,
  BAT_ENTRY_BYTES,
  BlockState,
  batIndexOf,
  chunkRatioOf,
  HEADER_SECTION_BYTES,
  MIB,
  SECTOR_BYTES,
} from './format.ts';
import type { VhdxDisk } from './metadata.ts';
import type { FileArea, VhdxRegions } from './regions.ts';

/** More blocks are refused: 16 bytes of memory each. 8 TiB at the smallest block size, 64 TiB at 8 MiB and up. */
export const MAX_BLOCKS = 8 * 1024 * 1024;

const READ_BYTES = MIB;

export class BlockTable {
  readonly blockCount: number;
  readonly #chunkRatio: number;
  /** Bytes from the start of the file if the block is fully present, else 0. */
  readonly #places: Float64Array;
  /** The entry's state as the file should have it. */
  readonly #states: Uint8Array;
  /** Sectors of the table that are newer here than in the file. */
  readonly #dirty = new Set<number>();

  constructor(disk: VhdxDisk) {
    this.blockCount = Math.ceil(disk.diskBytes / disk.blockBytes);
    this.#chunkRatio = chunkRatioOf(disk.blockBytes, disk.sectorBytes);
    this.#places = new Float64Array(this.blockCount);
    this.#states = new Uint8Array(this.blockCount);
  }

  /** Place of the block's bytes in the file, or 0 if it has none: then it reads as zeros. */
  placeOf(block: number): number {
    return this.#places[block] as number;
  }

  setPresent(block: number, place: number): void {
    this.#set(block, BlockState.FullyPresent, place);
  }

  /** Zeros, without a place; a block that never had one stays as it is. */
  setZero(block: number): void {
    if (this.#places[block] !== 0) this.#set(block, BlockState.Zero, 0);
  }

  get hasChanges(): boolean {
    return this.#dirty.size > 0;
  }

  /** The changed sectors, which count as unchanged from now on; give them back to `markChanged` if writing them fails. */
  takeChanges(): { sector: number; bytes: Uint8Array }[] {
    const changes = [...this.#dirty].sort((a, b) => a - b).map((sector) => ({ sector, bytes: this.#encode(sector) }));
    this.#dirty.clear();
    return changes;
  }

  markChanged(sectors: Iterable<number>): void {
    for (const sector of sectors) this.#dirty.add(sector);
  }

  /** Takes an entry from the file, as it is. */
  load(block: number, state: number, place: number): void {
    this.#states[block] = state;
    this.#places[block] = place;
  }

  /** Number of the payload block that an entry of the table is about; undefined for those of sector bitmaps. */
  blockAt(index: number): number | undefined {
    const chunk = Math.floor(index / (this.#chunkRatio + 1));
    const inChunk = index % (this.#chunkRatio + 1);
    if (inChunk === this.#chunkRatio) return undefined;
    const block = chunk * this.#chunkRatio + inChunk;
    return block < this.blockCount ? block : undefined;
  }

  /** Entries up to and with that of the last payload block. */
  get entryCount(): number {
    return batIndexOf(this.blockCount - 1, this.#chunkRatio) + 1;
  }

  #set(block: number, state: number, place: number): void {
    this.#states[block] = state;
    this.#places[block] = place;
    this.#dirty.add(Math.floor(batIndexOf(block, this.#chunkRatio) / BAT_ENTRIES_PER_SECTOR));
  }

  /** Entries of sector bitmaps, and behind the last block, are zero: not present. */
  #encode(sector: number): Uint8Array {
    const bytes = new Uint8Array(SECTOR_BYTES);
    const view = new DataView(bytes.buffer);
    for (let slot = 0; slot < BAT_ENTRIES_PER_SECTOR; slot++) {
      const block = this.blockAt(sector * BAT_ENTRIES_PER_SECTOR + slot);
      if (block === undefined) continue;
      const entry = encodeBatEntry(this.#states[block] as number, this.#places[block] as number);
      view.setBigUint64(slot * BAT_ENTRY_BYTES, entry, true);
    }
    return bytes;
  }
}

/** @param place bytes, a multiple of 1 MiB */
export function encodeBatEntry(state: number, place: number): bigint {
  return (BigInt(place / MIB) << 20n) | BigInt(state);
}

export interface LoadedBlockTable {
  readonly table: BlockTable;
  /** Parts of the file that are in use, in order: headers, log, regions, blocks. */
  readonly used: Float64Array;
}

/**
 * Reads and judges the table.
 * @param log where the log is
 * @throws ImageError for a table too short, a state that the file may not have, a block outside the file or in two uses
 */
export async function loadBlockTable(
  file: BackingFile,
  fileBytes: number,
  disk: VhdxDisk,
  regions: VhdxRegions,
  log: FileArea,
): Promise<LoadedBlockTable> {
  const refuse = (why: string): never => {
    throw new ImageError(file.path, why);
  };
  const blockCount = Math.ceil(disk.diskBytes / disk.blockBytes);
  if (blockCount > MAX_BLOCKS) refuse(`has ${blockCount} blocks; this program takes ${MAX_BLOCKS}`);
  // The table is in the file, so its memory is bounded by what the region really has.
  const entryCount = batIndexOf(blockCount - 1, chunkRatioOf(disk.blockBytes, disk.sectorBytes)) + 1;
  if (entryCount * BAT_ENTRY_BYTES > regions.bat.byteCount) {
    refuse(`is corrupt: ${entryCount} blocks do not fit a table of ${regions.bat.byteCount} bytes`);
  }
  const others = [...regions.areas, log];
  checkOverlaps([], disk.blockBytes, others, refuse);
  const table = new BlockTable(disk);
  const starts: number[] = [];
  for (let at = 0; at < entryCount * BAT_ENTRY_BYTES; at += READ_BYTES) {
    const piece = await readBytes(file, regions.bat.at + at, Math.min(READ_BYTES, entryCount * BAT_ENTRY_BYTES - at));
    const words = new DataView(piece.buffer);
    for (let place = 0; place < piece.length; place += BAT_ENTRY_BYTES) {
      // Entries of sector bitmaps mean nothing without a parent; QEMU before 8.1 left arbitrary values in them.
      const block = table.blockAt((at + place) / BAT_ENTRY_BYTES);
      if (block === undefined) continue;
      const low = words.getUint32(place, true);
      const high = words.getUint32(place + 4, true);
      const state = low & 7;
      if ((low & 0xf_fff8) !== 0) refuse(`is corrupt: reserved bits are set in the entry of block ${block}`);
      if (!READABLE_STATES.has(state)) refuse(`is corrupt: block ${block} has the state ${state}`);
      // 44 bits of MiB: exact as a number, whatever they are.
      const blockAt = (high * 4096 + (low >>> 20)) * MIB;
      if (state !== BlockState.FullyPresent) {
        table.load(block, state, 0);
        continue;
      }
      // The last block need not have more than the disk's end.
      const neededBytes = Math.min(disk.blockBytes, disk.diskBytes - block * disk.blockBytes);
      if (blockAt < HEADER_SECTION_BYTES) refuse(`is corrupt: block ${block} lies at ${blockAt}, in the headers`);
      if (blockAt > fileBytes - neededBytes) {
        refuse(`is truncated: block ${block} ends at ${blockAt + neededBytes}, the file at ${fileBytes}`);
      }
      table.load(block, state, blockAt);
      starts.push(blockAt);
    }
  }
  return { table, used: checkOverlaps(starts, disk.blockBytes, others, refuse) };
}

/** What a block may be in a file without a parent. */
const READABLE_STATES: ReadonlySet<number> = new Set([
  BlockState.NotPresent,
  BlockState.Undefined,
  BlockState.Zero,
  BlockState.Unmapped,
  BlockState.UnmappedOld,
  BlockState.FullyPresent,
]);

/** @returns pairs of start and end, in order, of everything that is in use */
function checkOverlaps(
  blockStarts: readonly number[],
  blockBytes: number,
  areas: readonly FileArea[],
  refuse: (why: string) => never,
): Float64Array {
  const blocks = Float64Array.from(blockStarts).sort();
  const others = [{ what: 'the headers', at: 0, byteCount: HEADER_SECTION_BYTES }, ...areas].sort(
    (a, b) => a.at - b.at,
  );
  const used = new Float64Array((blocks.length + others.length) * 2);
  let end = 0;
  let endOf = '';
  let blockIndex = 0;
  let otherIndex = 0;
  for (let pair = 0; pair < used.length; pair += 2) {
    const block = blocks[blockIndex] ?? Number.POSITIVE_INFINITY;
    const other = others[otherIndex];
    const isBlock = other === undefined || block < other.at;
    const at = isBlock ? block : other.at;
    const what = isBlock ? 'a block' : other.what;
    if (at < end) refuse(`is corrupt: ${what} at ${at} overlaps ${endOf}, which ends at ${end}`);
    end = at + (isBlock ? blockBytes : other.byteCount);
    endOf = what;
    if (isBlock) blockIndex++;
    else otherIndex++;
    used[pair] = at;
    used[pair + 1] = end;
  }
  return used;
}
