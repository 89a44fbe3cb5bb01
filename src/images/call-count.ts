/** Counts the calls under way, so that closing never takes the file away from under one. */
import { BackendError, BackendFault } from '../devices/scsi/block-backend.ts';

export class CallCount {
  #inFlight = 0;
  #isClosed = false;
  #idle: (() => void) | undefined;

  /** Runs `work` unless the store is closed. @throws (rejects) BackendError after `close` */
  async run<T>(work: () => Promise<T>): Promise<T> {
    if (this.#isClosed) throw new BackendError(BackendFault.Read, 'the image is closed');
    this.#inFlight++;
    try {
      return await work();
    } finally {
      this.#inFlight--;
      if (this.#inFlight === 0) this.#idle?.();
    }
  }

  /** Lets no further call begin and waits for those under way. @returns false if it was closed before */
  async close(): Promise<boolean> {
    if (this.#isClosed) return false;
    this.#isClosed = true;
    if (this.#inFlight > 0) {
      await new Promise<void>((idle) => {
        this.#idle = idle;
      });
    }
    return true;
  }
}

/**
 * Waits for all, then throws what the first to fail threw. `Promise.all` would answer while the others still move bytes
 * of pages that are the guest's again by then.
 */
export async function settle(all: readonly Promise<unknown>[]): Promise<void> {
  const results = await Promise.allSettled(all);
  for (const result of results) if (result.status === 'rejected') throw result.reason;
}
