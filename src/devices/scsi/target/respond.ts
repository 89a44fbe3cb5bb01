import { DataDirection } from '../../../wire/storvsc.ts';
import type { Answered, ScsiCommand } from './command.ts';
import { SENSE } from './sense.ts';

/**
 * Ends a command that returns a small block of parameter data: cut to the allocation length, as SPC asks.
 * A buffer too short for what is due is an overrun and stays untouched.
 * @param allocationBytes from the CDB
 */
export function respond(command: ScsiCommand, answer: Uint8Array, allocationBytes: number): Answered {
  const answerBytes = Math.min(answer.length, allocationBytes);
  if (answerBytes === 0) return command.good(0);
  if (command.direction === DataDirection.Write) return command.refuse(SENSE.InvalidFieldInCdb);
  const data = command.data;
  if (data === undefined || data.byteLength < answerBytes) return command.overrun();
  data.write(0, answerBytes === answer.length ? answer : answer.subarray(0, answerBytes));
  return command.good(answerBytes);
}
