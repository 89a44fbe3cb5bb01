/**
 * The host's end of the control plane, one for each guest: takes messages and never throws for what a guest sent,
 * offers channels, and keeps what a guest does from hurting anything but itself.
 *
 * No I/O: messages go out through a `ControlPort`, and whoever owns the transport calls `receive`.
 */
import { PeerError, UsageError } from '../../errors.ts';
import type { GpaRange } from '../../wire/gpa-range.ts';
import {
  ANY_VERSION,
  ConnectionState,
  checkMessage,
  MessageHeader,
  MessageType,
  ModifyConnection,
  ModifyConnectionResponse,
  PauseResponse,
  TlConnectRequest,
  TlConnectRequest2,
  TlConnectResult,
  UnloadComplete,
} from '../../wire/messages/index.ts';
import { NO_MONITOR } from '../../wire/monitor-page.ts';
import { STATUS_CONNECTION_REFUSED } from '../../wire/ntstatus.ts';
import { badSavedState } from '../../wire/saved/index.ts';
import { VmbusVersion } from '../../wire/versions.ts';
import type { ControlPort } from '../control-port.ts';
import { type MonitorPages, pagesFault, pagesOrNone } from '../monitor-pages.ts';
import { Outbox } from '../outbox.ts';
import { versionsIn } from '../version-range.ts';
import { openInDevice } from './channel-moves.ts';
import {
  type HostConnectionAction,
  type HostConnectionEvent,
  type HostConnectionState,
  liveConnection,
  stepHostConnection,
} from './connection-moves.ts';
import { type ContactPolicy, type ContactRequest, contactFailed, judgeContact, parseContact } from './contact.ts';
import { handleChannelMessage } from './guest-messages.ts';
import { DEFAULT_HOST_FEATURES, type HostBusEvents, type HostBusOptions } from './host-bus-options.ts';
import { type ChannelContext, HostChannels } from './host-channels.ts';
import type { HostDevice, OfferParams } from './host-device.ts';
import { type ConnectionView, HostOffer, type HostOfferTree, inspectChannel } from './host-offer.ts';
import { checkedParams } from './offer-message.ts';
import { checkConnection, decodeSavedBus, encodeSavedBus } from './saved/saved-form.ts';
import { splitTlKey, tlKey } from './tl-key.ts';

const GUEST_TO_HOST = 'guest-to-host';

/** What `dropped` shows when the reason came up outside `receive`. */
const NO_MESSAGE = new Uint8Array(0);

/** What a paused guest may still send. */
const ALLOWED_WHILE_PAUSED: ReadonlySet<MessageType> = new Set([
  MessageType.Resume,
  MessageType.Unload,
  MessageType.InitiateContact,
]);

/** What ends the connection, and with it whatever waits for the guest. */
const ENDS_BACKLOG: ReadonlySet<MessageType> = new Set([MessageType.Unload, MessageType.InitiateContact]);

export class HostBus {
  readonly #events: HostBusEvents;
  readonly #policy: ContactPolicy;
  readonly #outbox: Outbox;
  #channels: HostChannels;
  readonly #makeChannels: () => HostChannels;
  readonly #maxUnsentMessages: number;
  readonly #maxTlConnects: number;
  readonly #tlConnects = new Set<string>();
  readonly #view: ConnectionView;
  #state: HostConnectionState = { at: 'disconnected' };
  #isReleasing = false;
  #wasConnected = false;
  #droppedMessages = 0;
  /** What is being received, for `dropped`. */
  #message: Uint8Array = NO_MESSAGE;

