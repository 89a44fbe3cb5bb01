/** READ CAPACITY 10 and 16. Source: SBC-3 sections 5.15 and 5.16. */
import { lbaOf, putU32be, u32be } from './cdb.ts';
import type { Answered, ScsiCommand } from './command.ts';
import type { DiskUnit } from './disk-unit.ts';
import { ServiceAction16 } from './opcodes.ts';
import { respond } from './respond.ts';
import { SENSE } from './sense.ts';

const CAPACITY_10_BYTES = 8;
const CAPACITY_16_BYTES = 32;
/** What READ CAPACITY(10) says of a disk that is too large for it. */
const TOO_LARGE_FOR_10 = 0xffff_ffff;

/** Last LBA and block size. An LBA without PMI is refused, as SBC-2 asks (both are obsolete in SBC-3). */
export function readCapacity10(disk: DiskUnit, command: ScsiCommand): Answered {
  const isPartial = ((command.cdb[8] as number) & 1) !== 0;
  if (!isPartial && lbaOf(command.cdb) !== 0) return command.refuse(SENSE.InvalidFieldInCdb);
  const answer = new Uint8Array(CAPACITY_10_BYTES);
  putU32be(answer, 0, Math.min(disk.blockCount - 1, TOO_LARGE_FOR_10));
  putU32be(answer, 4, disk.blockBytes);
  return respond(command, answer, CAPACITY_10_BYTES);
}

/** SERVICE ACTION IN(16): only READ CAPACITY(16). No protection information, fully provisioned. */
export function serviceActionIn16(disk: DiskUnit, command: ScsiCommand): Answered {
  const action = (command.cdb[1] as number) & 0x1f;
  if (action !== ServiceAction16.ReadCapacity16) return command.refuse(SENSE.InvalidFieldInCdb);
  const answer = new Uint8Array(CAPACITY_16_BYTES);
  const lastLba = disk.blockCount - 1;
  putU32be(answer, 0, Math.floor(lastLba / 0x1_0000_0000));
  putU32be(answer, 4, lastLba % 0x1_0000_0000);
  putU32be(answer, 8, disk.blockBytes);
  return respond(command, answer, u32be(command.cdb, 10));
}
