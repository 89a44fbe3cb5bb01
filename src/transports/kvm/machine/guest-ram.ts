/**
 * The guest's RAM as one flat run of bytes from guest physical address 0, with the bound checks that every access of
 * the machine goes through. Each thread makes its own over the same memory.
 *
 * The hole below 1 MiB, where a PC has its video memory and firmware, is RAM here too: the firmware tables lie in it and
 * the memory map tells the guest to keep away.
 */
import { AddressError, hex, UsageError } from '../../../errors.ts';
import { PAGE_BYTES } from '../../../memory/page.ts';

export class GuestRam {
  readonly bytes: Uint8Array;
  /** The same memory as 32-bit words, for `Atomics`. */
  readonly words: Int32Array;
  readonly view: DataView;

  /** @param buffer whole pages */
  constructor(buffer: ArrayBufferLike) {
    if (buffer.byteLength === 0 || buffer.byteLength % PAGE_BYTES !== 0) {
      throw new UsageError('ERR_ARGUMENT', `guest memory must be whole pages, got ${buffer.byteLength} bytes`);
    }
    this.bytes = new Uint8Array(buffer);
    this.words = new Int32Array(buffer);
    this.view = new DataView(buffer);
  }

  get byteLength(): number {
    return this.bytes.length;
  }

  /** Whether all of `[gpa, gpa + byteCount)` is RAM. @param gpa any number @param byteCount 0 or more */
  has(gpa: number, byteCount: number): boolean {
    return Number.isSafeInteger(gpa) && gpa >= 0 && gpa <= this.bytes.length && byteCount <= this.bytes.length - gpa;
  }

  /** @throws AddressError unless all of it is RAM */
  slice(gpa: number, byteCount: number): Uint8Array {
    if (!this.has(gpa, byteCount)) {
      throw new AddressError(
        `${byteCount} bytes at guest address ${hex(gpa)} are outside ${hex(this.bytes.length)} bytes of RAM`,
      );
    }
    return this.bytes.subarray(gpa, gpa + byteCount);
  }

  /**
   * The address in a Hyper-V register that places a page: bits 12 and up.
   * @returns the page's guest physical address, or -1 if that page is not RAM
   */
  pageOf(register: bigint): number {
    const gpa = register & ~0xfffn;
    return gpa <= BigInt(this.bytes.length - PAGE_BYTES) ? Number(gpa) : -1;
  }
}
