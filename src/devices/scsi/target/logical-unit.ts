import type { Answered, ScsiCommand } from './command.ts';
import type { Sense } from './sense.ts';

/** What answers at one path, target and LUN. */
export interface LogicalUnit {
  /** Runs one command; it ends in exactly one of the answers of `ScsiCommand`, now or later, in any order. */
  execute(command: ScsiCommand): Answered;
  /** Keeps the sense of a command that ended without delivering it, for REQUEST SENSE. */
  keepSense(sense: Sense): void;
  /** Waits for what is under way and lets go of the store. */
  close(): Promise<void>;
  inspect(): Record<string, unknown>;
}
