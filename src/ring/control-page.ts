/**
 * The first page of a ring: who stands where, and who wants to be told. 32-bit words, touched with `Atomics` only.
 *
 * Source: Linux `include/linux/hyperv.h`, `struct hv_ring_buffer`; OpenVMM `vmbus_ring` `lib.rs`, `Control`.
 */

/** Index of each word in the control page; the rest of the page is zero and ignored. */
export const ControlWord = {
  /** Write index: byte offset in the data of the next free byte. The writer stores it. */
  In: 0,
  /** Read index: byte offset in the data of the next unread byte. The reader stores it. */
  Out: 1,
  /** Not zero: the reader does not want to be told that the ring is no longer empty. The reader stores it. */
  InterruptMask: 2,
  /** Not zero: the writer waits until so many bytes are free. The writer stores it. */
  PendingSendBytes: 3,
  /** What the writer promises; see `FEATURE_PENDING_SEND_SIZE`. */
  Features: 16,
} as const;

/** Bit 0 of the features: the writer stores its pending send size when the ring is full, and honours its peer's. */
export const FEATURE_PENDING_SEND_SIZE = 1;

/**
 * A ring never fills up to where its read index is: in == out means empty, so one 8-byte slot stays free.
 * Source: Linux `drivers/hv/ring_buffer.c`, `hv_ringbuffer_write`.
 */
export const GAP_BYTES = 8;

/** Bytes that may be written, trailers included. Both indexes are inside `0..dataBytes - 1` and multiples of 8. */
export function freeBytes(inIndex: number, outIndex: number, dataBytes: number): number {
  const used = inIndex - outIndex;
  return dataBytes - GAP_BYTES - (used < 0 ? used + dataBytes : used);
}

/** True for an index that a ring of `dataBytes` can have. @param index a signed 32-bit word as loaded */
export function isIndex(index: number, dataBytes: number): boolean {
  return index >= 0 && index < dataBytes && (index & 7) === 0;
}
