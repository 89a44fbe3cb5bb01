/**
 * The channels and GPADLs of one guest at work: takes what the guest asks and what the devices answer through the
 * tables of moves, and does what the moves say.
 */
import { PeerError, UsageError } from '../../errors.ts';
import { PAGE_BYTES } from '../../memory/page.ts';
import {
  AllOffersDelivered,
  CloseReservedResponse,
  GpadlBody,
  GpadlCreated,
  GpadlHeader,
  GpadlTorndown,
  ModifyChannelResponse,
  OpenChannelResult,
  RescindChannelOffer,
  VP_INDEX_DISABLE_INTERRUPT,
} from '../../wire/messages/index.ts';
import { NO_MONITOR } from '../../wire/monitor-page.ts';
import { STATUS_SUCCESS, VMBUS_STATUS_FAILURE } from '../../wire/ntstatus.ts';
import { badSavedState } from '../../wire/saved/index.ts';
import { VmbusVersion } from '../../wire/versions.ts';
import { isLegal } from '../moves.ts';
import {
  type ChannelAction,
  type ChannelEvent,
  channelMoves,
  type HostOpenRequest,
  isReservedNow,
  isVisible,
  openInDevice,
  stepChannel,
} from './channel-moves.ts';
import { ChannelTable, connectionIdOf, type HostChannel, keyOf, MAX_CHANNEL_ID } from './channel-table.ts';
import type { HostConnection } from './contact.ts';
import { type GpadlAction, type GpadlEvent, stepGpadl } from './gpadl-moves.ts';
import { type Gpadl, type GpadlLimits, GpadlTable, isUsed } from './gpadl-table.ts';
import type { HostDevice, HostGpadl, OfferParams } from './host-device.ts';
import { encodeOffer } from './offer-message.ts';
import { type PagesCheck, restoreChannels, saveChannels } from './saved/restore-channels.ts';
import type { SavedHostBus } from './saved/saved-bus.ts';

/** What the channels need from the connection that they belong to. */
export interface ChannelContext {
  /** The connection that the guest may use now. */
  connection(): HostConnection | undefined;
  /** True once the guest asked for offers on it. */
  isOffering(): boolean;
  send(message: Uint8Array): void;
  dropped(reason: string): void;
  /** Something was released; see `isReleased`. */
  settled(): void;
  readonly vpCount: number | undefined;
}

export class HostChannels {
  readonly table = new ChannelTable();
  readonly gpadls: GpadlTable;
  /** Restored channels that no device has taken up yet. */
  readonly unclaimed = new Set<HostChannel>();
  readonly #context: ChannelContext;

  constructor(limits: GpadlLimits, context: ChannelContext) {
    this.gpadls = new GpadlTable(limits);
    this.#context = context;
  }

  // --- saved and restored

  /** The channels that the guest knows and the GPADLs that it has, as plain data. */
  save(): Pick<SavedHostBus, 'channels' | 'gpadls'> {
    return saveChannels(this.table, this.gpadls);
  }

  /**
   * Puts back what another host saved, into tables that are empty. No device is asked and nothing is sent before
   * `settleRestored`.
   * @param isUsable whether the pages of a GPADL can be reached
   * @throws PeerError for what cannot be; these tables are of no use then
   */
  restore(saved: Pick<SavedHostBus, 'channels' | 'gpadls'>, isUsable: PagesCheck): void {
    restoreChannels(saved, this, isUsable, () => this.#context.isOffering());
    for (const channel of this.unclaimed) this.#restoreRing(channel);
  }

  /** Brings on what the old host's devices had not finished: they hold nothing any more. */
  settleRestored(): void {
    for (const channel of [...this.unclaimed]) {
      if (channel.state.at === 'closing' || channel.state.at === 'reopening') channel.device.closeRequested();
    }
    for (const gpadl of this.gpadls.all()) if (gpadl.state.at === 'tearingDown') this.#userLeft(gpadl);
  }

  /**
   * A device has taken up a restored channel and goes on where the old one was.
   * @returns what the guest opened it with, if it is open; an open that waits for its answer is asked for again
   */
  resume(channel: HostChannel): HostOpenRequest | undefined {
    if (channel.state.at === 'opening') channel.device.openRequested(channel.state.open);
    else if (channel.state.at === 'open') return channel.state.open;
    return undefined;
  }

  #restoreRing(channel: HostChannel): void {
    const { state, relid } = channel;
    if (state.at !== 'open' && state.at !== 'opening') return;
    const ring = this.gpadl(channel, state.open.ringGpadlId);
    const fault = this.#openFault(channel, state.open, ring);
    // The guest may have asked for the pages already; it gets them when the channel is closed.
    const isAwaited = ring?.state.at === 'tearingDown';
    if (ring === undefined || (fault !== undefined && !isAwaited)) throw badSavedState(`channel ${relid}: ${fault}`);
    channel.ring = ring;
    ring.ringCount++;
  }

