/**
 * The system calls that transports need, through koffi: file descriptors, `ioctl`, mappings, thread signals, eventfd.
 *
 * Every call checks its result and throws a `SystemError` that names the call and `errno`. Numbers are those of Linux on
 * x86-64 with the System V calling convention, where declaring the variadic `open` and `ioctl` with fixed parameters is
 * sound (all of theirs are integers or pointers).
 *
 * Source: Linux man pages open(2), ioctl(2), mmap(2), eventfd(2), tgkill(2); glibc `bits/mman-linux.h`.
 */
import { constants as osConstants } from 'node:os';
import { SystemError, UsageError } from '../../errors.ts';
import { type Koffi, loadKoffi, type NativeFunction } from './koffi.ts';
import { NativeMapping } from './native-mapping.ts';

const O_RDWR = 0x2;
const O_CLOEXEC = 0x80000;
const EFD_CLOEXEC = 0x80000;
const EFD_NONBLOCK = 0x800;
export const PROT_READ_WRITE = 0x3;
export const MAP_SHARED = 0x01;
export const MAP_PRIVATE = 0x02;
const MAP_FIXED = 0x10;
const MAP_ANONYMOUS = 0x20;
const MAP_NORESERVE = 0x4000;

/** `errno` values that callers tell apart. */
export const Errno = { ENOENT: 2, EINTR: 4, EAGAIN: 11, EACCES: 13, ENODEV: 19, EINVAL: 22 } as const;

export class Libc {
  readonly #koffi: Koffi;
  readonly #open: NativeFunction;
  readonly #close: NativeFunction;
  readonly #ioctlWord: NativeFunction;
  readonly #ioctlBytes: NativeFunction;
  readonly #mmap: NativeFunction;
  readonly #munmap: NativeFunction;
  readonly #eventfd: NativeFunction;
  readonly #gettid: NativeFunction;
  readonly #tgkill: NativeFunction;
  // When the last view of a mapping is gone, so is the mapping: no view can ever name memory that is not there.
  readonly #unreachable: FinalizationRegistry<{ address: number; lengthBytes: number }>;

  /** @throws SystemError `ERR_TRANSPORT` on another system than 64-bit Linux on x86, or without koffi */
  static async load(): Promise<Libc> {
    if (process.platform !== 'linux' || process.arch !== 'x64') {
      throw new SystemError(
        'ERR_TRANSPORT',
        `system calls are declared for linux x64; this is ${process.platform} ${process.arch}`,
      );
    }
    return new Libc(await loadKoffi());
  }

  constructor(koffi: Koffi) {
    this.#koffi = koffi;
    const c = koffi.load(null);
    this.#open = c.func('open', 'int', ['str', 'int', 'int']);
    this.#close = c.func('close', 'int', ['int']);
    this.#ioctlWord = c.func('ioctl', 'int', ['int', 'ulong', 'int64_t']);
    this.#ioctlBytes = c.func('ioctl', 'int', ['int', 'ulong', 'void *']);
    this.#mmap = c.func('mmap', 'int64_t', ['int64_t', 'size_t', 'int', 'int', 'int', 'int64_t']);
    this.#munmap = c.func('munmap', 'int', ['int64_t', 'size_t']);
    this.#eventfd = c.func('eventfd', 'int', ['uint', 'int']);
    this.#gettid = c.func('gettid', 'int', []);
    this.#tgkill = c.func('tgkill', 'int', ['int', 'int', 'int']);
    this.#unreachable = new FinalizationRegistry(({ address, lengthBytes }) => this.#munmap(address, lengthBytes));
  }

  /** `errno` of the last call of this thread. */
  get errno(): number {
    return this.#koffi.errno();
  }

  /** Opens an existing file or device for reading and writing. */
  open(path: string): number {
    return this.#check(this.#open(path, O_RDWR | O_CLOEXEC, 0), `open ${path}`);
  }

  close(fd: number): void {
    this.#check(this.#close(fd), `close of descriptor ${fd}`);
  }

