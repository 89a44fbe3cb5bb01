/** LOG SENSE: which pages there are, and the error counters for writes and reads. Source: SPC-4 sections 6.8 and 7.3. */
import { putU16be, putU32be, putU64be, u16be } from './big-endian.ts';
import type { BlockUnit } from './block-unit.ts';
import type { Answered, ScsiCommand } from './command.ts';
import { respond } from './respond.ts';
import { SENSE } from './sense.ts';

const LogPage = { Supported: 0x00, WriteErrors: 0x02, ReadErrors: 0x03 } as const;
const PAGES = Object.values(LogPage);
const ALL_SUBPAGES = 0xff;
/** Page control 1: what has added up so far. Thresholds and defaults are not kept. */
const CUMULATIVE = 1;

/** Parameters of an error counter page. */
const TOTAL_BYTES = 0x0005;
const UNCORRECTED_ERRORS = 0x0006;

export function logSense(unit: BlockUnit, command: ScsiCommand): Answered {
  const { cdb } = command;
  const isPointedOrSaved = ((cdb[1] as number) & 3) !== 0;
  const pageControl = (cdb[2] as number) >>> 6;
  const page = (cdb[2] as number) & 0x3f;
  const subpage = cdb[3] as number;
  if (isPointedOrSaved || pageControl !== CUMULATIVE) return command.refuse(SENSE.InvalidFieldInCdb);
  const isList = page === LogPage.Supported && (subpage === 0 || subpage === ALL_SUBPAGES);
  const isCounters = (page === LogPage.WriteErrors || page === LogPage.ReadErrors) && subpage === 0;
  if (!isList && !isCounters) return command.refuse(SENSE.InvalidFieldInCdb);
  const firstParameter = u16be(cdb, 5);
  if (firstParameter > (isList ? 0 : UNCORRECTED_ERRORS)) return command.refuse(SENSE.InvalidFieldInCdb);
  const body = isList ? pageList(subpage) : errorCounters(unit, page === LogPage.ReadErrors, firstParameter);
  const answer = new Uint8Array(4 + body.length);
  answer[0] = page | (subpage === 0 ? 0 : 0x40); // Bit 6: subpage format.
  answer[1] = subpage;
  putU16be(answer, 2, body.length);
  answer.set(body, 4);
  return respond(command, answer, u16be(cdb, 7));
}

function pageList(subpage: number): Uint8Array {
  return Uint8Array.from(subpage === 0 ? PAGES : [...PAGES.flatMap((page) => [page, 0]), 0, ALL_SUBPAGES]);
}

function errorCounters(unit: BlockUnit, isRead: boolean, firstParameter: number): Uint8Array {
  const total = new Uint8Array(4 + 8);
  putU16be(total, 0, TOTAL_BYTES);
  total[3] = 8;
  putU64be(total, 4, isRead ? unit.movedBytes.read : unit.movedBytes.write);
  const errors = new Uint8Array(4 + 4);
  putU16be(errors, 0, UNCORRECTED_ERRORS);
  errors[3] = 4;
  putU32be(errors, 4, isRead ? unit.faults.read : unit.faults.write);
  return firstParameter > TOTAL_BYTES ? errors : Uint8Array.from([...total, ...errors]);
}
