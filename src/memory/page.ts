/** Pages as VMBus counts them: 4096 bytes always, whatever the guest's own page size. */

/** Bytes in a page. */
export const PAGE_BYTES = 4096;

/** `gpa / PAGE_BYTES` as a shift, for values below 2^31 only; page frame numbers of 64 bits divide instead. */
export const PAGE_SHIFT = 12;

/**
 * Pages that a run of bytes touches.
 * @param byteOffset first byte in the first page, 0..4095
 * @param byteCount bytes, 0 or more
 */
export function spanPages(byteOffset: number, byteCount: number): number {
  return Math.ceil((byteOffset + byteCount) / PAGE_BYTES);
}
