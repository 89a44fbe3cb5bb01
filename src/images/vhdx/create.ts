/** Making a VHDX file. */
import { randomUUID } from 'node:crypto';
import { UsageError } from '../../errors.ts';
import { parseGuid, ZERO_GUID } from '../../wire/guid.ts';
import type { BackingFile } from '../backing-file.ts';
import { crc32cWithout } from '../crc32c.ts';
import { openNodeFile } from '../node-file.ts';
import { encodeBatEntry, MAX_BLOCKS } from './block-table.ts';
import {
  BAT_ENTRY_BYTES,
  BlockState,
  batIndexOf,
  chunkRatioOf,
  FILE_SIGNATURE,
  FileParameter,
  HEADER_OFFSETS,
  HEADER_SIGNATURE,
  MAX_BLOCK_BYTES,
  MAX_DISK_BYTES,
  METADATA_SIGNATURE,
  METADATA_TABLE_BYTES,
  MetadataFlag,
  MetadataItem,
  MetadataTableEntry,
  MetadataTableHeader,
  MIB,
  MIN_BLOCK_BYTES,
  REGION_BAT,
  REGION_METADATA,
  REGION_SIGNATURE,
  REGION_TABLE_BYTES,
  REGION_TABLE_OFFSETS,
  RegionTableEntry,
  RegionTableHeader,
} from './format.ts';
import { encodeHeader } from './headers.ts';

export interface CreateVhdxOptions {
  /** Bytes of the disk, a multiple of the sector size, at most 64 TiB. */
  readonly diskBytes: number;
  /** Bytes of a payload block, a power of two, 1 MiB .. 256 MiB. Default 32 MiB, as Windows makes them. */
  readonly blockBytes?: number;
  /** 512 or 4096. Default 512. */
  readonly sectorBytes?: 512 | 4096;
  /** Give every block its place at once. Default false: dynamic. */
  readonly fixed?: boolean;
}

const LOG_AT = MIB;
const LOG_BYTES = MIB;
const METADATA_AT = 2 * MIB;
const METADATA_BYTES = MIB;
const BAT_AT = 3 * MIB;

/**
 * @throws SystemError `ERR_BACKEND` if the file exists already or cannot be written
 * @throws UsageError `ERR_ARGUMENT` for sizes that the format does not have
 */
export async function createVhdxImage(path: string, options: CreateVhdxOptions): Promise<void> {
  const file = await openNodeFile(path, { create: true });
  try {
    await writeEmptyVhdx(file, options);
  } finally {
    await file.close();
  }
}

/** The same into an empty file that is open already. Ends with a `sync`. */
export async function writeEmptyVhdx(file: BackingFile, options: CreateVhdxOptions): Promise<void> {
  const { diskBytes, blockBytes = 32 * MIB, sectorBytes = 512, fixed = false } = options;
  checkSizes(diskBytes, blockBytes, sectorBytes);
  const chunkRatio = chunkRatioOf(blockBytes, sectorBytes);
  const blockCount = Math.ceil(diskBytes / blockBytes);
  const tableBytes = (batIndexOf(blockCount - 1, chunkRatio) + 1) * BAT_ENTRY_BYTES;
  const batBytes = Math.ceil(tableBytes / MIB) * MIB;
  const blocksAt = BAT_AT + batBytes;
  await file.resize(blocksAt + (fixed ? blockCount * blockBytes : 0));
  if (fixed) {
    const bat = new Uint8Array(tableBytes);
    const view = new DataView(bat.buffer);
    for (let block = 0; block < blockCount; block++) {
      const entry = encodeBatEntry(BlockState.FullyPresent, blocksAt + block * blockBytes);
      view.setBigUint64(batIndexOf(block, chunkRatio) * BAT_ENTRY_BYTES, entry, true);
    }
    await file.write(BAT_AT, [bat]);
  }
  await file.write(METADATA_AT, [metadata(diskBytes, blockBytes, sectorBytes, fixed)]);
  const regions = regionTable(batBytes);
  for (const offset of REGION_TABLE_OFFSETS) await file.write(offset, [regions]);
  const fields = {
    signature: HEADER_SIGNATURE,
    checksum: 0,
    fileWriteGuid: randomUUID(),
    dataWriteGuid: randomUUID(),
    logGuid: ZERO_GUID,
    logVersion: 0,
    version: 1,
    logLength: LOG_BYTES,
    logOffset: LOG_AT,
  };
  for (const [slot, offset] of HEADER_OFFSETS.entries()) {
    await file.write(offset, [encodeHeader({ ...fields, sequenceNumber: slot })]);
  }
  await file.sync();
  // Last: what is not finished does not look like an image.
  await file.write(0, [FILE_SIGNATURE, Buffer.from('vmbus', 'utf16le')]);
  await file.sync();
}

