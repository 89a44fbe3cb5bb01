/** Views of one private buffer from each place where a payload may begin, made once and kept. */

/** Payloads that begin later than this many 8-byte units (packets of 8 KiB of ranges) get a new view each time. */
const KEPT_OFFSETS = 1024;

export class PayloadViews {
  #bytes: Uint8Array = new Uint8Array(0);
  #views: (Uint8Array | undefined)[] = [];

  /**
   * All of `bytes` from a place on.
   * @param bytes the buffer as it is now; views of the one before are forgotten
   * @param offset8 where the view begins, 8-byte units, at most `bytes.length / 8`
   */
  from(bytes: Uint8Array, offset8: number): Uint8Array {
    if (bytes !== this.#bytes) {
      this.#bytes = bytes;
      this.#views = [];
    }
    if (offset8 >= KEPT_OFFSETS) return bytes.subarray(offset8 * 8);
    const kept = this.#views[offset8];
    if (kept !== undefined) return kept;
    const view = bytes.subarray(offset8 * 8);
    this.#views[offset8] = view;
    return view;
  }
}
