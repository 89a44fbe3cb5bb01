/**
 * Sense data: why a SCSI command was refused or failed.
 *
 * Source: SPC-4 (T10/1731-D) section 4.5 and annex D.
 */
import { putU32be, u32be } from './big-endian.ts';

/** Why, in three numbers, and perhaps where. Vendor bytes stay zero. */
export interface Sense {
  /** One of `SenseKey`, 0..15. */
  readonly key: number;
  /** Additional sense code. */
  readonly asc: number;
  /** Additional sense code qualifier. */
  readonly ascq: number;
  /** The INFORMATION field, a u32: which byte differs, for one. It is marked as not valid without. */
  readonly information?: number;
}

export const SenseKey = {
  NoSense: 0x0,
  NotReady: 0x2,
  MediumError: 0x3,
  HardwareError: 0x4,
  IllegalRequest: 0x5,
  UnitAttention: 0x6,
  DataProtect: 0x7,
  AbortedCommand: 0xb,
  Miscompare: 0xe,
} as const;

/** The refusals, failures and attentions that our units report. */
export const SENSE = {
  None: sense(SenseKey.NoSense, 0x00, 0x00),
  MediumNotPresent: sense(SenseKey.NotReady, 0x3a, 0x00),
  IoError: sense(SenseKey.MediumError, 0x00, 0x00),
  WriteFault: sense(SenseKey.MediumError, 0x03, 0x00),
  UnrecoveredRead: sense(SenseKey.MediumError, 0x11, 0x00),
  ParameterListLength: sense(SenseKey.IllegalRequest, 0x1a, 0x00),
  InvalidOpcode: sense(SenseKey.IllegalRequest, 0x20, 0x00),
  LbaOutOfRange: sense(SenseKey.IllegalRequest, 0x21, 0x00),
  InvalidFieldInCdb: sense(SenseKey.IllegalRequest, 0x24, 0x00),
  InvalidFieldInParameterList: sense(SenseKey.IllegalRequest, 0x26, 0x00),
  InvalidRelease: sense(SenseKey.IllegalRequest, 0x26, 0x04),
  SavingNotSupported: sense(SenseKey.IllegalRequest, 0x39, 0x00),
  RemovalPrevented: sense(SenseKey.IllegalRequest, 0x53, 0x02),
  MediumMayHaveChanged: sense(SenseKey.UnitAttention, 0x28, 0x00),
  PowerOnOrReset: sense(SenseKey.UnitAttention, 0x29, 0x00),
  ReservationsPreempted: sense(SenseKey.UnitAttention, 0x2a, 0x03),
  ReservationsReleased: sense(SenseKey.UnitAttention, 0x2a, 0x04),
  RegistrationsPreempted: sense(SenseKey.UnitAttention, 0x2a, 0x05),
  CapacityChanged: sense(SenseKey.UnitAttention, 0x2a, 0x09),
  LunsChanged: sense(SenseKey.UnitAttention, 0x3f, 0x0e),
  WriteProtected: sense(SenseKey.DataProtect, 0x27, 0x00),
  SpaceAllocationFailed: sense(SenseKey.DataProtect, 0x27, 0x07),
  Miscompare: sense(SenseKey.Miscompare, 0x1d, 0x00),
} as const;

/** Bytes of fixed-format sense data that we write. */
export const FIXED_SENSE_BYTES = 18;

const FIXED_CURRENT = 0x70;
/** Byte 0: the INFORMATION field says something. */
const INFORMATION_VALID = 0x80;
const FIXED_DEFERRED = 0x71;
const DESCRIPTOR_CURRENT = 0x72;
const DESCRIPTOR_DEFERRED = 0x73;

/**
 * Writes 18 bytes of fixed-format sense data, every byte of them.
 * @param at where in `target`; 18 bytes must be left
 */
export function encodeFixedSense(target: Uint8Array, at: number, what: Sense): void {
  target.fill(0, at, at + FIXED_SENSE_BYTES);
  target[at] = FIXED_CURRENT;
  target[at + 2] = what.key;
  if (what.information !== undefined) {
    target[at] = FIXED_CURRENT | INFORMATION_VALID;
    putU32be(target, at + 3, what.information);
  }
  target[at + 7] = FIXED_SENSE_BYTES - 8;
  target[at + 12] = what.asc;
  target[at + 13] = what.ascq;
}

/** Reads sense data in fixed or descriptor format; `undefined` for bytes that are neither. */
export function parseSense(bytes: Uint8Array): Sense | undefined {
  const format = (bytes[0] ?? 0) & 0x7f;
  if (format === FIXED_CURRENT || format === FIXED_DEFERRED) {
    if (bytes.length < 8) return undefined;
    const what = sense((bytes[2] ?? 0) & 0xf, bytes[12] ?? 0, bytes[13] ?? 0);
    const isValid = ((bytes[0] ?? 0) & INFORMATION_VALID) !== 0;
    return isValid ? { ...what, information: u32be(bytes, 3) } : what;
  }
  if (format === DESCRIPTOR_CURRENT || format === DESCRIPTOR_DEFERRED) {
    if (bytes.length < 4) return undefined;
    return sense((bytes[1] ?? 0) & 0xf, bytes[2] ?? 0, bytes[3] ?? 0);
  }
  return undefined;
}

/** `5/24/00 invalid field in CDB`: the three numbers in hex and, where we know them, their words. */
export function formatSense(what: Sense): string {
  const code = `${what.key.toString(16)}/${hexByte(what.asc)}/${hexByte(what.ascq)}`;
  const words = WORDS[code] ?? KEY_WORDS[what.key];
  return words === undefined ? code : `${code} ${words}`;
}

const WORDS: Record<string, string> = {
  '0/00/00': 'no additional sense information',
  '2/3a/00': 'medium not present',
  '3/03/00': 'peripheral device write fault',
  '3/11/00': 'unrecovered read error',
  '5/1a/00': 'parameter list length error',
  '5/20/00': 'invalid command operation code',
  '5/21/00': 'logical block address out of range',
  '5/24/00': 'invalid field in CDB',
  '5/25/00': 'logical unit not supported',
  '5/26/00': 'invalid field in parameter list',
  '5/26/04': 'invalid release of persistent reservation',
  '5/39/00': 'saving parameters not supported',
  '5/53/02': 'medium removal prevented',
  '6/28/00': 'not ready to ready change, medium may have changed',
  '6/29/00': 'power on, reset, or bus device reset occurred',
  '6/2a/03': 'reservations preempted',
  '6/2a/04': 'reservations released',
  '6/2a/05': 'registrations preempted',
  '6/2a/09': 'capacity data has changed',
  '6/3f/0e': 'reported LUNs data has changed',
  '7/27/00': 'write protected',
  '7/27/07': 'space allocation failed write protect',
  'e/1d/00': 'miscompare during verify operation',
};

const KEY_WORDS = [
  'no sense',
  'recovered error',
  'not ready',
  'medium error',
  'hardware error',
  'illegal request',
  'unit attention',
  'data protect',
  'blank check',
  'vendor specific',
  'copy aborted',
  'aborted command',
  'reserved',
  'volume overflow',
  'miscompare',
  'completed',
];

function sense(key: number, asc: number, ascq: number): Sense {
  return { key, asc, ascq };
}

function hexByte(value: number): string {
  return value.toString(16).padStart(2, '0');
}
