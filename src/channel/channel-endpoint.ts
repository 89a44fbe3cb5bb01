/**
 * One end of one channel: what a device is given.
 *
 * It joins the life cycle (`life-cycle.ts`), the packets (`packet-path.ts`) and the way to the bus (`ChannelSide`), and
 * calls its driver. State-change callbacks run at PASSIVE, one at a time, and may return promises; packet callbacks and
 * completions run at DISPATCH or below and may not.
 */
import { type PeerError, UsageError } from '../errors.ts';
import { type GuestMemory, Mdl, PAGE_BYTES } from '../memory/index.ts';
import type { RingReader, RingWriter } from '../ring/index.ts';
import type { GpaRange } from '../wire/gpa-range.ts';
import type { Guid } from '../wire/guid.ts';
import {
  type NtStatus,
  STATUS_DEVICE_REMOVED,
  STATUS_INVALID_DEVICE_STATE,
  STATUS_PENDING,
  STATUS_SUCCESS,
} from '../wire/ntstatus.ts';
import { inBandBytes, MAX_PACKET_BYTES } from '../wire/packet.ts';
import type { ChannelDriver } from './channel-driver.ts';
import type { ChannelSide, CreatedGpadl, GpadlAccess, GpadlMapping } from './channel-side.ts';
import type { MmioRange } from './guest/mmio-space.ts';
import { AT_REST, type Ending, type LifeState, REASON_STATUS, type Reason } from './life-cycle.ts';
import { type LifeEffect, LifeRunner } from './life-runner.ts';
import { type ExternalData, mapExternalData } from './packets/external-data.ts';
import type { IncomingPacket } from './packets/incoming-packet.ts';
import type { OutgoingPacket } from './packets/outgoing-packet.ts';
import { PacketPath, type PacketPathOwner } from './packets/packet-path.ts';
import type { RestoredChannel, SavedChannel } from './packets/saved-packets.ts';
import type { ChannelStatistics } from './packets/statistics.ts';
import type { Scheduler } from './scheduler.ts';
import { type ChannelSettings, defaultSettings } from './settings.ts';
import type { ChannelTap } from './tap.ts';
import type { ChannelWatch } from './watch.ts';

export class ChannelEndpoint implements PacketPathOwner {
  readonly role: 'guest' | 'host';
  /** To be changed while Disabled only. */
  readonly settings: ChannelSettings = defaultSettings();
  /** Guest: how long a monitored notification may be delayed, in units of 100 ns. */
  interruptLatency100ns = 0;

  readonly #driver: ChannelDriver;
  readonly #path: PacketPath;
  readonly #life: LifeRunner;
  #side: ChannelSide | null = null;
  #tap: ChannelTap | null = null;
  /** What a whole save holds; see `left`. */
  #handedOver: SavedChannel | null = null;
  #watch: ChannelWatch | null = null;

