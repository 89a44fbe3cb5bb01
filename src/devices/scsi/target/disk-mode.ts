/** MODE SENSE 6 and 10: the caching page. Source: SPC-4 sections 6.11, 6.12 and 7.5, SBC-3 section 6.5.5. */
import { putU16be, u16be } from './cdb.ts';
import type { Answered, ScsiCommand } from './command.ts';
import type { DiskUnit } from './disk-unit.ts';
import { respond } from './respond.ts';
import { SENSE, type Sense } from './sense.ts';

const PAGE_CACHING = 0x08;
const PAGE_ALL = 0x3f;
/** In a request for all pages: the subpages too. There are none. */
const SUBPAGE_ALL = 0xff;
const CACHING_PAGE_BYTES = 12;

/** Device-specific parameter: write protected. */
const WRITE_PROTECT = 0x80;
/** Device-specific parameter: DPO and FUA are understood. */
const DPO_FUA = 0x10;
/** Caching page, byte 2: writes may sit in a cache, so a guest that wants them safe sends SYNCHRONIZE CACHE. */
const WRITE_CACHE_ENABLED = 0x04;

/** Page control, the high 2 bits of CDB byte 2. */
const CONTROL_CHANGEABLE = 1;
const CONTROL_SAVED = 3;

export function modeSense6(disk: DiskUnit, command: ScsiCommand): Answered {
  const refusal = refusalOf(command);
  if (refusal !== undefined) return command.refuse(refusal);
  const answer = new Uint8Array(4 + CACHING_PAGE_BYTES);
  answer[0] = answer.length - 1;
  answer[2] = deviceSpecific(disk);
  answer.set(cachingPage(disk, command), 4);
  return respond(command, answer, command.cdb[4] as number);
}

export function modeSense10(disk: DiskUnit, command: ScsiCommand): Answered {
  const refusal = refusalOf(command);
  if (refusal !== undefined) return command.refuse(refusal);
  const answer = new Uint8Array(8 + CACHING_PAGE_BYTES);
  putU16be(answer, 0, answer.length - 2);
  answer[3] = deviceSpecific(disk);
  answer.set(cachingPage(disk, command), 8);
  return respond(command, answer, u16be(command.cdb, 7));
}

/** Why the pages asked for cannot be given, if so. */
function refusalOf(command: ScsiCommand): Sense | undefined {
  const page = (command.cdb[2] as number) & 0x3f;
  const subpage = command.cdb[3] as number;
  const isKnown = page === PAGE_ALL ? subpage === 0 || subpage === SUBPAGE_ALL : page === PAGE_CACHING && subpage === 0;
  if (!isKnown) return SENSE.InvalidFieldInCdb;
  return controlOf(command) === CONTROL_SAVED ? SENSE.SavingNotSupported : undefined;
}

function deviceSpecific(disk: DiskUnit): number {
  return DPO_FUA | (disk.backend.readOnly ? WRITE_PROTECT : 0);
}

/** Current and default values are the same; nothing is changeable. */
function cachingPage(disk: DiskUnit, command: ScsiCommand): Uint8Array {
  const page = new Uint8Array(CACHING_PAGE_BYTES);
  page[0] = PAGE_CACHING;
  page[1] = CACHING_PAGE_BYTES - 2;
  if (controlOf(command) !== CONTROL_CHANGEABLE && disk.backend.hasVolatileCache) page[2] = WRITE_CACHE_ENABLED;
  return page;
}

function controlOf(command: ScsiCommand): number {
  return (command.cdb[2] as number) >>> 6;
}
