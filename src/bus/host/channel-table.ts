/**
 * The channels that a host offers to one guest: their keys, channel ids and monitor ids.
 *
 * Ids are the lowest free ones, handed out in a fixed order, so a guest that reconnects finds every device under the id
 * that it had. An id is free again when the guest has let go of it and no page of its GPADLs is in use.
 *
 * Source: OpenVMM `vmbus_server` `channels.rs` (`AssignedChannels`, `handle_request_offers`).
 */
import { assert, UsageError } from '../../errors.ts';
import { VMBUS_SINT } from '../../wire/messages/index.ts';
import { MONITOR_GROUPS, NO_MONITOR } from '../../wire/monitor-page.ts';
import { badSavedState } from '../../wire/saved/index.ts';
import { EVENT_FLAGS_PER_SINT } from '../../wire/synic.ts';
import type { ChannelState } from './channel-moves.ts';
import type { Gpadl } from './gpadl-table.ts';
import type { HostDevice, OfferParams } from './host-device.ts';

/** Channel ids are 1..2047: each has an event flag, and flag 0 has another meaning. */
export const MAX_CHANNEL_ID = EVENT_FLAGS_PER_SINT - 1;

/** Each group of the monitor page has 32 bits. */
const MONITOR_ID_COUNT = 32 * MONITOR_GROUPS;

/** One offered channel. Only `HostChannels` writes to it. */
export interface HostChannel {
  readonly params: Required<OfferParams>;
  /** Of `params`; two live offers of one guest never share it. */
  readonly key: string;
  device: HostDevice;
  state: ChannelState;
  /** 0 while it has none. */
  relid: number;
  /** `NO_MONITOR` while it has none. */
  monitorId: number;
  /** The GPADL with the rings of the open channel. */
  ring: Gpadl | undefined;
}

export function keyOf(params: Required<OfferParams>): string {
  return `${deviceKeyOf(params)}/${params.subchannelIndex}`;
}

/** What a primary channel and its sub-channels have in common. */
function deviceKeyOf(params: Required<OfferParams>): string {
  return `${params.interfaceId}/${params.instanceId}`;
}

/** What the guest signals, unless it chose an id itself. The guest takes it as opaque. */
export function connectionIdOf(channel: Pick<HostChannel, 'params' | 'relid'>): number {
  return channel.relid | (VMBUS_SINT << 12) | (channel.params.targetVtl << 16);
}

export class ChannelTable {
  readonly #channels = new Set<HostChannel>();
  readonly #byDevice = new Map<string, Set<HostChannel>>();
  readonly #byRelid = new Map<number, HostChannel>();
  readonly #monitorIds = new Set<number>();

  get size(): number {
    return this.#channels.size;
  }

  /** True when no channel id is left. */
  get isFull(): boolean {
    return this.#byRelid.size >= MAX_CHANNEL_ID;
  }

  /** The channel that holds this id, whether or not the guest may name it. */
  withRelid(relid: number): HostChannel | undefined {
    return this.#byRelid.get(relid);
  }

  /** A copy, in the order in which ids are handed out. */
  sorted(): HostChannel[] {
    return [...this.#channels].sort(
      (a, b) =>
        compare(a.params.interfaceId, b.params.interfaceId) ||
        a.params.order - b.params.order ||
        compare(a.params.instanceId, b.params.instanceId) ||
        a.params.subchannelIndex - b.params.subchannelIndex,
    );
  }

  /** The channels of one device (primary and sub-channels), `channel` first. */
  family(channel: HostChannel): HostChannel[] {
    const members = this.#byDevice.get(deviceKeyOf(channel.params)) ?? [];
    return [channel, ...[...members].filter((member) => member !== channel)];
  }

  /** The channels under one key: at most one live one, and older ones that the guest has not released yet. */
  twins(params: Required<OfferParams>): HostChannel[] {
    const members = this.#byDevice.get(deviceKeyOf(params)) ?? [];
    return [...members].filter((member) => member.params.subchannelIndex === params.subchannelIndex);
  }

  all(): HostChannel[] {
    return [...this.#channels];
  }

  add(channel: HostChannel): void {
    const deviceKey = deviceKeyOf(channel.params);
    const members = this.#byDevice.get(deviceKey) ?? new Set<HostChannel>();
    this.#byDevice.set(deviceKey, members.add(channel));
    this.#channels.add(channel);
  }

  /** Gives the channel an id, and a monitor id if it wants one and one is left. */
  assign(channel: HostChannel, relid: number, withMonitor: boolean): void {
    assert(channel.relid === 0 && !this.#byRelid.has(relid), `channel id ${relid} is assigned twice`);
    channel.relid = relid;
    this.#byRelid.set(relid, channel);
    if (!withMonitor || channel.params.monitorLatency100ns === 0) return;
    for (let id = 0; id < MONITOR_ID_COUNT; id++) {
      if (this.#monitorIds.has(id)) continue;
      this.#monitorIds.add(id);
      channel.monitorId = id;
      return;
    }
  }

  /** Puts back a channel with the ids that the guest knows it by. @throws PeerError `ERR_SAVED_STATE` if one is taken */
  restore(channel: HostChannel): void {
    const { relid, monitorId } = channel;
    const isMonitored = monitorId !== NO_MONITOR;
    if (relid < 1 || relid > MAX_CHANNEL_ID || this.#byRelid.has(relid)) throw badSavedState(`channel id ${relid}`);
    if (isMonitored && (monitorId >= MONITOR_ID_COUNT || this.#monitorIds.has(monitorId))) {
      throw badSavedState(`monitor id ${monitorId} of channel ${relid}`);
    }
    if (channel.state.at !== 'revoked' && this.twins(channel.params).some(({ state }) => state.at !== 'revoked')) {
      throw badSavedState(`two channels under ${channel.key}`);
    }
    this.add(channel);
    this.#byRelid.set(relid, channel);
    if (isMonitored) this.#monitorIds.add(monitorId);
  }

  /** @throws UsageError `ERR_RESOURCES` when all are taken */
  lowestFreeRelid(): number {
    for (let relid = 1; relid <= MAX_CHANNEL_ID; relid++) if (!this.#byRelid.has(relid)) return relid;
    throw new UsageError('ERR_RESOURCES', `all ${MAX_CHANNEL_ID} channel ids are taken`);
  }

  freeRelid(channel: HostChannel): void {
    this.#byRelid.delete(channel.relid);
    this.#monitorIds.delete(channel.monitorId);
    channel.relid = 0;
    channel.monitorId = NO_MONITOR;
  }

  remove(channel: HostChannel): void {
    assert(channel.relid === 0, `channel ${channel.relid} is removed while it has an id`);
    const deviceKey = deviceKeyOf(channel.params);
    const members = this.#byDevice.get(deviceKey);
    members?.delete(channel);
    if (members?.size === 0) this.#byDevice.delete(deviceKey);
    this.#channels.delete(channel);
  }
}

function compare(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}
