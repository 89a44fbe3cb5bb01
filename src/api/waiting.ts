/** What everything that waits has in common: where it may be called, and how it is given up. */
import { currentIrql, Irql } from '../channel/index.ts';
import { UsageError } from '../errors.ts';

export interface WaitOptions {
  /** Gives the wait up: the promise rejects with the signal's reason at once. */
  readonly signal?: AbortSignal | undefined;
}

/**
 * Callbacks that run once per packet must not wait, so nothing that waits starts there. (After the first `await` of an
 * `async` callback it may: that is another turn.)
 * @throws UsageError `ERR_STATE` at DISPATCH
 */
export function checkMayWait(name: string): void {
  if (currentIrql() === Irql.Passive) return;
  throw new UsageError(
    'ERR_STATE',
    `${name} waits, which a packet callback must not; use the form without a promise, or set isPassiveOnly`,
  );
}

/** A promise and its ends. */
export class Deferred<T> {
  readonly promise: Promise<T>;
  resolve!: (value: T) => void;
  reject!: (error: unknown) => void;

  constructor() {
    this.promise = new Promise((resolve, reject) => {
      this.resolve = resolve;
      this.reject = reject;
    });
  }
}

/**
 * The outcome of `work`, or the signal's reason if that comes first.
 * @param aborted what else an abort does
 */
export function abortable<T>(work: Promise<T>, signal: AbortSignal | undefined, aborted?: () => void): Promise<T> {
  if (signal === undefined) return work;
  return new Promise((resolve, reject) => {
    const abort = (): void => {
      aborted?.();
      reject(signal.reason);
    };
    const done = (): void => signal.removeEventListener('abort', abort);
    work.then(
      (value) => {
        done();
        resolve(value);
      },
      (error: unknown) => {
        done();
        reject(error);
      },
    );
    if (signal.aborted) abort();
    else signal.addEventListener('abort', abort, { once: true });
  });
}
