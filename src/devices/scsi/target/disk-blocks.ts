/** The commands that name blocks: READ, WRITE, VERIFY, SYNCHRONIZE CACHE; and START STOP UNIT, which flushes. */
import { DataDirection } from '../../../wire/storvsc.ts';
import { blockCountOf, lbaOf } from './cdb.ts';
import type { Answered, ScsiCommand } from './command.ts';
import type { DiskUnit } from './disk-unit.ts';
import { Opcode } from './opcodes.ts';
import { SENSE } from './sense.ts';

/** RDPROTECT, WRPROTECT, VRPROTECT: protection information, which these disks do not have. */
const PROTECT_MASK = 0xe0;
const FUA = 0x08;
/** Relative addressing, obsolete since SBC-2, in the 10 and 12 byte forms. */
const RELADR = 0x01;

/**
 * READ 6, 10, 12, 16. Zero blocks (never in the 6-byte form) is no error and moves nothing: SBC-3 section 5.8.
 * More blocks than the buffer holds is answered as out of range, as Hyper-V's host does (OpenVMM `scsidisk`).
 */
export function readBlocks(disk: DiskUnit, command: ScsiCommand): Answered {
  const lba = lbaOf(command.cdb);
  const blockCount = blockCountOf(command.cdb);
  const byteCount = blockCount * disk.blockBytes;
  if (hasBadFlags(command)) return command.refuse(SENSE.InvalidFieldInCdb);
  if (!isInside(disk, lba, blockCount)) return command.fail(SENSE.LbaOutOfRange);
  if (blockCount === 0) return command.good(0);
  if (byteCount > command.dataBytes) return command.fail(SENSE.LbaOutOfRange);
  if (command.direction === DataDirection.Write) return command.refuse(SENSE.InvalidFieldInCdb);
  const data = command.data;
  if (data === undefined) return command.refuse(SENSE.InvalidFieldInCdb);
  const target = byteCount === data.byteLength ? data : data.slice(0, byteCount);
  return command.awaitStore(disk.backend.read(lba * disk.blockBytes, target), byteCount);
}

/** WRITE 6, 10, 12, 16. With FUA the blocks are on stable storage when the command ends. */
export function writeBlocks(disk: DiskUnit, command: ScsiCommand): Answered {
  const lba = lbaOf(command.cdb);
  const blockCount = blockCountOf(command.cdb);
  const byteCount = blockCount * disk.blockBytes;
  if (hasBadFlags(command)) return command.refuse(SENSE.InvalidFieldInCdb);
  if (disk.backend.readOnly) return command.fail(SENSE.WriteProtected);
  if (!isInside(disk, lba, blockCount)) return command.fail(SENSE.LbaOutOfRange);
  if (blockCount === 0) return command.good(0);
  if (byteCount > command.dataBytes) return command.fail(SENSE.LbaOutOfRange);
  if (command.direction === DataDirection.Read) return command.refuse(SENSE.InvalidFieldInCdb);
  const data = command.data;
  if (data === undefined) return command.refuse(SENSE.InvalidFieldInCdb);
  const source = byteCount === data.byteLength ? data : data.slice(0, byteCount);
  const isFua = command.cdb[0] !== Opcode.Write6 && ((command.cdb[1] as number) & FUA) !== 0;
  return command.awaitStore(disk.backend.write(lba * disk.blockBytes, source, isFua), byteCount);
}

/** VERIFY 10, 12, 16 without comparing (BYTCHK 0): only the range is checked. */
export function verifyBlocks(disk: DiskUnit, command: ScsiCommand): Answered {
  const byteCheck = ((command.cdb[1] as number) >>> 1) & 3;
  if (hasBadFlags(command) || byteCheck !== 0) return command.refuse(SENSE.InvalidFieldInCdb);
  if (!isInside(disk, lbaOf(command.cdb), blockCountOf(command.cdb))) return command.fail(SENSE.LbaOutOfRange);
  return command.good(0);
}

/**
 * SYNCHRONIZE CACHE 10, 16: flushes the whole disk, whatever range is named, once the range is a range of this disk.
 * IMMED allows an early answer; this one comes when the flush is done, which is never wrong.
 */
export function flushCache(disk: DiskUnit, command: ScsiCommand): Answered {
  if (!isInside(disk, lbaOf(command.cdb), blockCountOf(command.cdb))) return command.fail(SENSE.LbaOutOfRange);
  return command.awaitStore(disk.backend.flush(), 0);
}

/** START STOP UNIT: starting is nothing to do; stopping flushes. Power conditions, IMMED and ejecting are refused. */
export function startStop(disk: DiskUnit, command: ScsiCommand): Answered {
  const isImmediate = ((command.cdb[1] as number) & 1) !== 0;
  const control = command.cdb[4] as number;
  const powerCondition = control >>> 4;
  const isEject = (control & 2) !== 0;
  const isStart = (control & 1) !== 0;
  if (isImmediate || powerCondition !== 0 || isEject) return command.refuse(SENSE.InvalidFieldInCdb);
  if (isStart) return command.good(0);
  return command.awaitStore(disk.backend.flush(), 0);
}

/** The first block may be the end of the disk if no block is named. The sum is never formed: the peer chose both. */
function isInside(disk: DiskUnit, lba: number, blockCount: number): boolean {
  return blockCount <= disk.blockCount && lba <= disk.blockCount - blockCount;
}

function hasBadFlags(command: ScsiCommand): boolean {
  const opcode = command.cdb[0] as number;
  const flags = command.cdb[1] as number;
  if (opcode >>> 5 === 0) return false; // Byte 1 of the 6-byte form holds bits of the LBA.
  if ((flags & PROTECT_MASK) !== 0) return true;
  return opcode >>> 5 !== 4 && (flags & RELADR) !== 0;
}
