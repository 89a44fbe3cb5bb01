/**
 * The system calls of the shm transport, through koffi: sealed memory files, pipes that wake an event loop, and who is
 * at the other end of a Unix socket.
 *
 * Source: Linux man pages memfd_create(2), fcntl(2) "File Sealing", pipe(2), unix(7); glibc `bits/fcntl-linux.h`,
 * `linux/fcntl.h`, `bits/socket.h`.
 */
import { ftruncateSync } from 'node:fs';
import { SystemError } from '../../errors.ts';
import { type Koffi, loadKoffi, type NativeFunction } from './koffi.ts';
import { errnoName, Libc } from './libc.ts';

const MFD_CLOEXEC = 0x1;
const MFD_ALLOW_SEALING = 0x2;
const F_ADD_SEALS = 1033;
const F_GET_SEALS = 1034;
const F_SEAL_SEAL = 0x1;
const F_SEAL_SHRINK = 0x2;
const F_SEAL_GROW = 0x4;
const O_NONBLOCK = 0x800;
const O_CLOEXEC = 0x80000;
const SOL_SOCKET = 1;
const SO_PEERCRED = 17;

/** Both seals: the file keeps the size that it has now, whoever holds it. */
const FIXED_SIZE_SEALS = F_SEAL_SHRINK | F_SEAL_GROW;

/** A pipe of our own: the other end of a link opens `writeFd` and wakes us through it. */
export interface Pipe {
  readonly readFd: number;
  readonly writeFd: number;
}

/** Stops watching. Close the descriptor after it, not before. */
export interface Watch {
  close(): void;
}

/** Who connected a Unix socket. */
export interface PeerCredentials {
  /** 0 if the process cannot be seen from our pid namespace. */
  readonly pid: number;
  readonly uid: number;
}

/** What we use of koffi's way into the event loop (koffi 3, `index.d.ts`, namespace `node`). */
interface KoffiLoop {
  poll(fd: number, options: { readable: boolean }, callback: () => void): Watch;
}

export class ShmCalls {
  readonly libc: Libc;
  readonly #koffi: Koffi;
  readonly #loop: KoffiLoop;
  readonly #memfdCreate: NativeFunction;
  readonly #fcntl: NativeFunction;
  readonly #pipe2: NativeFunction;
  readonly #read: NativeFunction;
  readonly #write: NativeFunction;
  readonly #getsockopt: NativeFunction;
  readonly #scratch = new Uint8Array(64);
  // koffi closes a watch that is garbage; nobody else may hold it.
  readonly #watches = new Set<Watch>();

  /** @throws SystemError `ERR_TRANSPORT` on another system than 64-bit Linux on x86, or without koffi 3 */
  static async load(): Promise<ShmCalls> {
    const libc = await Libc.load();
    return new ShmCalls(libc, await loadKoffi());
  }

  private constructor(libc: Libc, koffi: Koffi) {
    const loop = (koffi as { node?: KoffiLoop }).node;
    if (typeof loop?.poll !== 'function') {
      throw new SystemError('ERR_TRANSPORT', 'the package koffi lacks node.poll; install it with: npm install koffi@3');
    }
    this.libc = libc;
    this.#koffi = koffi;
    this.#loop = loop;
    const c = koffi.load(null);
    this.#memfdCreate = c.func('memfd_create', 'int', ['str', 'uint']);
    this.#fcntl = c.func('fcntl', 'int', ['int', 'int', 'int']);
    this.#pipe2 = c.func('pipe2', 'int', ['void *', 'int']);
    this.#read = c.func('read', 'int64_t', ['int', 'void *', 'size_t']);
    this.#write = c.func('write', 'int64_t', ['int', 'void *', 'size_t']);
    this.#getsockopt = c.func('getsockopt', 'int', ['int', 'int', 'int', 'void *', 'void *']);
  }

  /**
   * A file without a name whose size nobody can change any more, not even we.
   * @param name for people who look into /proc
   * @param sizeBytes whole pages; they are zero and take no memory before they are touched
   */
  createSealedMemory(name: string, sizeBytes: number): number {
    const fd = this.#check(this.#memfdCreate(name, MFD_CLOEXEC | MFD_ALLOW_SEALING), 'memfd_create');
    try {
      ftruncateSync(fd, sizeBytes);
      this.#check(this.#fcntl(fd, F_ADD_SEALS, FIXED_SIZE_SEALS | F_SEAL_SEAL), 'fcntl F_ADD_SEALS');
    } catch (error) {
      this.libc.close(fd);
      throw error;
    }
    return fd;
  }

  /** True if a file can neither shrink nor grow. A file that knows no seals (on a disk) is not fixed. */
  hasFixedSize(fd: number): boolean {
    const seals = this.#fcntl(fd, F_GET_SEALS, 0);
    return seals >= 0 && (seals & FIXED_SIZE_SEALS) === FIXED_SIZE_SEALS;
  }

  /** A non-blocking pipe. */
  pipe(): Pipe {
    const fds = new Int32Array(2);
    this.#check(this.#pipe2(new Uint8Array(fds.buffer), O_NONBLOCK | O_CLOEXEC), 'pipe2');
    return { readFd: fds[0] as number, writeFd: fds[1] as number };
  }

  /**
   * Wakes whoever watches the pipe. A full pipe wakes as well, and a reader that is gone is told by its socket, so there
   * is nothing to answer.
   */
  wake(writeFd: number): void {
    this.#write(writeFd, this.#scratch, 1);
  }

  /** Takes what was written to a pipe, as far as one read goes. */
  drain(readFd: number): void {
    this.#read(readFd, this.#scratch, this.#scratch.length);
  }

  /** Calls `readable` from the event loop, but outside of any callback of Node's: promises do not run after it. */
  watch(fd: number, readable: () => void): Watch {
    const watch = this.#loop.poll(fd, { readable: true }, readable);
    this.#watches.add(watch);
    return {
      close: () => {
        if (this.#watches.delete(watch)) watch.close();
      },
    };
  }

  /** Who connected the Unix socket `fd`, as the kernel saw it then. */
  peerOf(fd: number): PeerCredentials {
    const credentials = new Int32Array(3);
    const lengthBytes = Int32Array.of(credentials.byteLength);
    this.#check(
      this.#getsockopt(
        fd,
        SOL_SOCKET,
        SO_PEERCRED,
        new Uint8Array(credentials.buffer),
        new Uint8Array(lengthBytes.buffer),
      ),
      'getsockopt SO_PEERCRED',
    );
    return { pid: credentials[0] as number, uid: (credentials[1] as number) >>> 0 };
  }

  #check(result: number, name: string): number {
    if (result >= 0) return result;
    const errno = this.#koffi.errno();
    const code = errnoName(errno);
    const cause = Object.assign(new Error(`${name}: ${code}`), { errno, code });
    throw new SystemError('ERR_TRANSPORT', `${name} failed: ${code}`, { cause });
  }
}
