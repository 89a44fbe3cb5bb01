/**
 * One end of one channel: what a device is given.
 *
 * It joins the life cycle (`life-cycle.ts`), the packets (`packet-path.ts`) and the way to the bus (`ChannelSide`), and
 * calls its driver. State-change callbacks run at PASSIVE, one at a time, and may return promises; packet callbacks and
 * completions run at DISPATCH or below and may not.
 */
import { type PeerError, UsageError } from '../errors.ts';
import { type GuestMemory, Mdl } from '../memory/index.ts';
import type { RingReader, RingWriter } from '../ring/index.ts';
import type { GpaRange } from '../wire/gpa-range.ts';
import type { Guid } from '../wire/guid.ts';
import {
  NT_SUCCESS,
  type NtStatus,
  STATUS_INVALID_DEVICE_STATE,
  STATUS_PENDING,
  STATUS_UNSUCCESSFUL,
} from '../wire/ntstatus.ts';
import { inBandBytes } from '../wire/packet.ts';
import type { ChannelSide, CreatedGpadl, GpadlAccess, GpadlMapping } from './channel-side.ts';
import { type ExternalData, mapExternalData } from './external-data.ts';
import type { IncomingPacket } from './incoming-packet.ts';
import {
  type Ending,
  type LifeAction,
  type LifeEvent,
  type LifeState,
  REASON_STATUS,
  type Reason,
  stepLife,
} from './life-cycle.ts';
import type { MmioRange } from './mmio-space.ts';
import type { OutgoingPacket } from './outgoing-packet.ts';
import { PacketPath, type PacketPathOwner } from './packet-path.ts';
import type { Scheduler } from './scheduler.ts';
import { type ChannelSettings, defaultSettings } from './settings.ts';
import type { ChannelStatistics } from './statistics.ts';
import type { ChannelTap } from './tap.ts';

/** What a channel calls. */
export interface ChannelDriver {
  /** First of an open cycle. @returns a failure to refuse; then nothing follows */
  opened(): NtStatus | Promise<NtStatus>;
  /** Configured; sends wait until it returns. */
  started(): void | Promise<void>;
  /** Packets flow. */
  postStarted(): void | Promise<void>;
  /** No packet is delivered from here on; complete what you hold. */
  suspend(): void | Promise<void>;
  /** The end of the open cycle. */
  closed(): void | Promise<void>;
  /** Right after `closed` was dealt with; may throw what `closed` left undone. */
  afterClosed?(): void;
  /** A located offer could not be opened. */
  openFailed(status: NtStatus): void;
  /** A data packet. It is the driver's until `complete`, `failIncoming`, or `deferToPassive`. */
  packet(packet: IncomingPacket): void;
  /** Delivery pauses after that many packets. */
  batchEnd(packetCount: number): void;
}

interface Waiter {
  readonly isOver: (at: LifeState['at']) => boolean;
  readonly resolve: () => void;
}

export class ChannelEndpoint implements PacketPathOwner {
  readonly role: 'guest' | 'host';
  /** To be changed while Disabled only. */
  readonly settings: ChannelSettings = defaultSettings();
  /** Guest: how long a monitored notification may be delayed, in units of 100 ns. */
  interruptLatency100ns = 0;
  /** True in the synchronous part of a state-change callback. */
  isInStateCallback = false;

  readonly #driver: ChannelDriver;
  readonly #path: PacketPath;
  #state: LifeState = { at: 'disabled', isPauseArmed: false };
  #side: ChannelSide | null = null;
  #waiters: Waiter[] = [];
  #tap: ChannelTap | null = null;

  constructor(role: 'guest' | 'host', driver: ChannelDriver) {
    this.role = role;
    this.#driver = driver;
    this.#path = new PacketPath(this, this, this.settings);
  }

  // --- what it is

  get stage(): LifeState['at'] {
    return this.#state.at;
  }

  get isDisabled(): boolean {
    return this.#state.at === 'disabled';
  }

  /** From the Opened callback to the Closed callback, both included. */
  get isOpen(): boolean {
    const { at } = this.#state;
    return at !== 'disabled' && at !== 'enabled' && at !== 'parting';
  }

