/** MODE SENSE and MODE SELECT, 6 and 10: the caching page. Source: SPC-4 sections 6.9 to 6.12 and 7.5, SBC-3 section 6.5.5. */
import { putU16be, u16be } from '../big-endian.ts';
import type { Answered, ScsiCommand } from '../command.ts';
import { Opcode } from '../opcodes.ts';
import { parameterList } from '../parameter-list.ts';
import { respond } from '../respond.ts';
import { SENSE, type Sense } from '../sense.ts';
import type { DiskUnit } from './disk-unit.ts';

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

const HEADER_BYTES_6 = 4;
const HEADER_BYTES_10 = 8;
/** MODE SELECT, CDB byte 1: save the pages. */
const SAVE_PAGES = 0x01;

export function modeSense6(disk: DiskUnit, command: ScsiCommand): Answered {
  const refusal = refusalOf(command);
  if (refusal !== undefined) return command.refuse(refusal);
  const answer = new Uint8Array(HEADER_BYTES_6 + CACHING_PAGE_BYTES);
  answer[0] = answer.length - 1;
  answer[2] = deviceSpecific(disk);
  answer.set(cachingPage(disk, controlOf(command)), HEADER_BYTES_6);
  return respond(command, answer, command.cdb[4] as number);
}

export function modeSense10(disk: DiskUnit, command: ScsiCommand): Answered {
  const refusal = refusalOf(command);
  if (refusal !== undefined) return command.refuse(refusal);
  const answer = new Uint8Array(HEADER_BYTES_10 + CACHING_PAGE_BYTES);
  putU16be(answer, 0, answer.length - 2);
  answer[3] = deviceSpecific(disk);
  answer.set(cachingPage(disk, controlOf(command)), HEADER_BYTES_10);
  return respond(command, answer, u16be(command.cdb, 7));
}

/**
 * MODE SELECT 6 and 10. Nothing is changeable, so only what is so already may be "set": a guest that writes the page back
 * as it read it is content.
 */
export function modeSelect(disk: DiskUnit, command: ScsiCommand): Answered {
  const { cdb } = command;
  const isShort = cdb[0] === Opcode.ModeSelect6;
  const headerBytes = isShort ? HEADER_BYTES_6 : HEADER_BYTES_10;
  const listBytes = isShort ? (cdb[4] as number) : u16be(cdb, 7);
  if (((cdb[1] as number) & SAVE_PAGES) !== 0) return command.refuse(SENSE.InvalidFieldInCdb);
  if (listBytes === 0) return command.good(0);
  if (listBytes < headerBytes) return command.refuse(SENSE.ParameterListLength);
  const list = parameterList(command, listBytes);
  if (list === undefined) return command.refuse(SENSE.InvalidFieldInCdb);
  const descriptorBytes = isShort ? (list[3] as number) : u16be(list, 6);
  if (descriptorBytes !== 0) return command.refuse(SENSE.InvalidFieldInParameterList);
  const current = cachingPage(disk, 0);
  for (let at = headerBytes; at < listBytes; at += CACHING_PAGE_BYTES) {
    if (listBytes - at < CACHING_PAGE_BYTES) return command.refuse(SENSE.ParameterListLength);
    const isSame = current.every((byte, index) => (list[at + index] as number) === byte);
    if (!isSame) return command.refuse(SENSE.InvalidFieldInParameterList);
  }
  return command.good(listBytes);
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
function cachingPage(disk: DiskUnit, control: number): Uint8Array {
  const page = new Uint8Array(CACHING_PAGE_BYTES);
  page[0] = PAGE_CACHING;
  page[1] = CACHING_PAGE_BYTES - 2;
  if (control !== CONTROL_CHANGEABLE && disk.backend.hasVolatileCache) page[2] = WRITE_CACHE_ENABLED;
  return page;
}

function controlOf(command: ScsiCommand): number {
  return (command.cdb[2] as number) >>> 6;
}
