/** A command of a disk with the promise that waits for it; used again and again. */
import { ScsiIo } from './scsi-io.ts';

const IGNORE = (): void => {};

export class DiskIo extends ScsiIo {
  resolve: () => void = IGNORE;
  reject: (error: unknown) => void = IGNORE;
  /** Tries that are left if the disk has a unit attention to report. */
  triesLeft = 0;
  /** The caller has given up: nobody waits for the answer any more, but the pages are the host's until it comes. */
  isAbandoned = false;
  #signal: AbortSignal | undefined;
  #onAbort = IGNORE;

  /** Rejects with the signal's reason as soon as it aborts, and calls `abandoned`. */
  watch(signal: AbortSignal, abandoned: (io: DiskIo) => void): void {
    this.#signal = signal;
    this.#onAbort = () => {
      const { reject } = this;
      this.isAbandoned = true;
      this.resolve = IGNORE;
      this.reject = IGNORE;
      reject(signal.reason);
      abandoned(this);
    };
    signal.addEventListener('abort', this.#onAbort, { once: true });
  }

  /** The command has ended: the object may be used again. */
  settle(): void {
    if (this.#signal !== undefined) {
      this.#signal.removeEventListener('abort', this.#onAbort);
      this.#signal = undefined;
      this.#onAbort = IGNORE;
    }
    this.isAbandoned = false;
    this.resolve = IGNORE;
    this.reject = IGNORE;
  }
}
