/** Disk images as commands name them: opened with the errors that a person can act on. */
import { type FileBackend, openFileBackend } from '../devices/scsi/index.ts';
import { SystemError, UsageError } from '../errors.ts';
import { CommandError, ExitCode } from './exit.ts';

/** @throws CommandError: code 2 for what cannot be a disk, code 1 for what cannot be opened */
export async function openDiskFile(path: string, options: { readOnly: boolean }): Promise<FileBackend> {
  try {
    return await openFileBackend(path, options);
  } catch (error) {
    if (error instanceof UsageError) throw new CommandError(ExitCode.WrongUsage, error.message, { cause: error });
    if (error instanceof SystemError) throw new CommandError(ExitCode.Failed, error.message, { cause: error });
    throw error;
  }
}
