import type { Answered, ScsiCommand } from './command.ts';

/** What answers at one path, target and LUN. */
export interface LogicalUnit {
  /** Runs one command; it ends in exactly one of the answers of `ScsiCommand`, now or later, in any order. */
  execute(command: ScsiCommand): Answered;
  /** Waits for what is under way and lets go of the store. */
  close(): Promise<void>;
  inspect(): Record<string, unknown>;
}
