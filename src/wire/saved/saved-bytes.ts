/** Writing and reading the fields of saved state, one after the other, little-endian and unpadded. */
import { PeerError } from '../../errors.ts';

/** Grows as it is written to, so room is made before the view is looked at. */
export class SavedWriter {
  #bytes = new Uint8Array(256);
  #view = new DataView(this.#bytes.buffer);
  #length = 0;

  u8(value: number): void {
    const at = this.#room(1);
    this.#view.setUint8(at, value);
  }

  u16(value: number): void {
    const at = this.#room(2);
    this.#view.setUint16(at, value, true);
  }

  u32(value: number): void {
    const at = this.#room(4);
    this.#view.setUint32(at, value, true);
  }

  u64(value: bigint): void {
    const at = this.#room(8);
    this.#view.setBigUint64(at, value, true);
  }

  raw(bytes: Uint8Array): void {
    const at = this.#room(bytes.length);
    this.#bytes.set(bytes, at);
  }

  /** What was written. */
  toBytes(): Uint8Array {
    return this.#bytes.slice(0, this.#length);
  }

  #room(byteCount: number): number {
    const at = this.#length;
    this.#length += byteCount;
    if (this.#length > this.#bytes.length) {
      const grown = new Uint8Array(Math.max(this.#length, this.#bytes.length * 2));
      grown.set(this.#bytes);
      this.#bytes = grown;
      this.#view = new DataView(grown.buffer);
    }
    return at;
  }
}

/** Reads what a `SavedWriter` wrote; never beyond the end. */
export class SavedReader {
  readonly #bytes: Uint8Array;
  readonly #view: DataView;
  #at = 0;

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  }

  get isAtEnd(): boolean {
    return this.#at === this.#bytes.length;
  }

  /** @throws PeerError `ERR_SAVED_STATE` at the end, as every other */
  u8(): number {
    return this.#view.getUint8(this.#take(1));
  }

  u16(): number {
    return this.#view.getUint16(this.#take(2), true);
  }

  u32(): number {
    return this.#view.getUint32(this.#take(4), true);
  }

  u64(): bigint {
    return this.#view.getBigUint64(this.#take(8), true);
  }

  /** A copy. */
  raw(byteCount: number): Uint8Array {
    const at = this.#take(byteCount);
    return this.#bytes.slice(at, at + byteCount);
  }

  #take(byteCount: number): number {
    const at = this.#at;
    if (byteCount > this.#bytes.length - at) {
      throw badSavedState(`${byteCount} bytes are missing at byte ${at} of ${this.#bytes.length}`);
    }
    this.#at = at + byteCount;
    return at;
  }
}

/** Saved state that cannot be used, whatever is wrong with it. */
export function badSavedState(what: string): PeerError {
  return new PeerError('ERR_SAVED_STATE', `saved state: ${what}`);
}
