/**
 * A `BackingFile` over a descriptor of the operating system: `readv`, `writev`, `ftruncate` and `fdatasync` on libuv's
 * thread pool (4 threads unless UV_THREADPOOL_SIZE says otherwise), any number of calls under way at once.
 */
import { constants, fdatasync, readv, writev } from 'node:fs';
import { type FileHandle, open } from 'node:fs/promises';
import { BackendError, BackendFault } from '../devices/scsi/block-backend.ts';
import { SystemError } from '../errors.ts';
import type { BackingFile } from './backing-file.ts';
import { ImageError } from './image-error.ts';

/**
 * Deallocates a range of a file without changing its length, so that it reads as zeros: `fallocate(2)` with
 * FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE. Node has no such call, so whoever has one hands it in.
 * @throws an error whose `code` (or that of its `cause`) is EOPNOTSUPP, ENOTSUP or ENOSYS where holes cannot be made
 */
export type PunchHole = (fd: number, offsetBytes: number, byteCount: number) => void | Promise<void>;

/**
 * Reads what the system has in memory already, without waiting for a disk: `preadv2(2)` with RWF_NOWAIT. That takes a
 * microsecond or two where the way over a thread and back takes ten.
 * @param buffers to be filled in order; at most `MAX_VECTORS`
 * @returns true if all of them are filled; false if that would have to wait (some may be filled nevertheless)
 * @throws an error of any kind where files cannot be read so
 */
export type ReadNow = (fd: number, buffers: readonly Uint8Array[], offsetBytes: number) => boolean;

/** Calls that Node does not have; everything works without them. */
export interface FileExtras {
  /** Without it, `punch` does nothing. */
  readonly punchHole?: PunchHole;
  readonly readNow?: ReadNow;
}

/** Just these of some options. */
export function fileExtrasOf({ punchHole, readNow }: FileExtras): FileExtras {
  return { ...(punchHole && { punchHole }), ...(readNow && { readNow }) };
}

export interface NodeFileOptions extends FileExtras {
  /** Default false. */
  readonly readOnly?: boolean;
  /** Make the file; it must not exist yet. Default false. */
  readonly create?: boolean;
  /** Accept a block device too, which nobody else (a mounted file system, for one) may be using. Default false. */
  readonly allowDevice?: boolean;
}

/** Most buffers of one vectored call: IOV_MAX of Linux. */
export const MAX_VECTORS = 1024;
/** Longer reads go to the thread pool even if they are in memory: the copy itself is worth a second processor. */
const MAX_READ_NOW_BYTES = 128 * 1024;
const READY: Promise<void> = Promise.resolve();

/**
 * @throws SystemError `ERR_BACKEND` if the file cannot be opened, or is no ordinary file (nor, where allowed, a device)
 */
export async function openNodeFile(path: string, options: NodeFileOptions = {}): Promise<NodeFile> {
  const readOnly = options.readOnly ?? false;
  const handle = await openHandle(path, readOnly, options);
  try {
    const stat = await handle.stat();
    if (stat.isDirectory()) throw new ImageError(path, 'is a folder, not a disk image');
    const isDevice = stat.isBlockDevice();
    if (!stat.isFile() && !isDevice) throw new ImageError(path, 'is not an ordinary file');
    if (isDevice && options.allowDevice !== true) {
      throw new ImageError(path, 'is a block device, which only the raw format can use');
    }
    return new NodeFile(handle, path, readOnly, isDevice ? stat.rdev : undefined, options);
  } catch (error) {
    await handle.close();
    throw error;
  }
}

export class NodeFile implements BackingFile {
  readonly path: string;
  readonly readOnly: boolean;
  /** Device number if this is a block device. */
  readonly deviceNumber: number | undefined;
  readonly #handle: FileHandle;
  #punchHole: PunchHole | undefined;
  #readNow: ReadNow | undefined;
  #syncFailure: BackendError | undefined;

  /** Use `openNodeFile`. */
  constructor(
    handle: FileHandle,
    path: string,
    readOnly: boolean,
    deviceNumber: number | undefined,
    { punchHole, readNow }: FileExtras = {},
  ) {
    this.#handle = handle;
    this.path = path;
    this.readOnly = readOnly;
    this.deviceNumber = deviceNumber;
    this.#punchHole = punchHole;
    this.#readNow = readNow;
  }

  get canPunch(): boolean {
    return this.#punchHole !== undefined;
  }

