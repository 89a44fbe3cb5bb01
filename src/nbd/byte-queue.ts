/**
 * Bytes that came in pieces, taken out in other pieces. What lies in one piece is handed out as a view of it; a piece of
 * a socket belongs to its reader, so no copy is needed.
 */
export class ByteQueue {
  readonly #pieces: Buffer[] = [];
  /** Bytes of the first piece that were taken. */
  #taken = 0;
  #byteLength = 0;

  get byteLength(): number {
    return this.#byteLength;
  }

  push(piece: Buffer): void {
    if (piece.length === 0) return;
    this.#pieces.push(piece);
    this.#byteLength += piece.length;
  }

  /** @param byteCount at most `byteLength` */
  take(byteCount: number): Buffer {
    const first = this.#pieces[0];
    if (first === undefined || byteCount === 0) return Buffer.alloc(0);
    if (first.length - this.#taken >= byteCount) {
      const view = first.subarray(this.#taken, this.#taken + byteCount);
      this.#drop(byteCount);
      return view;
    }
    const whole = Buffer.allocUnsafe(byteCount);
    this.#copyOut(whole, 0, byteCount);
    return whole;
  }

  /** Moves what there is, at most `target.length - at` bytes, to `target[at]`. @returns bytes moved */
  takeInto(target: Buffer, at: number): number {
    const byteCount = Math.min(target.length - at, this.#byteLength);
    this.#copyOut(target, at, byteCount);
    return byteCount;
  }

  /** Drops at most `byteCount` bytes. @returns bytes dropped */
  skip(byteCount: number): number {
    let left = Math.min(byteCount, this.#byteLength);
    const dropped = left;
    while (left > 0) {
      const part = Math.min((this.#pieces[0] as Buffer).length - this.#taken, left);
      this.#drop(part);
      left -= part;
    }
    return dropped;
  }

  clear(): void {
    this.#pieces.length = 0;
    this.#taken = 0;
    this.#byteLength = 0;
  }

  #copyOut(target: Buffer, at: number, byteCount: number): void {
    for (let done = 0; done < byteCount; ) {
      const first = this.#pieces[0] as Buffer;
      const part = Math.min(first.length - this.#taken, byteCount - done);
      first.copy(target, at + done, this.#taken, this.#taken + part);
      this.#drop(part);
      done += part;
    }
  }

  /** Of the first piece. */
  #drop(byteCount: number): void {
    this.#taken += byteCount;
    this.#byteLength -= byteCount;
    if (this.#taken === (this.#pieces[0] as Buffer).length) {
      this.#pieces.shift();
      this.#taken = 0;
    }
  }
}
