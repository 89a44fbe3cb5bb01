/**
 * The fields of a CDB that names blocks: READ, WRITE, VERIFY, WRITE SAME and their kin in their 6, 10, 12 and 16 byte
 * forms.
 *
 * An LBA of 64 bits is a plain number here: above 2^53 it loses low bits, but no disk is that
 * large, so it stays out of range. Source: SBC-3 section 5.
 */
import { putU16be, putU32be, putU64be, u16be, u32be, u64be } from './big-endian.ts';
import { Opcode } from './opcodes.ts';

/** First block, as a number that may be too large to be exact (and then is out of any range). */
export function lbaOf(cdb: Uint8Array): number {
  switch ((cdb[0] as number) >>> 5) {
    case 0:
      return (((cdb[1] as number) & 0x1f) << 16) | ((cdb[2] as number) << 8) | (cdb[3] as number);
    case 4:
      return u64be(cdb, 2);
    default:
      return u32be(cdb, 2);
  }
}

/** Number of blocks. In the 6-byte form a stored 0 means 256. */
export function blockCountOf(cdb: Uint8Array): number {
  switch ((cdb[0] as number) >>> 5) {
    case 0:
      return (cdb[4] as number) || 256;
    case 4:
      return u32be(cdb, 10);
    case 5:
      return u32be(cdb, 6);
    default:
      return u16be(cdb, 7);
  }
}

/** Most blocks that READ(10) and WRITE(10) can name. */
const MAX_BLOCKS_10 = 0xffff;
const MAX_LBA_10 = 0xffff_ffff;

/** Byte 1: force unit access. */
const FUA = 0x08;

/**
 * Writes READ or WRITE in the shorter form that holds the numbers.
 * @param isFua a write is on stable storage when it ends
 * @returns the CDB's length, 10 or 16
 */
export function encodeReadWrite(
  cdb: Uint8Array,
  isWrite: boolean,
  lba: number,
  blockCount: number,
  isFua = false,
): number {
  cdb.fill(0);
  if (isFua) cdb[1] = FUA;
  if (lba <= MAX_LBA_10 && blockCount <= MAX_BLOCKS_10) {
    cdb[0] = isWrite ? Opcode.Write10 : Opcode.Read10;
    putU32be(cdb, 2, lba);
    putU16be(cdb, 7, blockCount);
    return 10;
  }
  cdb[0] = isWrite ? Opcode.Write16 : Opcode.Read16;
  putU64be(cdb, 2, lba);
  putU32be(cdb, 10, blockCount);
  return 16;
}
