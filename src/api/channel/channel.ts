/** A channel as both ends see it: bytes out, packets in, requests, run state. */
import type { ChannelStatistics, ChannelTap } from '../../channel/index.ts';
import { UsageError } from '../../errors.ts';
import type { Guid } from '../../wire/guid.ts';
import type { Packet } from '../packets/packet.ts';
import { abortable, checkMayWait, type WaitOptions } from '../waiting.ts';
import type { CoreOfAny } from './channel-core.ts';
import type { ChannelEnd } from './channel-end.ts';
import { quotaOf } from './channel-options.ts';

/**
 * Iterate it for its packets (`for await (using packet of channel)`), unless it was given `onPacket`. The iteration
 * ends, without an error, with the open cycle; `lastEnd` says why.
 */
export abstract class Channel implements AsyncIterable<Packet>, AsyncDisposable {
  readonly #core: CoreOfAny;

  protected constructor(core: CoreOfAny) {
    this.#core = core;
  }

  // --- what it is

  /** Open at both ends, and not about to end. */
  get isOpen(): boolean {
    const { endpoint } = this.#core;
    return endpoint.isOpen && !endpoint.isEnding;
  }

  /** Channel id; 0 while there is none. */
  get relid(): number {
    return this.#core.endpoint.relid;
  }

  /** Of the offer; `null` when the channel has none any more. */
  get instanceId(): Guid | null {
    return this.#core.endpoint.instanceId;
  }

  /** Why the last open cycle ended; `undefined` before, and while one runs. */
  get lastEnd(): ChannelEnd | undefined {
    return this.#core.end;
  }

  /** Resolves, and never rejects, when the channel is torn down for good: every page is its owner's again. */
  get closed(): Promise<ChannelEnd> {
    return this.#core.whenClosed.promise;
  }

  /** Counters, always on. */
  get statistics(): Readonly<ChannelStatistics> {
    return this.#core.endpoint.statistics;
  }

  /** The listener of tracers and inspectors; `null` for none, which costs one branch per packet. */
  get tap(): ChannelTap | null {
    return this.#core.endpoint.tap;
  }

  set tap(tap: ChannelTap | null) {
    this.#core.endpoint.tap = tap;
  }

  /** The state as a tree of plain values, for people and tools. */
  inspect(): object {
    return {
      ...this.#core.endpoint.inspect(),
      untakenPackets: this.#core.queue.length,
      lastEnd: this.#core.end ?? null,
    };
  }

  // --- out

  /**
   * Sends bytes that nobody answers; they are copied before it returns. Before the channel is open they wait.
   * @returns false if they wait for room: `await flush()` before you send much more
   * @throws UsageError `ERR_PACKET_TOO_BIG`; the error that ended the channel
   */
  send(bytes: Uint8Array): boolean {
    return this.#core.sender.send(bytes);
  }

  /** The same, unless there is no room now. @returns false if nothing was sent */
  trySend(bytes: Uint8Array): boolean {
    return this.#core.sender.trySend(bytes);
  }

  /**
   * Waits until all that was sent so far is in the ring.
   * @throws (rejects with) the error that ended the channel before that
   */
  async flush({ signal }: WaitOptions = {}): Promise<void> {
    checkMayWait('flush');
    signal?.throwIfAborted();
    await abortable(this.#core.sender.flush(), signal);
  }

  /**
   * Sends what `work` sends as one batch, with at most one signal to the other side. Batches of packets that answer
   * others form by themselves.
   */
  batch(work: () => void): void {
    const { endpoint } = this.#core;
    endpoint.beginBatch();
    try {
      work();
    } finally {
      endpoint.endBatch();
    }
  }

  // --- in

  [Symbol.asyncIterator](): AsyncIterableIterator<Packet, undefined, undefined> {
    return this.packets();
  }

  /**
   * The packets of this open cycle, or of the next one. With a signal: rejects with its reason when it aborts.
   * @throws UsageError `ERR_STATE` if the channel was given `onPacket`
   */
  packets(options: WaitOptions = {}): AsyncIterableIterator<Packet, undefined, undefined> {
    if (!this.#core.iterates) throw new UsageError('ERR_STATE', 'the packets of this channel go to its onPacket');
    return this.#core.queue.iterate(options);
  }

  /** Changes `maxHeldPackets`. More do not come at once, but after the next completion. @throws UsageError */
  setMaxHeldPackets(packets: number): void {
    this.#core.endpoint.setQuota(quotaOf(packets));
  }

  /** Changes `isPassiveOnly`. */
  setPassiveOnly(isPassiveOnly: boolean): void {
    this.#core.endpoint.setPassiveOnly(isPassiveOnly);
  }

  // --- run state

  /**
   * Stops delivery and sending. Resolves when `onSuspended` is through and no packet is with you, so what waits for the
   * iteration must be taken and completed. Giving up the wait does not undo it; `resume` does.
   * @throws (rejects with) UsageError `ERR_STATE` from inside a callback of this channel, `ERR_CLOSED` after its end
   */
  async pause({ signal }: WaitOptions = {}): Promise<void> {
    checkMayWait('pause');
    this.#checkMayChange('pause');
    signal?.throwIfAborted();
    await abortable(this.#core.endpoint.pause(), signal);
  }

  /** Ends the pause, now or as soon as the channel is open. @throws UsageError as `pause` */
  resume(): void {
    this.#checkMayChange('resume');
    this.#core.endpoint.start();
  }

  /**
   * Ends the channel for good: a guest closes it, a host takes its offer back. Packets that nobody took are dropped, the
   * iteration ends, requests reject with `ERR_CLOSED`. Resolves when you have completed what you hold, `onClosed` is
   * through and the other side has let go of everything.
   * @throws (rejects with) UsageError `ERR_STATE` from inside a callback of this channel
   */
  close(): Promise<void> {
    return this.#core.close();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  #checkMayChange(name: string): void {
    this.#core.checkMayChange(name);
    if (this.#core.endpoint.isDisabled) {
      throw this.lastEnd?.error ?? new UsageError('ERR_CLOSED', `${name}: ${this.#core.subject} is closed`);
    }
  }
}
