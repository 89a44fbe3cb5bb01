/**
 * One guest's end of the bus: the control plane, the guest's channels, and the way of interrupts to them.
 */
import { GuestBus, type GuestBusOptions, type GuestOffer } from '../../bus/guest/index.ts';
import { SystemError, UsageError, type VmbusError } from '../../errors.ts';
import { type GuestMemory, PageAllocator } from '../../memory/index.ts';
import type { Guid } from '../../wire/guid.ts';
import type { ChannelEndpoint } from '../channel-endpoint.ts';
import type { GuestEnvironment } from '../environment.ts';
import type { Scheduler } from '../scheduler.ts';
import { type VerifierOption, verifierOf } from '../verifier-option.ts';
import type { ChannelWatch } from '../watch.ts';
import { GuestChannelSide } from './guest-channel-side.ts';
import { type MmioRange, MmioSpace } from './mmio-space.ts';

/** Which offer a channel wants. */
export interface OfferTarget {
  readonly interfaceId: Guid;
  /** `null` for any. */
  readonly instanceId: Guid | null;
  /** 0 for the primary channel of a device. */
  readonly subchannelIndex: number;
}

/** What a guest's owner may listen to. */
export interface GuestVmbusEvents {
  offered?(offer: GuestOffer): void;
  rescinded?(offer: GuestOffer): void;
  /** The host has sent all offers that it had at contact. */
  allOffersDelivered?(): void;
  /** A message from the host was not obeyed. May come at the host's pace: limit what you log. */
  dropped?(reason: string, message: Uint8Array): void;
  /** Every control message; valid during the call. */
  message?(direction: 'sent' | 'received', message: Uint8Array): void;
  /** The transport is lost. */
  lost?(reason: string): void;
}

export interface GuestVmbusOptions extends GuestBusOptions {
  /** `true`: watch over every channel of this end; a verifier of one's own does too. See `vmbus/verifier`. */
  readonly verifier?: VerifierOption;
  /** Who hands out the guest's pages; by default an allocator over all of its memory. */
  readonly pages?: PageAllocator;
  /** Pages that the host can see, for bounce buffers; by default `pages`, as an ordinary host sees all of them. */
  readonly hostVisiblePages?: PageAllocator;
  /** Where devices get memory-mapped I/O space; by default 4 GiB at 64 GiB. */
  readonly mmio?: MmioRange;
  readonly events?: GuestVmbusEvents;
}

/** How long a message that the host did not take waits for the next try, ms. */
const RETRY_MS = 1;

export class GuestVmbus {
  readonly memory: GuestMemory;
  readonly scheduler: Scheduler;
  /** Watches over the channels enabled here; `null` for none. */
  readonly verifier: ChannelWatch | null;
  readonly bus: GuestBus;
  /** Pages for rings; drivers take theirs from here too. */
  readonly pages: PageAllocator;
  /** Pages for what the host has to see although it may not see the rest. */
  readonly hostVisiblePages: PageAllocator;
  readonly mmio: MmioSpace;

  readonly #env: GuestEnvironment;
  readonly #events: GuestVmbusEvents;
  readonly #sides = new Set<GuestChannelSide>();
  /** Which channel an event flag belongs to: a plain array, so that an interrupt costs an index. */
  readonly #byFlag: (GuestChannelSide | undefined)[] = [];
  #connecting: { resolve: (version: number) => void; reject: (error: Error) => void } | null = null;
  #disconnecting: (() => void)[] = [];
  #isLost = false;
  #isRetryQueued = false;

