/**
 * The incoming half of a channel: ring, pool of packets, what is with the driver.
 *
 * Packets are taken in ring order. A completion ends a transaction of ours. A data packet is copied to a pooled object
 * and delivered, if the channel runs, the driver is below its quota, and no packet before it waits to be delivered
 * again. What may not be taken yet stays in the ring.
 */
import { PeerError } from '../../errors.ts';
import { PacketBuffer, RingRead, type RingReader } from '../../ring/index.ts';
import { align8 } from '../../wire/align.ts';
import { MAX_PACKET_BYTES, PacketType, PipeHeader, TRAILER_BYTES } from '../../wire/packet.ts';
import type { ChannelEndpoint } from '../channel-endpoint.ts';
import { Irql } from '../irql.ts';
import type { ChannelSettings } from '../settings.ts';
import { IncomingPacket, IncomingState } from './incoming-packet.ts';
import { PayloadViews } from './payload-views.ts';
import type { SendPath } from './send-path.ts';
import type { ChannelStatistics } from './statistics.ts';

/** Why taking packets came to a pause. */
export const Pause = {
  /** The ring is empty. */
  Empty: 0,
  /** Something has to happen first: a completion, a start, another level, pages that arrive. */
  Blocked: 1,
  /** There may be more; the writer should get its room, or others their turn, before. */
  More: 2,
} as const;
export type Pause = (typeof Pause)[keyof typeof Pause];

type ParkedUntil = 'passive' | 'data';

/** Room that a new packet object starts with; a longer packet makes it grow once. */
const NEW_PACKET_PAYLOAD_BYTES = 1024;
const NEW_PACKET_HEADER_BYTES = 64;

/** What the receive path needs from the channel around it. */
export interface ReceivePathOwner {
  deliver(packet: IncomingPacket): void;
  /** Try again soon, at PASSIVE if asked. */
  needsTurn(needsPassive: boolean): void;
  /** No packet is with the driver any more. */
  drained(): void;
  /** Called for each packet taken; `null` without a tap. */
  readonly packetReceived: ((bytes: Uint8Array, at: number, packetBytes: number) => void) | null;
}

export class ReceivePath {
  /** Packets that may be with the driver at once. */
  quota = Number.POSITIVE_INFINITY;
  /** Deliveries since the driver was last told that a batch is over. */
  batchCount = 0;
  /** Packets that the current turn may still take. */
  turnBudget = 0;
  /** False under a verifier: a packet object that is never used twice shows who uses it too late. */
  isPooling = true;

  readonly #owner: ReceivePathOwner;
  readonly #endpoint: ChannelEndpoint;
  readonly #sends: SendPath;
  readonly #settings: ChannelSettings;
  readonly #statistics: ChannelStatistics;
  readonly #completion = new PacketBuffer(0);
  readonly #completionViews = new PayloadViews();
  #pool: IncomingPacket[] = [];
  #reader: RingReader | null = null;
  /** Ring bytes taken after which the writer should get them back. */
  #releaseAtBytes = 0;
  /** Longest payload that is accepted, framing and padding included. */
  #maxPayloadBytes = 0;
  /** A packet that comes first when delivery goes on. */
  #parked: IncomingPacket | null = null;
  #parkedUntil: ParkedUntil = 'passive';
  /** Peeked at what `restore` was given, until the ring is there. */
  #restored: RingReader | null = null;
  #isRunning = false;
  /** The driver gave up on the channel: nothing is delivered until it is opened anew. */
  #hasGivenUp = false;
  #isAtQuota = false;
  #outstanding = 0;

  constructor(
    owner: ReceivePathOwner,
    endpoint: ChannelEndpoint,
    sends: SendPath,
    settings: ChannelSettings,
    statistics: ChannelStatistics,
  ) {
    this.#owner = owner;
    this.#endpoint = endpoint;
    this.#sends = sends;
    this.#settings = settings;
    this.#statistics = statistics;
  }

  /** Packets that are with the driver. */
  get outstanding(): number {
    return this.#outstanding;
  }

