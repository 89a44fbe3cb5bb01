/**
 * A host made of raw control messages: honest helpers for the ordinary exchange, `send` for everything else.
 *
 * ```ts
 * const host = new ScriptedHost();
 * const bus = new GuestBus(host.port, events);
 * host.attach((message) => bus.receive(message));
 * bus.connect();
 * host.accept();
 * host.offer({ channelId: 1 });
 * ```
 */
import { type ControlPort, PostStatus } from '../../src/bus/control-port.ts';
import type { HostEnvironment } from '../../src/channel/environment.ts';
import {
  AllOffersDelivered,
  GpadlCreated,
  GpadlTorndown,
  ModifyChannelResponse,
  OfferChannel,
  OpenChannelResult,
  RescindChannelOffer,
  UnloadComplete,
  VersionResponse,
  VersionResponse2,
  VersionResponseLegacy,
} from '../../src/wire/messages/index.ts';
import { VmbusVersion } from '../../src/wire/versions.ts';
import { type ReadMessage, readMessage } from './read-message.ts';

export interface ScriptedOffer {
  readonly channelId: number;
  readonly interfaceId?: string;
  readonly instanceId?: string;
  readonly flags?: number;
  readonly subchannelIndex?: number;
  readonly monitorId?: number;
  readonly monitorAllocated?: number;
  readonly connectionId?: number;
  readonly userDefined?: Uint8Array;
}

export const SCSI_INTERFACE = 'ba6163d9-04a1-4d29-b605-72e2ffb1dc7f';

/** An instance id that is easy to recognise. */
export function instanceNumber(n: number): string {
  return `00000000-0000-0000-0000-${n.toString(16).padStart(12, '0')}`;
}

/** One message that the guest posted. */
export interface Posted {
  readonly connectionId: number;
  readonly message: Uint8Array;
}

export class ScriptedHost {
  /** Raw messages from the guest that nobody took yet. */
  readonly posted: Posted[] = [];
  /** What the guest's posts come to; a function may decide for each. */
  postStatus: PostStatus | ((connectionId: number) => PostStatus) = PostStatus.Success;
  #deliver: (message: Uint8Array) => void = () => {};

  /** The guest's way to this host. */
  readonly port: ControlPort = {
    post: (connectionId, message) => {
      const status = typeof this.postStatus === 'number' ? this.postStatus : this.postStatus(connectionId);
      if (status === PostStatus.Success) this.posted.push({ connectionId, message: message.slice() });
      return status;
    },
  };

  /** A scripted host at the host end of a transport; the transport decides when messages arrive. */
  static over(environment: HostEnvironment): ScriptedHost {
    const host = new ScriptedHost();
    environment.onMessage((message, connectionId) => host.posted.push({ connectionId, message: message.slice() }));
    host.attach((message) => environment.control.post(0, message));
    return host;
  }

  attach(deliver: (message: Uint8Array) => void): void {
    this.#deliver = deliver;
  }

  /** Any bytes, as they are. */
  send(message: Uint8Array): void {
    this.#deliver(message);
  }

  /** The oldest message that was not taken. @throws Error if there is none */
  take(): ReadMessage {
    const posted = this.posted.shift();
    if (posted === undefined) throw new Error('the guest has sent nothing more');
    return readMessage(posted.message);
  }

  takeAll(): ReadMessage[] {
    return this.posted.splice(0).map(({ message }) => readMessage(message));
  }

  // --- honest helpers: each sends what a well-behaved host would

  /** Answers the contact that waits with yes. @returns the contact */
  accept(options: { readonly messageConnectionId?: number; readonly features?: number } = {}): ReadMessage {
    const contact = this.take();
    const { version, features: askedFeatures } = contact as unknown as { version: number; features: number };
    const { messageConnectionId = 1, features = askedFeatures } = options;
    const outcome = { versionSupported: 1, connectionState: 0 };
    if (version < VmbusVersion.V5_0) {
      this.send(VersionResponseLegacy.encode({ ...outcome, selectedVersion: version }));
    } else if (version < VmbusVersion.COPPER) {
      this.send(VersionResponse.encode({ ...outcome, messageConnectionId }));
    } else {
      this.send(VersionResponse2.encode({ ...outcome, messageConnectionId, features }));
    }
    return contact;
  }

  /** Answers the contact that waits with no. @returns the contact */
  refuse(): ReadMessage {
    const contact = this.take();
    this.send(VersionResponseLegacy.encode({ versionSupported: 0, connectionState: 0, selectedVersion: 0 }));
    return contact;
  }

  offer(options: ScriptedOffer): void {
    const { channelId } = options;
    this.send(
      OfferChannel.encode({
        interfaceId: options.interfaceId ?? SCSI_INTERFACE,
        instanceId: options.instanceId ?? instanceNumber(channelId),
        flags: options.flags ?? 0,
        mmioMegabytes: 0,
        userDefined: options.userDefined ?? new Uint8Array(120),
        subchannelIndex: options.subchannelIndex ?? 0,
        mmioMegabytesOptional: 0,
        channelId,
        monitorId: options.monitorId ?? 255,
        monitorAllocated: options.monitorAllocated ?? 0,
        dedicatedInterrupt: 1,
        connectionId: options.connectionId ?? (0x2000 + channelId) >>> 0,
      }),
    );
  }

  allOffersDelivered(): void {
    this.send(AllOffersDelivered.encode({}));
  }

  gpadlCreated(channelId: number, gpadlId: number, status = 0): void {
    this.send(GpadlCreated.encode({ channelId, gpadlId, status }));
  }

  gpadlTorndown(gpadlId: number): void {
    this.send(GpadlTorndown.encode({ gpadlId }));
  }

  openResult(channelId: number, status = 0, openId = channelId): void {
    this.send(OpenChannelResult.encode({ channelId, openId, status }));
  }

  modified(channelId: number, status = 0): void {
    this.send(ModifyChannelResponse.encode({ channelId, status }));
  }

  rescind(channelId: number): void {
    this.send(RescindChannelOffer.encode({ channelId }));
  }

  unloadComplete(): void {
    this.send(UnloadComplete.encode({}));
  }
}
