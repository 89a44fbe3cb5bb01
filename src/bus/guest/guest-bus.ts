/**
 * The guest's end of the control plane: makes contact, learns of channels, opens and closes them, and never throws for
 * what the host sent. Every callback runs exactly once: with the answer, or when channel or connection end.
 *
 * No I/O: messages go out through a `ControlPort`, and whoever owns the transport calls `receive`.
 */
import { PeerError, SystemError, UsageError } from '../../errors.ts';
import type { GpaRange } from '../../wire/gpa-range.ts';
import { canonicalGuid } from '../../wire/guid.ts';
import {
  ANY_VERSION,
  ConnectionState,
  checkMessage,
  findMessage,
  GpadlCreated,
  GpadlTorndown,
  isMessageAllowed,
  MessageType,
  ModifyChannelResponse,
  ModifyConnection,
  ModifyConnectionResponse,
  OpenChannelResult,
  Pause,
  RequestOffers,
  RescindChannelOffer,
  Resume,
  Unload,
} from '../../wire/messages/index.ts';
import {
  type NtStatus,
  STATUS_DEVICE_NOT_CONNECTED,
  STATUS_NOT_SUPPORTED,
  STATUS_SUCCESS,
  STATUS_UNSUCCESSFUL,
} from '../../wire/ntstatus.ts';
import { FeatureFlag } from '../../wire/versions.ts';
import type { ControlPort } from '../control-port.ts';
import { type MonitorPages, pagesFault } from '../monitor-pages.ts';
import { isLegal } from '../moves.ts';
import { Outbox } from '../outbox.ts';
import { versionsIn } from '../version-range.ts';
import {
  type GuestConnection,
  type GuestConnectionAction,
  type GuestConnectionEvent,
  type GuestConnectionState,
  guestConnectionMoves,
  stepGuestConnection,
} from './connection-moves.ts';
import { type ContactOffer, contactConnection, encodeContact, readVersionResponse } from './contact.ts';
import { DEFAULT_GUEST_FEATURES, type GuestBusEvents, type GuestBusOptions } from './guest-bus-options.ts';
import { type Done, GuestChannels, type GuestChannelTree, type GuestOpenRequest } from './guest-channels.ts';
import { type GuestOffer, parseOffer } from './guest-offer.ts';
import { TlConnects, type TlConnectTarget, type TlDone } from './tl-connects.ts';

export class GuestBus {
  readonly #events: GuestBusEvents;
  readonly #versions: readonly number[];
  readonly #contact: ContactOffer;
  readonly #outbox: Outbox;
  readonly #channels: GuestChannels;
  readonly #tlConnects: TlConnects;
  readonly #maxUnsentMessages: number;
  #state: GuestConnectionState = { at: 'disconnected' };
  #pauseDone: Done | undefined;
  #isPaused = false;
  #modify: { readonly pages: MonitorPages | undefined; readonly done: Done } | undefined;
  #droppedMessages = 0;

