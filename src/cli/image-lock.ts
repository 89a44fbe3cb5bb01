/**
 * A lock on an image file, so that two hosts do not write it at the same time.
 *
 * It is `flock(2)` on a descriptor of our own, so it ends with the process, however that ends; no file is left behind.
 * It keeps other `vmbus` processes out, and whoever else asks with flock. QEMU locks by other means (fcntl) and sees
 * nothing of it.
 */
import { constants } from 'node:fs';
import { type FileHandle, open } from 'node:fs/promises';
import { CommandError, ExitCode } from './exit.ts';
import { loadFileCalls } from './file-calls.ts';

export interface ImageLock {
  release(): Promise<void>;
}

/**
 * @param isExclusive for an image that will be written; several may read one
 * @returns undefined if there is nothing to lock: who opens the file then will say what is wrong with it
 * @throws CommandError if somebody else has it
 */
export async function lockImage(path: string, isExclusive: boolean): Promise<ImageLock | undefined> {
  const calls = await loadFileCalls();
  if (calls === undefined) return undefined;
  let handle: FileHandle;
  try {
    // A pipe would keep an ordinary open waiting for its other end.
    handle = await open(path, (isExclusive ? constants.O_RDWR : constants.O_RDONLY) | constants.O_NONBLOCK);
  } catch {
    return undefined;
  }
  try {
    if (!calls.tryLock(handle.fd, isExclusive)) {
      const others = isExclusive ? 'another host uses it, or it is named twice' : 'another host writes it';
      throw new CommandError(ExitCode.Failed, `${path} is locked: ${others}`);
    }
    return { release: () => handle.close() };
  } catch (error) {
    await handle.close();
    throw error;
  }
}
