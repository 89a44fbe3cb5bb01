/** The region table of a VHDX file: where the block allocation table and the metadata are. Section 2.2.3. */
import { type BackingFile, readBytes } from '../backing-file.ts';
import { crc32cWithout } from '../crc32c.ts';
import { ImageError } from '../image-error.ts';
import {
  HEADER_SECTION_BYTES,
  MAX_TABLE_ENTRIES,
  MIB,
  REGION_BAT,
  REGION_METADATA,
  REGION_SIGNATURE,
  REGION_TABLE_BYTES,
  REGION_TABLE_OFFSETS,
  RegionTableEntry,
  RegionTableHeader,
} from './format.ts';

/** A part of the file that something owns. */
export interface FileArea {
  readonly what: string;
  readonly at: number;
  readonly byteCount: number;
}

export interface VhdxRegions {
  readonly bat: FileArea;
  readonly metadata: FileArea;
  /** All regions, those that we do not know included. */
  readonly areas: readonly FileArea[];
}

/** @throws ImageError if no copy is valid, a region lies outside the file, or one is needed that we do not know */
export async function loadRegions(file: BackingFile, fileBytes: number): Promise<VhdxRegions> {
  const refuse = (why: string): never => {
    throw new ImageError(file.path, why);
  };
  const table = await validTable(file);
  if (table === undefined) return refuse('is corrupt: neither copy of its region table is valid');
  const { entryCount } = RegionTableHeader.parse(table);
  if (entryCount > MAX_TABLE_ENTRIES) refuse(`is corrupt: its region table has ${entryCount} entries`);
  const regions = new Map<string, FileArea>();
  for (let index = 0; index < entryCount; index++) {
    const entry = RegionTableEntry.parse(table, RegionTableHeader.size + index * RegionTableEntry.size);
    const name = NAMES[entry.regionGuid];
    const what = name ?? `region ${entry.regionGuid}`;
    if (name === undefined && (entry.required & 1) !== 0) {
      refuse(`needs ${what}, which this program does not know`);
    }
    if (regions.has(entry.regionGuid)) refuse(`is corrupt: it has two of ${what}`);
    const isWholeMib = entry.fileOffset % BigInt(MIB) === 0n && entry.length % MIB === 0 && entry.length > 0;
    if (!isWholeMib || entry.fileOffset < BigInt(HEADER_SECTION_BYTES)) {
      refuse(`is corrupt: ${what}, ${entry.length} bytes at ${entry.fileOffset}, is not whole MiB behind the headers`);
    }
    if (entry.fileOffset > BigInt(fileBytes) || entry.length > fileBytes - Number(entry.fileOffset)) {
      refuse(`is truncated: ${what} ends at ${entry.fileOffset + BigInt(entry.length)}, the file at ${fileBytes}`);
    }
    regions.set(entry.regionGuid, { what, at: Number(entry.fileOffset), byteCount: entry.length });
  }
  const bat = regions.get(REGION_BAT) ?? refuse('is corrupt: it has no block allocation table');
  const metadata = regions.get(REGION_METADATA) ?? refuse('is corrupt: it has no metadata');
  return { bat, metadata, areas: [...regions.values()] };
}

const NAMES: Record<string, string> = {
  [REGION_BAT]: 'the block allocation table',
  [REGION_METADATA]: 'the metadata region',
};

async function validTable(file: BackingFile): Promise<Uint8Array | undefined> {
  for (const offset of REGION_TABLE_OFFSETS) {
    const table = await readBytes(file, offset, REGION_TABLE_BYTES);
    const header = RegionTableHeader.parse(table);
    const sum = crc32cWithout(table, RegionTableHeader.offsets.checksum);
    if (header.signature === REGION_SIGNATURE && header.checksum === sum) return table;
  }
  return undefined;
}