  /** @throws UsageError `ERR_ARGUMENT` for options that make no sense */
  constructor(port: ControlPort, events: GuestBusEvents, options: GuestBusOptions = {}) {
    const features = options.features ?? DEFAULT_GUEST_FEATURES;
    const clientId = options.clientId === undefined ? undefined : canonicalGuid(options.clientId);
    if (clientId === undefined && (features & FeatureFlag.ClientId) !== 0) {
      throw new UsageError('ERR_ARGUMENT', 'feature ClientId is asked for without a client id');
    }
    const fault = options.monitorPages === undefined ? undefined : pagesFault(options.monitorPages);
    if (fault !== undefined) throw new UsageError('ERR_ARGUMENT', fault);
    this.#events = events;
    this.#versions = versionsIn(options);
    this.#contact = {
      features: clientId === undefined ? features : features | FeatureFlag.ClientId,
      targetMessageVp: options.targetMessageVp ?? 0,
      targetVtl: options.targetVtl ?? 0,
      interruptPageGpa: options.interruptPageGpa ?? 0n,
      monitorPages: options.monitorPages,
      clientId,
    };
    // Fails now rather than at the first connect.
    for (const version of this.#versions) encodeContact(version, this.#contact);
    this.#maxUnsentMessages = options.maxUnsentMessages ?? 8192;
    this.#outbox = new Outbox(port, () => events.backlog?.());
    const context = {
      connection: () => this.#usable,
      send: (message: Uint8Array) => this.#send(message),
      sendIfRoom: (message: Uint8Array) => {
        if (this.#outbox.length < this.#maxUnsentMessages) this.#send(message);
      },
      rescinded: (offer: GuestOffer) => events.rescinded(offer),
    };
    this.#channels = new GuestChannels(context);
    this.#tlConnects = new TlConnects(context);
  }

  get state(): GuestConnectionState['at'] {
    return this.#state.at;
  }

  /** The agreed version, 0 while there is none. */
  get version(): number {
    return this.#connection?.version ?? 0;
  }

  /** The agreed `FeatureFlag` bits. */
  get features(): number {
    return this.#connection?.features ?? 0;
  }

  /** The monitor pages in use, whoever supplied them. */
  get monitorPages(): MonitorPages | undefined {
    return this.#connection?.monitorPages;
  }

  offers(): Iterable<GuestOffer> {
    return this.#channels.offers();
  }

  /** Also one that is rescinded, until it is released. */
  offer(relid: number): GuestOffer | undefined {
    return this.#channels.offer(relid);
  }

  /** Asks for the newest version, then for older ones. @throws UsageError `ERR_STATE` unless disconnected */
  connect(): void {
    if (this.#state.at !== 'disconnected') throw new UsageError('ERR_STATE', `connect while ${this.#state.at}`);
    this.#outbox.clear();
    this.#step({ is: 'connect', versions: this.#versions });
  }

  /**
   * Tells the host to let go of everything; `disconnected` follows when it has, and by then every callback has ended.
   * Until then answers are still taken. No effect when there is no connection.
   */
  disconnect(): void {
    this.#step({ is: 'disconnect' });
  }

  /** The transport is lost: everything that waits ends with `STATUS_DEVICE_NOT_CONNECTED`, every offer is rescinded. */
  lost(reason: string): void {
    this.#outbox.clear();
    this.#step({ is: 'lost', error: new SystemError('ERR_TRANSPORT', reason) });
  }

  /** Takes one message from the host. Never throws for what it holds. @param message used during the call only */
  receive(message: Uint8Array): void {
    this.#events.message?.('received', message);
    this.#outbox.flush();
    try {
      this.#receive(message);
    } catch (error) {
      if (!(error instanceof PeerError)) throw error;
      this.#droppedMessages++;
      this.#events.dropped?.(error.message, message);
    }
  }

  /** Tries again to post what could not be posted. @returns true when nothing waits any more */
  flush(): boolean {
    return this.#outbox.flush();
  }

  // --- channels

  /**
   * Shares pages with the host under an id.
   * @param ranges at most 65528 bytes on the wire: 8190 pages in one range
   * @param done status 0 when the host has them; at once (before the return) if the channel is rescinded or gone
   * @returns the id; good for opening once `done` said 0
   * @throws UsageError `ERR_ARGUMENT` for malformed or too many ranges
   */
  createGpadl(relid: number, ranges: readonly GpaRange[], done: (status: NtStatus, gpadlId: number) => void): number {
    return this.#channels.createGpadl(relid, ranges, done);
  }

  /**
   * Asks for the pages back.
   * @param done the host holds them no more; at once if the channel was rescinded or is gone
   * @throws UsageError `ERR_STATE` while it is being created or torn down
   */
  teardownGpadl(relid: number, gpadlId: number, done: () => void): void {
    this.#channels.teardownGpadl(relid, gpadlId, done);
  }

  /**
   * @param done status 0 when the channel is open; `STATUS_CANCELLED` if `close` came first; at once if rescinded
   * @throws UsageError `ERR_STATE` if it is not closed or the GPADL is not created, `ERR_ARGUMENT`
   */
  open(relid: number, request: GuestOpenRequest, done: (status: NtStatus) => void): void {
    this.#channels.open(relid, request, done);
  }

  /** Has no answer: tear the ring's GPADL down to learn that the host is done. No effect on a closed channel. */
  close(relid: number): void {
    this.#channels.close(relid);
  }

  /**
   * Moves the channel's interrupts to another virtual processor.
   * @param done with the host's status from 5.3, which acknowledges; at once below; `STATUS_NOT_SUPPORTED` below 4.1
   * @throws UsageError `ERR_STATE` if the channel is not open, or the answer to the last call is still due
   */
  modifyChannel(relid: number, targetVp: number, done: (status: NtStatus) => void): void {
    this.#channels.modifyChannel(relid, targetVp, done);
  }

  /**
   * Gives the channel id back. After a rescind the host waits for this; without one it forgets the channel until the
   * next connection. No effect for an id that is gone.
   * @throws UsageError `ERR_STATE` while the channel is open, or has GPADLs and is not rescinded
   */
  release(relid: number): void {
    this.#channels.release(relid);
  }

  // --- the connection

  /**
   * Asks for a connection to a host service (hvsock). The answer is an offer with interface `serviceId` and instance
   * `endpointId`; version 4.0 has no refusal, so give up with `cancelTlConnect`.
   * @param done status 0 and the offer, or a failure
   * @throws UsageError `ERR_STATE` if the same is asked for already
   */
  tlConnect(target: TlConnectTarget, done: TlDone): void {
    this.#tlConnects.connect(target, done);
  }

  /** Ends `tlConnect` with `STATUS_CANCELLED`. An offer that comes later is an ordinary one. */
  cancelTlConnect(target: TlConnectTarget): void {
    this.#tlConnects.cancel(target);
  }

  /**
   * Asks the host to use other monitor pages, or none.
   * @param done `STATUS_NOT_SUPPORTED` without feature ModifyConnection
   * @throws UsageError `ERR_STATE` while an answer is due, `ERR_ARGUMENT` for half a pair
   */
  modifyConnection(pages: MonitorPages | undefined, done: (status: NtStatus) => void): void {
    const asked = pages ?? { parentToChildGpa: 0n, childToParentGpa: 0n };
    const fault = pagesFault(asked);
    if (fault !== undefined) throw new UsageError('ERR_ARGUMENT', fault);
    if (this.#modify !== undefined) throw new UsageError('ERR_STATE', 'the connection is being modified already');
    const refusal = this.#refusal(MessageType.ModifyConnection);
    if (refusal !== undefined) {
      done(refusal);
      return;
    }
    this.#modify = { pages, done };
    const { parentToChildGpa: parentToChildMonitorGpa, childToParentGpa: childToParentMonitorGpa } = asked;
    this.#send(ModifyConnection.encode({ parentToChildMonitorGpa, childToParentMonitorGpa }));
  }

  /**
   * Asks the host to keep its messages back. Ours are kept back too until `resume`: the host would drop them.
   * @param done `STATUS_NOT_SUPPORTED` without feature PauseResume
   * @throws UsageError `ERR_STATE` if paused already
   */
  pause(done: (status: NtStatus) => void): void {
    if (this.#isPaused) throw new UsageError('ERR_STATE', 'paused already');
    const refusal = this.#refusal(MessageType.Pause);
    if (refusal !== undefined) {
      done(refusal);
      return;
    }
    this.#isPaused = true;
    this.#pauseDone = done;
    this.#send(Pause.encode({}));
    this.#outbox.hold();
  }

  /** @throws UsageError `ERR_STATE` if not paused, or the host has not confirmed yet */
  resume(): void {
    if (!this.#isPaused || this.#pauseDone !== undefined) throw new UsageError('ERR_STATE', 'not paused');
    this.#isPaused = false;
    const message = Resume.encode({});
    this.#events.message?.('sent', message);
    this.#outbox.release({ connectionId: this.#connection?.messageConnectionId ?? 0, message });
  }

  inspect(): GuestBusTree {
    return {
      state: this.#state.at,
      version: this.version,
      features: this.features,
      isPaused: this.#isPaused,
      unsentMessages: this.#outbox.length,
      droppedMessages: this.#droppedMessages,
      gpadlCount: this.#channels.gpadlCount,
      tlConnects: this.#tlConnects.inspect(),
      channels: this.#channels.inspect(),
    };
  }

  // --- messages

  get #connection(): GuestConnection | undefined {
    return 'connection' in this.#state ? this.#state.connection : undefined;
  }

  /** The connection, unless it is about to end: then nothing new begins on it. */
  get #usable(): GuestConnection | undefined {
    return this.#state.at === 'disconnecting' ? undefined : this.#connection;
  }

  /** The status that ends a request at once when the connection cannot carry it. */
  #refusal(type: MessageType): NtStatus | undefined {
    const connection = this.#usable;
    if (connection === undefined) return STATUS_DEVICE_NOT_CONNECTED;
    const info = findMessage(type);
    const isAllowed = info !== undefined && isMessageAllowed(info, connection.version, connection.features);
    return isAllowed ? undefined : STATUS_NOT_SUPPORTED;
  }

  #receive(message: Uint8Array): void {
    const state = this.#state;
    const asked = state.at === 'connecting' || state.at === 'abandoning' ? state.version : ANY_VERSION;
    const version = this.#connection?.version ?? asked;
    const { type, name } = checkMessage(message, 'host-to-guest', version, this.features);
    if (type === MessageType.VersionResponse) {
      // Out of turn once there is a connection, whatever it says.
      this.#stepPeer(readVersionResponse(message, version, this.#contact));
      return;
    }
    if (this.#connection === undefined) throw new PeerError('ERR_MESSAGE', `${name} before contact`);
    switch (type) {
      case MessageType.OfferChannel:
        this.#offered(message, version);
        return;
      case MessageType.RescindChannelOffer:
        this.#channels.rescinded(RescindChannelOffer.parse(message).channelId);
        return;
      case MessageType.AllOffersDelivered:
        this.#stepPeer({ is: 'allOffersDelivered' });
        return;
      case MessageType.OpenChannelResult: {
        const { channelId, openId, status } = OpenChannelResult.parse(message);
        this.#channels.openResult(channelId, openId, status);
        return;
      }
      case MessageType.GpadlCreated: {
        const { channelId, gpadlId, status } = GpadlCreated.parse(message);
        this.#channels.gpadlCreated(channelId, gpadlId, status);
        return;
      }
      case MessageType.GpadlTorndown:
        this.#channels.gpadlTorndown(GpadlTorndown.parse(message).gpadlId);
        return;
      case MessageType.ModifyChannelResponse: {
        const { channelId, status } = ModifyChannelResponse.parse(message);
        this.#channels.modified(channelId, status);
        return;
      }
      case MessageType.TlConnectResult:
        this.#tlConnects.refused(message);
        return;
      case MessageType.ModifyConnectionResponse:
        this.#connectionModified(message);
        return;
      case MessageType.PauseResponse:
        this.#paused();
        return;
      case MessageType.UnloadComplete:
        this.#stepPeer({ is: 'unloadComplete' });
        return;
      default:
        // Answers to what this end never asks (reserved channels).
        throw new PeerError('ERR_MESSAGE', `${name}, which nobody asked for`);
    }
  }

  #offered(message: Uint8Array, version: number): void {
    if (this.#usable === undefined) throw new PeerError('ERR_MESSAGE', 'an offer after unload');
    const offer = this.#channels.offered(parseOffer(message, version));
    this.#events.offered(offer);
    this.#tlConnects.offered(offer);
  }

  #connectionModified(message: Uint8Array): void {
    const modify = this.#modify;
    if (modify === undefined) throw new PeerError('ERR_MESSAGE', 'nobody modifies the connection');
    this.#modify = undefined;
    const isDone = ModifyConnectionResponse.parse(message).connectionState === ConnectionState.Successful;
    if (isDone) this.#step({ is: 'monitorPagesModified', monitorPages: modify.pages });
    modify.done(isDone ? STATUS_SUCCESS : STATUS_UNSUCCESSFUL);
  }

  #paused(): void {
    const done = this.#pauseDone;
    if (done === undefined) throw new PeerError('ERR_MESSAGE', 'nobody asked for a pause');
    this.#pauseDone = undefined;
    done(STATUS_SUCCESS);
  }

