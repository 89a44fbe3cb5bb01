/** The commands that move or flush blocks: READ, WRITE, SYNCHRONIZE CACHE; and START STOP UNIT, which flushes. */
import { DataDirection } from '../../../../wire/storvsc.ts';
import type { BlockUnit } from '../block-unit.ts';
import { blockCountOf, lbaOf } from '../cdb.ts';
import type { Answered, ScsiCommand } from '../command.ts';
import { Opcode } from '../opcodes.ts';
import { SENSE } from '../sense.ts';

/** RDPROTECT, WRPROTECT, VRPROTECT: protection information, which these disks do not have. */
const PROTECT_MASK = 0xe0;
const FUA = 0x08;
/** Relative addressing, obsolete since SBC-2, in the 10 and 12 byte forms. */
const RELADR = 0x01;

/**
 * READ 6, 10, 12, 16. Zero blocks (never in the 6-byte form) is no error and moves nothing: SBC-3 section 5.8.
 * More blocks than the buffer holds is answered as out of range, as Hyper-V's host does (OpenVMM `scsidisk`).
 */
export function readBlocks(unit: BlockUnit, command: ScsiCommand): Answered {
  const lba = lbaOf(command.cdb);
  const blockCount = blockCountOf(command.cdb);
  const { blockBytes } = unit;
  const byteCount = blockCount * blockBytes;
  if (hasBadFlags(command)) return command.refuse(SENSE.InvalidFieldInCdb);
  if (!isInside(unit, lba, blockCount)) return command.fail(SENSE.LbaOutOfRange);
  if (blockCount === 0) return command.good(0);
  if (byteCount > command.dataBytes) return command.fail(SENSE.LbaOutOfRange);
  if (command.direction === DataDirection.Write) return command.refuse(SENSE.InvalidFieldInCdb);
  const data = command.data;
  if (data === undefined) return command.refuse(SENSE.InvalidFieldInCdb);
  const target = byteCount === data.byteLength ? data : data.slice(0, byteCount);
  unit.movedBytes.read += byteCount;
  return command.awaitStore(unit.backend.read(lba * blockBytes, target), byteCount);
}

/** WRITE 6, 10, 12, 16. With FUA the blocks are on stable storage when the command ends. */
export function writeBlocks(unit: BlockUnit, command: ScsiCommand): Answered {
  const byteCount = blockCountOf(command.cdb) * unit.blockBytes;
  const refusal = refusedWrite(unit, command, byteCount);
  if (refusal !== undefined) return refusal;
  if (byteCount === 0) return command.good(0);
  const { gate } = unit.share;
  if (!gate.tryEnter()) return command.awaitGate(gate, () => store(unit, command, byteCount));
  return store(unit, command, byteCount);
}

function store(unit: BlockUnit, command: ScsiCommand, byteCount: number): Answered {
  command.gate = unit.share.gate;
  const data = command.data;
  if (data === undefined) return command.refuse(SENSE.InvalidFieldInCdb);
  const source = byteCount === data.byteLength ? data : data.slice(0, byteCount);
  const isFua = command.cdb[0] !== Opcode.Write6 && ((command.cdb[1] as number) & FUA) !== 0;
  unit.movedBytes.write += byteCount;
  return command.awaitStore(unit.backend.write(lbaOf(command.cdb) * unit.blockBytes, source, isFua), byteCount);
}

/**
 * The refusal of a command that writes the blocks it names from as many bytes of data, unless it is fine. A write of no
 * blocks is fine and needs no data.
 */
export function refusedWrite(unit: BlockUnit, command: ScsiCommand, byteCount: number): Answered | undefined {
  const blockCount = blockCountOf(command.cdb);
  if (hasBadFlags(command)) return command.refuse(SENSE.InvalidFieldInCdb);
  if (unit.backend.readOnly) return command.fail(SENSE.WriteProtected);
  if (!isInside(unit, lbaOf(command.cdb), blockCount)) return command.fail(SENSE.LbaOutOfRange);
  if (blockCount === 0) return undefined;
  if (byteCount > command.dataBytes) return command.fail(SENSE.LbaOutOfRange);
  if (command.direction === DataDirection.Read || command.data === undefined) {
    return command.refuse(SENSE.InvalidFieldInCdb);
  }
  return undefined;
}

/**
 * SYNCHRONIZE CACHE 10, 16: flushes the whole disk, whatever range is named, once the range is a range of this disk.
 * IMMED allows an early answer; this one comes when the flush is done, which is never wrong.
 */
export function flushCache(unit: BlockUnit, command: ScsiCommand): Answered {
  if (!isInside(unit, lbaOf(command.cdb), blockCountOf(command.cdb))) return command.fail(SENSE.LbaOutOfRange);
  return command.awaitStore(unit.backend.flush(), 0);
}

/** START STOP UNIT: starting is nothing to do; stopping flushes. Power conditions, IMMED and ejecting are refused. */
export function startStop(unit: BlockUnit, command: ScsiCommand): Answered {
  const isImmediate = ((command.cdb[1] as number) & 1) !== 0;
  const control = command.cdb[4] as number;
  const powerCondition = control >>> 4;
  const isEject = (control & 2) !== 0;
  const isStart = (control & 1) !== 0;
  if (isImmediate || powerCondition !== 0 || isEject) return command.refuse(SENSE.InvalidFieldInCdb);
  if (isStart) return command.good(0);
  return command.awaitStore(unit.backend.flush(), 0);
}

/** The first block may be the end of the disk if no block is named. The sum is never formed: the peer chose both. */
export function isInside(unit: BlockUnit, lba: number, blockCount: number): boolean {
  return blockCount <= unit.blockCount && lba <= unit.blockCount - blockCount;
}

/** Protection information is asked for, or relative addressing. */
export function hasBadFlags(command: ScsiCommand): boolean {
  const opcode = command.cdb[0] as number;
  const flags = command.cdb[1] as number;
  if (opcode >>> 5 === 0) return false; // Byte 1 of the 6-byte form holds bits of the LBA.
  if ((flags & PROTECT_MASK) !== 0) return true;
  return opcode >>> 5 !== 4 && (flags & RELADR) !== 0;
}
