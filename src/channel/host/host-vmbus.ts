/** A host's end of the bus for one guest: the control plane, the channels offered to it, and the way of its signals. */
import { HostBus, type HostBusOptions, type HostOffer, type OfferParams, PostStatus } from '../../bus/host/index.ts';
import type { GuestMemory, Mdl } from '../../memory/index.ts';
import type { Guid } from '../../wire/guid.ts';
import type { ChannelEndpoint } from '../channel-endpoint.ts';
import type { HostEnvironment } from '../environment.ts';
import type { Scheduler } from '../scheduler.ts';
import { type VerifierOption, verifierOf } from '../verifier-option.ts';
import type { ChannelWatch } from '../watch.ts';
import { HostChannelSide } from './host-channel-side.ts';

/** What a channel says of itself. */
export type ChannelOffer = OfferParams;

/** What a host's owner may listen to. */
export interface HostVmbusEvents {
  connected?(version: number, features: number): void;
  disconnected?(): void;
  /** A message from the guest was not obeyed. May come at the guest's pace: limit what you log. */
  dropped?(reason: string, message: Uint8Array): void;
  /** Every control message; valid during the call. */
  message?(direction: 'sent' | 'received', message: Uint8Array): void;
  /** The guest is gone. */
  lost?(reason: string): void;
}

/** Where guest pages may be absent: makes them present before a device touches them. */
export interface PagePinner {
  /**
   * @param ready called in a later turn if they are not there yet
   * @returns true if they are there, until `unpin`
   */
  pin(mdl: Mdl, ready: () => void): boolean;
  unpin(mdl: Mdl): void;
}

export interface HostVmbusOptions extends HostBusOptions {
  /** `true`: watch over every channel of this end; a verifier of one's own does too. See `vmbus/verifier`. */
  readonly verifier?: VerifierOption;
  readonly events?: HostVmbusEvents;
  /** By default every page of guest memory is always there. */
  readonly pinner?: PagePinner;
}

/** Guests of version 0.13 signal all channels on this connection. Source: Linux `hyperv_vmbus.h`. */
const SHARED_EVENT_CONNECTION_ID = 2;
/** How long a message that the guest did not take waits for the next try, ms. */
const RETRY_MS = 1;

export class HostVmbus {
  readonly memory: GuestMemory;
  readonly scheduler: Scheduler;
  /** Watches over the channels enabled here; `null` for none. */
  readonly verifier: ChannelWatch | null;
  readonly bus: HostBus;
  /** The virtual trust level that its guest's drivers run in. */
  readonly vtl: number;

  readonly #env: HostEnvironment;
  readonly #pinner: PagePinner | undefined;
  readonly #sides = new Set<HostChannelSide>();
  /** Which channel a signal belongs to; looked up once per doorbell. */
  readonly #byConnection = new Map<number, HostChannelSide>();
  #isLost = false;
  #hasLeft = false;
  #isRetryQueued = false;

