/** Packets that nobody answers: sent and forgotten, and waited for only as far as the ring. */
import { type ChannelEndpoint, OutgoingPacket, OutgoingState } from '../../channel/index.ts';
import type { VmbusError } from '../../errors.ts';
import { type NtStatus, STATUS_SUCCESS } from '../../wire/ntstatus.ts';
import { Deferred } from '../waiting.ts';

interface Flush {
  /** Sends that were made before it. */
  readonly sendCount: number;
  readonly done: Deferred<void>;
}

export class OneWaySends {
  readonly #endpoint: ChannelEndpoint;
  readonly #errorOf: (status: NtStatus) => VmbusError;
  readonly #free: OneWayPacket[] = [];
  #flushes: Flush[] = [];
  /** They leave in order, so two counts tell what is under way. */
  #sentCount = 0;
  #endedCount = 0;

  constructor(endpoint: ChannelEndpoint, errorOf: (status: NtStatus) => VmbusError) {
    this.#endpoint = endpoint;
    this.#errorOf = errorOf;
  }

  /** @returns false if it waits for room, or for the channel to open */
  send(bytes: Uint8Array): boolean {
    const packet = this.#free.pop() ?? new OneWayPacket((ended, status) => this.#ended(ended, status));
    this.#sentCount++;
    this.#endpoint.sendInBand(packet, bytes, bytes.length, false);
    return packet.state !== OutgoingState.Queued;
  }

  /** Resolves when all sent so far are in the ring; rejects if one never got there. */
  flush(): Promise<void> {
    if (this.#endedCount === this.#sentCount) return Promise.resolve();
    const flush = { sendCount: this.#sentCount, done: new Deferred<void>() };
    this.#flushes.push(flush);
    return flush.done.promise;
  }

  #ended(packet: OneWayPacket, status: NtStatus): void {
    this.#endedCount++;
    this.#free.push(packet);
    if (this.#flushes.length > 0) this.#endFlushes(status);
  }

  #endFlushes(status: NtStatus): void {
    const flushes = this.#flushes;
    if (status !== STATUS_SUCCESS) {
      // Every one of them waits for the packet that did not make it, or for a later one.
      this.#flushes = [];
      const error = this.#errorOf(status);
      for (const { done } of flushes) done.reject(error);
      return;
    }
    this.#flushes = flushes.filter(({ sendCount }) => sendCount > this.#endedCount);
    for (const { sendCount, done } of flushes) if (sendCount <= this.#endedCount) done.resolve();
  }
}

class OneWayPacket extends OutgoingPacket {
  readonly #ended: (packet: OneWayPacket, status: NtStatus) => void;

  constructor(ended: (packet: OneWayPacket, status: NtStatus) => void) {
    super();
    this.#ended = ended;
  }

  override completed(status: NtStatus): void {
    this.#ended(this, status);
  }
}
