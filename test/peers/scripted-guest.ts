/**
 * A guest made of raw control messages: honest helpers for the ordinary exchange, `send` for everything else.
 *
 * ```ts
 * const guest = new ScriptedGuest();
 * const bus = new HostBus(guest.port, {});
 * guest.attach((message, connectionId) => bus.receive(message, connectionId));
 * guest.connect(VmbusVersion.IRON);
 * ```
 */
import { type ControlPort, MessageConnection, PostStatus } from '../../src/bus/control-port.ts';
import type { GuestEnvironment } from '../../src/channel/environment.ts';
import type { GpaRange } from '../../src/wire/gpa-range.ts';
import {
  CloseChannel,
  encodeGpadl,
  GpadlTeardown,
  InitiateContact,
  InitiateContact2,
  InitiateContactLegacy,
  ModifyChannel,
  OpenChannel,
  OpenChannel2,
  RelIdReleased,
  RequestOffers,
  Unload,
  VersionResponse,
} from '../../src/wire/messages/index.ts';
import { VmbusVersion } from '../../src/wire/versions.ts';
import { type ReadMessage, readMessage } from './read-message.ts';

export const ZEROS_120 = new Uint8Array(120);

/** `pageCount` whole pages in one range. */
export function wholePages(pageCount: number, firstPfn = 0x1000): GpaRange[] {
  const pfns = Array.from({ length: pageCount }, (_, index) => firstPfn + index);
  return [{ byteCount: pageCount * 4096, byteOffset: 0, pfns }];
}

export interface ScriptedContact {
  readonly targetVp?: number;
  readonly targetSint?: number;
  readonly targetVtl?: number;
  readonly features?: number;
  readonly interruptPageGpa?: bigint;
  readonly parentToChildMonitorGpa?: bigint;
  readonly childToParentMonitorGpa?: bigint;
  readonly clientId?: string;
  readonly connectionId?: number;
}

export interface ScriptedOpen {
  readonly openId?: number;
  readonly ringGpadlId?: number;
  readonly targetVp?: number;
  readonly downstreamPageOffset?: number;
  readonly userData?: Uint8Array;
  readonly connectionId?: number;
  readonly eventFlag?: number;
  readonly openFlags?: number;
}

export class ScriptedGuest {
  /** Raw messages from the host that nobody took yet. */
  readonly received: Uint8Array[] = [];
  /** What the host's posts come to; set it to see what the host does with a guest that is full. */
  postStatus: PostStatus = PostStatus.Success;
  #deliver: (message: Uint8Array, connectionId: number) => void = () => {};

  /** The host's way to this guest. */
  readonly port: ControlPort = {
    post: (_connectionId, message) => {
      if (this.postStatus === PostStatus.Success) this.received.push(message.slice());
      return this.postStatus;
    },
  };

  /** A scripted guest at the guest end of a transport; the transport decides when messages arrive. */
  static over(environment: GuestEnvironment): ScriptedGuest {
    const guest = new ScriptedGuest();
    environment.onMessage((message) => guest.received.push(message.slice()));
    guest.attach((message, connectionId) => environment.control.post(connectionId, message));
    return guest;
  }

  attach(deliver: (message: Uint8Array, connectionId: number) => void): void {
    this.#deliver = deliver;
  }

  /** Any bytes, as they are. */
  send(message: Uint8Array, connectionId: number = MessageConnection.Legacy): void {
    this.#deliver(message, connectionId);
  }

  /** The oldest message that was not taken. @throws Error if there is none */
  take(): ReadMessage {
    const message = this.received.shift();
    if (message === undefined) throw new Error('the host has sent nothing more');
    return readMessage(message);
  }

  takeAll(): ReadMessage[] {
    return this.received.splice(0).map(readMessage);
  }

  // --- honest helpers: each sends what a well-behaved guest would

  initiateContact(version: number, options: ScriptedContact = {}): void {
    const { clientId } = options;
    const common = {
      version,
      targetVp: options.targetVp ?? 0,
      parentToChildMonitorGpa: options.parentToChildMonitorGpa ?? 0n,
      childToParentMonitorGpa: options.childToParentMonitorGpa ?? 0n,
    };
    if (version < VmbusVersion.V5_0) {
      const message = InitiateContactLegacy.encode({ ...common, interruptPageGpa: options.interruptPageGpa ?? 0n });
      this.send(message, options.connectionId);
      return;
    }
    const { targetSint = 2, targetVtl = 0, features = 0 } = options;
    const newer = { ...common, targetSint, targetVtl, features };
    const message =
      clientId === undefined ? InitiateContact.encode(newer) : InitiateContact2.encode({ ...newer, clientId });
    this.send(message, options.connectionId ?? MessageConnection.Multiclient);
  }

  /** Contact and offers. @returns what the host offered */
  connect(version: number = VmbusVersion.IRON, options: ScriptedContact = {}): ReadMessage[] {
    this.initiateContact(version, options);
    const response = this.received.splice(0).at(-1);
    if (response === undefined || VersionResponse.parse(response).versionSupported !== 1) {
      throw new Error('the host refuses contact');
    }
    this.requestOffers();
    return this.takeAll().filter(({ name }) => name === 'OfferChannel');
  }

  requestOffers(): void {
    this.send(RequestOffers.encode({}));
  }

  createGpadl(channelId: number, gpadlId: number, ranges: readonly GpaRange[] = wholePages(8)): void {
    for (const message of encodeGpadl(channelId, gpadlId, ranges)) this.send(message);
  }

  teardownGpadl(channelId: number, gpadlId: number): void {
    this.send(GpadlTeardown.encode({ channelId, gpadlId }));
  }

  open(channelId: number, options: ScriptedOpen = {}): void {
    const fields = {
      channelId,
      openId: options.openId ?? channelId,
      ringGpadlId: options.ringGpadlId ?? 1,
      targetVp: options.targetVp ?? 0,
      downstreamPageOffset: options.downstreamPageOffset ?? 4,
      userData: options.userData ?? ZEROS_120,
    };
    const { connectionId, eventFlag, openFlags } = options;
    const isLong = connectionId !== undefined || eventFlag !== undefined || openFlags !== undefined;
    this.send(
      isLong
        ? OpenChannel2.encode({
            ...fields,
            connectionId: connectionId ?? 0,
            eventFlag: eventFlag ?? 0,
            openFlags: openFlags ?? 0,
          })
        : OpenChannel.encode(fields),
    );
  }

  close(channelId: number): void {
    this.send(CloseChannel.encode({ channelId }));
  }

  modify(channelId: number, targetVp: number): void {
    this.send(ModifyChannel.encode({ channelId, targetVp }));
  }

  release(channelId: number): void {
    this.send(RelIdReleased.encode({ channelId }));
  }

  unload(): void {
    this.send(Unload.encode({}));
  }
}
