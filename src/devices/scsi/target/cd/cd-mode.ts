/** MODE SENSE 6 and 10 of a CD drive: the capabilities page. Source: MMC-3 section 5.5.10, SPC-4 section 7.5. */
import { putU16be, u16be } from '../big-endian.ts';
import type { Answered, ScsiCommand } from '../command.ts';
import { respond } from '../respond.ts';
import { SENSE, type Sense } from '../sense.ts';
import type { CdUnit } from './cd-unit.ts';

const PAGE_CAPABILITIES = 0x2a;
const PAGE_ALL = 0x3f;
const PAGE_BYTES = 22;
const CONTROL_CHANGEABLE = 1;
const CONTROL_SAVED = 3;

/** Reads CD-R, CD-RW, DVD-ROM; writes nothing. */
const READS = 0x0b;
/** Mode 2 forms 1 and 2, several sessions. */
const FORMS = 0x70;
/** A tray; it can be ejected and locked. */
const TRAY_EJECT_LOCK = 0x29;
/** The medium is locked in. */
const LOCKED = 0x02;
/** KB/s, forty times that of an audio CD. Linux prints it; nothing is slowed down to it. */
const SPEED = 7056;

export function modeSense6(cd: CdUnit, command: ScsiCommand): Answered {
  const refusal = refusalOf(command);
  if (refusal !== undefined) return command.refuse(refusal);
  const answer = new Uint8Array(4 + PAGE_BYTES);
  answer[0] = answer.length - 1;
  answer.set(capabilitiesPage(cd, command), 4);
  return respond(command, answer, command.cdb[4] as number);
}

export function modeSense10(cd: CdUnit, command: ScsiCommand): Answered {
  const refusal = refusalOf(command);
  if (refusal !== undefined) return command.refuse(refusal);
  const answer = new Uint8Array(8 + PAGE_BYTES);
  putU16be(answer, 0, answer.length - 2);
  answer.set(capabilitiesPage(cd, command), 8);
  return respond(command, answer, u16be(command.cdb, 7));
}

function refusalOf({ cdb }: ScsiCommand): Sense | undefined {
  const page = (cdb[2] as number) & 0x3f;
  if ((page !== PAGE_CAPABILITIES && page !== PAGE_ALL) || (cdb[3] as number) !== 0) return SENSE.InvalidFieldInCdb;
  return (cdb[2] as number) >>> 6 === CONTROL_SAVED ? SENSE.SavingNotSupported : undefined;
}

function capabilitiesPage(cd: CdUnit, { cdb }: ScsiCommand): Uint8Array {
  const page = new Uint8Array(PAGE_BYTES);
  page[0] = PAGE_CAPABILITIES;
  page[1] = PAGE_BYTES - 2;
  if ((cdb[2] as number) >>> 6 === CONTROL_CHANGEABLE) return page;
  page[2] = READS;
  page[4] = FORMS;
  page[6] = TRAY_EJECT_LOCK | (cd.isRemovalPrevented ? LOCKED : 0);
  putU16be(page, 8, SPEED);
  putU16be(page, 14, SPEED);
  return page;
}
