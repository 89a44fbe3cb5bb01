/**
 * What Node cannot do with a file: give space back without changing its length, lock it against other processes, read
 * what is in memory without waiting for what is not.
 *
 * Source: Linux man pages fallocate(2) (FALLOC_FL_PUNCH_HOLE), flock(2), preadv2(2); `linux/falloc.h`, `linux/fs.h`
 * (RWF_NOWAIT), glibc `sys/file.h`.
 */
import { SystemError } from '../../errors.ts';
import { type Koffi, loadKoffi, type NativeFunction } from './koffi.ts';
import { Errno, errnoName } from './libc.ts';

const FALLOC_FL_KEEP_SIZE = 0x1;
const FALLOC_FL_PUNCH_HOLE = 0x2;
const LOCK_SH = 1;
const LOCK_EX = 2;
const LOCK_NB = 4;
const RWF_NOWAIT = 0x8;
/** `struct iovec` on a 64-bit system: address and length, 8 bytes each. */
const IOVEC_WORDS = 4;
/** IOV_MAX of Linux. */
const MAX_VECTORS = 1024;

/** A call on libuv's thread pool; koffi takes `errno` along to the callback. Source: koffi 3, page "Asynchronous calls". */
interface AsyncFunction extends NativeFunction {
  async(fd: number, mode: number, offset: number, length: number, done: (error: unknown, result: number) => void): void;
}

export class FileCalls {
  readonly #koffi: Koffi;
  readonly #fallocate: AsyncFunction;
  readonly #flock: NativeFunction;
  readonly #preadv2: NativeFunction;
  readonly #memmove: NativeFunction;
  readonly #vectors = new Uint32Array(MAX_VECTORS * IOVEC_WORDS);
  readonly #vectorsAddress: number;
  /** Where buffers lie; they stay there as long as anybody can reach them. */
  readonly #addresses = new WeakMap<ArrayBufferLike, number>();

  /** @throws SystemError `ERR_TRANSPORT` on another system than 64-bit Linux on x86, or without koffi */
  static async load(): Promise<FileCalls> {
    if (process.platform !== 'linux' || process.arch !== 'x64') {
      throw new SystemError(
        'ERR_TRANSPORT',
        `system calls are declared for linux x64; this is ${process.platform} ${process.arch}`,
      );
    }
    return new FileCalls(await loadKoffi());
  }

  constructor(koffi: Koffi) {
    const c = koffi.load(null);
    this.#koffi = koffi;
    this.#fallocate = c.func('fallocate', 'int', ['int', 'int', 'int64_t', 'int64_t']) as AsyncFunction;
    this.#flock = c.func('flock', 'int', ['int', 'int']);
    this.#preadv2 = c.func('preadv2', 'int64_t', ['int', 'int64_t', 'int', 'int64_t', 'int']);
    this.#memmove = c.func('memmove', 'int64_t', ['void *', 'void *', 'size_t']);
    this.#vectorsAddress = this.#addressOf(this.#vectors.buffer);
  }

  /**
   * Gives the space of a range back; it reads as zeros from then on, and the file stays as long as it is.
   * @throws (rejects) SystemError whose cause has the `code`: EOPNOTSUPP where the file system makes no holes
   */
  punchHole(fd: number, offsetBytes: number, byteCount: number): Promise<void> {
    return new Promise((done, fail) => {
      const mode = FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE;
      this.#fallocate.async(fd, mode, offsetBytes, byteCount, (error, result) => {
        if (error === null && result === 0) done();
        else fail(failed('fallocate', this.#koffi.errno(), error));
      });
    });
  }

  /**
   * Reads what the system has in memory. Allocates nothing.
   * @param buffers filled in order; 1 to 1024 of them
   * @returns false if not all bytes are there without waiting, or the file ends before them; some may be filled then
   * @throws SystemError `ERR_TRANSPORT` where the file system cannot say so, and for every other failure
   */
  readNow(fd: number, buffers: readonly Uint8Array[], offsetBytes: number): boolean {
    const vectors = this.#vectors;
    let byteCount = 0;
    for (let index = 0; index < buffers.length; index++) {
      const { buffer, byteOffset, length } = buffers[index] as Uint8Array;
      const address = (this.#addresses.get(buffer) ?? this.#addressOf(buffer)) + byteOffset;
      const at = index * IOVEC_WORDS;
      vectors[at] = address;
      vectors[at + 1] = address / 2 ** 32;
      vectors[at + 2] = length;
      vectors[at + 3] = 0;
      byteCount += length;
    }
    const readBytes = this.#preadv2(fd, this.#vectorsAddress, buffers.length, offsetBytes, RWF_NOWAIT);
    if (readBytes >= 0) return readBytes === byteCount;
    const errno = this.#koffi.errno();
    if (errno === Errno.EAGAIN || errno === Errno.EINTR) return false;
    throw failed('preadv2', errno, null);
  }

  /**
   * Takes a lock for as long as the descriptor (and every copy of it) is open. Only those who ask for it heed it.
   * @param isExclusive nobody else may hold it; otherwise others may share it
   * @returns false if somebody holds it in a way that does not go with this
   * @throws SystemError `ERR_TRANSPORT` where files cannot be locked
   */
  tryLock(fd: number, isExclusive: boolean): boolean {
    if (this.#flock(fd, (isExclusive ? LOCK_EX : LOCK_SH) | LOCK_NB) === 0) return true;
    const errno = this.#koffi.errno();
    if (errno === Errno.EAGAIN) return false;
    throw failed('flock', errno, null);
  }

  /** The C library says where the bytes are that it is handed: moving none of them returns their address. */
  #addressOf(buffer: ArrayBufferLike): number {
    const bytes = new Uint8Array(buffer);
    const address = this.#memmove(bytes, bytes, 0);
    this.#addresses.set(buffer, address);
    return address;
  }
}

function failed(call: string, errno: number, error: unknown): SystemError {
  const code = errnoName(errno);
  const cause = error ?? Object.assign(new Error(`${call}: ${code}`), { errno, code });
  return new SystemError('ERR_TRANSPORT', `${call} failed: ${code}`, { cause });
}
