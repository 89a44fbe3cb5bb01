/**
 * A disk in an ordinary file.
 *
 * Bytes move between the file and the guest's pages by `readv` and `writev`, with no buffer between. Any number of calls
 * may be under way; libuv's thread pool (4 threads unless UV_THREADPOOL_SIZE says otherwise) carries them out.
 */
import { constants, fdatasync, readv, writev } from 'node:fs';
import { type FileHandle, open } from 'node:fs/promises';
import { resolve } from 'node:path';
import { SystemError, UsageError } from '../../errors.ts';
import type { ScatterView } from '../../memory/scatter-view.ts';
import { BackendError, BackendFault, type BlockBackend, checkBlockBytes, checkRange } from './block-backend.ts';

export interface FileBackendOptions {
  /** Default 512. */
  readonly blockBytes?: number;
  /** Open for reading only; the file may then end inside a block, which is padded with zeros. Default false. */
  readonly readOnly?: boolean;
  /** See `BlockBackend.identity`. Default `file:` and the absolute path. */
  readonly identity?: string;
}

/**
 * Opens a disk image.
 * @throws SystemError `ERR_BACKEND` if the file cannot be opened (missing, no permission, ...)
 * @throws UsageError `ERR_ARGUMENT` for a folder, a device, an empty file, or a writable file that ends inside a block
 */
export async function openFileBackend(path: string, options: FileBackendOptions = {}): Promise<FileBackend> {
  const blockBytes = options.blockBytes ?? 512;
  const readOnly = options.readOnly ?? false;
  checkBlockBytes(blockBytes);
  const handle = await openImage(path, readOnly);
  try {
    const stat = await handle.stat();
    if (stat.isDirectory()) throw unusable(path, 'is a folder, not a disk image');
    if (!stat.isFile()) throw unusable(path, 'is not an ordinary file');
    if (stat.size === 0) throw unusable(path, 'is empty: a disk needs at least one byte');
    if (!readOnly && stat.size % blockBytes !== 0) {
      throw unusable(
        path,
        `has ${stat.size} bytes, not a multiple of ${blockBytes}: make it whole blocks or open it read-only`,
      );
    }
    const identity = options.identity ?? `file:${resolve(path)}`;
    return new FileBackend(handle, path, stat.size, { blockBytes, readOnly, identity });
  } catch (error) {
    await handle.close();
    throw error;
  }
}

export class FileBackend implements BlockBackend {
  readonly path: string;
  /** Bytes of the file itself. */
  readonly fileBytes: number;
  readonly sizeBytes: number;
  readonly blockBytes: number;
  readonly readOnly: boolean;
  readonly hasVolatileCache: boolean;
  readonly identity: string;
  readonly #handle: FileHandle;
  #inFlight = 0;
  #idle: (() => void) | undefined;

  /** Use `openFileBackend`. */
  constructor(handle: FileHandle, path: string, fileBytes: number, options: Required<FileBackendOptions>) {
    this.#handle = handle;
    this.path = path;
    this.fileBytes = fileBytes;
    this.sizeBytes = Math.ceil(fileBytes / options.blockBytes) * options.blockBytes;
    this.blockBytes = options.blockBytes;
    this.readOnly = options.readOnly;
    this.hasVolatileCache = !options.readOnly;
    this.identity = options.identity;
  }

  /** Zero bytes that the disk shows after the file's own end, 0..blockBytes-1. */
  get paddingBytes(): number {
    return this.sizeBytes - this.fileBytes;
  }

  async read(offsetBytes: number, target: ScatterView): Promise<void> {
    checkRange(this, offsetBytes, target.byteLength);
    const fileBytes = Math.min(target.byteLength, this.fileBytes - offsetBytes);
    await this.#move(true, fileBytes === target.byteLength ? target : target.slice(0, fileBytes), offsetBytes);
    if (fileBytes < target.byteLength) target.fill(0, fileBytes);
  }

  async write(offsetBytes: number, source: ScatterView, forceUnitAccess: boolean): Promise<void> {
    if (this.readOnly) throw new BackendError(BackendFault.ReadOnly, `${this.path} is open for reading only`);
    checkRange(this, offsetBytes, source.byteLength);
    this.#inFlight++; // Across both calls: `close` must not come between them.
    try {
      await this.#move(false, source, offsetBytes);
      if (forceUnitAccess) await this.#sync();
    } finally {
      this.#ended();
    }
  }

