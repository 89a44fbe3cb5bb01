/** Disk images as commands name them: locked, opened, and refused with errors that a person can act on. */
import { setTimeout as delay } from 'node:timers/promises';
import { SystemError, UsageError } from '../errors.ts';
import { type DiscardingBackend, FaultyBackend, ImageError, openImage, openRawImage } from '../images/index.ts';
import type { DiskSpec } from './disk-spec.ts';
import { CommandError, ExitCode } from './exit.ts';
import { loadFileCalls } from './file-calls.ts';
import { type ImageLock, lockImage } from './image-lock.ts';

/** Block size of every data CD and DVD, bytes. Source: ECMA-119 section 6.1.2, MMC-6. */
const CD_BLOCK_BYTES = 2048;

/** An image that nobody else can open for writing as long as it is open here. */
export interface OpenDisk {
  readonly spec: DiskSpec;
  readonly backend: DiscardingBackend;
  /** Flushes what may be written, closes the image, gives the lock back. @throws (rejects) what the flush threw */
  close(): Promise<void>;
}

/** @throws CommandError: code 2 for what cannot be a disk, code 1 for what cannot be opened or is in use */
export async function openDiskImage(spec: DiskSpec): Promise<OpenDisk> {
  const locks: (ImageLock | undefined)[] = [];
  const release = async (): Promise<void> => {
    for (const lock of locks) await lock?.release();
  };
  try {
    const { path, overlay, readOnly } = spec;
    // Before the image is opened: opening one for writing may write already (a log that is owed is replayed).
    locks.push(await lockImage(path, !readOnly && overlay === undefined));
    let isOverlayLocked = overlay === undefined;
    if (overlay !== undefined) {
      const lock = await lockImage(overlay, !readOnly);
      isOverlayLocked = lock !== undefined;
      locks.push(lock);
    }
    const backend = await openBackend(spec);
    // An overlay that was made just now; an empty one has nothing to lose if somebody else was faster.
    if (!isOverlayLocked && overlay !== undefined) {
      try {
        locks.push(await lockImage(overlay, !readOnly));
      } catch (error) {
        await backend.close();
        throw error;
      }
    }
    return { spec, backend, close: () => closeDisk(backend, release) };
  } catch (error) {
    await release();
    throw asCommandError(error);
  }
}

/** The bytes of a raw file that a whole-disk reader will see. @throws CommandError as `openDiskImage` */
export async function openDiskFile(
  path: string,
  options: { readOnly: boolean },
): Promise<{ readonly fileBytes: number; close(): Promise<void> }> {
  try {
    const image = await openRawImage(path, options);
    return { fileBytes: image.sizeBytes - image.paddingBytes, close: () => image.close() };
  } catch (error) {
    throw asCommandError(error);
  }
}

async function openBackend({ path, format, readOnly, isCd, overlay, faults }: DiskSpec): Promise<DiscardingBackend> {
  const calls = await loadFileCalls();
  const image = await openImage({
    path,
    readOnly,
    ...(format && { format }),
    ...(isCd && { format: 'raw', blockBytes: CD_BLOCK_BYTES }),
    ...(overlay && { overlay }),
    ...(calls && {
      punchHole: (fd, offsetBytes, byteCount) => calls.punchHole(fd, offsetBytes, byteCount),
      readNow: (fd, buffers, offsetBytes) => calls.readNow(fd, buffers, offsetBytes),
    }),
  });
  if (faults === undefined) return image;
  return new FaultyBackend(image, faults, { delay: (delayMs) => delay(delayMs) });
}

async function closeDisk(backend: DiscardingBackend, release: () => Promise<void>): Promise<void> {
  try {
    if (!backend.readOnly) await backend.flush();
  } finally {
    await backend.close().finally(release);
  }
}

function asCommandError(error: unknown): unknown {
  const isNoDisk = error instanceof UsageError || error instanceof ImageError;
  if (isNoDisk) return new CommandError(ExitCode.WrongUsage, error.message, { cause: error });
  if (error instanceof SystemError) return new CommandError(ExitCode.Failed, error.message, { cause: error });
  return error;
}
