/** FNV-1a's prime for 32 bits. */
const FNV_PRIME = 0x0100_0193;
const FNV_BASIS = 0x811c_9dc5;

/**
 * Sixteen bytes that name a store: the same text always gives the same bytes, and two disks of one guest almost surely
 * differ. Four FNV-1a sums, each begun from another basis; this is a name, not a secret.
 */
export function identityBytes(identity: string): Uint8Array {
  const text = new TextEncoder().encode(identity);
  const bytes = new Uint8Array(16);
  for (let word = 0; word < 4; word++) {
    let sum = (FNV_BASIS ^ Math.imul(word + 1, 0x9e37_79b9)) >>> 0;
    for (const byte of text) sum = Math.imul(sum ^ byte, FNV_PRIME) >>> 0;
    for (let at = 0; at < 4; at++) bytes[word * 4 + at] = sum >>> (at * 8);
  }
  return bytes;
}
