/** READ CAPACITY 10 and 16. Source: SBC-3 sections 5.15 and 5.16. */
import { putU32be, putU64be, u32be } from '../big-endian.ts';
import type { BlockUnit } from '../block-unit.ts';
import { lbaOf } from '../cdb.ts';
import type { Answered, ScsiCommand } from '../command.ts';
import { respond } from '../respond.ts';
import { SENSE } from '../sense.ts';
import type { DiskUnit } from './disk-unit.ts';

const CAPACITY_10_BYTES = 8;
const CAPACITY_16_BYTES = 32;
/** What READ CAPACITY(10) says of a disk that is too large for it. */
const TOO_LARGE_FOR_10 = 0xffff_ffff;
/** Byte 14: logical block provisioning is managed; blocks that were given back read as zeros. */
const LBPME = 0x80;
const LBPRZ = 0x40;

/** Last LBA and block size. An LBA without PMI is refused, as SBC-2 asks (both are obsolete in SBC-3). */
export function readCapacity10(unit: BlockUnit, command: ScsiCommand): Answered {
  const isPartial = ((command.cdb[8] as number) & 1) !== 0;
  if (!isPartial && lbaOf(command.cdb) !== 0) return command.refuse(SENSE.InvalidFieldInCdb);
  const answer = new Uint8Array(CAPACITY_10_BYTES);
  putU32be(answer, 0, Math.min(unit.blockCount - 1, TOO_LARGE_FOR_10));
  putU32be(answer, 4, unit.blockBytes);
  return respond(command, answer, CAPACITY_10_BYTES);
}

/** No protection information; thin where the store can give space back. */
export function readCapacity16(disk: DiskUnit, command: ScsiCommand): Answered {
  const answer = new Uint8Array(CAPACITY_16_BYTES);
  putU64be(answer, 0, disk.blockCount - 1);
  putU32be(answer, 8, disk.blockBytes);
  if (disk.isThin) answer[14] = LBPME | (disk.readsZerosWhereUnmapped ? LBPRZ : 0);
  return respond(command, answer, u32be(command.cdb, 10));
}