  constructor(role: 'guest' | 'host', driver: ChannelDriver) {
    this.role = role;
    this.#driver = driver;
    this.#path = new PacketPath(this, this, this.settings);
    this.#life = new LifeRunner(driver, role, {
      perform: (action) => this.#do(action),
      passive: (work) => this.#side?.scheduler.passive(work),
      changed: (from, to) => {
        this.#tap?.stateChanged?.(this, from, to);
        this.#watch?.stateChanged(this, to);
      },
      callBack: (call) => (this.#watch === null ? call() : this.#watch.callback(this, call)),
      subject: () => this.subject,
    });
  }

  // --- what it is

  get stage(): LifeState['at'] {
    return this.#life.state.at;
  }

  get isDisabled(): boolean {
    return this.stage === 'disabled';
  }

  /** From the Opened callback to the Closed callback, both included. */
  get isOpen(): boolean {
    const at = this.stage;
    return at !== 'disabled' && at !== 'enabled' && at !== 'parting';
  }

  /** It shall end, by us or by the peer. */
  get isEnding(): boolean {
    const { state } = this.#life;
    return 'end' in state && state.end !== null;
  }

  /** True in the synchronous part of a state-change callback; under a verifier also behind its `await`s. */
  get isInStateCallback(): boolean {
    return this.#life.isInCallback || this.#watch?.isInCallback(this) === true;
  }

  /** Known while enabled. */
  get scheduler(): Scheduler | undefined {
    return this.#side?.scheduler;
  }

  get memory(): GuestMemory | undefined {
    return this.#side?.memory;
  }

  /** Channel id; 0 while there is none. */
  get relid(): number {
    return this.#side?.relid ?? 0;
  }

  get instanceId(): Guid | null {
    return this.#side?.instanceId ?? null;
  }

  get mmioSpace(): MmioRange | null {
    return this.isOpen ? (this.#side?.mmioSpace ?? null) : null;
  }

  get statistics(): ChannelStatistics {
    return this.#path.statistics;
  }

  /** The listener; `null` for none, which costs one branch per packet. */
  get tap(): ChannelTap | null {
    return this.#tap;
  }

  set tap(tap: ChannelTap | null) {
    this.#tap = tap;
    const { packetSent, packetReceived } = tap ?? {};
    this.#path.packetSent = packetSent
      ? (bytes, at, packetBytes) => packetSent.call(tap, this, bytes, at, packetBytes)
      : null;
    this.#path.packetReceived = packetReceived
      ? (bytes, at, packetBytes) => packetReceived.call(tap, this, bytes, at, packetBytes)
      : null;
  }

  /** The verifier; `null` for none, which costs one branch at each point. Best set before the first packet. */
  get watch(): ChannelWatch | null {
    return this.#watch;
  }

  set watch(watch: ChannelWatch | null) {
    this.#watch = watch;
    this.#path.setWatch(watch);
  }

  // --- its life

  /**
   * Makes the channel known to the bus; returns at once.
   * @throws UsageError `ERR_STATE` unless it is Disabled
   */
  enable(side: ChannelSide): void {
    if (!this.isDisabled) throw new UsageError('ERR_STATE', `enable: ${this.subject} is ${this.stage}`);
    this.#side = side;
    this.#life.step({ is: 'enable', run: this.role === 'guest' });
  }

  /** Closes (guest) or takes the offer back (host). Resolves when all is torn down and the channel Disabled. */
  disable(): Promise<void> {
    this.#life.step({ is: 'disable' });
    return this.#life.wait((at) => at === 'disabled');
  }

  /** Lets the channel run, now or as soon as it is open. */
  start(): void {
    this.#life.step({ is: 'start' });
  }

  /** Stops the channel. Resolves when nothing runs and no incoming packet is with the driver. */
  pause(): Promise<void> {
    this.#life.step({ is: 'pause' });
    return this.#life.wait((at) => AT_REST.has(at));
  }

  // --- what its side reports

  /** Takes up the rings; from now on doorbells may come, and are remembered until the channel runs. */
  attach(reader: RingReader, writer: RingWriter, signal: () => void): void {
    if (this.#side === null) throw new UsageError('ERR_STATE', `attach: ${this.subject} is ${this.stage}`);
    this.#path.attach(reader, writer, signal, this.#side.scheduler);
  }

  /** The rings that were attached will not be used after all. */
  detach(): void {
    this.#path.detach();
  }

  /** Both ends agree that the channel is open. */
  peerOpened(): void {
    this.#life.step({ is: 'peerOpened' });
  }

  /** The offer could not be opened; the side is done with it. */
  openFailed(status: NtStatus): void {
    this.#life.step({ is: 'openFailed', status });
    if (this.isDisabled) this.#side = null;
  }

  /** The channel ends, and not by our wish. */
  ended(reason: Reason, endsAs: Ending['endsAs']): void {
    this.#life.step({ is: 'ended', end: { reason, endsAs } });
  }

  /** The peer signalled; from a fresh turn of the scheduler. */
  doorbell(): void {
    this.#path.doorbell();
  }

  // --- packets out. The caller has checked the sizes (`canCarry`) and that the channel is not Disabled

  /** Whether a packet of that many bytes (without trailer) can ever go through the ring, as far as it is known. */
  canCarry(packetBytes: number): boolean {
    const most = this.#path.sends.maxPacketBytes;
    if (most !== undefined) return packetBytes <= most;
    const pages = this.settings.outgoingRingPages;
    // Until there is a ring: what it will take if its size is fixed. 16 bytes stay free, 8 are the trailer.
    return pages === 0 || packetBytes <= pages * 4096 - 24;
  }

  canCarryCompletion(payloadBytes: number): boolean {
    return payloadBytes <= MAX_PACKET_BYTES && this.canCarry(inBandBytes(payloadBytes));
  }

  /** Whether a packet of that many bytes would go into the ring at once. */
  hasRoomNow(packetBytes: number): boolean {
    return this.#path.sends.hasRoomNow(packetBytes);
  }

  /** Bytes only. `packet.completed` runs exactly once. */
  sendInBand(packet: OutgoingPacket, payload: Uint8Array | null, payloadBytes: number, wantsCompletion: boolean): void {
    if (this.#watch !== null) this.#watch.sending(this, packet, null);
    this.#path.sends.sendInBand(packet, payload, payloadBytes, wantsCompletion);
  }

  /** Bytes and whole pages by page frame number; a completion is wanted. */
  sendPfns(
    packet: OutgoingPacket,
    pfns: ArrayLike<number>,
    pfnCount: number,
    payload: Uint8Array | null,
    payloadBytes: number,
  ): void {
    if (this.#watch !== null) this.#watch.sending(this, packet, [wholePages(pfns, pfnCount)]);
    this.#path.sends.sendPfns(packet, pfns, pfnCount, payload, payloadBytes);
  }

  /** Bytes and ranges of pages. @throws UsageError `ERR_ARGUMENT` for a malformed range; nothing was sent */
  sendRanges(
    packet: OutgoingPacket,
    ranges: readonly GpaRange[],
    payload: Uint8Array | null,
    payloadBytes: number,
    wantsCompletion: boolean,
  ): void {
    if (this.#watch !== null) this.#watch.sending(this, packet, ranges);
    this.#path.sends.sendRanges(packet, ranges, payload, payloadBytes, wantsCompletion);
  }

  /** Gives a packet up. @returns false if it is not under way any more */
  cancel(packet: OutgoingPacket, status: NtStatus): boolean {
    return this.#path.sends.cancel(packet, status);
  }

  /** Until `endBatch`, packets sent are gathered and the peer is not signalled. May be nested. */
  beginBatch(): void {
    this.#path.sends.beginBatch();
  }

  /** Publishes what was gathered, with at most one signal. */
  endBatch(): void {
    this.#path.sends.endBatch();
  }

  // --- packets in

  /** The driver is done with a packet; the sender is answered if it asked. */
  complete(packet: IncomingPacket, payload: Uint8Array | null, payloadBytes: number): void {
    if (this.#watch !== null) this.#watch.givenBack(this, packet, 'completed');
    this.#unpin(packet);
    this.#path.receives.complete(packet, payload, payloadBytes);
  }

  /** Deliver this packet again at PASSIVE; only from its own `packet` callback. */
  deferToPassive(packet: IncomingPacket): void {
    if (this.#watch !== null) this.#watch.givenBack(this, packet, 'deferred');
    this.#path.receives.deferToPassive(packet);
  }

  /** Deliver nothing any more until the channel is opened anew. */
  failIncoming(packet: IncomingPacket): void {
    this.#watch?.givenBack(this, packet, 'failed');
    this.#unpin(packet);
    this.#path.receives.fail(packet);
  }

  /**
   * The sender's pages. `STATUS_PENDING`: not there yet, return from the `packet` callback and it is called again.
   * @param isReadOnly a promise of the driver's, which only a verifier looks at
   */
  externalData(packet: IncomingPacket, isReadOnly = false): ExternalData {
    if (packet.external !== null) return { status: STATUS_SUCCESS, mdl: packet.external };
    const side = this.#side;
    if (side === null) return { status: STATUS_INVALID_DEVICE_STATE, mdl: null };
    const { maxExternalBytes, maxExternalRanges } = this.settings;
    const data = mapExternalData(packet, side.memory, maxExternalBytes, maxExternalRanges);
    if (data.mdl === null) return data;
    const arrived = (): void => {
      this.#path.receives.dataArrived(packet);
      this.#driver.dataArrived?.(packet);
    };
    if (!side.pin(data.mdl, arrived)) {
      packet.isAwaitingData = true;
      return { status: STATUS_PENDING, mdl: null };
    }
    packet.external = data.mdl;
    if (this.#watch !== null) this.#watch.mapped(this, packet, data.mdl, isReadOnly);
    this.statistics.externalBytesReceived += Mdl.totalBytes(data.mdl);
    return data;
  }

  setPassiveOnly(isPassiveOnly: boolean): void {
    this.#path.setPassiveOnly(isPassiveOnly);
  }

  /** Share of a turn at DISPATCH that incoming packets may take, above 0 and at most 1; the rest goes on at PASSIVE. */
  setDispatchShare(share: number): void {
    this.#path.setDispatchShare(share);
  }

  /** Packets that may be with the driver at once; raising it does not go on with a blocked queue. */
  setQuota(packets: number): void {
    this.#path.receives.quota = packets;
  }

  // --- GPADLs

  async createGpadl(ranges: readonly GpaRange[], access: GpadlAccess): Promise<CreatedGpadl> {
    const side = this.#side;
    if (side === null) return { status: STATUS_INVALID_DEVICE_STATE, gpadlId: 0 };
    const created = await side.createGpadl(ranges, access);
    if (created.status !== STATUS_SUCCESS) return created;
    if (!this.isOpen) {
      // Closed is over, so its driver can no longer delete what the host confirmed too late.
      await side.deleteGpadl(created.gpadlId);
      return { status: STATUS_DEVICE_REMOVED, gpadlId: 0 };
    }
    this.#watch?.gpadlCreated(this, created.gpadlId);
    return created;
  }

  async deleteGpadl(gpadlId: number): Promise<void> {
    this.#watch?.gpadlDeleting(this, gpadlId);
    await this.#side?.deleteGpadl(gpadlId);
    this.#watch?.gpadlDeleted(this, gpadlId);
  }

  mapGpadl(gpadlId: number, access: GpadlAccess): GpadlMapping {
    if (this.#side === null || !this.isOpen) return { status: STATUS_INVALID_DEVICE_STATE, mdl: null };
    const mapping = this.#side.mapGpadl(gpadlId, access);
    if (mapping.mdl !== null) this.#watch?.gpadlMapped(this, gpadlId, mapping.mdl);
    return mapping;
  }

  unmapGpadl(gpadlId: number): boolean {
    const wasMapped = this.#side?.unmapGpadl(gpadlId) === true;
    if (wasMapped) this.#watch?.gpadlUnmapped(this, gpadlId);
    return wasMapped;
  }

  // --- saved on one host, restored on another

  /** Nothing moves any more: see `freeze`. */
  get isFrozen(): boolean {
    return this.#path.isFrozen;
  }

  /**
   * For a save: both rings stay as they are until `thaw`, `start` or the end, and what is captured stays true.
   * @returns `null` unless the channel is at rest (paused, or not opened) with nothing going on
   */
  freeze(): SavedChannel | null {
    if (this.stage !== 'paused' && this.stage !== 'enabled') return null;
    return this.#path.freeze() ? { ...this.#path.sends.capture(), parked: this.#path.receives.capture() } : null;
  }

  /** The save is given up. */
  thaw(): void {
    this.#handedOver = null;
    this.#path.thaw();
  }

  /** The save is whole: if this end is left for the other one now, these packets complete there and not here. */
  saved(channel: SavedChannel): void {
    this.#handedOver = channel;
  }

  /** True if a transaction can be restored under this id. */
  isIdFree(idLo: number): boolean {
    return this.#path.sends.isIdFree(idLo);
  }

  /** Takes up what another host saved; while Disabled, before it is enabled. The caller has checked it. */
  restore(channel: RestoredChannel): void {
    this.#path.sends.restore(channel);
    if (channel.parked !== null) this.#path.receives.restore(channel.parked);
  }

  /** Ends every packet that is under way; for what was restored and is not taken up after all. */
  retire(status: NtStatus): void {
    this.#path.sends.failAll(status);
  }

  /** The guest goes on at another host. No message is sent; the channel ends Disabled. */
  left(): void {
    const saved = this.#path.isFrozen ? this.#handedOver : null;
    this.#handedOver = null;
    if (saved !== null) this.#path.sends.handOver([...saved.inFlight, ...saved.queued]);
    if (this.stage === 'enabled' || this.stage === 'parting') this.#life.step({ is: 'disable' });
    else this.ended('lost', 'disabled');
  }

  inspect(): object {
    return {
      name: this.settings.name,
      role: this.role,
      state: this.#life.state,
      relid: this.relid,
      settings: { ...this.settings },
      outgoing: this.#path.sends.inspect(),
      incoming: this.#path.receives.inspect(),
      statistics: { ...this.statistics },
      side: this.#side?.inspect() ?? null,
    };
  }

  // --- what the packets report

  deliver(packet: IncomingPacket): void {
    if (this.#watch !== null) this.#watch.delivered(this, packet);
    this.#driver.packet(packet);
  }

  batchEnd(packetCount: number): void {
    this.#driver.batchEnd(packetCount);
  }

  drained(): void {
    if (this.stage === 'draining') this.#life.step({ is: 'drained' });
  }

  /** The peer broke the protocol: this channel ends, everything else lives on. */
  faulted(error: PeerError): void {
    this.#tap?.faulted?.(this, error);
    this.#driver.faulted?.(error);
    // The life cycle moves in a turn of its own: this may be the middle of a send or a delivery.
    this.#side?.scheduler.passive(() => {
      if (this.isOpen) this.ended('faulted', this.role === 'host' ? 'enabled' : 'disabled');
    });
  }

  // --- the machinery

  #do(action: LifeEffect): void {
    switch (action.do) {
      case 'begin':
        this.#side?.begin();
        return;
      case 'answerOpen':
        this.#side?.openAnswered(action.ok);
        return;
      case 'openGates':
        this.#path.setRunning(true);
        return;
      case 'closeGates':
        this.#path.setRunning(false);
        return;
      case 'retire':
        this.#path.sends.failAll(REASON_STATUS[action.reason]);
        return;
      case 'detach':
        this.#path.detach();
        return;
      case 'awaitDrain':
        if (this.#path.receives.outstanding === 0) this.#life.step({ is: 'drained' });
        return;
      case 'part':
        this.#path.detach();
        this.#side?.end(action.end, () => this.#parted());
        return;
    }
  }

  #parted(): void {
    this.#life.step({ is: 'parted' });
    if (this.isDisabled) this.#side = null;
  }

  #unpin(packet: IncomingPacket): void {
    if (packet.external !== null) this.#side?.unpin(packet.external);
  }

  /** For messages: `channel net (guest)`. */
  get subject(): string {
    return `channel ${this.settings.name === '' ? this.relid : this.settings.name} (${this.role})`;
  }
}

/** The range that a list of whole pages makes. */
function wholePages(pfns: ArrayLike<number>, pfnCount: number): GpaRange {
  return { byteCount: pfnCount * PAGE_BYTES, byteOffset: 0, pfns: Array.from(pfns).slice(0, pfnCount) };
}
