/** The tray of a CD drive: open, close, lock, and what became of the medium. Source: MMC-6 sections 6.6, 6.11, 6.15, 6.43. */
import { putU16be, u16be } from '../big-endian.ts';
import type { Answered, ScsiCommand } from '../command.ts';
import { respond } from '../respond.ts';
import { SENSE } from '../sense.ts';
import type { CdUnit } from './cd-unit.ts';

const LOAD_OR_EJECT = 2;
const START = 1;
const PREVENT = 1;

/** START STOP UNIT: spins nothing, but opens the tray and closes it with what was in. */
export function startStop(cd: CdUnit, command: ScsiCommand): Answered {
  const control = command.cdb[4] as number;
  if (control >>> 4 !== 0) return command.refuse(SENSE.InvalidFieldInCdb);
  if ((control & LOAD_OR_EJECT) === 0) return command.good(0);
  if ((control & START) !== 0) {
    if (!cd.hasMedium) cd.insert();
    return command.good(0);
  }
  if (cd.isRemovalPrevented) return command.refuse(SENSE.RemovalPrevented);
  cd.eject();
  return command.good(0);
}

export function preventAllowRemoval(cd: CdUnit, command: ScsiCommand): Answered {
  cd.isRemovalPrevented = ((command.cdb[4] as number) & PREVENT) !== 0 && cd.hasMedium;
  return command.good(0);
}

const POLLED = 1;
const MEDIA_CLASS = 4;
const MEDIA_CLASS_BIT = 1 << MEDIA_CLASS;
/** No event is available in the classes asked for. */
const NO_EVENT = 0x80;
const MEDIA_PRESENT = 0x02;

/** GET EVENT STATUS NOTIFICATION, polled: of the classes there is media, and no other. */
export function getEventStatus(cd: CdUnit, command: ScsiCommand): Answered {
  const { cdb } = command;
  if (((cdb[1] as number) & POLLED) === 0) return command.refuse(SENSE.InvalidFieldInCdb);
  const isMedia = ((cdb[4] as number) & MEDIA_CLASS_BIT) !== 0;
  const answer = new Uint8Array(isMedia ? 8 : 4);
  putU16be(answer, 0, answer.length - 2);
  answer[2] = isMedia ? MEDIA_CLASS : NO_EVENT;
  answer[3] = MEDIA_CLASS_BIT;
  const allocationBytes = u16be(cdb, 7);
  if (isMedia) {
    // An event that the answer has no room for is not lost.
    if (allocationBytes >= answer.length) answer[4] = cd.takeEvent();
    answer[5] = cd.hasMedium ? MEDIA_PRESENT : 0;
  }
  return respond(command, answer, allocationBytes);
}

/** MECHANISM STATUS: one slot, idle. */
export function mechanismStatus(cd: CdUnit, command: ScsiCommand): Answered {
  const answer = new Uint8Array(12);
  answer[5] = 1; // Slots.
  putU16be(answer, 6, 4); // Bytes of the slot table.
  answer[8] = cd.hasMedium ? 0x80 : 0;
  return respond(command, answer, u16be(command.cdb, 8));
}