  async sizeBytes(): Promise<number> {
    return (await this.#handle.stat()).size;
  }

  read(offsetBytes: number, buffers: readonly Uint8Array[]): Promise<void> {
    return this.#isReadNow(offsetBytes, buffers) ? READY : this.#move(readv, buffers, offsetBytes);
  }

  write(offsetBytes: number, buffers: readonly Uint8Array[]): Promise<void> {
    return this.#move(writev, buffers, offsetBytes);
  }

  async resize(sizeBytes: number): Promise<void> {
    try {
      await this.#handle.truncate(sizeBytes);
    } catch (error) {
      throw failed(`making ${this.path} ${sizeBytes} bytes long`, BackendFault.Write, error);
    }
  }

  async punch(offsetBytes: number, byteCount: number): Promise<boolean> {
    if (this.#punchHole === undefined) return false;
    try {
      await this.#punchHole(this.#handle.fd, offsetBytes, byteCount);
      return true;
    } catch (error) {
      if (!NO_HOLES.has(codeOf(error))) {
        throw failed(`freeing space of ${this.path} at ${offsetBytes}`, BackendFault.Write, error);
      }
      this.#punchHole = undefined;
      return false;
    }
  }

  sync(): Promise<void> {
    if (this.#syncFailure !== undefined) return Promise.reject(this.#syncFailure);
    return new Promise((done, fail) => {
      fdatasync(this.#handle.fd, (error) => {
        if (error === null) return done();
        // Linux marks pages clean after a failed write-back: a later success would say nothing about these bytes.
        this.#syncFailure = failed(`flushing ${this.path}`, BackendFault.Write, error);
        fail(this.#syncFailure);
      });
    });
  }

  close(): Promise<void> {
    return this.#handle.close();
  }

  /** @returns true if all bytes were in memory and are in the buffers now */
  #isReadNow(offsetBytes: number, buffers: readonly Uint8Array[]): boolean {
    if (this.#readNow === undefined || buffers.length > MAX_VECTORS) return false;
    let byteCount = 0;
    for (const buffer of buffers) byteCount += buffer.length;
    if (byteCount > MAX_READ_NOW_BYTES) return false;
    try {
      return this.#readNow(this.#handle.fd, buffers, offsetBytes);
    } catch {
      // Whatever is wrong, the ordinary way will say it, or do without.
      this.#readNow = undefined;
      return false;
    }
  }

  /** Moves all bytes, however few the system takes at a time. */
  #move(call: typeof readv | typeof writev, all: readonly Uint8Array[], offsetBytes: number): Promise<void> {
    const isRead = call === readv;
    return new Promise((done, fail) => {
      let buffers = all;
      let position = offsetBytes;
      let leftBytes = 0;
      for (const buffer of all) leftBytes += buffer.length;
      const fault = isRead ? BackendFault.Read : BackendFault.Write;
      const next = (): void => {
        const batch = buffers.length > MAX_VECTORS ? buffers.slice(0, MAX_VECTORS) : buffers;
        if (leftBytes === 0) done();
        else call(this.#handle.fd, batch, position, moved);
      };
      const moved = (error: NodeJS.ErrnoException | null, movedBytes: number): void => {
        if (error !== null) {
          fail(failed(`${isRead ? 'reading' : 'writing'} ${this.path} at ${position}`, fault, error));
        } else if (movedBytes === 0) {
          fail(new BackendError(fault, `${this.path} ends at ${position}, before the bytes that were asked for`));
        } else {
          position += movedBytes;
          leftBytes -= movedBytes;
          if (leftBytes > 0) buffers = without(buffers, movedBytes);
          next();
        }
      };
      next();
    });
  }
}

/** What a system says that cannot make holes there. */
const NO_HOLES: ReadonlySet<string | undefined> = new Set(['EOPNOTSUPP', 'ENOTSUP', 'ENOSYS']);

function codeOf(error: unknown): string | undefined {
  const { code, cause } = (error ?? {}) as { code?: unknown; cause?: { code?: unknown } };
  const causeCode = cause?.code;
  return typeof causeCode === 'string' ? causeCode : typeof code === 'string' ? code : undefined;
}

function failed(what: string, fault: BackendFault, error: unknown): BackendError {
  const code = codeOf(error);
  return new BackendError(code === 'ENOSPC' ? BackendFault.NoSpace : fault, `${what} failed (${code ?? error})`, {
    cause: error,
  });
}

async function openHandle(path: string, readOnly: boolean, options: NodeFileOptions): Promise<FileHandle> {
  // A pipe would keep an ordinary open waiting for its other end.
  let flags = (readOnly ? constants.O_RDONLY : constants.O_RDWR) | constants.O_NONBLOCK;
  if (options.create === true) flags |= constants.O_CREAT | constants.O_EXCL;
  try {
    const handle = await open(path, flags, 0o600);
    if (readOnly || options.create === true || !(await handle.stat()).isBlockDevice()) return handle;
    // For a device, O_EXCL without O_CREAT means: not if the system uses it. Source: Linux open(2).
    await handle.close();
    return await open(path, flags | constants.O_EXCL);
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code ?? 'unknown error';
    throw new SystemError('ERR_BACKEND', `cannot open ${path}: ${OPEN_FAULTS[code] ?? code}`, { cause: error });
  }
}

const OPEN_FAULTS: Record<string, string> = {
  ENOENT: 'no such file',
  EEXIST: 'it exists already',
  EISDIR: 'it is a folder, not a disk image',
  EACCES: 'permission denied',
  EPERM: 'permission denied',
  EROFS: 'it is on a read-only file system; open it read-only',
  EBUSY: 'the device is in use',
  ENOTDIR: 'a part of the path is not a folder',
  ENXIO: 'it is a socket or a pipe without its other end',
};

/** The buffers without their first `byteCount` bytes; at least one byte stays. */
function without(buffers: readonly Uint8Array[], byteCount: number): Uint8Array[] {
  let index = 0;
  let skipBytes = byteCount;
  while (skipBytes >= (buffers[index] as Uint8Array).length) skipBytes -= (buffers[index++] as Uint8Array).length;
  const rest = buffers.slice(index);
  rest[0] = (rest[0] as Uint8Array).subarray(skipBytes);
  return rest;
}
