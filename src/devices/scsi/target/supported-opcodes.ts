/** REPORT SUPPORTED OPERATION CODES: the table of commands, told to the guest. Source: SPC-4 section 6.35. */
import { putU16be, putU32be, u16be, u32be } from './big-endian.ts';
import type { BlockUnit } from './block-unit.ts';
import type { Answered, ScsiCommand } from './command.ts';
import { type CommandEntry, usageBytes } from './command-table.ts';
import { respond } from './respond.ts';
import { SENSE } from './sense.ts';

const Report = { All: 0, Opcode: 1, OpcodeAndAction: 2, OpcodeAndMaybeAction: 3 } as const;
/** Byte 2 of the CDB: with command timeouts descriptors. */
const RETURN_TIMEOUTS = 0x80;

/** Of one command: not there; there, by the standard. */
const UNSUPPORTED = 1;
const SUPPORTED = 3;
const HAS_TIMEOUTS_ONE = 0x80;
const HAS_TIMEOUTS_ALL = 0x02;
const HAS_SERVICE_ACTION = 0x01;

const DESCRIPTOR_BYTES = 8;
/** A timeouts descriptor that names no time: how long a store takes is not ours to say. */
const TIMEOUTS = Uint8Array.of(0, 10, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0);

export function reportSupportedOpcodes(unit: BlockUnit, command: ScsiCommand): Answered {
  const { cdb } = command;
  const options = cdb[2] as number;
  const report = options & 7;
  const withTimeouts = (options & RETURN_TIMEOUTS) !== 0;
  const allocationBytes = u32be(cdb, 6);
  if (report === Report.All) return respond(command, encodeAll(unit.commands.entries, withTimeouts), allocationBytes);
  const opcode = cdb[3] as number;
  const action = u16be(cdb, 4);
  const entries = unit.commands.entries.filter((entry) => entry.opcode === opcode);
  const hasActions = entries.some((entry) => entry.serviceAction !== undefined);
  // To ask for the wrong kind is a mistake of the asker's; to ask for what is not there is not.
  if (report === Report.Opcode && hasActions) return command.refuse(SENSE.InvalidFieldInCdb);
  if (report === Report.OpcodeAndAction && entries.length > 0 && !hasActions) {
    return command.refuse(SENSE.InvalidFieldInCdb);
  }
  if (report > Report.OpcodeAndMaybeAction) return command.refuse(SENSE.InvalidFieldInCdb);
  const found = entries.find((entry) => (entry.serviceAction ?? 0) === (hasActions ? action : 0));
  const isAsked = found !== undefined && (hasActions || report !== Report.OpcodeAndMaybeAction || action === 0);
  return respond(command, encodeOne(isAsked ? found : undefined, withTimeouts), allocationBytes);
}

function encodeAll(entries: readonly CommandEntry[], withTimeouts: boolean): Uint8Array {
  const entryBytes = DESCRIPTOR_BYTES + (withTimeouts ? TIMEOUTS.length : 0);
  const answer = new Uint8Array(4 + entries.length * entryBytes);
  putU32be(answer, 0, answer.length - 4);
  entries.forEach((entry, index) => {
    const at = 4 + index * entryBytes;
    answer[at] = entry.opcode;
    putU16be(answer, at + 2, entry.serviceAction ?? 0);
    answer[at + 5] =
      (entry.serviceAction === undefined ? 0 : HAS_SERVICE_ACTION) | (withTimeouts ? HAS_TIMEOUTS_ALL : 0);
    putU16be(answer, at + 6, usageBytes(entry).length);
    if (withTimeouts) answer.set(TIMEOUTS, at + DESCRIPTOR_BYTES);
  });
  return answer;
}

function encodeOne(entry: CommandEntry | undefined, withTimeouts: boolean): Uint8Array {
  if (entry === undefined) return Uint8Array.of(0, UNSUPPORTED, 0, 0);
  const usage = usageBytes(entry);
  const answer = new Uint8Array(4 + usage.length + (withTimeouts ? TIMEOUTS.length : 0));
  answer[1] = SUPPORTED | (withTimeouts ? HAS_TIMEOUTS_ONE : 0);
  putU16be(answer, 2, usage.length);
  answer.set(usage, 4);
  if (withTimeouts) answer.set(TIMEOUTS, 4 + usage.length);
  return answer;
}
