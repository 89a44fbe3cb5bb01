import type { Answered, ScsiCommand } from './command.ts';
import type { Sense } from './sense.ts';

/** What answers at one path, target and LUN. */
export interface LogicalUnit {
  /** Runs one command; it ends in exactly one of the answers of `ScsiCommand`, now or later, in any order. */
  execute(command: ScsiCommand): Answered;
  /** Keeps the sense of a command that ended without delivering it, for REQUEST SENSE. */
  keepSense(sense: Sense): void;
  /** It was reset: what was under way has ended; what is bound to a power cycle is forgotten. */
  reset(): void;
  /** The initiator closed its channel or is gone. */
  nexusLost(): void;
  /** The list of units beside it has changed: REPORT LUNS would answer differently. */
  lunsChanged(): void;
  /** Waits for what is under way and lets go of the store. */
  close(): Promise<void>;
  inspect(): Record<string, unknown>;
}
