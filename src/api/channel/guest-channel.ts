/** The guest's end of a channel, from `Offer.open` to its end. */
import type { ChannelEndpoint, MmioRange } from '../../channel/index.ts';
import { UsageError } from '../../errors.ts';
import type { ExternalPages, NoPages, SharedPages } from '../packets/external-pages.ts';
import { type PendingRequest, type RequestOptions, refusedRequest, startRequest } from '../packets/pending-request.ts';
import { type Completed, GuestTransaction } from '../packets/transaction.ts';
import { abortable, checkMayWait, Deferred, type WaitOptions } from '../waiting.ts';
import { Channel } from './channel.ts';
import { ChannelCore } from './channel-core.ts';
import type { ChannelOptions, RingPages } from './channel-options.ts';
import type { Gpadl, GpadlOptions } from './gpadls.ts';

export interface OpenOptions extends ChannelOptions<GuestChannel>, RingPages, WaitOptions {}

let openGuestChannel: (options: OpenOptions, enable: (endpoint: ChannelEndpoint) => void) => Promise<GuestChannel>;

export class GuestChannel extends Channel {
  static {
    openGuestChannel = (options, enable) => new GuestChannel(options).#open(enable, options.signal);
  }

  readonly #core: ChannelCore<GuestChannel>;
  readonly #running = new Deferred<void>();

  private constructor(options: OpenOptions) {
    const core = new ChannelCore<GuestChannel>('guest', options);
    super(core);
    this.#core = core;
    core.serve(this, {
      opened: () => {
        if (options.isPaused === true) this.#running.resolve();
      },
      running: () => this.#running.resolve(),
      ending: (end) => this.#running.reject(end.error),
    });
    if (options.isPaused === true) void core.endpoint.pause();
  }

  /** The memory-mapped I/O space that was reserved for the device while the channel is open; `null` for none. */
  get mmioSpace(): MmioRange | null {
    return this.#core.endpoint.mmioSpace;
  }

  /**
   * How long a monitored notification to the host may be delayed, units of 100 ns; 0 at open. Kept for the transport: one
   * without monitor pages signals at once.
   */
  get interruptLatency100ns(): number {
    return this.#core.endpoint.interruptLatency100ns;
  }

  /** @throws UsageError `ERR_ARGUMENT` for what is no u16, `ERR_STATE` unless open */
  set interruptLatency100ns(latency: number) {
    if (!Number.isInteger(latency) || latency < 0 || latency > 0xffff) {
      throw new UsageError('ERR_ARGUMENT', `interruptLatency100ns is ${latency}, which is no u16`);
    }
    if (!this.isOpen) throw new UsageError('ERR_STATE', `interruptLatency100ns: ${this.#core.subject} is not open`);
    this.#core.endpoint.interruptLatency100ns = latency;
  }

  /**
   * Sends bytes, and names pages of the guest's if the options do, and waits for the host's completion. What is named is
   * the host's until `PendingRequest.released`.
   * @returns the completion's payload; see `PendingRequest`
   * @throws (rejects with) UsageError `ERR_PACKET_TOO_BIG`, `ERR_ARGUMENT` for malformed page lists, `ERR_STATE` on a
   *   pipe and inside packet callbacks; AddressError for a window outside its MDL; PeerError `ERR_TIMEOUT`; the signal's
   *   reason; the error that ended the channel
   */
  request(bytes: Uint8Array, options: RequestOptions & (ExternalPages | NoPages) = {}): PendingRequest {
    try {
      checkMayWait('request');
    } catch (error) {
      return refusedRequest(error);
    }
    return startRequest(this.#core.sender, bytes, options);
  }

  /** Requests without promises. */
  transaction(completed: Completed): GuestTransaction {
    return new GuestTransaction(this.#core.sender, completed);
  }

  /**
   * Shares memory with the host until it is deleted. When it resolves, the host has confirmed it and may map it. An abort
   * gives the wait up; what the host confirms later is deleted.
   * @throws (rejects with) UsageError `ERR_ARGUMENT` for malformed pages or too many; PeerError `ERR_REFUSED` with the
   *   host's status; the error that ended the channel
   */
  async createGpadl(pages: SharedPages, options: GpadlOptions & WaitOptions = {}): Promise<Gpadl> {
    checkMayWait('createGpadl');
    const { signal } = options;
    signal?.throwIfAborted();
    const created = this.#core.createGpadl(pages, options);
    return await abortable(created, signal, () => {
      void created.then(
        (gpadl) => gpadl.startDelete(),
        () => {}, // It was refused: there is nothing to delete, and the abort was told already.
      );
    });
  }

  async #open(enable: (endpoint: ChannelEndpoint) => void, signal: AbortSignal | undefined): Promise<this> {
    enable(this.#core.endpoint);
    await abortable(this.#running.promise, signal, () => void this.#core.shutDown());
    return this;
  }
}

/**
 * For `Offer.open`: enables the channel and waits until packets flow. An abort takes it apart again.
 * @param enable makes the endpoint known to the bus
 */
export { openGuestChannel };
