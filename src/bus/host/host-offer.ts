/** The handle on one offered channel that a device holds. */

import type { ChannelState, HostOpenRequest } from './channel-moves.ts';
import { connectionIdOf, type HostChannel } from './channel-table.ts';
import type { GpadlTable } from './gpadl-table.ts';
import type { HostChannels } from './host-channels.ts';
import type { HostGpadl } from './host-device.ts';

/** How far the guest's connection is, now. */
export interface ConnectionView {
  readonly isConnected: boolean;
  /** The guest has asked for offers on it. */
  readonly isOffering: boolean;
}

export class HostOffer {
  readonly #channels: HostChannels;
  readonly #channel: HostChannel;
  readonly #connection: ConnectionView;

  /** Made by `HostBus.offer`. */
  constructor(channels: HostChannels, channel: HostChannel, connection: ConnectionView) {
    this.#channels = channels;
    this.#channel = channel;
    this.#connection = connection;
  }

  /** Interface, instance and sub-channel index: unique among the offers of a guest. */
  get key(): string {
    return this.#channel.key;
  }

  /** Channel id, 1..2047; 0 while the guest does not know the channel. */
  get relid(): number {
    return this.#channel.relid;
  }

  /** What the guest signals unless it chose a connection itself when it opened; 0 while there is no channel id. */
  get connectionId(): number {
    return this.#channel.relid === 0 ? 0 : connectionIdOf(this.#channel);
  }

  /** 0..127, or 255 for none. */
  get monitorId(): number {
    return this.#channel.monitorId;
  }

  get state(): ChannelState['at'] {
    return this.#channel.state.at;
  }

  /**
   * On a bus that was restored: goes on where the device on the old host was. Call it once, after `HostBus.offer`; of a
   * channel that was not restored nothing comes of it. An open that the guest still waits for is asked for again.
   * @returns what the guest opened the channel with if it is open now: take up its rings, and tell nobody
   */
  resume(): HostOpenRequest | undefined {
    return this.#channels.resume(this.#channel);
  }

  /**
   * Answers `openRequested`. After a revoke it has no effect.
   * @param ok false: the guest is told that the open failed
   * @throws UsageError `ERR_STATE` if no open was asked for
   */
  opened(ok: boolean): void {
    this.#channels.deviceEvent(this.#channel, { is: 'deviceOpened', ok });
  }

  /** Answers `closeRequested`. After a revoke it has no effect. @throws UsageError `ERR_STATE` if no close was asked for */
  closed(): void {
    this.#channels.deviceEvent(this.#channel, { is: 'deviceClosed', isOffering: this.#connection.isOffering });
  }

  /**
   * Takes the offer back, for good. The device must have stopped using the rings before: the guest may reuse their
   * pages as soon as it hears of it. Mappings end with `unmapGpadl` as always. Twice has no effect.
   */
  revoke(): void {
    this.#channels.deviceEvent(this.#channel, { is: 'revoked', isConnected: this.#connection.isConnected });
  }

  /** An accepted GPADL of this device (channels of one device share the ids); undefined for any other. */
  gpadl(gpadlId: number): HostGpadl | undefined {
    const gpadl = this.#channels.gpadl(this.#channel, gpadlId);
    return gpadl?.state.at === 'accepted' ? gpadl : undefined;
  }

  /** As `gpadl`, and the guest does not get the pages back before `unmapGpadl`, called as often as this. */
  mapGpadl(gpadlId: number): HostGpadl | undefined {
    return this.#channels.mapGpadl(this.#channel, gpadlId);
  }

  /** @throws UsageError `ERR_STATE` if it is not mapped */
  unmapGpadl(gpadlId: number): void {
    this.#channels.unmapGpadl(this.#channel, gpadlId);
  }

  inspect(): HostOfferTree {
    return inspectChannel(this.#channel, this.#channels.gpadls);
  }
}

export function inspectChannel(channel: HostChannel, table: GpadlTable): HostOfferTree {
  const { key, relid, monitorId, state, ring } = channel;
  const gpadls = relid === 0 ? [] : table.ofChannel(relid);
  return {
    key,
    relid,
    connectionId: relid === 0 ? 0 : connectionIdOf(channel),
    monitorId,
    state: state.at,
    ringGpadlId: ring?.id ?? null,
    gpadls: gpadls.map(({ id, state: { at }, pageCount, mapCount, ringCount }) => ({
      id,
      state: at,
      pageCount,
      mapCount,
      ringCount,
    })),
  };
}

export interface HostOfferTree {
  readonly key: string;
  readonly relid: number;
  readonly connectionId: number;
  readonly monitorId: number;
  readonly state: string;
  readonly ringGpadlId: number | null;
  readonly gpadls: readonly {
    readonly id: number;
    readonly state: string;
    readonly pageCount: number;
    readonly mapCount: number;
    readonly ringCount: number;
  }[];
}
