/**
 * The structures of a VHDX file, little-endian. Offsets and sizes are those of the document; section numbers are given
 * where a rule is applied.
 *
 * Source: [MS-VHDX] "Virtual Hard Disk v2 (VHDX) File Format", sections 2.2 to 2.6.
 */
import { bytes, guid, pad, struct, u16, u32, u64 } from '../../wire/struct.ts';

export const MIB = 1024 * 1024;
/** Unit of log and metadata updates. */
export const SECTOR_BYTES = 4096;

/** Section 2.2.1. The text "vhdxfile". */
export const FILE_SIGNATURE = new TextEncoder().encode('vhdxfile');
/** Sections 2.2.2 and 2.2.3: two of each. */
export const HEADER_OFFSETS = [64 * 1024, 128 * 1024] as const;
export const REGION_TABLE_OFFSETS = [192 * 1024, 256 * 1024] as const;
export const REGION_TABLE_BYTES = 64 * 1024;
/** The header section ends here; everything else lies behind it. */
export const HEADER_SECTION_BYTES = MIB;

/** Section 2.2.2. */
export const VhdxHeader = struct('VhdxHeader', 4096, {
  signature: u32(0), // "head"
  checksum: u32(4), // CRC-32C of these 4096 bytes, this field as zero
  sequenceNumber: u64(8), // the valid header with the greater one is current
  fileWriteGuid: guid(16),
  dataWriteGuid: guid(32),
  logGuid: guid(48), // zero: nothing to replay
  logVersion: u16(64), // 0
  version: u16(66), // 1
  logLength: u32(68), // bytes, multiple of 1 MiB
  logOffset: u64(72), // bytes, multiple of 1 MiB
  reserved: pad(80, 4016),
});
export const HEADER_SIGNATURE = 0x6461_6568;

/** Section 2.2.3.1. */
export const RegionTableHeader = struct('RegionTableHeader', 16, {
  signature: u32(0), // "regi"
  checksum: u32(4), // CRC-32C of the whole 64 KiB
  entryCount: u32(8), // at most 2047
  reserved: pad(12, 4),
});
export const REGION_SIGNATURE = 0x6967_6572;
export const MAX_TABLE_ENTRIES = 2047;

/** Section 2.2.3.2. */
export const RegionTableEntry = struct('RegionTableEntry', 32, {
  regionGuid: guid(0),
  fileOffset: u64(16), // multiple of 1 MiB, at least 1 MiB
  length: u32(24), // multiple of 1 MiB
  required: u32(28), // bit 0: refuse the file if the region is unknown
});
export const REGION_BAT = '2dc27766-f623-4200-9d64-115e9bfd4a08';
export const REGION_METADATA = '8b7ca206-4790-4b9a-b8fe-575f050f886e';

/** Section 2.3.1.1. */
export const LogEntryHeader = struct('LogEntryHeader', 64, {
  signature: u32(0), // "loge"
  checksum: u32(4), // CRC-32C of the whole entry
  entryLength: u32(8), // bytes, multiple of 4096
  tail: u32(12), // bytes from the start of the log to the first entry that still counts
  sequenceNumber: u64(16), // 1 or more
  descriptorCount: u32(24),
  reserved: pad(28, 4),
  logGuid: guid(32),
  flushedFileOffset: u64(48), // the file is at least this long, on stable storage
  lastFileOffset: u64(56), // the file must be made at least this long by a replay
});
export const LOG_SIGNATURE = 0x6567_6f6c;

/** Section 2.3.1.3; a zero descriptor (2.3.1.2) has the zero length where the leading bytes are. */
export const LogDescriptor = struct('LogDescriptor', 32, {
  signature: u32(0), // "desc" or "zero"
  trailingBytes: bytes(4, 4), // last four of the sector
  leadingBytes: bytes(8, 8), // first eight of the sector; or the zero length
  fileOffset: u64(16), // multiple of 4096
  sequenceNumber: u64(24), // that of the entry
});
export const DATA_DESCRIPTOR = 0x6373_6564;
export const ZERO_DESCRIPTOR = 0x6f72_657a;

/** Section 2.3.1.4. */
export const LogDataSector = struct('LogDataSector', 4096, {
  signature: u32(0), // "data"
  sequenceHigh: u32(4),
  data: bytes(8, 4084),
  sequenceLow: u32(4092),
});
export const DATA_SECTOR = 0x6174_6164;

/** Section 2.6.1.1. */
export const MetadataTableHeader = struct('MetadataTableHeader', 32, {
  signature: bytes(0, 8), // "metadata"
  reserved: pad(8, 2),
  entryCount: u16(10), // at most 2047
  reserved2: pad(12, 20),
});
export const METADATA_SIGNATURE = new TextEncoder().encode('metadata');
export const METADATA_TABLE_BYTES = 64 * 1024;

/** Section 2.6.1.2. */
export const MetadataTableEntry = struct('MetadataTableEntry', 32, {
  itemId: guid(0),
  offset: u32(16), // from the start of the region, at least 64 KiB; 0 if empty
  length: u32(20), // at most 1 MiB
  flags: u32(24), // of MetadataFlag
  reserved: pad(28, 4),
});
export const MetadataFlag = { IsUser: 1, IsVirtualDisk: 2, IsRequired: 4 } as const;

/** Section 2.6.2. */
export const MetadataItem = {
  FileParameters: 'caa16737-fa36-4d43-b3b6-33f0aa44e76b',
  VirtualDiskSize: '2fa54224-cd1b-4876-b211-5dbed83bf4b8',
  VirtualDiskId: 'beca12ab-b2e6-4523-93ef-c309e000c746',
  LogicalSectorSize: '8141bf1d-a96f-4709-ba47-f233a8faab5f',
  PhysicalSectorSize: 'cda348c7-445d-4471-9cc9-e9885251c556',
  ParentLocator: 'a8d35f2d-b30b-454d-abf7-d3d84834ab0c',
} as const;

/** Section 2.6.2.1, second word. */
export const FileParameter = { LeaveBlocksAllocated: 1, HasParent: 2 } as const;
export const MIN_BLOCK_BYTES = MIB;
export const MAX_BLOCK_BYTES = 256 * MIB;
/** Section 2.6.2.2: 64 TB. */
export const MAX_DISK_BYTES = 64 * 2 ** 40;

/** Section 2.5.1.1. */
export const BlockState = {
  NotPresent: 0,
  Undefined: 1,
  Zero: 2,
  Unmapped: 3,
  /** What version 0.95 of the document, and QEMU before 8, call unmapped. Reserved today. */
  UnmappedOld: 5,
  FullyPresent: 6,
  PartiallyPresent: 7,
} as const;

/** Sectors that one sector bitmap block covers, section 2.4; with the block size it gives the chunk ratio. */
export const SECTORS_PER_CHUNK = 2 ** 23;

export const BAT_ENTRY_BYTES = 8;
export const BAT_ENTRIES_PER_SECTOR = SECTOR_BYTES / BAT_ENTRY_BYTES;

/** Payload blocks per sector bitmap block. Section 2.4. */
export function chunkRatioOf(blockBytes: number, sectorBytes: number): number {
  return (SECTORS_PER_CHUNK * sectorBytes) / blockBytes;
}

/** Place of a payload block's entry in the BAT, in entries: after each chunk stands one for its bitmap. Section 2.5. */
export function batIndexOf(block: number, chunkRatio: number): number {
  return block + Math.floor(block / chunkRatio);
}