function regionTable(batBytes: number): Uint8Array {
  const table = new Uint8Array(REGION_TABLE_BYTES);
  RegionTableHeader.write(table, 0, { signature: REGION_SIGNATURE, checksum: 0, entryCount: 2 });
  const entries = [
    { regionGuid: REGION_BAT, fileOffset: BAT_AT, length: batBytes, required: 1 },
    { regionGuid: REGION_METADATA, fileOffset: METADATA_AT, length: METADATA_BYTES, required: 1 },
  ];
  for (const [index, entry] of entries.entries()) {
    RegionTableEntry.write(table, RegionTableHeader.size + index * RegionTableEntry.size, entry);
  }
  const checksumAt = RegionTableHeader.offsets.checksum;
  new DataView(table.buffer).setUint32(checksumAt, crc32cWithout(table, checksumAt), true);
  return table;
}

/** The table and, behind it, the five items that every file has. Section 2.6.2. */
function metadata(diskBytes: number, blockBytes: number, sectorBytes: number, fixed: boolean): Uint8Array {
  const u32 = (...values: number[]): Uint8Array => new Uint8Array(new Uint32Array(values).buffer);
  const { IsRequired, IsVirtualDisk } = MetadataFlag;
  const items = [
    {
      itemId: MetadataItem.FileParameters,
      flags: IsRequired,
      bytes: u32(blockBytes, fixed ? FileParameter.LeaveBlocksAllocated : 0),
    },
    {
      itemId: MetadataItem.VirtualDiskSize,
      flags: IsRequired | IsVirtualDisk,
      bytes: u32(diskBytes % 2 ** 32, Math.floor(diskBytes / 2 ** 32)),
    },
    { itemId: MetadataItem.VirtualDiskId, flags: IsRequired | IsVirtualDisk, bytes: parseGuid(randomUUID()) },
    { itemId: MetadataItem.LogicalSectorSize, flags: IsRequired | IsVirtualDisk, bytes: u32(sectorBytes) },
    { itemId: MetadataItem.PhysicalSectorSize, flags: IsRequired | IsVirtualDisk, bytes: u32(4096) },
  ];
  const region = new Uint8Array(METADATA_TABLE_BYTES + 4096);
  MetadataTableHeader.write(region, 0, { signature: METADATA_SIGNATURE, entryCount: items.length });
  let offset = METADATA_TABLE_BYTES;
  for (const [index, { itemId, flags, bytes }] of items.entries()) {
    const entryAt = MetadataTableHeader.size + index * MetadataTableEntry.size;
    MetadataTableEntry.write(region, entryAt, { itemId, offset, length: bytes.length, flags });
    region.set(bytes, offset);
    offset += bytes.length;
  }
  return region;
}

function checkSizes(diskBytes: number, blockBytes: number, sectorBytes: number): void {
  const isBlockSize =
    blockBytes >= MIN_BLOCK_BYTES && blockBytes <= MAX_BLOCK_BYTES && Number.isInteger(Math.log2(blockBytes));
  if (!isBlockSize)
    throw new UsageError('ERR_ARGUMENT', `a VHDX block has 1 to 256 MiB, a power of two: ${blockBytes}`);
  const isDiskSize = Number.isSafeInteger(diskBytes) && diskBytes > 0 && diskBytes % sectorBytes === 0;
  if (!isDiskSize || diskBytes > MAX_DISK_BYTES || diskBytes / blockBytes > MAX_BLOCKS) {
    throw new UsageError('ERR_ARGUMENT', `a VHDX of ${diskBytes} bytes with blocks of ${blockBytes} cannot be made`);
  }
}
