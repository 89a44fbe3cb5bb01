/**
 * The channels and GPADLs of the guest at work: takes what drivers ask and what the host answers through the tables of
 * moves, and ends every callback exactly once.
 *
 * A channel id that the host has not offered, or has not any more, is treated as rescinded: drivers cannot know in time.
 */
import { assert, PeerError, UsageError } from '../../errors.ts';
import type { GpaRange } from '../../wire/gpa-range.ts';
import {
  CloseChannel,
  encodeGpadl,
  GpadlTeardown,
  MessageType,
  ModifyChannel,
  messageSize,
  OpenChannel,
  OpenChannel2,
  RelIdReleased,
  USER_DEFINED_BYTES,
} from '../../wire/messages/index.ts';
import {
  NT_SUCCESS,
  type NtStatus,
  STATUS_DEVICE_NOT_CONNECTED,
  STATUS_DEVICE_REMOVED,
  STATUS_NOT_SUPPORTED,
  STATUS_SUCCESS,
  VMBUS_STATUS_FAILURE,
} from '../../wire/ntstatus.ts';
import { EVENT_FLAGS_PER_SINT } from '../../wire/synic.ts';
import { FeatureFlag, VmbusVersion } from '../../wire/versions.ts';
import { isLegal } from '../moves.ts';
import {
  type GuestChannelAction,
  type GuestChannelEvent,
  type GuestChannelState,
  guestChannelMoves,
  stepGuestChannel,
} from './channel-moves.ts';
import type { GuestConnection } from './connection-moves.ts';
import { type GuestGpadlAction, type GuestGpadlEvent, type GuestGpadlState, stepGuestGpadl } from './gpadl-moves.ts';
import type { GuestOffer, OfferFields } from './guest-offer.ts';

/** How a driver opens a channel. */
export interface GuestOpenRequest {
  /** A created GPADL: one range of whole pages, both rings. */
  readonly ringGpadlId: number;
  /** Pages from its start to the host-to-guest ring. */
  readonly downstreamPageOffset: number;
  /** Virtual processor to interrupt, or 0xffffffff for none. */
  readonly targetVp: number;
  /** At most 120 bytes for the device; the rest is zero. */
  readonly userData?: Uint8Array;
  /** What we will signal; counts with feature bit 0. Default: the offer's connection id. */
  readonly connectionId?: number;
  /** What the host shall raise; counts with feature bit 0. Default: the channel id. */
  readonly eventFlag?: number;
  /** `OpenFlag` bits; count with feature bit 1. Default 0. */
  readonly openFlags?: number;
  /** Echoed by the host. Default: the channel id. */
  readonly openId?: number;
}

/** What the channels need from the connection that they belong to. */
export interface GuestChannelContext {
  /** The connection, while drivers may start something new on it. */
  connection(): GuestConnection | undefined;
  send(message: Uint8Array): void;
  /** As `send`, unless the host leaves too many messages untaken already. */
  sendIfRoom(message: Uint8Array): void;
  rescinded(offer: GuestOffer): void;
}

interface Channel {
  readonly offer: GuestOffer;
  state: GuestChannelState;
  openDone: Done | undefined;
  modifyDone: Done | undefined;
  readonly gpadls: Set<GuestGpadl>;
}

interface GuestGpadl {
  readonly channel: Channel;
  readonly relid: number;
  readonly id: number;
  readonly pageCount: number;
  state: GuestGpadlState;
  /** Whoever waits for it to be created or torn down. */
  done: GpadlDone | undefined;
}

type GpadlDone = (status: NtStatus, gpadlId: number) => void;

export type Done = (status: NtStatus) => void;

/** Linux counts from here too; small numbers are easy to mistake for something else. */
const FIRST_GPADL_ID = 0xe1e10;

const MAX_CHANNEL_ID = EVENT_FLAGS_PER_SINT - 1;

export class GuestChannels {
  readonly #context: GuestChannelContext;
  readonly #channels = new Map<number, Channel>();
  /** The host offers sub-channels under the instance of their primary. */
  readonly #byInstance = new Map<string, Set<GuestOffer>>();
  readonly #gpadls = new Map<number, GuestGpadl>();
  #nextGpadlId = FIRST_GPADL_ID;

  constructor(context: GuestChannelContext) {
    this.#context = context;
  }

