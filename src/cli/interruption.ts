/** Ctrl-C and its kin, taken once: the command ends in good order, and a second one ends the process at once. */
import { CommandError, ExitCode } from './exit.ts';

const SIGNALS = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;

export interface Interruption {
  /** Aborted by the signal. */
  readonly signal: AbortSignal;
  /** Resolves with the signal's name. */
  readonly arrived: Promise<string>;
  /** Listens no more: signals end the process again. */
  release(): void;
}

export function watchForInterruption(): Interruption {
  const abort = new AbortController();
  let tell: (signal: string) => void = () => {};
  const arrived = new Promise<string>((resolve) => {
    tell = resolve;
  });
  const release = (): void => {
    for (const name of SIGNALS) process.off(name, onSignal);
  };
  const onSignal = (name: string): void => {
    release();
    abort.abort();
    tell(name);
  };
  for (const name of SIGNALS) process.on(name, onSignal);
  return { signal: abort.signal, arrived, release };
}

/**
 * Runs `job`, which stops soon after its signal is aborted by throwing the signal's reason.
 * @throws CommandError if it was interrupted
 */
export async function interruptible<Result>(job: (signal: AbortSignal) => Promise<Result>): Promise<Result> {
  const { signal, release } = watchForInterruption();
  try {
    return await job(signal);
  } catch (error) {
    if (!signal.aborted || error !== signal.reason) throw error;
    throw new CommandError(ExitCode.Failed, 'interrupted; what was under way has ended, the rest was not begun');
  } finally {
    release();
  }
}