  constructor(env: HostEnvironment, options: HostVmbusOptions = {}) {
    this.#env = env;
    this.#pinner = options.pinner;
    this.memory = env.memory;
    this.scheduler = env.scheduler;
    this.verifier = verifierOf(options.verifier, env.verifier);
    this.vtl = options.vtl ?? 0;
    const { connected, disconnected, dropped, message, lost } = options.events ?? {};
    this.bus = new HostBus(
      {
        post: (connectionId, message) => (this.#hasLeft ? PostStatus.Success : env.control.post(connectionId, message)),
      },
      {
        backlog: () => this.#retryLater(),
        ...(connected ? { connected: (version: number, features: number) => connected(version, features) } : {}),
        ...(disconnected ? { disconnected: () => disconnected() } : {}),
        ...(dropped ? { dropped: (reason: string, bytes: Uint8Array) => dropped(reason, bytes) } : {}),
        ...(message ? { message: (way: 'sent' | 'received', bytes: Uint8Array) => message(way, bytes) } : {}),
      },
      options,
    );
    env.onMessage((bytes, connectionId) => {
      if (!this.#hasLeft) this.bus.receive(bytes, connectionId);
    });
    env.onSignal((connectionId) => this.#signalled(connectionId));
    env.onLost((reason) => {
      if (this.#hasLeft) return;
      this.#isLost = true;
      this.bus.reset();
      lost?.(reason);
    });
  }

  /** True while a channel with this identity is offered here. */
  isOffered(identity: {
    readonly interfaceId: Guid;
    readonly instanceId: Guid;
    readonly subchannelIndex?: number;
  }): boolean {
    const index = identity.subchannelIndex ?? 0;
    for (const { params } of this.#sides) {
      const isSame = params.interfaceId === identity.interfaceId && params.instanceId === identity.instanceId;
      if (isSame && (params.subchannelIndex ?? 0) === index) return true;
    }
    return false;
  }

  /**
   * Offers a Disabled channel. Returns at once; a server runs after `start`.
   * @throws UsageError `ERR_STATE` if its identity is offered already
   */
  enable(endpoint: ChannelEndpoint, params: ChannelOffer): void {
    const side = new HostChannelSide(this, endpoint, params);
    endpoint.watch ??= this.verifier;
    endpoint.enable(side);
  }

  /** For a channel's side: makes its offer. @returns `null` if it is meant for another trust level than our guest's */
  offer(side: HostChannelSide): HostOffer | null {
    const isForUs = (side.params.targetVtl ?? 0) === this.vtl;
    const offer = isForUs ? this.bus.offer(side.params, side) : null;
    this.#sides.add(side);
    return offer;
  }

  /** For a channel's side: its offer is gone. */
  letGo(side: HostChannelSide): void {
    this.#sides.delete(side);
  }

  /** For a channel's side: the guest signals it on this connection. */
  route(connectionId: number, side: HostChannelSide): void {
    this.#byConnection.set(connectionId, side);
  }

  unroute(connectionId: number): void {
    this.#byConnection.delete(connectionId);
  }

  /** For a channel's side: interrupts the guest. */
  signal(eventFlag: number, targetVp: number): void {
    if (!this.#hasLeft) this.#env.signal(eventFlag, targetVp);
  }

  /** For a channel's side; see `PagePinner`. */
  pin(mdl: Mdl, ready: () => void): boolean {
    return this.#pinner === undefined || this.#pinner.pin(mdl, ready);
  }

  unpin(mdl: Mdl): void {
    this.#pinner?.unpin(mdl);
  }

  /**
   * The guest's connection, channels and GPADLs as bytes, for `restore` on another host. The guest must be stopped, or
   * at least quiet on the control plane: a message that comes after this is not in it. Save the channels first.
   */
  save(): Uint8Array {
    return this.bus.save();
  }

  /**
   * Takes up a guest that was saved on another host, whose memory this one sees now. The guest is not told. Enable each
   * channel with the identity that it had: it goes on where it was. Then call `revokeUnclaimed`.
   * @throws UsageError `ERR_STATE` unless this host is new; PeerError `ERR_SAVED_STATE` for bytes that are damaged,
   *   impossible, or ask for more than this host offers: nothing has happened then
   */
  restore(saved: Uint8Array): void {
    this.bus.restore(saved, (ranges) =>
      ranges.every(({ pfns }) => Array.from(pfns).every((pfn) => this.memory.hasPage(pfn))),
    );
  }

  /** After `restore`: takes back the channels that nobody enabled. @returns how many */
  revokeUnclaimed(): number {
    return this.bus.revokeUnclaimed();
  }

  /** After `restore`: takes back one channel that nobody has enabled yet, as its device wants to begin anew. */
  revokeRestored(identity: {
    readonly interfaceId: Guid;
    readonly instanceId: Guid;
    readonly subchannelIndex: number;
  }): void {
    this.bus.revokeRestored(identity);
  }

  /**
   * The guest was saved and goes on at another host: this one falls silent at once and says no word to the guest. Its
   * channels end Disabled. Packets in a whole save are given back without a routine, as they complete at the other host;
   * all others complete with `STATUS_DEVICE_REMOVED`.
   */
  leave(): void {
    this.#hasLeft = true;
    for (const side of [...this.#sides]) side.endpoint.left();
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
    };
  }

  #signalled(connectionId: number): void {
    if (this.#hasLeft) return;
    const side = this.#byConnection.get(connectionId);
    if (side !== undefined) side.endpoint.doorbell();
    else if (connectionId === SHARED_EVENT_CONNECTION_ID) this.#signalledAll();
  }

  #signalledAll(): void {
    for (const side of this.#sides) side.endpoint.doorbell();
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
