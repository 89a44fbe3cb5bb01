/** What a VHDX file says of its disk: size, blocks, sectors, identity. Section 2.6. */
import { formatGuid, type Guid } from '../../wire/guid.ts';
import { type BackingFile, readBytes } from '../backing-file.ts';
import { ImageError } from '../image-error.ts';
import {
  FileParameter,
  MAX_BLOCK_BYTES,
  MAX_DISK_BYTES,
  MAX_TABLE_ENTRIES,
  METADATA_SIGNATURE,
  METADATA_TABLE_BYTES,
  MetadataFlag,
  MetadataItem,
  MetadataTableEntry,
  MetadataTableHeader,
  MIB,
  MIN_BLOCK_BYTES,
} from './format.ts';
import type { FileArea } from './regions.ts';

export interface VhdxDisk {
  readonly diskBytes: number;
  /** Bytes of a payload block. */
  readonly blockBytes: number;
  /** 512 or 4096. */
  readonly sectorBytes: number;
  readonly diskId: Guid;
  /** True for a fixed VHDX: blocks keep their space. */
  readonly keepsBlocks: boolean;
}

/** Length of each known item; a parent locator has any. */
const ITEM_BYTES: Record<string, { name: string; bytes: number }> = {
  [MetadataItem.FileParameters]: { name: 'file parameters', bytes: 8 },
  [MetadataItem.VirtualDiskSize]: { name: 'disk size', bytes: 8 },
  [MetadataItem.VirtualDiskId]: { name: 'disk id', bytes: 16 },
  [MetadataItem.LogicalSectorSize]: { name: 'logical sector size', bytes: 4 },
  [MetadataItem.PhysicalSectorSize]: { name: 'physical sector size', bytes: 4 },
};

/** @throws ImageError if the metadata are damaged, contradict themselves, or need something that we do not know */
export async function loadMetadata(file: BackingFile, region: FileArea): Promise<VhdxDisk> {
  const refuse = (why: string): never => {
    throw new ImageError(file.path, why);
  };
  const items = await loadItems(file, region, refuse);
  const item = (id: string): DataView => {
    const found = items.get(id);
    if (found === undefined) return refuse(`is corrupt: its metadata have no ${ITEM_BYTES[id]?.name}`);
    return new DataView(found.buffer);
  };
  const parameters = item(MetadataItem.FileParameters).getUint32(4, true);
  if ((parameters & FileParameter.HasParent) !== 0 || items.has(MetadataItem.ParentLocator)) {
    refuse('is a differencing VHDX, which needs its parent; only fixed and dynamic ones are supported');
  }
  const blockBytes = item(MetadataItem.FileParameters).getUint32(0, true);
  const isBlockSize = blockBytes >= MIN_BLOCK_BYTES && blockBytes <= MAX_BLOCK_BYTES && isPowerOfTwo(blockBytes);
  if (!isBlockSize) refuse(`is corrupt: its block size is ${blockBytes}`);
  const sectorBytes = item(MetadataItem.LogicalSectorSize).getUint32(0, true);
  if (sectorBytes !== 512 && sectorBytes !== 4096) refuse(`is corrupt: its logical sectors have ${sectorBytes} bytes`);
  const physicalBytes = item(MetadataItem.PhysicalSectorSize).getUint32(0, true);
  if (physicalBytes !== 512 && physicalBytes !== 4096) {
    refuse(`is corrupt: its physical sectors have ${physicalBytes} bytes`);
  }
  const diskBytes = item(MetadataItem.VirtualDiskSize).getBigUint64(0, true);
  if (diskBytes === 0n || diskBytes > BigInt(MAX_DISK_BYTES) || diskBytes % BigInt(sectorBytes) !== 0n) {
    refuse(`is corrupt: its disk has ${diskBytes} bytes`);
  }
  return {
    diskBytes: Number(diskBytes),
    blockBytes,
    sectorBytes,
    diskId: formatGuid(new Uint8Array(item(MetadataItem.VirtualDiskId).buffer)),
    keepsBlocks: (parameters & FileParameter.LeaveBlocksAllocated) !== 0,
  };
}

/** The known system items, by id. */
async function loadItems(
  file: BackingFile,
  region: FileArea,
  refuse: (why: string) => never,
): Promise<Map<string, Uint8Array<ArrayBuffer>>> {
  const table = await readBytes(file, region.at, METADATA_TABLE_BYTES);
  const header = MetadataTableHeader.parse(table);
  if (Buffer.compare(header.signature, METADATA_SIGNATURE) !== 0)
    refuse('is corrupt: its metadata do not begin as such');
  if (header.entryCount > MAX_TABLE_ENTRIES) refuse(`is corrupt: its metadata table has ${header.entryCount} entries`);
  const items = new Map<string, Uint8Array<ArrayBuffer>>();
  const seen = new Set<string>();
  const places: { at: number; end: number }[] = [];
  for (let index = 0; index < header.entryCount; index++) {
    const entry = MetadataTableEntry.parse(table, MetadataTableHeader.size + index * MetadataTableEntry.size);
    const isUser = (entry.flags & MetadataFlag.IsUser) !== 0;
    const what = `metadata item ${entry.itemId}`;
    if (seen.has(`${isUser} ${entry.itemId}`)) refuse(`is corrupt: it has ${what} twice`);
    seen.add(`${isUser} ${entry.itemId}`);
    const known = isUser ? undefined : ITEM_BYTES[entry.itemId];
    const isParent = !isUser && entry.itemId === MetadataItem.ParentLocator;
    if (known === undefined && !isParent && (entry.flags & MetadataFlag.IsRequired) !== 0) {
      refuse(`needs ${what}, which this program does not know`);
    }
    const { length, offset } = entry;
    const isEmpty = length === 0 && offset === 0;
    const isInside = length <= MIB && offset >= METADATA_TABLE_BYTES && length <= region.byteCount - offset;
    if (!isEmpty && !isInside) refuse(`is corrupt: ${what}, ${length} bytes at ${offset}, lies outside its region`);
    if (known !== undefined && length !== known.bytes) {
      refuse(`is corrupt: its ${known.name} has ${length} bytes, not ${known.bytes}`);
    }
    places.push({ at: offset, end: offset + length });
    if (known !== undefined) items.set(entry.itemId, await readBytes(file, region.at + offset, length));
    else if (isParent) items.set(entry.itemId, new Uint8Array(0));
  }
  places.sort((a, b) => a.at - b.at);
  for (const [index, place] of places.entries()) {
    const before = places[index - 1];
    if (before !== undefined && before.end > place.at) refuse('is corrupt: items of its metadata overlap');
  }
  return items;
}

function isPowerOfTwo(value: number): boolean {
  return (value & (value - 1)) === 0;
}
