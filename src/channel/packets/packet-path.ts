/**
 * Both rings of an open channel, and the turns in which they are worked on.
 *
 * One doorbell per direction says "data for you" and "room for you" alike, so each turn looks at both rings: it moves
 * what waits into the outgoing ring, takes what came, tells the driver that a batch is over, and then publishes both
 * indexes and signals once. Before it ends it asks for signals again and looks once more, so nothing that arrives in
 * between is missed. A turn takes a bounded number of packets; the rest waits for the next one.
 */
import { assert, PeerError } from '../../errors.ts';
import type { RingReader, RingWriter } from '../../ring/index.ts';
import type { ChannelEndpoint } from '../channel-endpoint.ts';
import { Irql, swapIrql } from '../irql.ts';
import type { Scheduler } from '../scheduler.ts';
import type { ChannelSettings } from '../settings.ts';
import type { PacketWatch } from '../watch.ts';
import type { IncomingPacket } from './incoming-packet.ts';
import { Pause, ReceivePath, type ReceivePathOwner } from './receive-path.ts';
import { SendPath, type SendPathOwner } from './send-path.ts';
import { ChannelStatistics } from './statistics.ts';

/** What the packets of a channel mean to its owner. */
export interface PacketPathOwner {
  deliver(packet: IncomingPacket): void;
  batchEnd(packetCount: number): void;
  /** No incoming packet is with the driver any more. */
  drained(): void;
  /** The peer broke the ring: it is not touched any more. */
  faulted(error: PeerError): void;
}

interface Rings {
  readonly reader: RingReader;
  /** Signals the peer. */
  readonly signal: () => void;
  readonly scheduler: Scheduler;
}

/** Times that routines are run before a save is refused; each runs hundreds. */
const ROUTINE_ROUNDS = 1000;

type PacketTap = ((bytes: Uint8Array, at: number, packetBytes: number) => void) | null;

export class PacketPath implements SendPathOwner, ReceivePathOwner {
  readonly statistics = new ChannelStatistics();
  readonly sends: SendPath;
  readonly receives: ReceivePath;
  packetSent: PacketTap = null;
  packetReceived: PacketTap = null;

  readonly #owner: PacketPathOwner;
  readonly #settings: ChannelSettings;
  readonly #dispatchTurn = (): void => this.#queuedTurn(Irql.Dispatch);
  readonly #passiveTurn = (): void => this.#queuedTurn(Irql.Passive);
  #rings: Rings | null = null;
  #frozen: { readonly rings: Rings | null; readonly writer: RingWriter | null } | null = null;
  #isPassiveOnly = false;
  #dispatchShare = 1;
  #isInTurn = false;
  #isDispatchQueued = false;
  #isPassiveQueued = false;

  constructor(owner: PacketPathOwner, endpoint: ChannelEndpoint, settings: ChannelSettings) {
    this.#owner = owner;
    this.#settings = settings;
    this.sends = new SendPath(this, this.statistics);
    this.receives = new ReceivePath(this, endpoint, this.sends, settings, this.statistics);
  }

  /** Tells the verifier of each step of a packet. */
  setWatch(watch: PacketWatch | null): void {
    this.sends.watch = watch;
    this.receives.isPooling = watch === null;
  }

  get isAttached(): boolean {
    return this.#rings !== null;
  }

  /** Deliver at PASSIVE only. */
  setPassiveOnly(isPassiveOnly: boolean): void {
    this.#isPassiveOnly = isPassiveOnly;
  }

  /** See `ChannelEndpoint.setDispatchShare`. */
  setDispatchShare(share: number): void {
    this.#dispatchShare = share;
  }

