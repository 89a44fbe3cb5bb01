/** Offers on their way to whoever iterates: those that there are, then those that come, until the connection ends. */
import type { WaitOptions } from '../waiting.ts';
import type { Offer } from './offer.ts';

type Result = IteratorResult<Offer, undefined>;

const DONE: Result = { done: true, value: undefined };

/** The guest's side of one iteration; bounded by what the host may have offered at once, as the rescinded leave. */
export class OfferStream implements AsyncIterableIterator<Offer, undefined, undefined> {
  readonly #signal: AbortSignal | undefined;
  readonly #left: (stream: OfferStream) => void;
  #offers: Offer[];
  #waiters: { settle(result: Result): void }[] = [];
  #isOver = false;

  /** @param left called when nobody iterates any more */
  constructor(offers: readonly Offer[], { signal }: WaitOptions, left: (stream: OfferStream) => void) {
    this.#offers = [...offers];
    this.#signal = signal;
    this.#left = left;
  }

  push(offer: Offer): void {
    const waiter = this.#waiters.shift();
    if (waiter === undefined) this.#offers.push(offer);
    else waiter.settle({ done: false, value: offer });
  }

  remove(offer: Offer): void {
    this.#offers = this.#offers.filter((other) => other !== offer);
  }

  end(): void {
    this.#isOver = true;
    this.#offers = [];
    const waiters = this.#waiters;
    this.#waiters = [];
    for (const waiter of waiters) waiter.settle(DONE);
  }

  next(): Promise<Result> {
    const signal = this.#signal;
    if (signal?.aborted === true) return Promise.reject(signal.reason);
    const offer = this.#offers.shift();
    if (offer !== undefined) return Promise.resolve({ done: false, value: offer });
    if (this.#isOver) return Promise.resolve(DONE);
    return new Promise((resolve, reject) => {
      const abort = (): void => {
        this.#waiters = this.#waiters.filter((other) => other !== waiter);
        this.#leave();
        reject(signal?.reason);
      };
      const settle = (result: Result): void => {
        signal?.removeEventListener('abort', abort);
        resolve(result);
      };
      const waiter = { settle };
      this.#waiters.push(waiter);
      signal?.addEventListener('abort', abort, { once: true });
    });
  }

  return(): Promise<Result> {
    this.#leave();
    return Promise.resolve(DONE);
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  #leave(): void {
    this.#left(this);
    this.end();
  }
}
