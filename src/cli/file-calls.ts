/** The system calls that disk images are better with, and can do without. */
import { SystemError } from '../errors.ts';
import { FileCalls } from '../transports/native/index.ts';

let loading: Promise<FileCalls | undefined> | undefined;

/** @returns undefined where there is no koffi: then discards give no space back, and images are not locked */
export function loadFileCalls(): Promise<FileCalls | undefined> {
  loading ??= FileCalls.load().catch((error: unknown) => {
    if (error instanceof SystemError) return undefined;
    throw error;
  });
  return loading;
}