  // --- what the devices ask

  /**
   * A restored channel of this key that no device has taken up yet is given to the device; `resume` follows.
   * @throws UsageError `ERR_STATE` for a key that is offered already, `ERR_RESOURCES` for one channel too many
   */
  add(params: Required<OfferParams>, device: HostDevice): HostChannel {
    const key = keyOf(params);
    const twins = this.table.twins(params).filter((twin) => twin.state.at !== 'gone');
    const restored = twins.find((twin) => this.unclaimed.delete(twin));
    if (restored !== undefined) {
      restored.device = device;
      return restored;
    }
    if (twins.some((twin) => twin.state.at !== 'revoked'))
      throw new UsageError('ERR_STATE', `${key} is offered already`);
    const isHeld = twins.length > 0;
    const isOfferedNow = this.#context.isOffering() && !isHeld;
    if (this.table.size >= MAX_CHANNEL_ID || (isOfferedNow && this.table.isFull)) {
      throw new UsageError('ERR_RESOURCES', `no more than ${MAX_CHANNEL_ID} channels can be offered to one guest`);
    }
    const channel: HostChannel = {
      params,
      key,
      device,
      state: { at: isHeld ? 'held' : 'unassigned' },
      relid: 0,
      monitorId: NO_MONITOR,
      ring: undefined,
    };
    this.table.add(channel);
    if (isOfferedNow) this.#assign(channel, this.table.lowestFreeRelid());
    return channel;
  }

  /** An answer of the device, or its wish to take the offer back. @throws UsageError `ERR_STATE` out of turn */
  deviceEvent(channel: HostChannel, event: ChannelEvent): void {
    if (!isLegal(channelMoves, channel.state, event)) {
      throw new UsageError('ERR_STATE', `${event.is}: ${subjectOf(channel)} is ${channel.state.at}`);
    }
    this.#move(channel, event);
  }