  /** @throws UsageError `ERR_ARGUMENT` for options that make no sense */
  constructor(port: ControlPort, events: HostBusEvents = {}, options: HostBusOptions = {}) {
    this.#events = events;
    this.#policy = {
      versions: versionsIn(options),
      features: options.features ?? DEFAULT_HOST_FEATURES,
      vtl: options.vtl ?? 0,
      vpCount: options.vpCount,
      messageConnectionId: options.messageConnectionId ?? 1,
      serverMonitorPages: options.serverMonitorPages,
      trustedConnectionId: options.trustedConnectionId,
    };
    this.#maxUnsentMessages = options.maxUnsentMessages ?? 8192;
    this.#maxTlConnects = options.maxTlConnects ?? 16;
    this.#outbox = new Outbox(port, () => events.backlog?.());
    const isOffering = () => this.#isOffering;
    const isConnected = () => liveConnection(this.#state) !== undefined;
    this.#view = {
      get isConnected() {
        return isConnected();
      },
      get isOffering() {
        return isOffering();
      },
    };
    const limits = {
      maxGpadls: options.maxGpadls ?? 8192,
      maxGpadlsInProgress: options.maxGpadlsInProgress ?? 256,
      maxGpadlPages: options.maxGpadlPages ?? 327_680,
    };
    const context: ChannelContext = {
      connection: () => liveConnection(this.#state),
      isOffering,
      send: (message) => this.#send(message),
      dropped: (reason) => this.#drop(reason),
      settled: () => this.#checkReleased(),
      vpCount: options.vpCount,
    };
    this.#makeChannels = () => new HostChannels(limits, context);
    this.#channels = this.#makeChannels();
  }

  get state(): HostConnectionState['at'] {
    return this.#state.at;
  }

