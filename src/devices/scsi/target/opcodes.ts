/**
 * SCSI operation codes and what their number says about the CDB's length.
 *
 * Source: SPC-4 section 4.3 and table 152, SBC-3 section 5, MMC-6 section 6.
 */
export const Opcode = {
  TestUnitReady: 0x00,
  RequestSense: 0x03,
  FormatUnit: 0x04,
  Read6: 0x08,
  Write6: 0x0a,
  Inquiry: 0x12,
  ModeSelect6: 0x15,
  Reserve6: 0x16,
  Release6: 0x17,
  ModeSense6: 0x1a,
  StartStopUnit: 0x1b,
  SendDiagnostic: 0x1d,
  PreventAllowRemoval: 0x1e,
  ReadCapacity10: 0x25,
  Read10: 0x28,
  Write10: 0x2a,
  WriteAndVerify10: 0x2e,
  Verify10: 0x2f,
  SynchronizeCache10: 0x35,
  WriteSame10: 0x41,
  Unmap: 0x42,
  ReadToc: 0x43,
  GetConfiguration: 0x46,
  GetEventStatus: 0x4a,
  LogSense: 0x4d,
  ReadDiscInformation: 0x51,
  ReadTrackInformation: 0x52,
  ModeSelect10: 0x55,
  Reserve10: 0x56,
  Release10: 0x57,
  ModeSense10: 0x5a,
  PersistentReserveIn: 0x5e,
  PersistentReserveOut: 0x5f,
  Read16: 0x88,
  CompareAndWrite: 0x89,
  Write16: 0x8a,
  WriteAndVerify16: 0x8e,
  Verify16: 0x8f,
  SynchronizeCache16: 0x91,
  WriteSame16: 0x93,
  ServiceActionIn16: 0x9e,
  ReportLuns: 0xa0,
  MaintenanceIn: 0xa3,
  Read12: 0xa8,
  Write12: 0xaa,
  WriteAndVerify12: 0xae,
  Verify12: 0xaf,
  MechanismStatus: 0xbd,
} as const;

/** `Read10` for 0x28; hex for one that is not listed. */
export function opcodeName(opcode: number): string {
  return Object.entries(Opcode).find(([, value]) => value === opcode)?.[0] ?? `opcode 0x${opcode.toString(16)}`;
}

/** Service actions of `ServiceActionIn16`, in the low 5 bits of CDB byte 1. */
export const ServiceAction16 = { ReadCapacity16: 0x10, GetLbaStatus: 0x12 } as const;

/** Service action of `MaintenanceIn`. */
export const REPORT_SUPPORTED_OPERATION_CODES = 0x0c;

/** CDB length by the group code, the high 3 bits of the opcode; 0 where the group fixes none (variable or vendor). */
const GROUP_BYTES = [6, 10, 10, 0, 16, 12, 0, 0] as const;

/** Bytes that a CDB with this opcode has, 0 if its group does not say. */
export function cdbBytesOf(opcode: number): number {
  return GROUP_BYTES[opcode >>> 5] as number;
}