  /** A GPADL of the channel or, sharing one id space, of another channel of its device that is not revoked. */
  gpadl(channel: HostChannel, id: number): Gpadl | undefined {
    return this.#gpadls(channel, id).find(({ relid }) => {
      return relid === channel.relid || this.table.withRelid(relid)?.state.at !== 'revoked';
    });
  }

  mapGpadl(channel: HostChannel, id: number): HostGpadl | undefined {
    const gpadl = this.gpadl(channel, id);
    if (gpadl?.state.at !== 'accepted') return undefined;
    gpadl.mapCount++;
    return gpadl;
  }

  /** @throws UsageError `ERR_STATE` if it is not mapped */
  unmapGpadl(channel: HostChannel, id: number): void {
    const gpadl = this.#gpadls(channel, id).find(({ mapCount }) => mapCount > 0);
    if (gpadl === undefined) throw new UsageError('ERR_STATE', `GPADL ${id} is not mapped`);
    gpadl.mapCount--;
    this.#userLeft(gpadl);
  }

  /** All that the channels of the device have under this id, those of the channel itself first. */
  #gpadls(channel: HostChannel, id: number): Gpadl[] {
    return this.table
      .family(channel)
      .map(({ relid }) => this.gpadls.find(relid, id))
      .filter((gpadl) => gpadl !== undefined);
  }

  // --- what the connection asks

  /** Offers everything that the guest does not know yet, in the fixed order, and says that this was all. */
  offerAll(): void {
    for (const channel of this.table.sorted()) {
      if (channel.state.at === 'unassigned' && channel.relid === 0) this.#assign(channel, this.table.lowestFreeRelid());
    }
    this.#context.send(AllOffersDelivered.encode({}));
  }

  /** Ends every channel but the reserved ones, or with a reset those too. `settled` follows when devices let go. */
  release(isReset: boolean): void {
    for (const channel of this.table.all()) this.#move(channel, { is: isReset ? 'reset' : 'connectionEnded' });
    for (const channel of [...this.unclaimed]) {
      // Nobody is there to answer an open.
      if (channel.state.at === 'openingReleased') this.#move(channel, { is: 'deviceOpened', ok: false });
    }
  }

  /** True when no channel but reserved ones is left with the guest, and none of its pages is in use. */
  get isReleased(): boolean {
    return this.table.all().every((channel) => channel.relid === 0 || isReservedNow(channel.state));
  }

  // --- what the guest asks; each throws a PeerError for what it may not ask

  open(relid: number, open: HostOpenRequest): void {
    this.#move(this.#visible(relid), { is: 'openRequested', open });
  }

  close(relid: number): void {
    this.#move(this.#visible(relid), { is: 'closeRequested' });
  }

  /** Also without a connection: a reserved channel outlives it. */
  closeReserved(relid: number): void {
    this.#move(this.#visible(relid), { is: 'closeReserved' });
  }

  releaseId(relid: number): void {
    this.#move(this.#visible(relid), { is: 'idReleased' });
  }

  modify(relid: number, targetVp: number): void {
    const channel = this.table.withRelid(relid);
    if (channel === undefined || !isVisible(channel.state)) {
      this.#sendModified(relid, false);
      throw unknownChannel(relid);
    }
    this.#move(channel, { is: 'modifyRequested', targetVp });
  }

  gpadlHeader(message: Uint8Array): void {
    const { channelId: relid, gpadlId: id, rangeBytes, rangeCount } = GpadlHeader.parse(message);
    try {
      const channel = this.#visible(relid);
      if (isReservedNow(channel.state)) throw new PeerError('ERR_MESSAGE', `channel ${relid} is open as reserved`);
      // The guest has not seen the rescind yet: let it go on, nothing will use these pages.
      if (channel.state.at === 'revoked') {
        this.#sendCreated(relid, id, true);
        return;
      }
      const gpadl = this.gpadls.begin(relid, id, rangeCount, rangeBytes);
      if (this.gpadls.append(id, message.subarray(GpadlHeader.size))) this.#complete(channel, gpadl);
    } catch (error) {
      if (error instanceof PeerError) this.#sendCreated(relid, id, false);
      throw error;
    }
  }

  gpadlBody(message: Uint8Array): void {
    const id = GpadlBody.parse(message).gpadlId;
    const gpadl = this.gpadls.assembling(id);
    if (gpadl === undefined) throw new PeerError('ERR_MESSAGE', `body for GPADL ${id}, which is not in progress`);
    if (this.gpadls.append(id, message.subarray(GpadlBody.size))) this.#complete(this.#visible(gpadl.relid), gpadl);
  }

  gpadlTeardown(relid: number, id: number): void {
    const channel = this.#visible(relid);
    if (isReservedNow(channel.state)) throw new PeerError('ERR_MESSAGE', `channel ${relid} is open as reserved`);
    const gpadl = this.gpadls.find(relid, id);
    if (gpadl !== undefined) {
      this.#moveGpadl(gpadl, { is: 'teardownRequested', isUsed: isUsed(gpadl) });
      return;
    }
    if (channel.state.at !== 'revoked') throw new PeerError('ERR_MESSAGE', `teardown of unknown GPADL ${id}`);
    this.#context.send(GpadlTorndown.encode({ gpadlId: id }));
  }

  // --- the machinery

  #visible(relid: number): HostChannel {
    const channel = this.table.withRelid(relid);
    if (channel === undefined || !isVisible(channel.state)) throw unknownChannel(relid);
    return channel;
  }

  #assign(channel: HostChannel, relid: number): void {
    this.table.assign(channel, relid, this.#context.connection()?.monitorPages !== undefined);
    this.#move(channel, { is: 'assigned' });
  }

  #move(channel: HostChannel, event: ChannelEvent): void {
    const before = openInDevice(channel.state);
    const { next, actions } = stepChannel(channel.state, event, subjectOf(channel));
    channel.state = next;
    if (openInDevice(next) !== before) this.#leaveRing(channel);
    for (const action of actions) this.#do(channel, action);
    this.#settle(channel);
  }

  #do(channel: HostChannel, action: ChannelAction): void {
    const { relid, device } = channel;
    switch (action.do) {
      case 'sendOffer':
        this.#context.send(encodeOffer(channel, this.#context.connection()?.features ?? 0));
        return;
      case 'sendRescind':
        this.#context.send(RescindChannelOffer.encode({ channelId: relid }));
        return;
      case 'sendOpenResult': {
        const status = action.ok ? STATUS_SUCCESS : VMBUS_STATUS_FAILURE;
        this.#context.send(OpenChannelResult.encode({ channelId: relid, openId: action.open.openId, status }));
        return;
      }
      case 'sendModifyRefused':
        this.#sendModified(relid, false);
        return;
      case 'sendCloseReservedResponse':
        this.#context.send(CloseReservedResponse.encode({ channelId: relid }));
        return;
      case 'openDevice':
        this.#openDevice(channel, action.open);
        return;
      case 'closeDevice':
        device.closeRequested();
        return;
      case 'changeTargetVp': {
        const ok = !this.#isMissingVp(action.targetVp) && device.targetVpChanged?.(action.targetVp) !== false;
        this.#sendModified(relid, ok);
        return;
      }
      case 'endGpadls':
        for (const gpadl of this.gpadls.ofChannel(relid)) {
          this.#moveGpadl(gpadl, { is: 'channelReleased', isUsed: isUsed(gpadl) });
        }
        return;
      case 'failGpadlsInProgress':
        for (const gpadl of this.gpadls.ofChannel(relid)) this.#moveGpadl(gpadl, { is: 'channelRevoked' });
        return;
      case 'tellReleased':
        device.released?.();
        return;
    }
  }

  #openDevice(channel: HostChannel, open: HostOpenRequest): void {
    const ring = this.gpadl(channel, open.ringGpadlId);
    const fault = this.#openFault(channel, open, ring);
    if (ring === undefined || fault !== undefined) {
      this.#context.dropped(`channel ${channel.relid} is not opened: ${fault}`);
      this.#move(channel, { is: 'deviceOpened', ok: false });
      return;
    }
    channel.ring = ring;
    ring.ringCount++;
    channel.device.openRequested(open);
  }

  #openFault(channel: HostChannel, open: HostOpenRequest, ring: Gpadl | undefined): string | undefined {
    if (ring?.state.at !== 'accepted') return `GPADL ${open.ringGpadlId} is not there`;
    const range = ring.ranges[0];
    if (ring.ranges.length !== 1 || range === undefined) return `its ring has ${ring.ranges.length} ranges, not 1`;
    if (range.byteOffset !== 0 || range.byteCount !== ring.pageCount * PAGE_BYTES)
      return 'its ring is not made of whole pages';
    const { downstreamPageOffset } = open;
    if (downstreamPageOffset === 0 || downstreamPageOffset >= ring.pageCount) {
      return `its downstream ring begins at page ${downstreamPageOffset} of ${ring.pageCount}`;
    }
    if (this.#isMissingVp(open.targetVp)) return `its target VP ${open.targetVp} does not exist`;
    if (open.eventFlag !== undefined && open.eventFlag > MAX_CHANNEL_ID) return `its event flag is ${open.eventFlag}`;
    const signal = open.connectionId;
    if (signal === undefined) return undefined;
    // Two channels under one id would steal each other's signals.
    const holder = this.table.all().find((other) => other !== channel && signalConnectionOf(other) === signal);
    return holder === undefined ? undefined : `connection id ${signal} belongs to channel ${holder.relid}`;
  }

  #isMissingVp(vp: number): boolean {
    const { vpCount } = this.#context;
    return vp !== VP_INDEX_DISABLE_INTERRUPT && vpCount !== undefined && vp >= vpCount;
  }

  #leaveRing(channel: HostChannel): void {
    const { ring } = channel;
    if (ring === undefined) return;
    channel.ring = undefined;
    ring.ringCount--;
    this.#userLeft(ring);
  }

  #userLeft(gpadl: Gpadl): void {
    if (!isUsed(gpadl)) this.#moveGpadl(gpadl, { is: 'unused' });
  }

  #complete(channel: HostChannel, gpadl: Gpadl): void {
    let ok = false;
    try {
      this.gpadls.complete(gpadl);
      ok = channel.device.gpadlCreated?.(gpadl.id, gpadl.ranges) !== false;
    } catch (error) {
      if (!(error instanceof PeerError)) throw error;
      this.#context.dropped(`GPADL ${gpadl.id} of channel ${gpadl.relid}: ${error.message}`);
    }
    // The device may have revoked the channel meanwhile; that answered already.
    if (gpadl.state.at === 'assembling') this.#moveGpadl(gpadl, { is: 'completed', ok });
  }

  #moveGpadl(gpadl: Gpadl, event: GpadlEvent): void {
    const { next, actions } = stepGpadl(gpadl.state, event, `GPADL ${gpadl.id} of channel ${gpadl.relid}`);
    gpadl.state = next;
    const channel = this.table.withRelid(gpadl.relid);
    if (next.at === 'gone') this.gpadls.remove(gpadl);
    for (const action of actions) this.#doGpadl(gpadl, channel, action);
    if (next.at === 'gone' && channel !== undefined) this.#settle(channel);
  }

  #doGpadl(gpadl: Gpadl, channel: HostChannel | undefined, action: GpadlAction): void {
    switch (action.do) {
      case 'sendCreated':
        this.#sendCreated(gpadl.relid, gpadl.id, action.ok);
        return;
      case 'sendTorndown':
        this.#context.send(GpadlTorndown.encode({ gpadlId: gpadl.id }));
        return;
      case 'tellTornDown':
        channel?.device.gpadlTornDown?.(gpadl.id);
        return;
    }
  }

  /** Frees the id of a channel that the guest let go of, once none of its pages is in use. */
  #settle(channel: HostChannel): void {
    const { relid, state } = channel;
    if (state.at !== 'unassigned' && state.at !== 'gone') return;
    if (relid === 0) {
      if (state.at === 'gone') this.table.remove(channel);
      return;
    }
    if (this.gpadls.ofChannel(relid).length > 0) return;
    this.table.freeRelid(channel);
    if (state.at === 'gone') this.table.remove(channel);
    const heir = this.table.twins(channel.params).find((other) => other.state.at === 'held');
    if (heir !== undefined && this.#context.isOffering()) this.#assign(heir, relid);
    this.#context.settled();
  }

  #sendCreated(relid: number, gpadlId: number, ok: boolean): void {
    const status = ok ? STATUS_SUCCESS : VMBUS_STATUS_FAILURE;
    this.#context.send(GpadlCreated.encode({ channelId: relid, gpadlId, status }));
  }

  /** Guests below 5.3 get no answer to ModifyChannel. */
  #sendModified(relid: number, ok: boolean): void {
    if ((this.#context.connection()?.version ?? 0) < VmbusVersion.IRON) return;
    const status = ok ? STATUS_SUCCESS : VMBUS_STATUS_FAILURE;
    this.#context.send(ModifyChannelResponse.encode({ channelId: relid, status }));
  }
}

/** The connection id that the guest signals for a channel in use. */
function signalConnectionOf(channel: HostChannel): number | undefined {
  const open = openInDevice(channel.state);
  return open && (open.connectionId ?? connectionIdOf(channel));
}

function subjectOf(channel: HostChannel): string {
  return channel.relid === 0 ? `offer ${channel.key}` : `channel ${channel.relid}`;
}

function unknownChannel(relid: number): PeerError {
  return new PeerError('ERR_MESSAGE', `no channel ${relid} (ids are 1..${MAX_CHANNEL_ID})`);
}
