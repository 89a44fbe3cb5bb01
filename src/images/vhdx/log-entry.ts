/** One entry of a VHDX log: made from sectors, or found among them and judged. Section 2.3.1. */
import type { Guid } from '../../wire/guid.ts';
import { crc32cWithout } from '../crc32c.ts';
import {
  DATA_DESCRIPTOR,
  DATA_SECTOR,
  LOG_SIGNATURE,
  LogDataSector,
  LogDescriptor,
  LogEntryHeader,
  SECTOR_BYTES,
  ZERO_DESCRIPTOR,
} from './format.ts';

/** What one descriptor asks for. */
export type LogUpdate =
  | { readonly kind: 'data'; readonly fileOffset: number; readonly bytes: Uint8Array }
  | { readonly kind: 'zero'; readonly fileOffset: number; readonly byteCount: number };

export interface LogEntry {
  /** Bytes from the start of the log. */
  readonly at: number;
  readonly entryBytes: number;
  /** Bytes from the start of the log to the first entry that counts while this one is the last. */
  readonly tail: number;
  readonly sequenceNumber: bigint;
  readonly flushedFileOffset: bigint;
  readonly lastFileOffset: bigint;
  readonly updates: readonly LogUpdate[];
}

/** Sectors for the header and `descriptorCount` descriptors: 126 in the first, 128 in each further one. */
export function descriptorSectors(descriptorCount: number): number {
  return Math.ceil((LogEntryHeader.size + descriptorCount * LogDescriptor.size) / SECTOR_BYTES);
}

/** What an entry of so many data sectors takes, bytes. */
export function entryBytesFor(dataSectors: number): number {
  return (descriptorSectors(dataSectors) + dataSectors) * SECTOR_BYTES;
}

export interface NewLogEntry {
  readonly tail: number;
  readonly sequenceNumber: bigint;
  readonly logGuid: Guid;
  readonly flushedFileOffset: number;
  readonly lastFileOffset: number;
  /** Each 4096 bytes, at a multiple of 4096. */
  readonly sectors: readonly { readonly fileOffset: number; readonly bytes: Uint8Array }[];
}

export function encodeLogEntry(entry: NewLogEntry): Uint8Array<ArrayBuffer> {
  const { sectors, sequenceNumber } = entry;
  const dataAt = descriptorSectors(sectors.length) * SECTOR_BYTES;
  const bytes = new Uint8Array(entryBytesFor(sectors.length));
  LogEntryHeader.write(bytes, 0, {
    signature: LOG_SIGNATURE,
    checksum: 0,
    entryLength: bytes.length,
    tail: entry.tail,
    sequenceNumber,
    descriptorCount: sectors.length,
    logGuid: entry.logGuid,
    flushedFileOffset: entry.flushedFileOffset,
    lastFileOffset: entry.lastFileOffset,
  });
  for (const [index, sector] of sectors.entries()) {
    LogDescriptor.write(bytes, LogEntryHeader.size + index * LogDescriptor.size, {
      signature: DATA_DESCRIPTOR,
      trailingBytes: sector.bytes.subarray(SECTOR_BYTES - 4),
      leadingBytes: sector.bytes.subarray(0, 8),
      fileOffset: sector.fileOffset,
      sequenceNumber,
    });
    LogDataSector.write(bytes, dataAt + index * SECTOR_BYTES, {
      signature: DATA_SECTOR,
      sequenceHigh: Number(sequenceNumber >> 32n),
      data: sector.bytes.subarray(8, SECTOR_BYTES - 4),
      sequenceLow: Number(sequenceNumber & 0xffff_ffffn),
    });
  }
  const checksum = crc32cWithout(bytes, LogEntryHeader.offsets.checksum);
  new DataView(bytes.buffer).setUint32(LogEntryHeader.offsets.checksum, checksum, true);
  return bytes;
}