  /** Takes up both rings. Nothing flows before `setRunning`. */
  attach(reader: RingReader, writer: RingWriter, signal: () => void, scheduler: Scheduler): void {
    this.#frozen = null;
    this.#rings = { reader, signal, scheduler };
    this.sends.attach(writer, this.#settings.isPipe);
    this.receives.attach(reader);
  }

  /** Lets go of both rings, for good; a later `attach` brings new ones. */
  detach(): void {
    this.#frozen = null;
    this.#rings = null;
    this.sends.detach();
    this.receives.detach();
  }

  /** Opens or closes the gates for data in both directions. */
  setRunning(isRunning: boolean): void {
    if (isRunning) this.thaw();
    this.sends.setRunning(isRunning);
    this.receives.setRunning(isRunning);
    // A packet that waits for PASSIVE would not be looked at otherwise.
    if (isRunning) this.needsTurn(this.receives.awaitsPassive);
  }

  get isFrozen(): boolean {
    return this.#frozen !== null;
  }

  /**
   * Takes the hands off both rings, as they are, until `thaw`: nothing goes in, nothing is taken out, not even a
   * completion, and doorbells are not heard. For a save: what is captured then stays true.
   * @returns false if something is going on here; nothing has changed
   */
  freeze(): boolean {
    if (this.#frozen !== null || this.#isInTurn) return false;
    const rings = this.#rings;
    // What a driver sends from a routine is queued: the channel does not run.
    for (let left = ROUTINE_ROUNDS; !this.sends.isAtRest && left > 0; left--) this.sends.runRoutines();
    if (!this.sends.isAtRest || this.#rings !== rings) return false;
    if (rings?.reader.release() === true) this.ringDoorbell();
    this.#rings = null;
    this.#frozen = { rings, writer: this.sends.freeze() };
    return true;
  }

  /** Goes on where `freeze` stopped. */
  thaw(): void {
    const frozen = this.#frozen;
    if (frozen === null) return;
    this.#frozen = null;
    this.#rings = frozen.rings;
    this.sends.thaw(frozen.writer);
    // For the doorbells that were not heard.
    this.needsTurn();
  }

  /** The peer signalled: from a fresh turn of the scheduler. */
  doorbell(): void {
    this.statistics.doorbellsReceived++;
    if (this.#isPassiveOnly) this.needsTurn(true);
    else this.#turn(Irql.Dispatch);
  }

  needsTurn(needsPassive = false): void {
    const rings = this.#rings;
    if (rings === null) return;
    if (needsPassive || this.#isPassiveOnly) {
      if (this.#isPassiveQueued) return;
      this.#isPassiveQueued = true;
      rings.scheduler.passive(this.#passiveTurn);
    } else if (!this.#isDispatchQueued) {
      this.#isDispatchQueued = true;
      rings.scheduler.dispatch(this.#dispatchTurn);
    }
  }

  ringDoorbell(): void {
    const rings = this.#rings;
    if (rings === null) return;
    this.statistics.doorbellsRung++;
    rings.signal();
  }

  deliver(packet: IncomingPacket): void {
    this.#owner.deliver(packet);
  }

  drained(): void {
    this.#owner.drained();
  }

  faulted(error: PeerError): void {
    this.detach();
    this.#owner.faulted(error);
  }

  #queuedTurn(level: Irql): void {
    if (level === Irql.Passive) this.#isPassiveQueued = false;
    else this.#isDispatchQueued = false;
    // PASSIVE may have been asked for while it was queued.
    if (level === Irql.Dispatch && this.#isPassiveOnly) this.needsTurn(true);
    else this.#turn(level);
  }

  #turn(level: Irql): void {
    if (this.#rings === null) return;
    assert(!this.#isInTurn, 'a doorbell came from inside a callback: transports deliver it from a fresh turn');
    this.#isInTurn = true;
    const levelBefore = swapIrql(level);
    this.sends.beginBatch();
    try {
      this.#workOrFault(this.#rings, level);
    } finally {
      // A driver's exception goes up from here; the batch is published and the level put back all the same.
      try {
        this.sends.endBatch();
      } finally {
        this.#isInTurn = false;
        swapIrql(levelBefore);
      }
    }
  }

  #workOrFault(rings: Rings, level: Irql): void {
    try {
      this.#work(rings, level);
    } catch (error) {
      if (error instanceof PeerError) {
        this.faulted(error);
        return;
      }
      // A bug of the driver's goes up, but what waits behind it must not wait for ever.
      this.needsTurn();
      throw error;
    }
  }

  #work(rings: Rings, level: Irql): void {
    const { reader } = rings;
    const { receives, sends } = this;
    const { packetsPerTurn } = this.#settings;
    const isCut = level === Irql.Dispatch && this.#dispatchShare < 1;
    receives.turnBudget = isCut ? Math.max(1, Math.floor(packetsPerTurn * this.#dispatchShare)) : packetsPerTurn;
    if (!reader.isMasked) reader.mask();
    for (;;) {
      sends.flush();
      const pause = receives.drain(level);
      const isOver = pause !== Pause.More || receives.turnBudget <= 0;
      if (isOver) this.#endDeliveries();
      if (this.#rings !== rings) return;
      const isRoomAwaited = reader.release();
      const isDataAwaited = sends.publish();
      if (isRoomAwaited || isDataAwaited) this.ringDoorbell();
      if (this.#rings !== rings) return;
      sends.runRoutines();
      if (pause === Pause.Blocked) return;
      if (pause === Pause.Empty && !reader.unmask()) return;
      if (receives.turnBudget <= 0) {
        this.needsTurn(level === Irql.Passive || isCut);
        return;
      }
    }
  }

  /** Delivery pauses: the driver may flush what it gathered. */
  #endDeliveries(): void {
    const packetCount = this.receives.batchCount;
    if (packetCount === 0) return;
    this.receives.batchCount = 0;
    this.#owner.batchEnd(packetCount);
  }
}
