import { DataDirection } from '../../../wire/storvsc.ts';
import type { BlockUnit } from './block-unit.ts';
import type { Answered, ScsiCommand } from './command.ts';
import { respond } from './respond.ts';
import { encodeFixedSense, FIXED_SENSE_BYTES, SENSE } from './sense.ts';

/**
 * REQUEST SENSE: the sense that autosense did not carry, once; else a unit attention that waits; else "no sense".
 * Only the fixed format: DESC is refused. Source: SPC-4 section 6.39.
 */
export function requestSense(unit: BlockUnit, command: ScsiCommand): Answered {
  const isDescriptor = ((command.cdb[1] as number) & 1) !== 0;
  const allocationBytes = command.cdb[4] as number;
  if (isDescriptor) return command.refuse(SENSE.InvalidFieldInCdb);
  if (command.dataBytes < allocationBytes || command.direction === DataDirection.Write) {
    return command.refuse(SENSE.InvalidFieldInCdb);
  }
  const answer = new Uint8Array(FIXED_SENSE_BYTES);
  const sense = unit.pendingSense ?? unit.takeAttention() ?? SENSE.None;
  unit.pendingSense = undefined;
  encodeFixedSense(answer, 0, sense);
  return respond(command, answer, allocationBytes);
}
