/**
 * The outgoing half of a channel: ring, queue, transactions.
 *
 * A packet goes straight into the ring if it may and fits; otherwise it waits, encoded, behind those that wait already.
 * Every packet accepted completes exactly once: when it is in the ring (no completion wanted), when its completion
 * comes, or when `failAll` or `cancel` ends it.
 *
 * Two gates. Data leaves only while the channel runs; completions of incoming packets leave as long as there is a ring,
 * since a channel that is being paused waits for them.
 */
import { PeerError } from '../../errors.ts';
import { PAGE_BYTES } from '../../memory/index.ts';
import { RingWrite, type RingWriter } from '../../ring/index.ts';
import type { GpaRange } from '../../wire/gpa-range.ts';
import { type NtStatus, STATUS_INVALID_BUFFER_SIZE, STATUS_SUCCESS } from '../../wire/ntstatus.ts';
import {
  encodeGpaDirect,
  encodeGpaDirectPfns,
  encodeSimple,
  gpaDirectBytes,
  gpaDirectPfnsBytes,
  inBandBytes,
  PACKET_FLAG_COMPLETION_REQUESTED,
  PacketType,
  PipeHeader,
  TRAILER_BYTES,
} from '../../wire/packet.ts';
import type { PacketWatch } from '../watch.ts';
import { OutgoingPacket, OutgoingState } from './outgoing-packet.ts';
import { OutgoingQueue } from './outgoing-queue.ts';
import { encodePipe } from './pipe.ts';
import type { RestoredSends, SavedSends } from './saved-packets.ts';
import { captureSends, handOverSends, restoreSends } from './saved-sends.ts';
import type { ChannelStatistics } from './statistics.ts';
import { TransactionTable } from './transaction-table.ts';

/** What the send path needs from the channel around it. */
export interface SendPathOwner {
  /** Signal the peer. */
  ringDoorbell(): void;
  /** The ring is broken by the peer; nothing goes out any more. */
  faulted(error: PeerError): void;
  /** Some work is left for a turn of its own. */
  needsTurn(): void;
  /** Called for each packet put into the ring; `null` without a tap. */
  readonly packetSent: ((bytes: Uint8Array, at: number, packetBytes: number) => void) | null;
}

/** Routines of packets without completion that run in a row, before others get a turn. */
const ROUTINES_PER_TURN = 256;

export class SendPath {
  /** The verifier; `null` without one. */
  watch: PacketWatch | null = null;

  readonly #owner: SendPathOwner;
  readonly #statistics: ChannelStatistics;
  readonly #queue = new OutgoingQueue();
  readonly #transactions = new TransactionTable();
  /** In the ring without completion wanted, or never to get there: their routines are due. */
  readonly #sent = new OutgoingQueue();
  /** Objects for completions that have to wait. */
  readonly #carriers: OutgoingPacket[] = [];
  #writer: RingWriter | null = null;
  #isRunning = false;
  #isPipe = false;
  #batchDepth = 0;
  #isRunningRoutines = false;

  constructor(owner: SendPathOwner, statistics: ChannelStatistics) {
    this.#owner = owner;
    this.#statistics = statistics;
  }

  get queuedCount(): number {
    return this.#queue.count;
  }

  get inFlightCount(): number {
    return this.#transactions.count;
  }

  /** Longest packet that the ring can ever take, without trailer; `undefined` while there is no ring. */
  get maxPacketBytes(): number | undefined {
    return this.#writer?.maxPacketBytes;
  }

  attach(writer: RingWriter, isPipe: boolean): void {
    this.#writer = writer;
    this.#isPipe = isPipe;
  }

