/** Waits until a fixed set of requests has been answered; requests that come later do not prolong it. */
import type { StorRequest } from './stor-request.ts';

export class Barrier {
  #left: number;
  readonly #done: () => void;

  /** @param done called when the last of `requests` is answered: at once if there are none */
  constructor(requests: readonly StorRequest[], done: () => void) {
    this.#left = requests.length;
    this.#done = done;
    for (const request of requests) {
      request.barriers ??= [];
      request.barriers.push(this);
    }
    if (requests.length === 0) done();
  }

  /** One of the requests was answered. */
  passed(): void {
    this.#left--;
    if (this.#left === 0) this.#done();
  }
}
