/** SCSI's numbers: big-endian, anywhere in a byte array. */
export function u16be(bytes: Uint8Array, at: number): number {
  return ((bytes[at] as number) << 8) | (bytes[at + 1] as number);
}

export function u32be(bytes: Uint8Array, at: number): number {
  return ((u16be(bytes, at) << 16) | u16be(bytes, at + 2)) >>> 0;
}

export function putU16be(bytes: Uint8Array, at: number, value: number): void {
  bytes[at] = value >>> 8;
  bytes[at + 1] = value;
}

export function putU32be(bytes: Uint8Array, at: number, value: number): void {
  putU16be(bytes, at, value >>> 16);
  putU16be(bytes, at + 2, value & 0xffff);
}

/** A u64 as a plain number, which is not exact above 2^53. */
export function u64be(bytes: Uint8Array, at: number): number {
  return u32be(bytes, at) * 0x1_0000_0000 + u32be(bytes, at + 4);
}

/** @param value a whole number of at most 2^53 */
export function putU64be(bytes: Uint8Array, at: number, value: number): void {
  putU32be(bytes, at, Math.floor(value / 0x1_0000_0000));
  putU32be(bytes, at + 4, value % 0x1_0000_0000);
}