  attach(reader: RingReader): void {
    const { maxPacketBytes, isPipe } = this.#settings;
    this.#reader = reader;
    this.#releaseAtBytes = reader.inspect().dataBytes / 8;
    // No packet is longer, and `align8` is for small numbers.
    this.#maxPayloadBytes = align8(Math.min(maxPacketBytes, MAX_PACKET_BYTES) + (isPipe ? PipeHeader.size : 0));
    this.#hasGivenUp = false;
    this.#isAtQuota = false;
    // The sizes may have changed since the pool was filled.
    this.#pool = [];
    if (this.#restored !== null) this.#parkRestored(this.#restored);
    this.#restored = null;
  }

  /** A packet waits to be delivered again at PASSIVE. */
  get awaitsPassive(): boolean {
    return this.#parked !== null && this.#parkedUntil === 'passive';
  }

  /** The packet that waits to be delivered again, for a save. */
  capture(): Uint8Array | null {
    return this.#parked === null ? null : this.#parked.bytes.slice(0, this.#parked.packetBytes);
  }

  /** The packet that another host had taken out of the ring and not delivered for good: it comes first, at PASSIVE. */
  restore(parked: RingReader): void {
    this.#restored = parked;
  }

  #parkRestored(reader: RingReader): void {
    const packet = this.#newPacket();
    packet.takeFrom(reader, this.#settings.isPipe);
    packet.state = IncomingState.Parked;
    this.#parked = packet;
    this.#parkedUntil = 'passive';
  }

  /** Forgets the ring, and a packet that waits to be delivered again: nobody owns it. */
  detach(): void {
    this.#reader = null;
    this.#isRunning = false;
    this.#parked = null;
    this.#restored = null;
  }

  /** Opens or closes the gate for data packets; completions at the head of the ring are taken either way. */
  setRunning(isRunning: boolean): void {
    this.#isRunning = isRunning;
  }

  /**
   * Takes packets until the ring is empty, something blocks, or it is time to give the room back.
   * @throws PeerError for a broken ring, or a completion of what was never sent
   */
  drain(level: Irql): Pause {
    const reader = this.#reader;
    while (reader !== null && this.turnBudget > 0) {
      if (this.#parked !== null) {
        if (!this.#mayRedeliver(level)) return Pause.Blocked;
        this.#redeliver(this.#parked);
      } else {
        if (reader.peek() === RingRead.Empty) return Pause.Empty;
        if (reader.packetType === PacketType.Completion) {
          this.#takeCompletion(reader);
        } else {
          if (!this.#mayDeliver()) return Pause.Blocked;
          this.#takeData(reader);
        }
      }
      this.turnBudget--;
      // A callback may have ended the channel.
      if (this.#reader !== reader) return Pause.Blocked;
      if (reader.unreleasedBytes >= this.#releaseAtBytes) return Pause.More;
    }
    return reader === null ? Pause.Blocked : Pause.More;
  }

  /** The driver is done with a packet; its completion goes out if the sender asked for one. */
  complete(packet: IncomingPacket, payload: Uint8Array | null, payloadBytes: number): void {
    if (packet.wantsCompletion) this.#sends.sendCompletion(packet.idLo, packet.idHi, payload, payloadBytes);
    this.#takeBack(packet, 'the packet was completed');
  }

  /** The driver wants this packet again at PASSIVE; only while it is being delivered. */
  deferToPassive(packet: IncomingPacket): void {
    packet.state = IncomingState.Parked;
    this.#park(packet, 'passive');
    this.#owner.needsTurn(true);
  }

  /** The driver cannot go on: nothing is delivered until the channel is opened anew. */
  fail(packet: IncomingPacket): void {
    this.#hasGivenUp = true;
    this.#takeBack(packet, 'the packet was failed');
  }

  /** Pages that a parked packet waits for are there. */
  dataArrived(packet: IncomingPacket): void {
    packet.isAwaitingData = false;
    if (this.#parked === packet) this.#owner.needsTurn(false);
  }

  inspect(): {
    outstanding: number;
    quota: number;
    isParked: boolean;
    hasGivenUp: boolean;
    ring: ReturnType<RingReader['inspect']> | null;
  } {
    return {
      outstanding: this.#outstanding,
      quota: this.quota,
      isParked: this.#parked !== null,
      hasGivenUp: this.#hasGivenUp,
      ring: this.#reader?.inspect() ?? null,
    };
  }

  #mayDeliver(): boolean {
    if (!this.#isRunning || this.#hasGivenUp) return false;
    this.#isAtQuota = this.#outstanding >= this.quota;
    return !this.#isAtQuota;
  }

  #mayRedeliver(level: Irql): boolean {
    const packet = this.#parked;
    if (packet === null || !this.#isRunning || this.#hasGivenUp) return false;
    return this.#parkedUntil === 'passive' ? level === Irql.Passive : !packet.isAwaitingData;
  }

  #redeliver(packet: IncomingPacket): void {
    this.#parked = null;
    this.#deliver(packet);
  }

  #takeData(reader: RingReader): void {
    if (reader.packetType !== PacketType.InBand && reader.packetType !== PacketType.TransferPages) {
      if (this.#skips(reader)) return;
    }
    const payloadBytes = reader.packetBytes - reader.dataOffset8 * 8;
    if (payloadBytes > this.#maxPayloadBytes) throw this.#tooLong(payloadBytes);
    const packet = this.#pool.pop() ?? this.#newPacket();
    packet.takeFrom(reader, this.#settings.isPipe);
    this.#passed(reader, packet.bytes);
    this.#statistics.packetsReceived++;
    this.#statistics.payloadBytesReceived += packet.payloadBytes;
    this.#deliver(packet);
  }

  /**
   * Types that need a look: external data comes from guests only, and an unknown type from a host is passed over
   * (readers of guests let those through; see `RingReaderOptions.passUnknownTypes`).
   */
  #skips(reader: RingReader): boolean {
    if (this.#endpoint.role === 'host') return false;
    if (reader.packetType === PacketType.GpaDirect) {
      throw new PeerError('ERR_RING_TYPE', 'the host sent a GPA-direct packet; only guests describe their memory');
    }
    this.#statistics.packetsSkipped++;
    this.#statistics.ringBytesReceived += reader.packetBytes + TRAILER_BYTES;
    reader.advance();
    return true;
  }

  #takeCompletion(reader: RingReader): void {
    const completion = this.#completion;
    reader.copyPacket(completion);
    const { idLo, idHi, dataOffset8, packetBytes } = reader;
    this.#passed(reader, completion.bytes);
    this.#statistics.completionsReceived++;
    const payload = this.#completionViews.from(completion.bytes, dataOffset8);
    if (this.#sends.finish(idLo, idHi, payload, packetBytes - dataOffset8 * 8)) return;
    throw new PeerError('ERR_RING_TRANSACTION', `a completion for transaction ${idHi}:${idLo}, which is not in flight`);
  }

  #passed(reader: RingReader, copy: Uint8Array): void {
    const { packetBytes } = reader;
    reader.advance();
    this.#statistics.ringBytesReceived += packetBytes + TRAILER_BYTES;
    const { packetReceived } = this.#owner;
    if (packetReceived !== null) packetReceived(copy, 0, packetBytes);
  }

  #deliver(packet: IncomingPacket): void {
    this.#outstanding++;
    this.batchCount++;
    packet.state = IncomingState.Delivering;
    this.#owner.deliver(packet);
    // Completed, failed or deferred in-line: no longer ours to look at.
    if (packet.state !== IncomingState.Delivering) return;
    if (packet.isAwaitingData) this.#park(packet, 'data');
    else packet.state = IncomingState.Held;
  }

  #park(packet: IncomingPacket, until: ParkedUntil): void {
    packet.state = IncomingState.Parked;
    this.#parked = packet;
    this.#parkedUntil = until;
    this.#oneLess();
  }

  #takeBack(packet: IncomingPacket, reason: string): void {
    packet.external?.invalidate(reason);
    packet.external = null;
    packet.isAwaitingData = false;
    packet.state = IncomingState.Free;
    if (this.isPooling) this.#pool.push(packet);
    this.#oneLess();
  }

  #oneLess(): void {
    this.#outstanding--;
    if (this.#isAtQuota && this.#outstanding < this.quota) {
      this.#isAtQuota = false;
      this.#owner.needsTurn(false);
    }
    if (this.#outstanding === 0) this.#owner.drained();
  }

  #newPacket(): IncomingPacket {
    const { maxPacketBytes, contextBytes } = this.#settings;
    const capacityBytes = Math.min(maxPacketBytes, NEW_PACKET_PAYLOAD_BYTES) + NEW_PACKET_HEADER_BYTES;
    return new IncomingPacket(this.#endpoint, capacityBytes, contextBytes);
  }

  #tooLong(payloadBytes: number): PeerError {
    const { maxPacketBytes } = this.#settings;
    return new PeerError(
      'ERR_RING_LENGTHS',
      `a packet with ${payloadBytes} bytes of payload; this channel takes ${maxPacketBytes}`,
    );
  }
}
