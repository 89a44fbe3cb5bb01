/** Commands of other times: FORMAT UNIT, SEND DIAGNOSTIC, PREVENT ALLOW MEDIUM REMOVAL. They have nothing to do here. */
import { u16be } from '../big-endian.ts';
import type { BlockUnit } from '../block-unit.ts';
import type { Answered, ScsiCommand } from '../command.ts';
import { SENSE } from '../sense.ts';

/** SEND DIAGNOSTIC, CDB byte 1: a self-test by number, a page of parameters. */
const SELF_TEST_CODE = 0xe0;
const PAGE_FORMAT = 0x10;

/**
 * FORMAT UNIT with nothing to format it by: what the blocks hold afterwards is not defined, so they stay as they are.
 * Source: SBC-3 section 5.4.
 */
export function formatUnit(unit: BlockUnit, command: ScsiCommand): Answered {
  if ((command.cdb[1] as number) !== 0) return command.refuse(SENSE.InvalidFieldInCdb);
  return unit.backend.readOnly ? command.fail(SENSE.WriteProtected) : command.good(0);
}

/** SEND DIAGNOSTIC: the default self-test passes. Source: SPC-4 section 6.42. */
export function sendDiagnostic(_unit: BlockUnit, command: ScsiCommand): Answered {
  const isDefault = ((command.cdb[1] as number) & (SELF_TEST_CODE | PAGE_FORMAT)) === 0 && u16be(command.cdb, 3) === 0;
  return isDefault ? command.good(0) : command.refuse(SENSE.InvalidFieldInCdb);
}

/** A disk cannot be taken out, so there is nothing to prevent. */
export function preventAllowRemoval(_unit: BlockUnit, command: ScsiCommand): Answered {
  return command.good(0);
}