  offers(): GuestOffer[] {
    return [...this.#channels.values()].map((channel) => channel.offer);
  }

  offer(relid: number): GuestOffer | undefined {
    return this.#channels.get(relid)?.offer;
  }

  // --- what drivers ask

  createGpadl(relid: number, ranges: readonly GpaRange[], done: GpadlDone): number {
    const id = this.#newGpadlId();
    const messages = encodeGpadl(relid, id, ranges);
    const status = this.#unusable(relid);
    if (status !== undefined) {
      done(status, id);
      return id;
    }
    const { channel } = this.#live(relid);
    const pageCount = ranges.reduce((sum, range) => sum + range.pfns.length, 0);
    const gpadl: GuestGpadl = { channel, relid, id, pageCount, state: { at: 'creating' }, done };
    this.#gpadls.set(id, gpadl);
    channel.gpadls.add(gpadl);
    for (const message of messages) this.#context.send(message);
    return id;
  }

  teardownGpadl(relid: number, id: number, done: () => void): void {
    const gpadl = this.#gpadls.get(id);
    // It went with its channel: the host has let go of the pages.
    if (gpadl === undefined) {
      done();
      return;
    }
    if (gpadl.relid !== relid || gpadl.state.at !== 'created') {
      throw new UsageError('ERR_STATE', `GPADL ${id} of channel ${gpadl.relid} is ${gpadl.state.at}`);
    }
    gpadl.done = done;
    this.#moveGpadl(gpadl, { is: 'teardown', isRescinded: gpadl.channel.state.at === 'rescinded' });
  }

  open(relid: number, request: GuestOpenRequest, done: Done): void {
    const status = this.#unusable(relid);
    if (status !== undefined) {
      done(status);
      return;
    }
    const { channel, connection } = this.#live(relid);
    const gpadl = this.#gpadls.get(request.ringGpadlId);
    if (gpadl?.state.at !== 'created') throw new UsageError('ERR_STATE', `GPADL ${request.ringGpadlId} is not created`);
    const openId = request.openId ?? relid;
    const message = encodeOpen(channel.offer, { ...request, openId }, connection);
    this.#checkLegal(channel, { is: 'open', openId });
    channel.openDone = done;
    this.#move(channel, { is: 'open', openId }, message);
  }

  close(relid: number): void {
    const channel = this.#channels.get(relid);
    if (channel !== undefined) this.#move(channel, { is: 'close' });
  }

  modifyChannel(relid: number, targetVp: number, done: Done): void {
    const status = this.#unusable(relid);
    if (status !== undefined) {
      done(status);
      return;
    }
    const { channel, connection } = this.#live(relid);
    if (connection.version < VmbusVersion.WIN10_RS3_0) {
      done(STATUS_NOT_SUPPORTED);
      return;
    }
    if (channel.state.at !== 'open') throw new UsageError('ERR_STATE', `channel ${relid} is ${channel.state.at}`);
    if (channel.modifyDone !== undefined)
      throw new UsageError('ERR_STATE', `channel ${relid} is being modified already`);
    const message = ModifyChannel.encode({ channelId: relid, targetVp });
    const hasAnswer = connection.version >= VmbusVersion.IRON;
    if (hasAnswer) channel.modifyDone = done;
    this.#context.send(message);
    if (!hasAnswer) done(STATUS_SUCCESS);
  }

  release(relid: number): void {
    const channel = this.#channels.get(relid);
    if (channel === undefined) return;
    this.#checkLegal(channel, { is: 'release' });
    const [held] = channel.gpadls;
    if (held !== undefined && channel.state.at !== 'rescinded') {
      throw new UsageError('ERR_STATE', `channel ${relid} has GPADL ${held.id}; tear it down first`);
    }
    this.#move(channel, { is: 'release' });
  }

  // --- what the host says; each throws a PeerError for what it may not say

  offered(fields: OfferFields): GuestOffer {
    const { relid } = fields;
    if (relid === 0 || relid > MAX_CHANNEL_ID) {
      throw new PeerError('ERR_MESSAGE', `offer with channel id ${relid}; ids are 1..${MAX_CHANNEL_ID}`);
    }
    if (this.#channels.has(relid)) throw new PeerError('ERR_MESSAGE', `channel id ${relid} is offered twice`);
    const siblings = [...(this.#byInstance.get(fields.instanceId) ?? [])].filter((other) => !other.isRescinded);
    const twin = siblings.find((other) => other.subchannelIndex === fields.subchannelIndex);
    if (twin !== undefined) {
      this.#context.sendIfRoom(RelIdReleased.encode({ channelId: relid }));
      throw new PeerError('ERR_MESSAGE', `channel ${relid} is offered as ${fields.instanceId}, as is ${twin.relid}`);
    }
    const isPrimaryThere = siblings.some(
      (other) => other.subchannelIndex === 0 && other.interfaceId === fields.interfaceId,
    );
    if (fields.subchannelIndex !== 0 && !isPrimaryThere) {
      throw new PeerError('ERR_MESSAGE', `sub-channel ${relid} of ${fields.instanceId} is offered without a primary`);
    }
    const channel: Channel = {
      offer: liveOffer(fields, () => channel.state),
      state: { at: 'offered' },
      openDone: undefined,
      modifyDone: undefined,
      gpadls: new Set(),
    };
    this.#channels.set(relid, channel);
    const members = this.#byInstance.get(fields.instanceId) ?? new Set<GuestOffer>();
    this.#byInstance.set(fields.instanceId, members.add(channel.offer));
    return channel.offer;
  }

  rescinded(relid: number): void {
    this.#move(this.#known(relid), { is: 'rescind' });
  }

  openResult(relid: number, openId: number, status: NtStatus): void {
    this.#move(this.#known(relid), { is: 'openResult', openId, status: exactStatus(status) });
  }

  modified(relid: number, status: NtStatus): void {
    const channel = this.#known(relid);
    const done = channel.modifyDone;
    if (done === undefined) throw new PeerError('ERR_MESSAGE', `nobody modifies channel ${relid}`);
    channel.modifyDone = undefined;
    done(exactStatus(status));
  }

  gpadlCreated(relid: number, id: number, status: NtStatus): void {
    const gpadl = this.#gpadls.get(id);
    if (gpadl?.relid !== relid)
      throw new PeerError('ERR_MESSAGE', `no GPADL ${id} of channel ${relid} is being created`);
    this.#moveGpadl(gpadl, { is: 'created', status: exactStatus(status) });
  }

  gpadlTorndown(id: number): void {
    const gpadl = this.#gpadls.get(id);
    if (gpadl === undefined) throw new PeerError('ERR_MESSAGE', `no GPADL ${id} is being torn down`);
    this.#moveGpadl(gpadl, { is: 'torndown' });
  }

  /** The connection has ended: every callback ends, every channel goes. */
  endAll(): void {
    for (const channel of [...this.#channels.values()]) {
      // A callback of one channel may release another.
      if (channel.state.at !== 'gone') this.#move(channel, { is: 'connectionEnded' });
    }
  }

  inspect(): GuestChannelTree[] {
    return [...this.#channels].map(([relid, { offer, state, modifyDone, gpadls }]) => ({
      relid,
      interfaceId: offer.interfaceId,
      instanceId: offer.instanceId,
      subchannelIndex: offer.subchannelIndex,
      state: state.at,
      isModifying: modifyDone !== undefined,
      gpadls: [...gpadls].map((gpadl) => ({
        id: gpadl.id,
        state: gpadl.state.at,
        pageCount: gpadl.pageCount,
      })),
    }));
  }

  get gpadlCount(): number {
    return this.#gpadls.size;
  }

  // --- the machinery

  #known(relid: number): Channel {
    const channel = this.#channels.get(relid);
    if (channel === undefined) throw new PeerError('ERR_MESSAGE', `no channel ${relid} is offered`);
    return channel;
  }

  /** The status that ends a new request at once, or undefined when it can go on. */
  #unusable(relid: number): NtStatus | undefined {
    if (this.#context.connection() === undefined) return STATUS_DEVICE_NOT_CONNECTED;
    const state = this.#channels.get(relid)?.state.at ?? 'gone';
    return state === 'rescinded' || state === 'gone' ? STATUS_DEVICE_REMOVED : undefined;
  }

  /** After `#unusable` said that both are there. */
  #live(relid: number): { channel: Channel; connection: GuestConnection } {
    const channel = this.#channels.get(relid);
    const connection = this.#context.connection();
    assert(channel !== undefined && connection !== undefined, `channel ${relid} is usable but not there`);
    return { channel, connection };
  }

  /** Not used again before 2^32 others were: a late answer about an old one meets no new one. */
  #newGpadlId(): number {
    let id = this.#nextGpadlId;
    while (id === 0 || this.#gpadls.has(id)) id = (id + 1) >>> 0;
    this.#nextGpadlId = (id + 1) >>> 0;
    return id;
  }

  #checkLegal(channel: Channel, event: GuestChannelEvent): void {
    if (isLegal(guestChannelMoves, channel.state, event)) return;
    throw new UsageError('ERR_STATE', `${event.is}: channel ${channel.offer.relid} is ${channel.state.at}`);
  }

