/** Private memory for one packet, with the views that the copy loops want. It grows and never shrinks. */
import { UsageError } from '../errors.ts';
import { align8 } from '../wire/align.ts';

export class PacketBuffer {
  /** All of the buffer; `packetBytes` of it are meaningful. Replaced when the buffer grows. */
  bytes: Uint8Array;
  /** The same as 32-bit words. */
  words: Int32Array;
  /** The same as 8-byte slots; only moved, never looked at as numbers. */
  slots: Float64Array;
  /** Bytes of the packet in it, a multiple of 8; set by whoever fills it. */
  packetBytes = 0;
  #exact: Uint8Array;

  /** @param capacityBytes rounded up to a multiple of 8 */
  constructor(capacityBytes: number) {
    if (!Number.isSafeInteger(capacityBytes) || capacityBytes < 0) {
      throw new UsageError('ERR_ARGUMENT', `a packet buffer of ${capacityBytes} bytes`);
    }
    const buffer = new ArrayBuffer(align8(capacityBytes));
    this.bytes = new Uint8Array(buffer);
    this.words = new Int32Array(buffer);
    this.slots = new Float64Array(buffer);
    this.#exact = this.bytes;
  }

  get capacity(): number {
    return this.bytes.length;
  }

  /** Makes room for `byteCount` bytes; what was in it is lost if it has to grow. */
  ensure(byteCount: number): void {
    if (byteCount > this.bytes.length) this.#grow(byteCount);
  }

  /** The first `byteCount` bytes as a view of exactly that length; the same view again while the length is the same. */
  exactly(byteCount: number): Uint8Array {
    if (this.#exact.length !== byteCount) this.#exact = this.#view(byteCount);
    return this.#exact;
  }

  #view(byteCount: number): Uint8Array {
    if (!Number.isInteger(byteCount) || byteCount < 0 || byteCount > this.bytes.length) {
      throw new UsageError('ERR_ARGUMENT', `${byteCount} bytes of a packet buffer of ${this.bytes.length}`);
    }
    return this.bytes.subarray(0, byteCount);
  }

  #grow(byteCount: number): void {
    // Twice the size: packets that get slowly longer cost a handful of buffers, not one each.
    const grown = new PacketBuffer(Math.max(byteCount, this.bytes.length * 2));
    this.bytes = grown.bytes;
    this.words = grown.words;
    this.slots = grown.slots;
    this.#exact = grown.bytes;
  }
}