  /** It shall end, by us or by the peer. */
  get isEnding(): boolean {
    return 'end' in this.#state && this.#state.end !== null;
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

  // --- its life

  /**
   * Makes the channel known to the bus; returns at once.
   * @throws UsageError `ERR_STATE` unless it is Disabled
   */
  enable(side: ChannelSide): void {
    if (!this.isDisabled) throw new UsageError('ERR_STATE', `enable: ${this.#subject} is ${this.stage}`);
    this.#side = side;
    this.#step({ is: 'enable', run: this.role === 'guest' });
  }

  /** Closes (guest) or takes the offer back (host). Resolves when all is torn down and the channel Disabled. */
  disable(): Promise<void> {
    this.#step({ is: 'disable' });
    return this.#wait((at) => at === 'disabled');
  }

  /** Lets the channel run, now or as soon as it is open. */
  start(): void {
    this.#step({ is: 'start' });
  }

  /** Stops the channel. Resolves when nothing runs and no incoming packet is with the driver. */
  pause(): Promise<void> {
    this.#step({ is: 'pause' });
    return this.#wait((at) => AT_REST.has(at));
  }

  // --- what its side reports

  /** Takes up the rings; from now on doorbells may come, and are remembered until the channel runs. */
  attach(reader: RingReader, writer: RingWriter, signal: () => void): void {
    if (this.#side === null) throw new UsageError('ERR_STATE', `attach: ${this.#subject} is ${this.stage}`);
    this.#path.attach(reader, writer, signal, this.#side.scheduler);
  }

  /** The rings that were attached will not be used after all. */
  detach(): void {
    this.#path.detach();
  }

  /** Both ends agree that the channel is open. */
  peerOpened(): void {
    this.#step({ is: 'peerOpened' });
  }

  /** The offer could not be opened; the side is done with it. */
  openFailed(status: NtStatus): void {
    this.#step({ is: 'openFailed', status });
  }

  /** The channel ends, and not by our wish. */
  ended(reason: Reason, endsAs: Ending['endsAs']): void {
    this.#step({ is: 'ended', end: { reason, endsAs } });
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
    return this.canCarry(inBandBytes(payloadBytes));
  }

  /** Whether a packet of that many bytes would go into the ring at once. */
  hasRoomNow(packetBytes: number): boolean {
    return this.#path.sends.hasRoomNow(packetBytes);
  }

  /** Bytes only. `packet.completed` runs exactly once. */
  sendInBand(packet: OutgoingPacket, payload: Uint8Array | null, payloadBytes: number, wantsCompletion: boolean): void {
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
    this.#unpin(packet);
    this.#path.receives.complete(packet, payload, payloadBytes);
  }

  /** Deliver this packet again at PASSIVE; only from its own `packet` callback. */
  deferToPassive(packet: IncomingPacket): void {
    this.#path.receives.deferToPassive(packet);
  }

  /** Deliver nothing any more until the channel is opened anew. */
  failIncoming(packet: IncomingPacket): void {
    this.#unpin(packet);
    this.#path.receives.fail(packet);
  }

  /**
   * The sender's pages. `STATUS_PENDING`: not there yet, return from the `packet` callback and it is called again.
   */
  externalData(packet: IncomingPacket): ExternalData {
    if (packet.external !== null) return { status: 0, mdl: packet.external };
    const side = this.#side;
    if (side === null) return { status: STATUS_INVALID_DEVICE_STATE, mdl: null };
    const { maxExternalBytes, maxExternalRanges } = this.settings;
    const data = mapExternalData(packet, side.memory, maxExternalBytes, maxExternalRanges);
    if (data.mdl === null) return data;
    if (!side.pin(data.mdl, () => this.#path.receives.dataArrived(packet))) {
      packet.isAwaitingData = true;
      return { status: STATUS_PENDING, mdl: null };
    }
    packet.external = data.mdl;
    this.statistics.externalBytesReceived += Mdl.totalBytes(data.mdl);
    return data;
  }

  setPassiveOnly(isPassiveOnly: boolean): void {
    this.#path.setPassiveOnly(isPassiveOnly);
  }

  /** Packets that may be with the driver at once; raising it does not go on with a blocked queue. */
  setQuota(packets: number): void {
    this.#path.receives.quota = packets;
  }

  // --- GPADLs

  async createGpadl(ranges: readonly GpaRange[], access: GpadlAccess): Promise<CreatedGpadl> {
    if (this.#side === null) return { status: STATUS_INVALID_DEVICE_STATE, gpadlId: 0 };
    return await this.#side.createGpadl(ranges, access);
  }

  async deleteGpadl(gpadlId: number): Promise<void> {
    await this.#side?.deleteGpadl(gpadlId);
  }

  mapGpadl(gpadlId: number, access: GpadlAccess): GpadlMapping {
    if (this.#side === null || !this.isOpen) return { status: STATUS_INVALID_DEVICE_STATE, mdl: null };
    return this.#side.mapGpadl(gpadlId, access);
  }

  unmapGpadl(gpadlId: number): boolean {
    return this.#side?.unmapGpadl(gpadlId) === true;
  }

  inspect(): object {
    return {
      name: this.settings.name,
      role: this.role,
      state: this.#state,
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
    this.#driver.packet(packet);
  }

  batchEnd(packetCount: number): void {
    this.#driver.batchEnd(packetCount);
  }

  drained(): void {
    if (this.#state.at === 'draining') this.#step({ is: 'drained' });
  }

  /** The peer broke the protocol: this channel ends, everything else lives on. */
  faulted(error: PeerError): void {
    this.#tap?.faulted?.(this, error);
    // The life cycle moves in a turn of its own: this may be the middle of a send or a delivery.
    this.#side?.scheduler.passive(() => {
      if (this.isOpen) this.ended('faulted', this.role === 'host' ? 'enabled' : 'disabled');
    });
  }

  // --- the machinery

  #step(event: LifeEvent): void {
    const before = this.#state;
    const { next, actions } = stepLife(before, event, this.#subject);
    this.#state = next;
    if (next.at !== before.at) this.#tap?.stateChanged?.(this, before.at, next.at);
    for (const action of actions) this.#do(action);
    this.#wake();
  }

  #do(action: LifeAction): void {
    switch (action.do) {
      case 'begin':
        this.#side?.begin();
        return;
      case 'answerOpen':
        this.#side?.openAnswered(action.ok);
        return;
      case 'reportOpenFailure':
        this.#callBack(
          () => this.#driver.openFailed(action.status),
          () => {},
        );
        return;
      case 'runOpened':
        this.#runOpened();
        return;
      case 'runStarted':
        this.#callBack(
          () => this.#driver.started(),
          () => this.#step({ is: 'startedReturned' }),
        );
        return;
      case 'runPostStarted':
        this.#callBack(
          () => this.#driver.postStarted(),
          () => this.#step({ is: 'postStartedReturned' }),
        );
        return;
      case 'runSuspend':
        this.#callBack(
          () => this.#driver.suspend(),
          () => this.#step({ is: 'suspendReturned' }),
        );
        return;
      case 'runClosed':
        this.#callBack(
          () => this.#driver.closed(),
          () => {
            this.#step({ is: 'closedReturned' });
            this.#driver.afterClosed?.();
          },
        );
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
        if (this.#path.receives.outstanding === 0) this.#step({ is: 'drained' });
        return;
      case 'part':
        this.#path.detach();
        this.#side?.end(action.end, () => this.#parted());
        return;
    }
  }