  /** @param openMessage what `sendOpen` sends */
  #move(channel: Channel, event: GuestChannelEvent, openMessage?: Uint8Array): void {
    const { relid } = channel.offer;
    const { next, actions } = stepGuestChannel(channel.state, event, `channel ${relid}`);
    channel.state = next;
    if (next.at === 'gone') this.#forget(channel);
    for (const action of actions) this.#do(channel, action, openMessage);
  }

  #forget(channel: Channel): void {
    const { relid, instanceId } = channel.offer;
    const members = this.#byInstance.get(instanceId);
    members?.delete(channel.offer);
    if (members?.size === 0) this.#byInstance.delete(instanceId);
    this.#channels.delete(relid);
  }

  #do(channel: Channel, action: GuestChannelAction, openMessage: Uint8Array | undefined): void {
    const { relid } = channel.offer;
    switch (action.do) {
      case 'sendOpen':
        assert(openMessage !== undefined, 'an open has a message');
        this.#context.send(openMessage);
        return;
      case 'sendClose':
        this.#context.send(CloseChannel.encode({ channelId: relid }));
        return;
      case 'sendRelIdReleased':
        this.#context.send(RelIdReleased.encode({ channelId: relid }));
        return;
      case 'endOpen': {
        const done = channel.openDone;
        channel.openDone = undefined;
        done?.(action.status);
        return;
      }
      case 'endPending':
        this.#endPending(channel, action.status);
        return;
      case 'tellRescinded':
        this.#context.rescinded(channel.offer);
        return;
    }
  }

  #endPending(channel: Channel, status: NtStatus): void {
    const { modifyDone } = channel;
    channel.modifyDone = undefined;
    modifyDone?.(status);
    for (const gpadl of [...channel.gpadls]) {
      // A callback just run may have ended this one already.
      if (gpadl.state.at === 'gone') continue;
      this.#moveGpadl(gpadl, { is: 'channelEnded', status, isGone: channel.state.at === 'gone' });
    }
  }

  #moveGpadl(gpadl: GuestGpadl, event: GuestGpadlEvent): void {
    const { next, actions } = stepGuestGpadl(gpadl.state, event, `GPADL ${gpadl.id}`);
    gpadl.state = next;
    if (next.at === 'gone') {
      this.#gpadls.delete(gpadl.id);
      gpadl.channel.gpadls.delete(gpadl);
    }
    for (const action of actions) this.#doGpadl(gpadl, action);
  }

  #doGpadl(gpadl: GuestGpadl, action: GuestGpadlAction): void {
    if (action.do === 'sendTeardown') {
      this.#context.send(GpadlTeardown.encode({ channelId: gpadl.relid, gpadlId: gpadl.id }));
      return;
    }
    const { done } = gpadl;
    gpadl.done = undefined;
    done?.(action.do === 'endCreate' ? action.status : STATUS_SUCCESS, gpadl.id);
  }
}