  // --- the machinery

  /** For what the host said; @throws PeerError `ERR_MESSAGE` out of turn */
  #stepPeer(event: GuestConnectionEvent): void {
    if (isLegal(guestConnectionMoves, this.#state, event)) {
      this.#step(event);
      return;
    }
    throw new PeerError('ERR_MESSAGE', `the host's answer (${event.is}) is out of turn: we are ${this.#state.at}`);
  }

  #step(event: GuestConnectionEvent): void {
    const { next, actions } = stepGuestConnection(this.#state, event);
    this.#state = next;
    for (const action of actions) this.#do(action);
  }

  #do(action: GuestConnectionAction): void {
    switch (action.do) {
      case 'sendContact':
        this.#sendContact(action.version);
        return;
      case 'sendRequestOffers':
        this.#send(RequestOffers.encode({}));
        return;
      case 'sendUnload':
        // What waits is pointless now; and a paused host takes nothing else.
        this.#outbox.clear();
        this.#post(action.connection.messageConnectionId, Unload.encode({}));
        return;
      case 'endEverything':
        this.#endEverything();
        return;
      case 'tellConnected': {
        const { version, features } = action.connection;
        this.#events.connected(version, features, action.connection);
        return;
      }
      case 'tellAllOffersDelivered':
        this.#events.allOffersDelivered();
        return;
      case 'tellConnectFailed':
        this.#events.connectFailed(
          action.error ?? new PeerError('ERR_REFUSED', 'no protocol version suits both host and guest'),
        );
        return;
      case 'tellDisconnected':
        this.#events.disconnected();
        return;
    }
  }

  #sendContact(version: number): void {
    const message = encodeContact(version, this.#contact);
    this.#events.message?.('sent', message);
    this.#outbox.post(contactConnection(version), message, () => this.#stepPeer({ is: 'versionRefused' }));
  }

  #endEverything(): void {
    this.#isPaused = false;
    const { done: modifyDone } = this.#modify ?? {};
    const pauseDone = this.#pauseDone;
    this.#modify = undefined;
    this.#pauseDone = undefined;
    modifyDone?.(STATUS_DEVICE_NOT_CONNECTED);
    pauseDone?.(STATUS_DEVICE_NOT_CONNECTED);
    this.#tlConnects.endAll();
    this.#channels.endAll();
  }

  #send(message: Uint8Array): void {
    // Without a connection there is nobody to tell; and after unload the host lets go of everything by itself.
    const connection = this.#usable;
    if (connection !== undefined) this.#post(connection.messageConnectionId, message);
  }

  #post(connectionId: number, message: Uint8Array): void {
    this.#events.message?.('sent', message);
    this.#outbox.post(connectionId, message);
  }
}

export interface GuestBusTree {
  readonly state: string;
  readonly version: number;
  readonly features: number;
  readonly isPaused: boolean;
  readonly unsentMessages: number;
  readonly droppedMessages: number;
  readonly gpadlCount: number;
  readonly tlConnects: readonly string[];
  readonly channels: readonly GuestChannelTree[];
}
