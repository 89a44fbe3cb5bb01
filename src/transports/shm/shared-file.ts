/**
 * The one file that a guest and its host both map: the guest's pages, then the doorbell words of both directions.
 *
 * The guest makes it (a memfd: no name in any file system, gone with its last user) and seals its size. The host opens
 * it through `/proc/PID/fd/N` of the process that connected, and maps it only if it is the file meant (inode), a memfd
 * whose size is sealed, and exactly as long as the guest says: a mapped file that shrinks would end the process that
 * touches the lost part (SIGBUS).
 */
import { closeSync, constants, fstatSync, openSync, statSync } from 'node:fs';
import { PeerError } from '../../errors.ts';
import { PAGE_BYTES } from '../../memory/page.ts';
import { EVENT_WORDS } from '../doorbell/index.ts';
import type { NativeMapping } from '../native/index.ts';
import type { ShmCalls } from '../native/shm-calls.ts';

const EVENT_BYTES = EVENT_WORDS * 4;
/** Pages behind the guest's own. */
const DOORBELL_PAGES = Math.ceil((2 * EVENT_BYTES) / PAGE_BYTES);

/** A mapping of such a file, as one side sees it. */
export interface SharedFile {
  readonly mapping: NativeMapping;
  /** The guest's pages. */
  readonly pages: Uint8Array;
  readonly sentEvents: Int32Array;
  readonly receivedEvents: Int32Array;
}

/** How long the file of a guest of `pageCount` pages is. */
export function fileBytesOf(pageCount: number): number {
  return (pageCount + DOORBELL_PAGES) * PAGE_BYTES;
}

/** @throws SystemError if it cannot be mapped */
export function mapSharedFile(calls: ShmCalls, fd: number, pageCount: number, side: 'guest' | 'host'): SharedFile {
  const mapping = calls.libc.mapShared(fd, fileBytesOf(pageCount));
  const { buffer } = mapping;
  const events = (index: number): Int32Array =>
    new Int32Array(buffer, pageCount * PAGE_BYTES + index * EVENT_BYTES, EVENT_WORDS);
  // Index 0 is what the guest sends.
  const sent = side === 'guest' ? 0 : 1;
  return {
    mapping,
    pages: new Uint8Array(buffer, 0, pageCount * PAGE_BYTES),
    sentEvents: events(sent),
    receivedEvents: events(1 - sent),
  };
}

/** A descriptor of another process. */
export interface ForeignFd {
  readonly pid: number;
  readonly fd: number;
  readonly inode: bigint;
}

/**
 * Opens a guest's memory.
 * @throws PeerError `ERR_TRANSPORT` if it is not what the guest said, or could change its size
 */
export function openGuestMemory(calls: ShmCalls, foreign: ForeignFd, pageCount: number): number {
  const fd = openForeign(foreign, constants.O_RDWR, 'memory');
  try {
    const stat = fstatSync(fd);
    const bytes = fileBytesOf(pageCount);
    if (!stat.isFile()) throw refused('the memory that the guest names is not a file');
    if (stat.size !== bytes) {
      throw refused(`the guest's memory file has ${stat.size} bytes, ${pageCount} pages and doorbells need ${bytes}`);
    }
    if (!calls.hasFixedSize(fd)) {
      throw refused("the guest's memory file is not sealed against shrinking and growing");
    }
    return fd;
  } catch (error) {
    closeSync(fd);
    throw error;
  }
}

/** Opens the writing end of the other side's pipe. @throws PeerError `ERR_TRANSPORT` if it is not the pipe meant */
export function openWakePipe(foreign: ForeignFd): number {
  return openForeign(foreign, constants.O_WRONLY, 'doorbell');
}

function openForeign({ pid, fd, inode }: ForeignFd, flags: number, what: string): number {
  const path = `/proc/${pid}/fd/${fd}`;
  const isMeant = (stat: { ino: bigint; isFIFO(): boolean; isFile(): boolean }): boolean =>
    stat.ino === inode && (stat.isFIFO() || stat.isFile());
  let opened: number;
  try {
    // Looked at before it is opened, since opening a device can do anything; and after, since it may have changed.
    if (!isMeant(statSync(path, { bigint: true }))) throw refused(`${path} is not the ${what} that the peer meant`);
    opened = openSync(path, flags | constants.O_NONBLOCK);
  } catch (cause) {
    if (cause instanceof PeerError) throw cause;
    const reason = (cause as NodeJS.ErrnoException).code ?? String(cause);
    throw new PeerError('ERR_TRANSPORT', `the peer's ${what} at ${path} cannot be opened: ${reason}`, { cause });
  }
  if (isMeant(fstatSync(opened, { bigint: true }))) return opened;
  closeSync(opened);
  throw refused(`${path} changed while it was opened`);
}

function refused(message: string): PeerError {
  return new PeerError('ERR_TRANSPORT', message);
}