  /** The agreed version, 0 while there is none. */
  get version(): number {
    return liveConnection(this.#state)?.version ?? 0;
  }

  /** The agreed `FeatureFlag` bits. */
  get features(): number {
    return liveConnection(this.#state)?.features ?? 0;
  }

  /** Virtual processor that the guest wants its messages on. */
  get targetMessageVp(): number {
    return liveConnection(this.#state)?.targetMessageVp ?? 0;
  }

  /**
   * Takes one message from the guest. Never throws for what the guest sent; what is not obeyed goes to `dropped`.
   * @param message used during the call only
   * @param connectionId message connection that it was posted to
   */
  receive(message: Uint8Array, connectionId: number): void {
    this.#events.message?.('received', message);
    this.#message = message;
    this.#outbox.flush();
    try {
      this.#receive(message, connectionId);
    } catch (error) {
      if (!(error instanceof PeerError)) throw error;
      this.#drop(error.message);
    } finally {
      this.#message = NO_MESSAGE;
    }
  }

  /**
   * Offers a channel: at once if the guest has asked for offers, else when it does. An offer of the same key that was
   * revoked is no obstacle: this one takes its place, and its channel id, when the guest lets go of it.
   * @throws UsageError `ERR_STATE` if the key is offered already; `ERR_ARGUMENT`; `ERR_RESOURCES` if no id is left
   */
  offer(params: OfferParams, device: HostDevice): HostOffer {
    const whole = checkedParams(params);
    const channel = this.#channels.add(whole, device);
    this.#tlConnects.delete(tlKey(whole.instanceId, whole.interfaceId));
    return new HostOffer(this.#channels, channel, this.#view);
  }

  /** Answers `tlConnect` with a refusal. No effect if the request was answered, or the guest has gone. */
  refuseTlConnect(endpointId: string, serviceId: string): void {
    if (this.#tlConnects.delete(tlKey(endpointId, serviceId))) this.#sendTlRefused(endpointId, serviceId);
  }

  /** The guest is gone (reset, crash, lost transport): every channel ends, reserved ones too, without a message. */
  reset(): void {
    this.#step({ is: 'reset' });
  }

  /**
   * All that the guest's half of the bus relies on, as bytes. The guest must not run between this and `restore` on the
   * other host, and this bus is not used after it, unless the save is given up.
   */
  save(): Uint8Array {
    return encodeSavedBus({
      connection: this.#state,
      wasConnected: this.#wasConnected,
      outbox: this.#outbox.save(),
      tlConnects: [...this.#tlConnects].map(splitTlKey),
      ...this.#channels.save(),
    });
  }

  /**
   * Takes up the guest where another bus saved it. The guest is not told. Then each device offers its channel as before
   * (same interface, instance and sub-channel index), calls `HostOffer.resume`, and at last `revokeUnclaimed` takes back
   * what no device wanted.
   * @param isUsable whether the pages of a GPADL can be reached
   * @throws UsageError `ERR_STATE` unless this bus is new; PeerError, mostly `ERR_SAVED_STATE`, for bytes that are
   *   damaged, impossible, or ask for more than this bus offers. It is as new then
   */
  restore(bytes: Uint8Array, isUsable: (ranges: readonly GpaRange[]) => boolean = () => true): void {
    if (this.#state.at !== 'disconnected' || this.#channels.table.size > 0 || this.#outbox.length > 0) {
      throw new UsageError('ERR_STATE', 'only a host bus that was not used yet can be restored');
    }
    const saved = decodeSavedBus(bytes);
    const connection = liveConnection(saved.connection);
    const channels = this.#makeChannels();
    channels.restore(saved, isUsable);
    checkConnection(saved.connection, this.#policy);
    if (connection !== undefined && this.#events.pagesChosen !== undefined) {
      const { monitorPages, hasServerMonitorPages, interruptPageGpa } = connection;
      if (!this.#events.pagesChosen(hasServerMonitorPages ? undefined : monitorPages, interruptPageGpa)) {
        throw badSavedState('its monitor or interrupt pages cannot be used');
      }
    }
    this.#channels = channels;
    this.#state = saved.connection;
    this.#outbox.restore(saved.outbox);
    for (const { endpointId, serviceId } of saved.tlConnects) this.#tlConnects.add(tlKey(endpointId, serviceId));
    this.#wasConnected = saved.wasConnected;
    if (connection !== undefined) this.#events.connected?.(connection.version, connection.features, connection);
    channels.settleRestored();
    if (!this.#outbox.flush()) this.#events.backlog?.();
    this.#checkReleased();
  }

  /** After `restore`: takes back one channel that no device has taken up; its device offers a new one. */
  revokeRestored(identity: Pick<OfferParams, 'interfaceId' | 'instanceId' | 'subchannelIndex'>): void {
    const [channel] = this.#channels.table
      .twins(checkedParams(identity))
      .filter((c) => this.#channels.unclaimed.delete(c));
    if (channel !== undefined) {
      this.#channels.deviceEvent(channel, { is: 'revoked', isConnected: this.#view.isConnected });
    }
  }

  /** After `restore`: takes back the channels that no device has taken up. @returns how many */
  revokeUnclaimed(): number {
    const orphans = [...this.#channels.unclaimed];
    this.#channels.unclaimed.clear();
    const isConnected = this.#view.isConnected;
    for (const channel of orphans) this.#channels.deviceEvent(channel, { is: 'revoked', isConnected });
    return orphans.length;
  }

  /** Tries again to post what could not be posted. @returns true when nothing waits any more */
  flush(): boolean {
    return this.#outbox.flush();
  }

  inspect(): HostBusTree {
    const { gpadls, table } = this.#channels;
    return {
      state: this.#state.at,
      version: this.version,
      features: this.features,
      unsentMessages: this.#outbox.length,
      droppedMessages: this.#droppedMessages,
      tlConnects: [...this.#tlConnects],
      gpadls: { count: gpadls.size, inProgress: gpadls.inProgress, pageCount: gpadls.pageCount },
      channels: table.sorted().map((channel) => inspectChannel(channel, gpadls)),
    };
  }

  // --- messages

  get #isOffering(): boolean {
    const state = this.#state;
    return state.at === 'offering' || (state.at === 'paused' && state.resumeTo === 'offering');
  }

  #receive(message: Uint8Array, connectionId: number): void {
    const connection = liveConnection(this.#state);
    if (connection?.isTrusted === true && connectionId !== this.#policy.trustedConnectionId) {
      throw new PeerError('ERR_MESSAGE', `untrusted message on connection ${connectionId}; the contact was trusted`);
    }
    // A contact is of the version that it asks for, whatever the last one agreed.
    const current = isContact(message) ? undefined : connection;
    const { type, name } = checkMessage(
      message,
      GUEST_TO_HOST,
      current?.version ?? ANY_VERSION,
      current?.features ?? 0,
    );
    if (this.#state.at === 'paused' && !ALLOWED_WHILE_PAUSED.has(type)) {
      throw new PeerError('ERR_MESSAGE', `${name} while paused`);
    }
    if (this.#outbox.length > this.#maxUnsentMessages && !ENDS_BACKLOG.has(type)) {
      throw new PeerError('ERR_RESOURCES', `${name} while the guest leaves ${this.#outbox.length} messages untaken`);
    }
    switch (type) {
      case MessageType.InitiateContact:
        this.#contact(message, connectionId);
        return;
      case MessageType.Unload:
        this.#step({ is: 'unload' });
        return;
      case MessageType.RequestOffers:
        this.#step({ is: 'offersRequested' });
        return;
      case MessageType.Pause:
        this.#step({ is: 'pause' });
        return;
      case MessageType.Resume:
        this.#step({ is: 'resume' });
        return;
      case MessageType.ModifyConnection:
        this.#modifyConnection(message);
        return;
      case MessageType.TlConnectRequest:
        this.#tlConnect(message);
        return;
      default:
        handleChannelMessage(type, message, this.#channels, connection);
        return;
    }
  }

  #contact(message: Uint8Array, connectionId: number): void {
    const request = parseContact(message, connectionId, this.#policy);
    const verdict = judgeContact(request, this.#policy);
    if (verdict.is === 'dropped') throw new PeerError('ERR_MESSAGE', verdict.reason);
    if (verdict.is !== 'answered') {
      this.#step({ is: 'contact', request });
      return;
    }
    if (this.#outbox.length <= this.#maxUnsentMessages) this.#send(verdict.response);
    this.#drop(verdict.reason);
  }

  /** Runs when no older connection is left. */
  #answerContact(request: ContactRequest): void {
    // Whoever heard that the old connection ended may have called `reset`: then the guest that asked is gone.
    if (this.#state.at !== 'disconnected') return;
    // What an earlier contact is still owed, this one has made pointless.
    this.#outbox.clear();
    let verdict = judgeContact(request, this.#policy);
    if (verdict.is === 'accepted') {
      const { monitorPages, hasServerMonitorPages, interruptPageGpa } = verdict.connection;
      const chosen = hasServerMonitorPages ? undefined : monitorPages;
      if (this.#events.pagesChosen?.(chosen, interruptPageGpa) === false) {
        verdict = contactFailed(request, this.#policy, 'its monitor or interrupt pages cannot be used');
      }
    }
    if (verdict.is === 'accepted') {
      this.#step({ is: 'contactAccepted', connection: verdict.connection, response: verdict.response });
      return;
    }
    if (verdict.is !== 'dropped') this.#send(verdict.response);
    this.#drop(verdict.reason);
  }

  #modifyConnection(message: Uint8Array): void {
    const fields = ModifyConnection.parse(message);
    const asked = {
      parentToChildGpa: fields.parentToChildMonitorGpa,
      childToParentGpa: fields.childToParentMonitorGpa,
    };
    const fault = this.#modifyFault(asked);
    const ok = fault === undefined && this.#events.pagesChosen?.(pagesOrNone(asked), 0n) !== false;
    if (ok) this.#step({ is: 'pagesModified', monitorPages: pagesOrNone(asked) });
    else this.#drop(`the connection is not modified: ${fault ?? 'the pages cannot be used'}`);
    const connectionState = ok ? ConnectionState.Successful : ConnectionState.FailedUnknownFailure;
    this.#send(ModifyConnectionResponse.encode({ connectionState }));
  }

  #modifyFault(asked: MonitorPages): string | undefined {
    if (liveConnection(this.#state)?.hasServerMonitorPages === true) return 'the monitor pages are the host’s';
    const user = this.#channels.table
      .all()
      .find((channel) => channel.monitorId !== NO_MONITOR && openInDevice(channel.state) !== undefined);
    if (user !== undefined) return `open channel ${user.relid} uses monitor id ${user.monitorId}`;
    return pagesFault(asked);
  }

  #tlConnect(message: Uint8Array): void {
    const { guestEndpointId: endpointId, hostServiceId: serviceId } = TlConnectRequest.parse(message);
    // Linux sends the short form whatever the version.
    const isLong = this.version >= VmbusVersion.V5_2 && message.length >= TlConnectRequest2.size;
    const siloId = isLong ? TlConnectRequest2.parse(message).siloId : undefined;
    const key = tlKey(endpointId, serviceId);
    if (this.#tlConnects.has(key))
      throw new PeerError('ERR_MESSAGE', `hvsock connect ${key} is being answered already`);
    if (this.#tlConnects.size >= this.#maxTlConnects) {
      this.#drop(`hvsock connect refused: ${this.#tlConnects.size} are waiting`);
      this.#sendTlRefused(endpointId, serviceId);
      return;
    }
    // Before the handler runs: it may answer at once.
    this.#tlConnects.add(key);
    const isTaken = this.#events.tlConnect?.({ endpointId, serviceId, siloId }) ?? false;
    if (!isTaken) this.refuseTlConnect(endpointId, serviceId);
  }

  #sendTlRefused(guestEndpointId: string, hostServiceId: string): void {
    // 4.0 has the request but no way to refuse it: the guest finds out by waiting.
    if (this.version < VmbusVersion.WIN10_RS3_0) return;
    this.#send(TlConnectResult.encode({ guestEndpointId, hostServiceId, status: STATUS_CONNECTION_REFUSED }));
  }

  // --- the machinery

  #step(event: HostConnectionEvent): void {
    const { next, actions } = stepHostConnection(this.#state, event);
    this.#state = next;
    for (const action of actions) this.#do(action);
  }

  #do(action: HostConnectionAction): void {
    switch (action.do) {
      case 'release':
        this.#release(action.isReset);
        return;
      case 'judgeContact':
        this.#answerContact(action.request);
        return;
      case 'answerContact':
        this.#send(action.response);
        return;
      case 'sendOffers':
        this.#channels.offerAll();
        return;
      case 'sendUnloadComplete':
        // The message exists since 1.1.
        if (action.connection.version >= VmbusVersion.WIN7) this.#send(UnloadComplete.encode({}));
        return;
      case 'sendPauseResponse':
        this.#send(PauseResponse.encode({}));
        return;
      case 'holdMessages':
        this.#outbox.hold();
        return;
      case 'letMessagesGo':
        this.#outbox.release();
        return;
      case 'tellConnected': {
        const { version, features } = action.connection;
        this.#wasConnected = true;
        this.#events.connected?.(version, features, action.connection);
        return;
      }
      case 'tellDisconnected':
        if (!this.#wasConnected) return;
        this.#wasConnected = false;
        this.#events.disconnected?.();
        return;
    }
  }

  #release(isReset: boolean): void {
    this.#outbox.clear();
    this.#tlConnects.clear();
    this.#isReleasing = true;
    try {
      this.#channels.release(isReset);
    } finally {
      this.#isReleasing = false;
    }
    this.#checkReleased();
  }

  /** Devices may let go while others are still being told; the connection has ended when all have. */
  #checkReleased(): void {
    if (this.#state.at !== 'disconnecting' || this.#isReleasing || !this.#channels.isReleased) return;
    this.#step({ is: 'released' });
  }

  #send(message: Uint8Array): void {
    this.#events.message?.('sent', message);
    this.#outbox.post(0, message);
  }

  #drop(reason: string): void {
    this.#droppedMessages++;
    this.#events.dropped?.(reason, this.#message);
  }
}

export interface HostBusTree {
  readonly state: string;
  readonly version: number;
  readonly features: number;
  readonly unsentMessages: number;
  readonly droppedMessages: number;
  readonly tlConnects: readonly string[];
  readonly gpadls: { readonly count: number; readonly inProgress: number; readonly pageCount: number };
  readonly channels: readonly HostOfferTree[];
}

function isContact(message: Uint8Array): boolean {
  return (
    message.length >= MessageHeader.size && MessageHeader.parse(message).messageType === MessageType.InitiateContact
  );
}