export interface GuestChannelTree {
  readonly relid: number;
  readonly interfaceId: string;
  readonly instanceId: string;
  readonly subchannelIndex: number;
  readonly state: string;
  readonly isModifying: boolean;
  readonly gpadls: readonly { readonly id: number; readonly state: string; readonly pageCount: number }[];
}

function liveOffer(fields: OfferFields, state: () => GuestChannelState): GuestOffer {
  return {
    ...fields,
    get state() {
      return state().at;
    },
    get isRescinded() {
      return state().at === 'rescinded' || state().at === 'gone';
    },
  };
}

/** Guests take 0 and nothing else as success; another "success" must not look like one further up. */
function exactStatus(status: NtStatus): NtStatus {
  return status !== STATUS_SUCCESS && NT_SUCCESS(status) ? VMBUS_STATUS_FAILURE : status;
}

/** @throws UsageError `ERR_ARGUMENT` */
function encodeOpen(
  offer: GuestOffer,
  request: GuestOpenRequest & { readonly openId: number },
  { version, features }: GuestConnection,
): Uint8Array {
  const userData = new Uint8Array(USER_DEFINED_BYTES);
  const given = request.userData ?? new Uint8Array(0);
  if (given.length > USER_DEFINED_BYTES) {
    throw new UsageError('ERR_ARGUMENT', `userData has ${given.length} bytes, at most ${USER_DEFINED_BYTES} fit`);
  }
  userData.set(given);
  const fields = {
    channelId: offer.relid,
    openId: request.openId,
    ringGpadlId: request.ringGpadlId,
    targetVp: request.targetVp,
    downstreamPageOffset: request.downstreamPageOffset,
    userData,
  };
  if (messageSize(MessageType.OpenChannel, version, features) === OpenChannel.size) return OpenChannel.encode(fields);
  const choosesSignals = (features & FeatureFlag.GuestSpecifiedSignalParameters) !== 0;
  const redirects = (features & FeatureFlag.ChannelInterruptRedirection) !== 0;
  return OpenChannel2.encode({
    ...fields,
    connectionId: choosesSignals ? (request.connectionId ?? offer.connectionId) : 0,
    eventFlag: choosesSignals ? (request.eventFlag ?? offer.relid) : 0,
    openFlags: redirects ? (request.openFlags ?? 0) : 0,
  });
}
