import type { ScsiIo } from './scsi-io.ts';

/** First in, first out, through the commands' own links: waiting costs no memory. */
export class IoQueue {
  #first: ScsiIo | undefined;
  #last: ScsiIo | undefined;
  #length = 0;

  get length(): number {
    return this.#length;
  }

  push(io: ScsiIo): void {
    io.next = undefined;
    if (this.#last === undefined) this.#first = io;
    else this.#last.next = io;
    this.#last = io;
    this.#length++;
  }

  shift(): ScsiIo | undefined {
    const io = this.#first;
    if (io === undefined) return undefined;
    this.#first = io.next;
    if (this.#first === undefined) this.#last = undefined;
    io.next = undefined;
    this.#length--;
    return io;
  }

  /** Takes one out of the middle, looking from the front. @returns false if it is not in the queue */
  remove(io: ScsiIo): boolean {
    let before: ScsiIo | undefined;
    for (let each = this.#first; each !== undefined; before = each, each = each.next) {
      if (each !== io) continue;
      if (before === undefined) this.#first = io.next;
      else before.next = io.next;
      if (this.#last === io) this.#last = before;
      io.next = undefined;
      this.#length--;
      return true;
    }
    return false;
  }
}