  async flush(): Promise<void> {
    if (!this.readOnly) await this.#sync();
  }

  async close(): Promise<void> {
    if (this.#inFlight > 0) {
      await new Promise<void>((idle) => {
        this.#idle = idle;
      });
    }
    await this.#handle.close();
  }

  /** Every system call is counted, so that `close` never takes the descriptor away from under one. */
  #ended(): void {
    this.#inFlight--;
    if (this.#inFlight === 0) this.#idle?.();
  }

  /** Moves all bytes of `view`, however few the system takes at a time: no more than IOV_MAX buffers, for one. */
  #move(isRead: boolean, view: ScatterView, offsetBytes: number): Promise<void> {
    const call = isRead ? readv : writev;
    const { fd } = this.#handle;
    return new Promise((done, fail) => {
      let buffers = view.segments;
      let position = offsetBytes;
      let leftBytes = view.byteLength;
      const next = (): void => {
        call(fd, buffers, position, moved);
      };
      const moved = (error: NodeJS.ErrnoException | null, movedBytes: number): void => {
        if (error === null && movedBytes > 0 && movedBytes < leftBytes) {
          position += movedBytes;
          leftBytes -= movedBytes;
          buffers = without(buffers, movedBytes);
          next();
          return;
        }
        this.#ended();
        if (error === null && movedBytes === leftBytes) done();
        else fail(this.#faultOf(isRead, position, error));
      };
      if (leftBytes === 0) {
        done();
        return;
      }
      this.#inFlight++;
      next();
    });
  }

  /** @param error of the call; `null` if it moved nothing */
  #faultOf(isRead: boolean, position: number, error: NodeJS.ErrnoException | null): BackendError {
    const fault = isRead ? BackendFault.Read : BackendFault.Write;
    if (error === null)
      return new BackendError(fault, `${this.path} ended at ${position}: it shrank since it was opened`);
    const what = `${isRead ? 'reading' : 'writing'} ${this.path} at ${position} failed (${error.code})`;
    return new BackendError(error.code === 'ENOSPC' ? BackendFault.NoSpace : fault, what, { cause: error });
  }

  #sync(): Promise<void> {
    return new Promise((done, fail) => {
      this.#inFlight++;
      fdatasync(this.#handle.fd, (error) => {
        this.#ended();
        if (error === null) done();
        else
          fail(new BackendError(BackendFault.Write, `flushing ${this.path} failed (${error.code})`, { cause: error }));
      });
    });
  }
}

async function openImage(path: string, readOnly: boolean): Promise<FileHandle> {
  try {
    // A pipe would keep an ordinary open waiting for its other end.
    return await open(path, (readOnly ? constants.O_RDONLY : constants.O_RDWR) | constants.O_NONBLOCK);
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code ?? 'unknown error';
    if (code === 'EISDIR') throw unusable(path, 'is a folder, not a disk image');
    throw new SystemError('ERR_BACKEND', `cannot open ${path}: ${OPEN_FAULTS[code] ?? code}`, { cause: error });
  }
}

const OPEN_FAULTS: Record<string, string> = {
  ENOENT: 'no such file',
  EACCES: 'permission denied',
  EPERM: 'permission denied',
  EROFS: 'it is on a read-only file system; open it read-only',
  ENOTDIR: 'a part of the path is not a folder',
};

function unusable(path: string, why: string): UsageError {
  return new UsageError('ERR_ARGUMENT', `${path} ${why}`);
}

/** The buffers without their first `byteCount` bytes; at least one byte stays. */
function without(buffers: readonly Uint8Array[], byteCount: number): Uint8Array[] {
  let index = 0;
  let skipBytes = byteCount;
  while (skipBytes >= (buffers[index] as Uint8Array).length) skipBytes -= (buffers[index++] as Uint8Array).length;
  const rest = buffers.slice(index);
  rest[0] = (rest[0] as Uint8Array).subarray(skipBytes);
  return rest;
}
