/** VHDX files in memory, and ways to damage them that keep (or do not keep) their checksums right. */
import { crc32cWithout } from '../../../src/images/crc32c.ts';
import { type CreateVhdxOptions, writeEmptyVhdx } from '../../../src/images/vhdx/create.ts';
import { REGION_TABLE_BYTES, REGION_TABLE_OFFSETS, VhdxHeader } from '../../../src/images/vhdx/format.ts';
import { encodeLogEntry, type NewLogEntry } from '../../../src/images/vhdx/log-entry.ts';
import { JournalFile } from '../journal-file.ts';

export const MIB = 2 ** 20;
export const LOG_AT = MIB;
export const METADATA_AT = 2 * MIB;
export const BAT_AT = 3 * MIB;
export const BLOCKS_AT = 4 * MIB;
export const LOG_GUID = '11111111-2222-4333-8444-555555555555';

/** A dynamic disk of 4 MiB in blocks of 1 MiB, all of it absent, unless said otherwise. */
export async function someVhdx(options: Partial<CreateVhdxOptions> = {}): Promise<Uint8Array> {
  const file = new JournalFile();
  await writeEmptyVhdx(file, { diskBytes: 4 * MIB, blockBytes: MIB, ...options });
  return file.now.toBytes();
}

export function viewOf(image: Uint8Array): DataView {
  return new DataView(image.buffer, image.byteOffset, image.byteLength);
}

/** The current header of a fresh file is the second. */
export const CURRENT_HEADER_AT = 128 * 1024;

/** Changes the current header, with a right checksum. */
export function withHeader(image: Uint8Array, change: (view: DataView) => void): Uint8Array {
  const page = image.subarray(CURRENT_HEADER_AT, CURRENT_HEADER_AT + VhdxHeader.size);
  change(viewOf(page));
  viewOf(page).setUint32(4, crc32cWithout(page, 4), true);
  return image;
}

/** Changes both copies of the region table, with right checksums. */
export function withRegions(image: Uint8Array, change: (view: DataView) => void): Uint8Array {
  for (const at of REGION_TABLE_OFFSETS) {
    const table = image.subarray(at, at + REGION_TABLE_BYTES);
    change(viewOf(table));
    viewOf(table).setUint32(4, crc32cWithout(table, 4), true);
  }
  return image;
}

/** The header says that there is a log, and the log holds these entries one after the other. */
export function withLog(image: Uint8Array, entries: readonly Uint8Array[], startAt = 0): Uint8Array {
  let at = startAt;
  for (const entry of entries) {
    for (let done = 0; done < entry.length; done += 4096) {
      image.set(entry.subarray(done, done + 4096), LOG_AT + ((at + done) % MIB));
    }
    at += entry.length;
  }
  return withHeader(image, (view) => {
    new Uint8Array(view.buffer, view.byteOffset + 48, 16).set(
      // 11111111-2222-4333-8444-555555555555 in Windows order, by hand.
      [0x11, 0x11, 0x11, 0x11, 0x22, 0x22, 0x33, 0x43, 0x84, 0x44, 0x55, 0x55, 0x55, 0x55, 0x55, 0x55],
    );
  });
}

/** An entry that is all right, unless said otherwise. */
export function someEntry(changes: Partial<NewLogEntry> = {}): Uint8Array<ArrayBuffer> {
  return encodeLogEntry({
    tail: 0,
    sequenceNumber: 1n,
    logGuid: LOG_GUID,
    flushedFileOffset: 4 * MIB,
    lastFileOffset: 4 * MIB,
    sectors: [],
    ...changes,
  });
}

/** A 4 KiB sector of the block table with these entries at its start. */
export function batSector(...entries: bigint[]): Uint8Array {
  const sector = new Uint8Array(4096);
  for (const [index, entry] of entries.entries()) viewOf(sector).setBigUint64(index * 8, entry, true);
  return sector;
}

/** The table's entry of a block that is present at so many MiB. */
export function present(mib: number): bigint {
  return (BigInt(mib) << 20n) | 6n;
}
