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
}
