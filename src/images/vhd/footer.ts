/**
 * The footer of a VHD image: 512 bytes, big-endian, the last sector of the file.
 *
 * Source: Microsoft, "Virtual Hard Disk Image Format Specification", version 1.0 (October 2006), "Hard Disk Footer
 * Format" and the appendix "CHS Calculation".
 */
import { PeerError } from '../../errors.ts';
import { formatGuid, type Guid, parseGuid } from '../../wire/guid.ts';

export const FOOTER_BYTES = 512;
export const VHD_COOKIE = 'conectix';
/** Bit 1 is reserved and always set. */
const FEATURES = 2;
const FORMAT_VERSION = 0x0001_0000;
/** Fixed disks have no header to point at. */
const NO_DATA_OFFSET = 0xffff_ffff_ffff_ffffn;
/** Time 0 of a VHD: 1 January 2000, in seconds of the Unix epoch. */
export const VHD_EPOCH_S = 946_684_800;

export const DiskType = { Fixed: 2, Dynamic: 3, Differencing: 4 } as const;

export interface VhdFooter {
  readonly formatVersion: number;
  readonly dataOffset: bigint;
  readonly originalBytes: bigint;
  readonly currentBytes: bigint;
  /** One of `DiskType`, or anything. */
  readonly diskType: number;
  readonly isChecksumRight: boolean;
  readonly uniqueId: Guid;
  /** True if the disk belongs to a suspended machine: whoever writes to it ruins that machine's state. */
  readonly hasSavedState: boolean;
}

/** @returns undefined if the bytes do not begin with the cookie @throws PeerError `ERR_SHORT` */
export function parseFooter(bytes: Uint8Array): VhdFooter | undefined {
  if (bytes.length < FOOTER_BYTES) {
    throw new PeerError('ERR_SHORT', `a VHD footer has ${FOOTER_BYTES} bytes, got ${bytes.length}`);
  }
  const view = new DataView(bytes.buffer, bytes.byteOffset, FOOTER_BYTES);
  if (new TextDecoder('latin1').decode(bytes.subarray(0, 8)) !== VHD_COOKIE) return undefined;
  return {
    formatVersion: view.getUint32(12),
    dataOffset: view.getBigUint64(16),
    originalBytes: view.getBigUint64(40),
    currentBytes: view.getBigUint64(48),
    diskType: view.getUint32(60),
    isChecksumRight: view.getUint32(64) === footerChecksum(bytes),
    uniqueId: formatGuid(bytes, 68),
    hasSavedState: bytes[84] !== 0,
  };
}

/**
 * The footer of a fixed disk.
 * @param diskBytes multiple of 512
 * @param createdS seconds since the Unix epoch
 */
export function encodeFixedFooter(diskBytes: number, uniqueId: Guid, createdS: number): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(FOOTER_BYTES);
  const view = new DataView(bytes.buffer);
  const text = new TextEncoder();
  bytes.set(text.encode(VHD_COOKIE), 0);
  view.setUint32(8, FEATURES);
  view.setUint32(12, FORMAT_VERSION);
  view.setBigUint64(16, NO_DATA_OFFSET);
  view.setUint32(24, Math.max(0, Math.floor(createdS) - VHD_EPOCH_S));
  bytes.set(text.encode('vmbs'), 28); // creator application, free to choose
  view.setUint32(32, 0x0001_0000); // its version
  bytes.set(text.encode('Wi2k'), 36); // creator host: Windows or Macintosh, nothing else is defined
  view.setBigUint64(40, BigInt(diskBytes));
  view.setBigUint64(48, BigInt(diskBytes));
  const { cylinders, heads, sectorsPerTrack } = geometryOf(diskBytes / 512);
  view.setUint16(56, cylinders);
  view.setUint8(58, heads);
  view.setUint8(59, sectorsPerTrack);
  view.setUint32(60, DiskType.Fixed);
  bytes.set(parseGuid(uniqueId), 68);
  view.setUint32(64, footerChecksum(bytes));
  return bytes;
}

/** One's complement of the sum of all bytes but the checksum's own four. */
export function footerChecksum(bytes: Uint8Array): number {
  let sum = 0;
  for (let at = 0; at < FOOTER_BYTES; at++) {
    if (at < 64 || at >= 68) sum += bytes[at] as number;
  }
  return ~sum >>> 0;
}

/** The geometry that old guests are shown; larger disks all get the largest. */
export function geometryOf(sectorCount: number): { cylinders: number; heads: number; sectorsPerTrack: number } {
  const sectors = Math.min(sectorCount, 65535 * 16 * 255);
  const shape = (heads: number, sectorsPerTrack: number) => ({
    cylinders: Math.floor(Math.floor(sectors / sectorsPerTrack) / heads),
    heads,
    sectorsPerTrack,
  });
  if (sectors >= 65535 * 16 * 63) return shape(16, 255);
  const cylindersTimesHeads = Math.floor(sectors / 17);
  const heads = Math.max(4, Math.floor((cylindersTimesHeads + 1023) / 1024));
  if (cylindersTimesHeads < heads * 1024 && heads <= 16) return shape(heads, 17);
  if (Math.floor(sectors / 31) < 16 * 1024) return shape(16, 31);
  return shape(16, 63);
}
