/** How a command ends: exit codes, and the one clear line that says why. */
import { PeerError, UsageError, VmbusError } from '../errors.ts';

export const ExitCode = { Fine: 0, Failed: 1, WrongUsage: 2, PeerBrokeProtocol: 3 } as const;
export type ExitCode = (typeof ExitCode)[keyof typeof ExitCode];

/** A command's own end: the message is the one line that a person sees, without a stack. */
export class CommandError extends Error {
  /** One of `ExitCode`, or a code that the command's own help lists. */
  readonly exitCode: number;

  constructor(exitCode: number, message: string, options?: ErrorOptions) {
    super(message, options);
    this.exitCode = exitCode;
  }
}

const GONE: ReadonlySet<string> = new Set(['ERR_CLOSED', 'ERR_RESCINDED']);

export function exitCodeOf(error: unknown): number {
  if (error instanceof CommandError) return error.exitCode;
  // A host that went away, or took its disk back, broke nothing.
  if (error instanceof PeerError) return GONE.has(error.code) ? ExitCode.Failed : ExitCode.PeerBrokeProtocol;
  if (error instanceof UsageError) return ExitCode.WrongUsage;
  return ExitCode.Failed;
}

/** One line for errors that say enough by themselves; the stack for a bug of ours. */
export function explain(error: unknown): string {
  if (error instanceof CommandError) return error.message;
  if (error instanceof VmbusError) return `${error.message} (${error.code})`;
  return error instanceof Error ? (error.stack ?? error.message) : String(error);
}
