/**
 * Packets on their way to whoever iterates.
 *
 * It holds no more than the channel's quota lets in; the rest stays in the ring. An iteration belongs to one open cycle
 * and ends with it. Several iterations at once share the packets, each of which goes to one of them.
 */
import type { WaitOptions } from '../waiting.ts';
import type { Packet } from './packet.ts';

type Result = IteratorResult<Packet, undefined>;

interface Waiter {
  readonly iteration: object;
  readonly settle: (result: Result) => void;
}

const DONE: Result = { done: true, value: undefined };

export class PacketQueue {
  #packets: Packet[] = [];
  #waiters: Waiter[] = [];
  #endedCycles = 0;
  #isOver = false;

  get length(): number {
    return this.#packets.length;
  }

  push(packet: Packet): void {
    const waiter = this.#waiters.shift();
    if (waiter === undefined) this.#packets.push(packet);
    else waiter.settle({ done: false, value: packet });
  }

  /** Ends all iterations that there are. @param isOver none will ever begin again */
  endCycle(isOver: boolean): void {
    this.#isOver ||= isOver;
    this.#endedCycles++;
    const waiters = this.#waiters;
    this.#waiters = [];
    for (const waiter of waiters) waiter.settle(DONE);
  }

  /** What nobody took, taken out. */
  takeAll(): Packet[] {
    const packets = this.#packets;
    this.#packets = [];
    return packets;
  }

  iterate({ signal }: WaitOptions): AsyncIterableIterator<Packet, undefined, undefined> {
    const cycle = this.#endedCycles;
    let isDone = false;
    const iteration: AsyncIterableIterator<Packet, undefined, undefined> = {
      next: () => {
        if (signal?.aborted === true) return Promise.reject(signal.reason);
        if (isDone || this.#isOver || cycle !== this.#endedCycles) return Promise.resolve(DONE);
        const packet = this.#packets.shift();
        if (packet !== undefined) return Promise.resolve({ done: false, value: packet });
        return this.#wait(iteration, signal);
      },
      return: () => {
        isDone = true;
        for (const waiter of this.#leave(iteration)) waiter.settle(DONE);
        return Promise.resolve(DONE);
      },
      [Symbol.asyncIterator]: () => iteration,
    };
    return iteration;
  }

  #wait(iteration: object, signal: AbortSignal | undefined): Promise<Result> {
    return new Promise((resolve, reject) => {
      const abort = (): void => {
        this.#waiters = this.#waiters.filter((other) => other !== waiter);
        reject(signal?.reason);
      };
      const settle = (result: Result): void => {
        signal?.removeEventListener('abort', abort);
        resolve(result);
      };
      const waiter: Waiter = { iteration, settle };
      this.#waiters.push(waiter);
      signal?.addEventListener('abort', abort, { once: true });
    });
  }

  #leave(iteration: object): Waiter[] {
    const leaving = this.#waiters.filter((waiter) => waiter.iteration === iteration);
    this.#waiters = this.#waiters.filter((waiter) => waiter.iteration !== iteration);
    return leaving;
  }
}