  constructor(env: GuestEnvironment, options: GuestVmbusOptions = {}) {
    this.#env = env;
    this.#events = options.events ?? {};
    this.memory = env.memory;
    this.scheduler = env.scheduler;
    this.verifier = verifierOf(options.verifier, env.verifier);
    this.pages = options.pages ?? new PageAllocator(env.memory);
    this.hostVisiblePages = options.hostVisiblePages ?? this.pages;
    this.mmio = new MmioSpace(options.mmio);
    const { dropped, message } = this.#events;
    this.bus = new GuestBus(
      env.control,
      {
        connected: (version) => this.#connected(version),
        connectFailed: (error) => this.#connectFailed(error),
        offered: (offer) => this.#offered(offer),
        allOffersDelivered: () => this.#events.allOffersDelivered?.(),
        rescinded: (offer) => this.#rescinded(offer),
        disconnected: () => this.#disconnected(),
        backlog: () => this.#retryLater(),
        ...(dropped ? { dropped: (reason: string, bytes: Uint8Array) => dropped(reason, bytes) } : {}),
        ...(message ? { message: (way: 'sent' | 'received', bytes: Uint8Array) => message(way, bytes) } : {}),
      },
      options,
    );
    env.onMessage((bytes) => this.bus.receive(bytes));
    env.onInterrupt((eventFlag) => this.#byFlag[eventFlag]?.endpoint.doorbell());
    env.onLost((reason) => this.#lost(reason));
  }

  /**
   * Makes contact and asks for offers.
   * @returns the agreed version
   * @throws (rejects with) PeerError `ERR_REFUSED` if no version suits both, SystemError `ERR_TRANSPORT` if the host is
   *   gone, UsageError `ERR_STATE` unless disconnected
   */
  async connect(): Promise<number> {
    if (this.#connecting !== null) throw new UsageError('ERR_STATE', 'connect while connecting');
    if (this.#isLost) throw new SystemError('ERR_TRANSPORT', 'the host is gone');
    return await new Promise<number>((resolve, reject) => {
      this.#connecting = { resolve, reject };
      try {
        this.bus.connect();
      } catch (error) {
        this.#connecting = null;
        throw error;
      }
    });
  }

  /** Ends the connection; channels that are open end as if their offers were taken back. */
  async disconnect(): Promise<void> {
    if (this.bus.state === 'disconnected') return;
    await new Promise<void>((resolve) => {
      this.#disconnecting.push(resolve);
      this.bus.disconnect();
    });
  }

  /** Binds a Disabled channel to the offer that suits, now or when it comes. Returns at once. */
  enable(endpoint: ChannelEndpoint, target: OfferTarget): void {
    const side = new GuestChannelSide(this, endpoint, target);
    endpoint.watch ??= this.verifier;
    endpoint.enable(side);
  }

  /** For a channel's side: wants an offer. */
  lookFor(side: GuestChannelSide): void {
    this.#sides.add(side);
    for (const offer of this.bus.offers()) {
      if (this.#isFree(offer) && suits(offer, side.target)) {
        this.#bind(side, offer);
        return;
      }
    }
  }

  /** For a channel's side: done with its offer. */
  letGo(side: GuestChannelSide, offer: GuestOffer | null): void {
    this.#sides.delete(side);
    if (offer === null) return;
    this.#byFlag[offer.relid] = undefined;
    if (offer.isRescinded) this.bus.release(offer.relid);
    else this.#offerAgain(offer);
  }

  /** For a channel's side: signals the host. */
  signal(connectionId: number): void {
    this.#env.signal(connectionId);
  }

  /** The channels that are in use, for taps and statistics. */
  get channels(): readonly ChannelEndpoint[] {
    return [...this.#sides].map((side) => side.endpoint);
  }

  inspect(): object {
    return {
      bus: this.bus.inspect(),
      channels: [...this.#sides].map((side) => side.endpoint.inspect()),
      ...(this.verifier === null ? {} : { verifier: this.verifier.inspect() }),
      freePages: this.pages.freePages,
    };
  }

  #isFree(offer: GuestOffer): boolean {
    return !offer.isRescinded && this.#byFlag[offer.relid] === undefined;
  }

  #bind(side: GuestChannelSide, offer: GuestOffer): void {
    this.#byFlag[offer.relid] = side;
    side.offered(offer);
  }

  #offered(offer: GuestOffer): void {
    this.#events.offered?.(offer);
    this.#offerAgain(offer);
  }

  #offerAgain(offer: GuestOffer): void {
    for (const side of this.#sides) {
      if (!side.isWaiting || !this.#isFree(offer) || !suits(offer, side.target)) continue;
      this.#bind(side, offer);
      return;
    }
  }

  #rescinded(offer: GuestOffer): void {
    this.#events.rescinded?.(offer);
    const side = this.#byFlag[offer.relid];
    if (side === undefined) this.bus.release(offer.relid);
    else side.rescinded(this.#isLost);
  }

  #connected(version: number): void {
    const connecting = this.#connecting;
    this.#connecting = null;
    connecting?.resolve(version);
  }

  #connectFailed(error: VmbusError): void {
    const connecting = this.#connecting;
    this.#connecting = null;
    connecting?.reject(error);
  }

  #disconnected(): void {
    const waiting = this.#disconnecting;
    this.#disconnecting = [];
    for (const resolve of waiting) resolve();
  }

  #lost(reason: string): void {
    this.#isLost = true;
    this.bus.lost(reason);
    this.#events.lost?.(reason);
  }

  #retryLater(): void {
    if (this.#isRetryQueued || this.#isLost) return;
    this.#isRetryQueued = true;
    this.scheduler.timer(RETRY_MS, () => {
      this.#isRetryQueued = false;
      if (!this.bus.flush()) this.#retryLater();
    });
  }
}

function suits(offer: GuestOffer, target: OfferTarget): boolean {
  return (
    offer.interfaceId === target.interfaceId &&
    (target.instanceId === null || offer.instanceId === target.instanceId) &&
    offer.subchannelIndex === target.subchannelIndex
  );
}
