/**
 * The ring as one would write it first: DataView, BigInt ids, an object and fresh arrays per packet, both indexes
 * loaded and stored for every packet. Same bytes as the real one, for comparing speed and, in tests, results.
 */

const DATA_AT = 4096;

export interface NaivePacket {
  type: number;
  flags: number;
  id: bigint;
  payload: Uint8Array;
}

export class NaiveRing {
  readonly #bytes: Uint8Array;
  readonly #control: Uint32Array;
  readonly #dataBytes: number;

  /** @param bytes control page and data, contiguous */
  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
    this.#control = new Uint32Array(bytes.buffer, bytes.byteOffset, 32);
    this.#dataBytes = bytes.length - DATA_AT;
  }

  /** @returns undefined if the ring is full, else whether to signal the reader */
  write(packet: NaivePacket): boolean | undefined {
    const start = Atomics.load(this.#control, 0);
    const out = Atomics.load(this.#control, 1);
    const packetBytes = (16 + packet.payload.length + 7) & ~7;
    const free = start >= out ? this.#dataBytes - (start - out) : out - start;
    if (packetBytes + 8 >= free) return undefined;
    const whole = new Uint8Array(packetBytes + 8);
    const view = new DataView(whole.buffer);
    view.setUint16(0, packet.type, true);
    view.setUint16(2, 2, true);
    view.setUint16(4, packetBytes / 8, true);
    view.setUint16(6, packet.flags, true);
    view.setBigUint64(8, packet.id, true);
    whole.set(packet.payload, 16);
    view.setBigUint64(packetBytes, BigInt(start) << 32n, true);
    const data = this.#bytes.subarray(DATA_AT);
    const untilEnd = Math.min(whole.length, this.#dataBytes - start);
    data.set(whole.subarray(0, untilEnd), start);
    data.set(whole.subarray(untilEnd), 0);
    Atomics.store(this.#control, 0, (start + whole.length) % this.#dataBytes);
    return Atomics.load(this.#control, 2) === 0 && Atomics.load(this.#control, 1) === start;
  }

  /** @returns undefined if the ring is empty; the payload with its padding otherwise */
  read(): NaivePacket | undefined {
    const out = Atomics.load(this.#control, 1);
    const start = Atomics.load(this.#control, 0);
    if (out === start) return undefined;
    const data = this.#bytes.subarray(DATA_AT);
    const header = new DataView(this.#copy(data, out, 16).buffer);
    const packetBytes = header.getUint16(4, true) * 8;
    const whole = this.#copy(data, out, packetBytes);
    Atomics.store(this.#control, 1, (out + packetBytes + 8) % this.#dataBytes);
    return {
      type: header.getUint16(0, true),
      flags: header.getUint16(6, true),
      id: header.getBigUint64(8, true),
      payload: whole.subarray(header.getUint16(2, true) * 8),
    };
  }

  #copy(data: Uint8Array, at: number, byteCount: number): Uint8Array {
    const copy = new Uint8Array(byteCount);
    const untilEnd = Math.min(byteCount, this.#dataBytes - at);
    copy.set(data.subarray(at, at + untilEnd));
    copy.set(data.subarray(0, byteCount - untilEnd), untilEnd);
    return copy;
  }
}
