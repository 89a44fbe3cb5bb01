/**
 * SCSI operation codes and what their number says about the CDB's length.
 *
 * Source: SPC-4 section 4.3 and table 152, SBC-3 section 5.
 */
export const Opcode = {
  TestUnitReady: 0x00,
  RequestSense: 0x03,
  Read6: 0x08,
  Write6: 0x0a,
  Inquiry: 0x12,
  ModeSense6: 0x1a,
  StartStopUnit: 0x1b,
  ReadCapacity10: 0x25,
  Read10: 0x28,
  Write10: 0x2a,
  Verify10: 0x2f,
  SynchronizeCache10: 0x35,
  ModeSense10: 0x5a,
  Read16: 0x88,
  Write16: 0x8a,
  Verify16: 0x8f,
  SynchronizeCache16: 0x91,
  ServiceActionIn16: 0x9e,
  ReportLuns: 0xa0,
  Read12: 0xa8,
  Write12: 0xaa,
  Verify12: 0xaf,
} as const;

/** `Read10` for 0x28; hex for one that is not listed. */
export function opcodeName(opcode: number): string {
  return Object.entries(Opcode).find(([, value]) => value === opcode)?.[0] ?? `opcode 0x${opcode.toString(16)}`;
}

/** Service actions of `ServiceActionIn16`, in the low 5 bits of CDB byte 1. */
export const ServiceAction16 = { ReadCapacity16: 0x10 } as const;

/** CDB length by the group code, the high 3 bits of the opcode; 0 where the group fixes none (variable or vendor). */
const GROUP_BYTES = [6, 10, 10, 0, 16, 12, 0, 0] as const;

/** Bytes that a CDB with this opcode has, 0 if its group does not say. */
export function cdbBytesOf(opcode: number): number {
  return GROUP_BYTES[opcode >>> 5] as number;
}