  #runOpened(): void {
    const endsAs = this.role === 'host' ? 'enabled' : 'disabled';
    this.#callBack(
      () => this.#driver.opened(),
      (status) => {
        const isOk = NT_SUCCESS(status ?? STATUS_UNSUCCESSFUL);
        this.#step(isOk ? { is: 'openedReturned', ok: true } : { is: 'openedReturned', ok: false, endsAs });
      },
    );
  }

  #parted(): void {
    this.#step({ is: 'parted' });
    if (this.isDisabled) this.#side = null;
  }

  /** Runs a state-change callback in a turn of its own, and goes on when it (or its promise) is done. */
  #callBack<Outcome>(call: () => Outcome | Promise<Outcome>, done: (outcome: Outcome | undefined) => void): void {
    const scheduler = this.#side?.scheduler;
    scheduler?.passive(() => {
      let outcome: Outcome | Promise<Outcome>;
      this.isInStateCallback = true;
      try {
        outcome = call();
      } catch (error) {
        // A driver that throws has a bug, which goes up; the channel does not hang for it.
        done(undefined);
        throw error;
      } finally {
        this.isInStateCallback = false;
      }
      if (!(outcome instanceof Promise)) {
        done(outcome);
        return;
      }
      outcome.then(done, (error: unknown) => {
        done(undefined);
        throw error;
      });
    });
  }

  #wait(isOver: Waiter['isOver']): Promise<void> {
    return new Promise((resolve) => {
      this.#waiters.push({ isOver, resolve });
      this.#wake();
    });
  }

  #wake(): void {
    if (this.#waiters.length === 0) return;
    const { at } = this.#state;
    const over = this.#waiters.filter((waiter) => waiter.isOver(at));
    this.#waiters = this.#waiters.filter((waiter) => !waiter.isOver(at));
    for (const waiter of over) waiter.resolve();
  }

  #unpin(packet: IncomingPacket): void {
    if (packet.external !== null) this.#side?.unpin(packet.external);
  }

  get #subject(): string {
    return `channel ${this.settings.name === '' ? this.relid : this.settings.name} (${this.role})`;
  }
}

/** States in which a pause is complete: nothing runs, and nothing will without a start or a new open. */
const AT_REST: ReadonlySet<LifeState['at']> = new Set([
  'paused',
  'disabled',
  'enabled',
  'starting',
  'closing',
  'parting',
]);
