/**
 * CRC-32C (Castagnoli): polynomial 0x1edc6f41, reflected, initial value and final xor all ones.
 *
 * Source: RFC 3720 section 12.1 and appendix B.4 (test vectors); [MS-VHDX] names it for every checksum of a disk image.
 */
const TABLE = new Uint32Array(256);
for (let byte = 0; byte < 256; byte++) {
  let remainder = byte;
  for (let bit = 0; bit < 8; bit++) remainder = (remainder >>> 1) ^ (remainder & 1 ? 0x82f6_3b78 : 0);
  TABLE[byte] = remainder;
}

/** @param before the sum of the bytes before these, to go on from; 0 at the start */
export function crc32c(bytes: Uint8Array, before = 0): number {
  let sum = ~before;
  for (let at = 0; at < bytes.length; at++) {
    sum = (sum >>> 8) ^ (TABLE[(sum ^ (bytes[at] as number)) & 0xff] as number);
  }
  return ~sum >>> 0;
}

/** The sum of a structure whose own checksum field, four bytes at `fieldAt`, counts as zero. */
export function crc32cWithout(bytes: Uint8Array, fieldAt: number): number {
  const start = crc32c(bytes.subarray(0, fieldAt));
  return crc32c(bytes.subarray(fieldAt + 4), crc32c(FOUR_ZEROS, start));
}

const FOUR_ZEROS = new Uint8Array(4);