  /** `ioctl` with a word (or nothing) as its argument. @returns its result, 0 or more */
  ioctl(fd: number, request: number, argument: number, name: string): number {
    return this.#check(this.#ioctlWord(fd, request, argument), name);
  }

  /** `ioctl` on a structure, which the kernel may change. @returns its result, 0 or more */
  ioctlStruct(fd: number, request: number, bytes: Uint8Array, name: string): number {
    return this.#check(this.#ioctlBytes(fd, request, bytes), name);
  }

  /** `ioctl` whose failure is an ordinary answer: -1, with the reason in `errno`. Allocates nothing. */
  tryIoctl(fd: number, request: number, argument: number): number {
    return this.#ioctlWord(fd, request, argument);
  }

  /** Fresh zeroed memory, committed page by page as it is touched. @param lengthBytes whole pages */
  mapAnonymous(lengthBytes: number): NativeMapping {
    const flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE;
    return this.#map(lengthBytes, flags, -1, `mmap of ${lengthBytes} bytes`);
  }

  /** Memory of a descriptor, shared with whoever else maps it. @param lengthBytes whole pages, from offset 0 */
  mapShared(fd: number, lengthBytes: number): NativeMapping {
    return this.#map(lengthBytes, MAP_SHARED, fd, `mmap of ${lengthBytes} bytes of descriptor ${fd}`);
  }

  /**
   * A view of memory that another thread of this process mapped. It does not own the memory: the thread that mapped it
   * keeps it until this view is gone.
   */
  view(address: number, lengthBytes: number): ArrayBuffer {
    return this.#koffi.view(BigInt(address), lengthBytes);
  }

  /** A non-blocking eventfd with count 0. */
  eventfd(): number {
    return this.#check(this.#eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK), 'eventfd');
  }

  /** The kernel's id of the calling thread. */
  gettid(): number {
    return this.#gettid();
  }

  /** Sends a signal to one thread of this process. A thread that ended already is no error. */
  signalThread(threadId: number, signal: number): void {
    this.#tgkill(process.pid, threadId, signal);
  }

  #map(lengthBytes: number, flags: number, fd: number, name: string): NativeMapping {
    if (!Number.isSafeInteger(lengthBytes) || lengthBytes <= 0) {
      throw new UsageError('ERR_ARGUMENT', `a mapping needs 1 byte or more, got ${lengthBytes}`);
    }
    const address = this.#check(this.#mmap(0, lengthBytes, PROT_READ_WRITE, flags, fd, 0), name);
    const buffer = this.view(address, lengthBytes);
    this.#unreachable.register(buffer, { address, lengthBytes });
    return new NativeMapping(address, lengthBytes, buffer, () => {
      // Zero pages take the place of the old ones in one step: their memory (and a device's descriptor) is given back
      // now, while a view that somebody still holds reads zeros instead of ending the process.
      const replace = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED;
      this.#check(this.#mmap(address, lengthBytes, PROT_READ_WRITE, replace, -1, 0), `release of ${name}`);
    });
  }

  #check(result: number, name: string): number {
    if (result >= 0) return result;
    const errno = this.#koffi.errno();
    const cause = Object.assign(new Error(`${name}: ${errnoName(errno)}`), { errno, code: errnoName(errno) });
    throw new SystemError('ERR_TRANSPORT', `${name} failed: ${errnoName(errno)}`, { cause });
  }
}

/** `errno` of the system call that an error is about, if it is about one. */
export function errnoOf(error: unknown): number | undefined {
  const cause = error instanceof Error ? error.cause : undefined;
  const errno = typeof cause === 'object' && cause !== null ? (cause as { errno?: unknown }).errno : undefined;
  return typeof errno === 'number' ? errno : undefined;
}

export function errnoName(errno: number): string {
  const entry = Object.entries(osConstants.errno).find(([, value]) => value === errno);
  return entry?.[0] ?? `errno ${errno}`;
}