  /** Forgets the ring. Completions that wait are dropped: there is nobody to read them. */
  detach(): void {
    this.#writer = null;
    this.#isRunning = false;
    this.#transactions.forgetAbandoned();
    for (let packet = this.#queue.head; packet !== null; ) {
      const next: OutgoingPacket | null = packet.next;
      if (packet.isCompletion && this.#queue.remove(packet)) this.#recycle(packet);
      packet = next;
    }
  }

  /** Opens or closes the gate for data. What waits goes out with the next `flush`. */
  setRunning(isRunning: boolean): void {
    this.#isRunning = isRunning;
  }

  /** True if a packet of that many bytes would go into the ring now. */
  hasRoomNow(packetBytes: number): boolean {
    return this.#reserve(packetBytes, false);
  }

  sendInBand(packet: OutgoingPacket, payload: Uint8Array | null, payloadBytes: number, wantsCompletion: boolean): void {
    const framedBytes = this.#isPipe ? payloadBytes + PipeHeader.size : payloadBytes;
    const packetBytes = inBandBytes(framedBytes);
    this.#begin(packet, packetBytes, payloadBytes, 0, wantsCompletion);
    const flags = wantsCompletion ? PACKET_FLAG_COMPLETION_REQUESTED : 0;
    const { idLo, idHi } = packet;
    if (this.#reserve(packetBytes, false)) {
      const { areaWords, areaBytes, areaAt } = this.#writer as RingWriter;
      if (this.#isPipe) encodePipe(areaWords, areaBytes, areaAt, payload, payloadBytes);
      else encodeSimple(PacketType.InBand, areaWords, areaBytes, areaAt, flags, idLo, idHi, payload, payloadBytes);
      this.#commit(packet);
    } else {
      const { words, bytes } = packet.hold(packetBytes);
      if (this.#isPipe) encodePipe(words, bytes, 0, payload, payloadBytes);
      else encodeSimple(PacketType.InBand, words, bytes, 0, flags, idLo, idHi, payload, payloadBytes);
      this.#enqueue(packet);
    }
  }

  /** One range of whole pages, completion wanted; `pfnCount` is 1 or more. */
  sendPfns(
    packet: OutgoingPacket,
    pfns: ArrayLike<number>,
    pfnCount: number,
    payload: Uint8Array | null,
    payloadBytes: number,
  ): void {
    const packetBytes = gpaDirectPfnsBytes(pfnCount, payloadBytes);
    this.#begin(packet, packetBytes, payloadBytes, pfnCount * PAGE_BYTES, true);
    const { idLo, idHi } = packet;
    if (this.#reserve(packetBytes, false)) {
      const { areaWords, areaBytes, areaAt } = this.#writer as RingWriter;
      encodeGpaDirectPfns(areaWords, areaBytes, areaAt, idLo, idHi, pfns, pfnCount, payload, payloadBytes);
      this.#commit(packet);
    } else {
      const { words, bytes } = packet.hold(packetBytes);
      encodeGpaDirectPfns(words, bytes, 0, idLo, idHi, pfns, pfnCount, payload, payloadBytes);
      this.#enqueue(packet);
    }
  }

  /** @throws UsageError `ERR_ARGUMENT` for a malformed range; nothing was sent */
  sendRanges(
    packet: OutgoingPacket,
    ranges: readonly GpaRange[],
    payload: Uint8Array | null,
    payloadBytes: number,
    wantsCompletion: boolean,
  ): void {
    const packetBytes = gpaDirectBytes(ranges, payloadBytes);
    let externalBytes = 0;
    for (const range of ranges) externalBytes += range.byteCount;
    this.#begin(packet, packetBytes, payloadBytes, externalBytes, wantsCompletion);
    const flags = wantsCompletion ? PACKET_FLAG_COMPLETION_REQUESTED : 0;
    const { idLo, idHi } = packet;
    if (this.#reserve(packetBytes, false)) {
      const { areaWords, areaBytes, areaAt } = this.#writer as RingWriter;
      encodeGpaDirect(areaWords, areaBytes, areaAt, flags, idLo, idHi, ranges, payload, payloadBytes);
      this.#commit(packet);
    } else {
      const { words, bytes } = packet.hold(packetBytes);
      encodeGpaDirect(words, bytes, 0, flags, idLo, idHi, ranges, payload, payloadBytes);
      this.#enqueue(packet);
    }
  }

  /** Answers the peer's packet with that id. Dropped if there is no ring any more. */
  sendCompletion(idLo: number, idHi: number, payload: Uint8Array | null, payloadBytes: number): void {
    if (this.#writer === null) return;
    const packetBytes = inBandBytes(payloadBytes);
    if (this.#reserve(packetBytes, true)) {
      const writer = this.#writer;
      const { areaWords, areaBytes, areaAt } = writer;
      encodeSimple(PacketType.Completion, areaWords, areaBytes, areaAt, 0, idLo, idHi, payload, payloadBytes);
      this.#putIn(writer, packetBytes, payloadBytes);
      this.#statistics.completionsSent++;
      if (this.#batchDepth === 0) this.#publish();
      return;
    }
    const carrier = this.#carriers.pop() ?? new OutgoingPacket();
    carrier.isCompletion = true;
    carrier.wantsCompletion = false;
    carrier.packetBytes = packetBytes;
    carrier.payloadBytes = payloadBytes;
    carrier.externalBytes = 0;
    const { words, bytes } = carrier.hold(packetBytes);
    encodeSimple(PacketType.Completion, words, bytes, 0, 0, idLo, idHi, payload, payloadBytes);
    this.#enqueue(carrier);
  }

  /**
   * A completion arrived.
   * @param bytes its payload, valid during the call
   * @returns false if no transaction has that id
   */
  finish(idLo: number, idHi: number, bytes: Uint8Array, byteCount: number): boolean {
    const packet = this.#transactions.take(idLo, idHi);
    if (packet === 'unknown') return false;
    if (packet === 'abandoned') return true;
    packet.state = OutgoingState.Idle;
    this.#end(packet, STATUS_SUCCESS, bytes, byteCount);
    return true;
  }

  /**
   * Ends one packet now. A completion that comes later is ignored.
   * @returns false if it is not under way any more
   */
  cancel(packet: OutgoingPacket, status: NtStatus): boolean {
    if (packet.state === OutgoingState.Queued) {
      this.#queue.remove(packet);
      if (packet.wantsCompletion) this.#transactions.cancel(packet);
    } else if (packet.state === OutgoingState.InFlight) {
      this.#transactions.abandon(packet);
    } else {
      return false;
    }
    packet.state = OutgoingState.Idle;
    this.#end(packet, status, null, 0);
    return true;
  }

  /**
   * Ends every packet that is under way now; those that their routines send are not among them. Completions that come
   * later are ignored.
   */
  failAll(status: NtStatus): void {
    const ended = this.#transactions.owned().filter((packet) => packet.state === OutgoingState.InFlight);
    for (const packet of ended) {
      if (this.#writer === null) this.#transactions.cancel(packet);
      else this.#transactions.abandon(packet);
    }
    for (let packet = this.#queue.head; packet !== null; ) {
      const next: OutgoingPacket | null = packet.next;
      if (!packet.isCompletion) {
        this.#queue.remove(packet);
        if (packet.wantsCompletion) this.#transactions.cancel(packet);
        ended.push(packet);
      }
      packet = next;
    }
    // Until its own routine runs a packet is not its owner's: the routine of another must not send or free it.
    for (const packet of ended) packet.state = OutgoingState.Sent;
    for (const packet of ended) {
      packet.state = OutgoingState.Idle;
      this.#end(packet, status, null, 0);
    }
  }

  /** What is under way, for a save: the channel is frozen. */
  capture(): SavedSends {
    return captureSends(this.#queue, this.#transactions);
  }

  /** Takes up what another host had under way; the channel is Disabled and has nothing under way. */
  restore(saved: RestoredSends): void {
    restoreSends(saved, this.#queue, this.#transactions);
  }

  /** Whether a transaction can be restored under this id. */
  isIdFree(idLo: number): boolean {
    return this.#transactions.isFree(idLo);
  }

  /** Forgets packets that go on elsewhere; no routine runs. */
  handOver(packets: Iterable<OutgoingPacket>): void {
    handOverSends(packets, this.#queue, this.#transactions);
  }

  /** Nobody gathers packets and no routine runs or is due. */
  get isAtRest(): boolean {
    return this.#batchDepth === 0 && !this.#isRunningRoutines && this.#sent.count === 0;
  }

  /** Takes the ring away for a while: nothing goes in. @returns it */
  freeze(): RingWriter | null {
    const writer = this.#writer;
    this.#writer = null;
    return writer;
  }

  thaw(writer: RingWriter | null): void {
    this.#writer = writer;
  }

  /** Until `endBatch`, what is sent is staged and not yet visible. */
  beginBatch(): void {
    this.#batchDepth++;
  }

  /** Publishes the batch, with one signal at most, and runs the routines that are due. */
  endBatch(): void {
    if (--this.#batchDepth > 0) return;
    this.flush();
    this.#publish();
    this.#runRoutines();
  }

  /** Publishes what is staged. @returns true if the peer must be signalled */
  publish(): boolean {
    try {
      return this.#writer?.publish() === true;
    } catch (error) {
      return this.#broken(error);
    }
  }

  /** Puts what waits into the ring as far as it goes, and asks for a signal if it does not go all the way. */
  flush(): void {
    try {
      this.#flush();
    } catch (error) {
      this.#broken(error);
    }
    if (this.#batchDepth === 0) {
      this.#publish();
      this.#runRoutines();
    }
  }

  /** Runs the routines of packets that only had to get into the ring. */
  runRoutines(): void {
    this.#runRoutines();
  }

  inspect(): { queued: number; inFlight: number; ring: ReturnType<RingWriter['inspect']> | null } {
    return {
      queued: this.#queue.count,
      inFlight: this.#transactions.count,
      ring: this.#writer?.inspect() ?? null,
    };
  }

  #begin(
    packet: OutgoingPacket,
    packetBytes: number,
    payloadBytes: number,
    externalBytes: number,
    wantsCompletion: boolean,
  ): void {
    packet.wantsCompletion = wantsCompletion;
    packet.isCompletion = false;
    packet.endStatus = STATUS_SUCCESS;
    packet.packetBytes = packetBytes;
    packet.payloadBytes = payloadBytes;
    packet.externalBytes = externalBytes;
    packet.idLo = 0;
    packet.idHi = 0;
    if (wantsCompletion) this.#transactions.begin(packet);
  }

  /** Room for a packet in the ring, unless it has to wait: for the gate, or behind others. */
  #reserve(packetBytes: number, isCompletion: boolean): boolean {
    const writer = this.#writer;
    if (writer === null) return false;
    if (this.#isRunning ? this.#queue.head !== null : !isCompletion || this.#queue.completionCount > 0) return false;
    if (packetBytes > writer.maxPacketBytes) return false;
    try {
      return writer.reserve(packetBytes) === RingWrite.Staged;
    } catch (error) {
      return this.#broken(error);
    }
  }

  #commit(packet: OutgoingPacket): void {
    this.#putIn(this.#writer as RingWriter, packet.packetBytes, packet.payloadBytes);
    this.#entered(packet);
    if (this.#batchDepth > 0) return;
    this.#publish();
    if (!packet.wantsCompletion) this.#runRoutines();
  }

  /** The packet reserved and filled becomes part of the ring. */
  #putIn(writer: RingWriter, packetBytes: number, payloadBytes: number): void {
    const { packetSent } = this.#owner;
    if (packetSent !== null) packetSent(writer.areaBytes, writer.areaAt, packetBytes);
    writer.commit();
    const statistics = this.#statistics;
    statistics.ringBytesSent += packetBytes + TRAILER_BYTES;
    statistics.payloadBytesSent += payloadBytes;
  }

  /** A data packet is in the ring. */
  #entered(packet: OutgoingPacket): void {
    this.#statistics.packetsSent++;
    this.#statistics.externalBytesSent += packet.externalBytes;
    if (packet.wantsCompletion) {
      packet.state = OutgoingState.InFlight;
    } else {
      packet.state = OutgoingState.Sent;
      this.#sent.push(packet);
    }
    if (this.watch !== null) this.watch.inRing(packet);
  }

  /** The one place where a routine is called. */
  #end(packet: OutgoingPacket, status: NtStatus, bytes: Uint8Array | null, byteCount: number): void {
    if (this.watch !== null) this.watch.ended(packet, status);
    packet.completed(status, bytes, byteCount);
  }

  #enqueue(packet: OutgoingPacket): void {
    packet.state = OutgoingState.Queued;
    this.#statistics.packetsQueued++;
    this.#queue.push(packet);
    if (this.watch !== null) this.watch.queued(packet);
    // Asks for a signal when there is room; in a batch its end does.
    if (this.#batchDepth === 0) this.flush();
  }

  #flush(): void {
    while (this.#queue.head !== null && this.#writer !== null) {
      const blocked = this.#moveQueued(this.#writer);
      if (blocked === null) return;
      // A reader that cannot see this batch would never make room for the next.
      this.#publish();
      if (this.#writer === null || !this.#writer.awaitRoom(blocked.packetBytes)) return;
    }
  }

  /** @returns the packet that found no room, `null` if none is left that may go */
  #moveQueued(writer: RingWriter): OutgoingPacket | null {
    for (let packet = this.#queue.head; packet !== null; ) {
      const next: OutgoingPacket | null = packet.next;
      if (packet.isCompletion || this.#isRunning) {
        if (packet.packetBytes > writer.maxPacketBytes) this.#refuseTooBig(packet);
        else if (writer.reserve(packet.packetBytes) === RingWrite.Full) return packet;
        else this.#moveIn(writer, packet);
      }
      packet = next;
    }
    return null;
  }

  #moveIn(writer: RingWriter, packet: OutgoingPacket): void {
    const { packetBytes, payloadBytes } = packet;
    const held = packet.hold(packetBytes);
    writer.areaBytes.set(held.exactly(packetBytes), writer.areaAt);
    this.#queue.remove(packet);
    this.#putIn(writer, packetBytes, payloadBytes);
    if (packet.isCompletion) {
      this.#statistics.completionsSent++;
      this.#recycle(packet);
    } else {
      this.#entered(packet);
    }
  }

  /** Queued before the ring was known, and the ring that the guest brought is too small for it. */
  #refuseTooBig(packet: OutgoingPacket): void {
    this.#queue.remove(packet);
    if (packet.isCompletion) {
      this.#recycle(packet);
      return;
    }
    if (packet.wantsCompletion) this.#transactions.cancel(packet);
    // Its routine runs with the others, when nobody walks the queue.
    packet.state = OutgoingState.Sent;
    packet.endStatus = STATUS_INVALID_BUFFER_SIZE;
    this.#sent.push(packet);
  }

  #recycle(carrier: OutgoingPacket): void {
    carrier.state = OutgoingState.Idle;
    this.#carriers.push(carrier);
  }

  #publish(): void {
    if (this.publish()) this.#owner.ringDoorbell();
  }

  /** One after the other: a routine that sends again must not pile up calls. */
  #runRoutines(): void {
    if (this.#isRunningRoutines) return;
    this.#isRunningRoutines = true;
    try {
      for (let left = ROUTINES_PER_TURN; this.#sent.head !== null; left--) {
        if (left === 0) {
          this.#owner.needsTurn();
          return;
        }
        const packet = this.#sent.shift() as OutgoingPacket;
        packet.state = OutgoingState.Idle;
        this.#end(packet, packet.endStatus, null, 0);
      }
    } finally {
      this.#isRunningRoutines = false;
    }
  }

  /** The peer's fault ends the ring; anything else is our bug. @returns false */
  #broken(error: unknown): false {
    if (!(error instanceof PeerError)) throw error;
    this.#writer = null;
    this.#owner.faulted(error);
    return false;
  }
}