/**
 * The entry that begins at byte `at` of the log, wrapping at its end; undefined if there is no valid one.
 *
 * The cheap checks come first, and they see to it that two candidates share no sector (a sector begins with exactly one
 * of the four signatures): the checksums of all candidates together cost one pass over the log, whatever is in it.
 * @param log the whole log
 * @param at multiple of 4096, inside the log
 */
export function parseLogEntry(log: Uint8Array, at: number, logGuid: Guid): LogEntry | undefined {
  const header = LogEntryHeader.parse(log, at);
  const { descriptorCount, entryLength, sequenceNumber } = header;
  if (header.signature !== LOG_SIGNATURE || header.logGuid !== logGuid || sequenceNumber === 0n) return undefined;
  if (entryLength % SECTOR_BYTES !== 0 || entryLength > log.length) return undefined;
  if (header.tail % SECTOR_BYTES !== 0 || header.tail >= log.length) return undefined;
  if (descriptorCount > log.length / LogDescriptor.size) return undefined;
  const descriptorBytes = descriptorSectors(descriptorCount) * SECTOR_BYTES;
  if (descriptorBytes > entryLength) return undefined;

  const sectorAt = (index: number): number => (at + index * SECTOR_BYTES) % log.length;
  const updates: LogUpdate[] = [];
  let dataIndex = descriptorBytes / SECTOR_BYTES;
  for (let index = 0; index < descriptorCount; index++) {
    const place = LogEntryHeader.size + index * LogDescriptor.size;
    const inSector = place % SECTOR_BYTES;
    const descriptor = LogDescriptor.parse(log, sectorAt((place - inSector) / SECTOR_BYTES) + inSector);
    if (descriptor.sequenceNumber !== sequenceNumber) return undefined;
    if (descriptor.fileOffset % BigInt(SECTOR_BYTES) !== 0n) return undefined;
    if (descriptor.fileOffset > BigInt(Number.MAX_SAFE_INTEGER)) return undefined;
    const fileOffset = Number(descriptor.fileOffset);
    if (descriptor.signature === ZERO_DESCRIPTOR) {
      const byteCount = new DataView(descriptor.leadingBytes.buffer).getBigUint64(0, true);
      if (byteCount % BigInt(SECTOR_BYTES) !== 0n || byteCount > BigInt(Number.MAX_SAFE_INTEGER)) return undefined;
      updates.push({ kind: 'zero', fileOffset, byteCount: Number(byteCount) });
    } else if (descriptor.signature === DATA_DESCRIPTOR) {
      if (dataIndex >= entryLength / SECTOR_BYTES) return undefined;
      const sector = LogDataSector.parse(log, sectorAt(dataIndex++));
      const sectorSequence = (BigInt(sector.sequenceHigh) << 32n) | BigInt(sector.sequenceLow);
      if (sector.signature !== DATA_SECTOR || sectorSequence !== sequenceNumber) return undefined;
      const bytes = new Uint8Array(SECTOR_BYTES);
      bytes.set(descriptor.leadingBytes, 0);
      bytes.set(sector.data, 8);
      bytes.set(descriptor.trailingBytes, SECTOR_BYTES - 4);
      updates.push({ kind: 'data', fileOffset, bytes });
    } else {
      return undefined;
    }
  }
  if (dataIndex * SECTOR_BYTES !== entryLength) return undefined;
  const whole = new Uint8Array(entryLength);
  const beforeWrap = log.subarray(at, Math.min(at + entryLength, log.length));
  whole.set(beforeWrap, 0);
  whole.set(log.subarray(0, entryLength - beforeWrap.length), beforeWrap.length);
  if (crc32cWithout(whole, LogEntryHeader.offsets.checksum) !== header.checksum) return undefined;
  const { tail, flushedFileOffset, lastFileOffset } = header;
  return { at, entryBytes: entryLength, tail, sequenceNumber, flushedFileOffset, lastFileOffset, updates };
}
