/**
 * INQUIRY: standard data, and the vital product data pages that every unit has.
 *
 * Source: SPC-4 sections 6.6 and 7.8. The values are those by which guests know a Hyper-V disk, as OpenVMM's `scsidisk`
 * gives them.
 */
import { putU16be, u16be } from './big-endian.ts';
import type { BlockUnit } from './block-unit.ts';
import type { Answered, ScsiCommand } from './command.ts';
import { toHex } from './hex-text.ts';
import { respond } from './respond.ts';
import { SENSE } from './sense.ts';

/** Bytes of our standard INQUIRY data. */
export const STANDARD_INQUIRY_BYTES = 104;

/** Peripheral device types. Source: SPC-4 table 145. */
export const DeviceType = { DirectAccess: 0x00, CdDvd: 0x05 } as const;

const REMOVABLE = 0x80;
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
export function inquiry(unit: BlockUnit, command: ScsiCommand): Answered {
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
    return respond(command, standardInquiry(unit), allocationBytes);
  }
  if (page === 0)
    return respond(command, vpdPage(unit, 0, Uint8Array.of(0, ...unit.vitalPages.keys())), allocationBytes);
  const encodeBody = unit.vitalPages.get(page);
  if (encodeBody === undefined) return command.refuse(SENSE.InvalidFieldInCdb);
  return respond(command, vpdPage(unit, page, encodeBody()), allocationBytes);
}

/** Standard INQUIRY data of a unit. */
export function standardInquiry(unit: BlockUnit): Uint8Array {
  const data = new Uint8Array(STANDARD_INQUIRY_BYTES);
  data[0] = unit.deviceType;
  if (unit.isRemovable) data[1] = REMOVABLE;
  data[2] = VERSION_SPC3;
  data[3] = RESPONSE_FORMAT;
  data[4] = STANDARD_INQUIRY_BYTES - 5;
  data[7] = COMMAND_QUEUE;
  data.set(unit.vendor, 8);
  data.set(unit.product, 16);
  data.set(unit.revision, 32);
  return data;
}

function vpdPage(unit: BlockUnit, page: number, body: Uint8Array): Uint8Array {
  const data = new Uint8Array(4 + body.length);
  data[0] = unit.deviceType;
  data[1] = page;
  putU16be(data, 2, body.length);
  data.set(body, 4);
  return data;
}

/** Page 80, unit serial number: the store's identity as 32 hex digits. */
export function serialNumberPage(unit: BlockUnit): Uint8Array {
  return new TextEncoder().encode(toHex(unit.identity));
}

/** Page 83: two designators of the unit, T10 vendor id with our 16 bytes, and an NAA 6 name under Microsoft's company id. */
export function identificationPage(unit: BlockUnit): Uint8Array {
  const data = new Uint8Array(4 + 24 + 4 + 16);
  data.set([0x01, 0x01, 0x00, 24], 0);
  data.set(unit.vendor, 4);
  data.set(unit.identity, 12);
  data.set([0x01, 0x03, 0x00, 16], 28);
  data.set([0x60, 0x02, 0x24, 0x80], 32);
  data.set(unit.identity.subarray(0, 12), 36);
  return data;
}
