/** Everything in a ring is a multiple of 8 bytes. */

/** Rounds up to a multiple of 8; `bytes` is below 2^31 - 8. */
export function align8(bytes: number): number {
  return (bytes + 7) & ~7;
}
