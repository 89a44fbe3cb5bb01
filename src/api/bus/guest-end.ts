/** A guest's end of the bus. */
import { type GuestEnvironment, type GuestOffer, GuestVmbus, type GuestVmbusOptions } from '../../channel/index.ts';
import { SystemError } from '../../errors.ts';
import type { GuestMemory, PageAllocator } from '../../memory/index.ts';
import { canonicalGuid, type Guid } from '../../wire/guid.ts';
import type { GuestChannel } from '../channel/guest-channel.ts';
import { abortable, checkMayWait, type WaitOptions } from '../waiting.ts';
import { Offer } from './offer.ts';
import { OfferStream } from './offer-stream.ts';

export interface GuestOptions extends GuestVmbusOptions, WaitOptions {}

/** Which offer is meant; what is left out may be anything. */
export interface OfferMatch {
  readonly interfaceId?: Guid;
  readonly instanceId?: Guid;
  /** Default 0: the primary channel. */
  readonly subchannelIndex?: number;
}

export class GuestEnd implements AsyncDisposable {
  /**
   * The core underneath, for KMCL drivers on the same bus (`createDeviceObject({ vmbus: bus.vmbus })`) and for what is
   * rare: `vmbus.bus` is the control plane.
   */
  readonly vmbus: GuestVmbus;

  readonly #offers = new Map<GuestOffer, Offer>();
  readonly #streams = new Set<OfferStream>();
  readonly #channels = new Set<GuestChannel>();
  #isOver = false;

  /** Use `Bus.guest`. */
  constructor(env: GuestEnvironment, options: GuestOptions) {
    const { events = {} } = options;
    this.vmbus = new GuestVmbus(env, {
      ...options,
      events: {
        offered: (offer) => {
          this.#offered(offer);
          events.offered?.(offer);
        },
        rescinded: (offer) => {
          this.#rescinded(offer);
          events.rescinded?.(offer);
        },
        lost: (reason) => {
          this.#endStreams();
          events.lost?.(reason);
        },
        ...(events.allOffersDelivered ? { allOffersDelivered: () => events.allOffersDelivered?.() } : {}),
        ...(events.dropped ? { dropped: (reason: string, bytes: Uint8Array) => events.dropped?.(reason, bytes) } : {}),
        ...(events.message
          ? { message: (way: 'sent' | 'received', bytes: Uint8Array) => events.message?.(way, bytes) }
          : {}),
      },
    });
  }

  /** The agreed `VmbusVersion`; 0 while not connected. */
  get version(): number {
    return this.vmbus.bus.version;
  }

  /** The agreed `FeatureFlag` bits. */
  get features(): number {
    return this.vmbus.bus.features;
  }

  get isConnected(): boolean {
    return !this.#isOver && this.version !== 0;
  }

  /** The guest's memory. */
  get memory(): GuestMemory {
    return this.vmbus.memory;
  }

  /** Who hands out its pages: rings come from here, and the pages for requests too. */
  get pages(): PageAllocator {
    return this.vmbus.pages;
  }

  /**
   * The offers that there are, then those that come. The iteration ends, without an error, with the connection; those
   * taken back before you came to them are left out. Each iteration sees all. With a signal: rejects with its reason.
   */
  offers(options: WaitOptions = {}): AsyncIterableIterator<Offer, undefined, undefined> {
    const stream = new OfferStream([...this.#offers.values()], options, (left) => this.#streams.delete(left));
    if (this.#isOver) stream.end();
    else this.#streams.add(stream);
    return stream;
  }

  /**
   * The first offer that matches, now or when it comes.
   * @throws (rejects with) UsageError `ERR_ARGUMENT` for what is no GUID; SystemError `ERR_TRANSPORT` if the connection
   *   ends before; the signal's reason
   */
  async findOffer(match: OfferMatch, options: WaitOptions = {}): Promise<Offer> {
    checkMayWait('findOffer');
    const interfaceId = match.interfaceId === undefined ? undefined : canonicalGuid(match.interfaceId);
    const instanceId = match.instanceId === undefined ? undefined : canonicalGuid(match.instanceId);
    for await (const offer of this.offers(options)) {
      const isInterface = interfaceId === undefined || offer.interfaceId === interfaceId;
      const isInstance = instanceId === undefined || offer.instanceId === instanceId;
      if (isInterface && isInstance && offer.subchannelIndex === (match.subchannelIndex ?? 0)) return offer;
    }
    throw new SystemError('ERR_TRANSPORT', 'the connection ended before the host offered such a channel');
  }

  /** The channels opened here that have not ended. */
  get channels(): readonly GuestChannel[] {
    return [...this.#channels];
  }

  /** Closes all channels opened here, then tells the host to let go of everything. Resolves when it has. */
  async disconnect(): Promise<void> {
    checkMayWait('disconnect');
    this.#endStreams();
    await Promise.all(this.channels.map((channel) => channel.close()));
    await this.vmbus.disconnect();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.disconnect();
  }

  /** The state of this end as a tree of plain values, for people and tools. */
  inspect(): object {
    return this.vmbus.inspect();
  }

  #offered(offer: GuestOffer): void {
    const face = new Offer(this.vmbus, offer, (channel) => this.#adopt(channel));
    this.#offers.set(offer, face);
    for (const stream of this.#streams) stream.push(face);
  }

  #rescinded(offer: GuestOffer): void {
    const face = this.#offers.get(offer);
    if (face === undefined) return;
    this.#offers.delete(offer);
    for (const stream of this.#streams) stream.remove(face);
  }

  #adopt(channel: GuestChannel): void {
    this.#channels.add(channel);
    void channel.closed.then(() => this.#channels.delete(channel));
  }

  #endStreams(): void {
    this.#isOver = true;
    for (const stream of this.#streams) stream.end();
    this.#streams.clear();
  }
}

/** Makes contact. @throws see `Bus.guest` */
export async function connectGuest(env: GuestEnvironment, options: GuestOptions): Promise<GuestEnd> {
  const { signal } = options;
  signal?.throwIfAborted();
  const end = new GuestEnd(env, options);
  await abortable(end.vmbus.connect(), signal, () => void end.vmbus.disconnect());
  return end;
}
