/**
 * INQUIRY of a disk: standard data and the vital product data pages 00, 80, 83, B0, B1.
 *
 * Source: SPC-4 sections 6.6 and 7.8, SBC-3 section 6.6. The values are those by which guests know a Hyper-V disk, as
 * OpenVMM's `scsidisk` gives them.
 */
import { putU16be, putU32be, u16be } from './cdb.ts';
import type { Answered, ScsiCommand } from './command.ts';
import type { DiskUnit } from './disk-unit.ts';
import { respond } from './respond.ts';
import { SENSE } from './sense.ts';

/** Bytes of our standard INQUIRY data. */
export const STANDARD_INQUIRY_BYTES = 104;

const VERSION_SPC3 = 0x05;
/** The layout of standard data that SPC defines. */
const RESPONSE_FORMAT = 0x02;
/** Byte 7: the unit takes tagged commands. Linux sends untagged ones without it. */
const COMMAND_QUEUE = 0x02;

/** Least allocation lengths: the length field of the answer must fit, or the guest could not read on. */
const MIN_STANDARD_ALLOCATION_BYTES = 5;
const MIN_VPD_ALLOCATION_BYTES = 4;

/**
 * INQUIRY. A buffer shorter than the allocation length is refused and left untouched: Linux storvsc takes a failed INQUIRY
 * for a good one, and must then find zeros.
 */
export function inquiry(disk: DiskUnit, command: ScsiCommand): Answered {
  const flags = command.cdb[1] as number;
  const page = command.cdb[2] as number;
  const isVital = (flags & 1) !== 0;
  const isCommandData = (flags & 2) !== 0;
  const allocationBytes = u16be(command.cdb, 3);
  const leastBytes = isVital ? MIN_VPD_ALLOCATION_BYTES : MIN_STANDARD_ALLOCATION_BYTES;
  if (isCommandData || allocationBytes < leastBytes || command.dataBytes < allocationBytes) {
    return command.refuse(SENSE.InvalidFieldInCdb);
  }
  if (!isVital) {
    if (page !== 0) return command.refuse(SENSE.InvalidFieldInCdb);
    return respond(command, standardInquiry(disk), allocationBytes);
  }
  const encodePage = VPD_PAGES.get(page);
  if (encodePage === undefined) return command.refuse(SENSE.InvalidFieldInCdb);
  return respond(command, vpdPage(page, encodePage(disk)), allocationBytes);
}

/** The three ASCII fields of standard INQUIRY data. */
export interface InquiryNames {
  /** 8 bytes. */
  readonly vendor: Uint8Array;
  /** 16 bytes. */
  readonly product: Uint8Array;
  /** 4 bytes. */
  readonly revision: Uint8Array;
}

/** Standard INQUIRY data of a disk with these names. */
export function standardInquiry(names: InquiryNames): Uint8Array {
  const data = new Uint8Array(STANDARD_INQUIRY_BYTES);
  data[2] = VERSION_SPC3;
  data[3] = RESPONSE_FORMAT;
  data[4] = STANDARD_INQUIRY_BYTES - 5;
  data[7] = COMMAND_QUEUE;
  data.set(names.vendor, 8);
  data.set(names.product, 16);
  data.set(names.revision, 32);
  return data;
}

const VPD_PAGES = new Map<number, (disk: DiskUnit) => Uint8Array>([
  [0x00, supportedPages],
  [0x80, serialNumber],
  [0x83, deviceIdentification],
  [0xb0, blockLimits],
  [0xb1, blockDeviceCharacteristics],
]);

function supportedPages(): Uint8Array {
  return Uint8Array.from(VPD_PAGES.keys());
}

function vpdPage(page: number, body: Uint8Array): Uint8Array {
  const data = new Uint8Array(4 + body.length);
  data[1] = page;
  putU16be(data, 2, body.length);
  data.set(body, 4);
  return data;
}

/** Unit serial number: the disk's identity as 32 hex digits. */
function serialNumber(disk: DiskUnit): Uint8Array {
  const text = Array.from(disk.identity, (byte) => byte.toString(16).padStart(2, '0')).join('');
  return new TextEncoder().encode(text);
}

/** Two designators of the unit: T10 vendor id with our 16 bytes, and an NAA 6 name under Microsoft's company id. */
function deviceIdentification(disk: DiskUnit): Uint8Array {
  const data = new Uint8Array(4 + 24 + 4 + 16);
  data.set([0x01, 0x01, 0x00, 24], 0);
  data.set(disk.vendor, 4);
  data.set(disk.identity, 12);
  data.set([0x01, 0x03, 0x00, 16], 28);
  data.set([0x60, 0x02, 0x24, 0x80], 32);
  data.set(disk.identity.subarray(0, 12), 36);
  return data;
}

/** Block limits: how much one command may move. Nothing about UNMAP, WRITE SAME or COMPARE AND WRITE: not offered. */
function blockLimits(disk: DiskUnit): Uint8Array {
  const data = new Uint8Array(0x3c);
  const maxBlocks = Math.floor(disk.maxTransferBytes / disk.blockBytes);
  putU16be(data, 2, 1); // Optimal transfer length granularity, blocks.
  putU32be(data, 4, maxBlocks);
  putU32be(data, 8, maxBlocks);
  return data;
}

/** Block device characteristics: no rotation. Linux takes a disk without this page for a rotating one. */
function blockDeviceCharacteristics(): Uint8Array {
  const data = new Uint8Array(0x3c);
  putU16be(data, 0, 1);
  return data;
}
