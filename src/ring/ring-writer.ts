/**
 * The writing end of a ring.
 *
 * Two levels. The core works in place: `reserve` room, fill the area, `commit`, and `publish` once for a batch. The
 * copying level on it builds whole packets (`stage…`). Nothing is visible to the reader before `publish`.
 *
 * Sources for the rules: Linux `drivers/hv/ring_buffer.c`, `hv_ringbuffer_write` and `hv_signal_on_write`; OpenVMM
 * `vmbus_ring` `lib.rs`. Control words are touched with `Atomics` (sequentially consistent), data with plain stores
 * before the store that publishes them. Our own index is never read back: the peer could have changed it.
 */
import { hex, UsageError } from '../errors.ts';
import { align8 } from '../wire/align.ts';
import type { GpaRange } from '../wire/gpa-range.ts';
import {
  DESCRIPTOR_BYTES,
  encodeGpaDirect,
  encodeGpaDirectPfns,
  encodePayload,
  encodeTrailer,
  encodeTransferPages,
  gpaDirectBytes,
  gpaDirectPfnsBytes,
  MAX_PACKET_BYTES,
  PacketType,
  TRAILER_BYTES,
  type TransferRange,
  transferPagesBytes,
} from '../wire/packet.ts';
import { ControlWord, FEATURE_PENDING_SEND_SIZE, freeBytes, GAP_BYTES, isIndex } from './control-page.ts';
import { copySlots } from './copy-slots.ts';
import { badIndex } from './faults.ts';
import { badPacketBytes, badPfnCount, shortPayload } from './misuse.ts';
import { PacketBuffer } from './packet-buffer.ts';
import type { RingMemory } from './ring-memory.ts';

/** What became of a packet: an ordinary answer, never an error. */
export const RingWrite = { Staged: 0, Full: 1 } as const;
export type RingWrite = (typeof RingWrite)[keyof typeof RingWrite];

export interface RingEndOptions {
  /** Which ring this is, for messages: `channel 7, guest to host`. */
  readonly where?: string;
}

// A binding that another module exports, or ours exports, is looked up and checked at every use in V8; a constant that
// stays here is folded into compiled code. On the packet path that is a third of the time.
const STAGED: RingWrite = RingWrite.Staged;
const FULL: RingWrite = RingWrite.Full;
const HEADER_BYTES = DESCRIPTOR_BYTES;
const TAIL_BYTES = TRAILER_BYTES;
const COPY_SLOTS = copySlots;
const ENCODE_PAYLOAD = encodePayload;
/** First word of a descriptor without extended header: type, and payload at 2 times 8 bytes. */
const IN_BAND = PacketType.InBand | (2 << 16);
const COMPLETION = PacketType.Completion | (2 << 16);
const { In: IN, Out: OUT, InterruptMask: MASK, PendingSendBytes: PENDING } = ControlWord;

/** From here on `set` is faster than the slot loop, when the source is a view of exactly the payload; see `bench/`. */
const SLOT_COPY_BYTES = 128;
/** Longest payload that a descriptor can say. */
const MAX_SIMPLE_BYTES = MAX_PACKET_BYTES - DESCRIPTOR_BYTES;

export class RingWriter {
  /** Longest packet that can ever fit, bytes with descriptor and without trailer. */
  readonly maxPacketBytes: number;
  /**
   * Where to write the packet reserved: `areaBytes[areaAt]` and on, the same memory as `areaWords[areaAt / 4]`. It is
   * the ring itself, or private memory for a packet that wraps or a ring of scattered pages. Valid until `commit`.
   */
  areaBytes: Uint8Array;
  areaWords: Int32Array;
  areaAt = 0;
  /** The same memory as 8-byte slots. */
  #areaSlots: Float64Array;

  readonly #ring: RingMemory;
  readonly #where: string;
  readonly #control: Int32Array;
  readonly #words: Int32Array;
  readonly #bytes: Uint8Array;
  readonly #slots: Float64Array;
  readonly #dataBytes: number;
  readonly #inPlaceBytes: number;
  readonly #scratch = new PacketBuffer(0);
  /** Where the next packet goes; runs ahead of what is published. */
  #in: number;
  #publishedIn: number;
  /** The reader's index as last loaded and checked: the reader only ever makes more room than this. */
  #seenOut: number;
  /** Bytes between `#in` and `#seenOut` that may be written, trailers included. */
  #freeBytes: number;
  /** Bytes of the packet reserved and not committed; 0 if there is none. */
  #reservedBytes = 0;
  #pendingBytes = 0;

  /**
   * Takes over the writing end as it is found: indexes are kept, a pending send size is cleared, and the feature bit
   * says that we use it.
   * @throws PeerError `ERR_RING_INDEX` if an index found is outside the ring
   */
  constructor(ring: RingMemory, options: RingEndOptions = {}) {
    this.#ring = ring;
    this.#where = options.where ?? '';
    this.#control = ring.control;
    this.#words = ring.words;
    this.#bytes = ring.bytes;
    this.#slots = ring.slots;
    this.#dataBytes = ring.dataBytes;
    this.#inPlaceBytes = ring.inPlaceBytes;
    this.areaBytes = ring.bytes;
    this.areaWords = ring.words;
    this.#areaSlots = ring.slots;
    this.maxPacketBytes = Math.min(ring.dataBytes - GAP_BYTES - TRAILER_BYTES, MAX_PACKET_BYTES);
    // The one time that we look at our own index; a ring that was used before goes on where it stood.
    const found = Atomics.load(ring.control, IN);
    if (!isIndex(found, ring.dataBytes)) throw badIndex('write', found, ring.dataBytes, this.#where);
    this.#in = found;
    this.#publishedIn = found;
    this.#seenOut = found;
    this.#freeBytes = 0;
    this.#lookAtOut();
    // Pair with the loads in `RingReader.release`.
    Atomics.store(ring.control, PENDING, 0);
    Atomics.store(ring.control, ControlWord.Features, FEATURE_PENDING_SEND_SIZE);
  }

  /**
   * Room for one packet, to be filled in place and then committed. A second `reserve` forgets the first; room found
   * takes back a wish for a signal.
   * @param packetBytes multiple of 8, descriptor included, trailer not
   * @returns `RingWrite.Full` if there is no room now; then nothing is reserved
   * @throws UsageError `ERR_PACKET_TOO_BIG` if it could never fit, `ERR_ARGUMENT` if it is no packet length
   * @throws PeerError `ERR_RING_INDEX` if the reader's index is outside the ring
   */
  reserve(packetBytes: number): RingWrite {
    if (packetBytes > this.maxPacketBytes) throw this.#tooBig(packetBytes);
    // The first test also refuses fractions and NaN.
    if ((packetBytes & ~7) !== packetBytes || packetBytes < HEADER_BYTES) throw badPacketBytes(packetBytes);
    // Shared memory is looked at only when the last look says no.
    if (packetBytes + TAIL_BYTES > this.#freeBytes && !this.#lookForRoom(packetBytes + TAIL_BYTES)) return FULL;
    if (this.#pendingBytes !== 0) this.stopAwaiting();
    this.#reservedBytes = packetBytes;
    const start = this.#in;
    if (start + packetBytes > this.#inPlaceBytes) {
      this.#useScratch(packetBytes + TAIL_BYTES);
    } else {
      if (this.areaWords !== this.#words) this.#useRing();
      this.areaAt = start;
    }
    return STAGED;
  }

  /**
   * Finishes the packet reserved: adds its trailer, moves on. Still invisible.
   * @throws UsageError `ERR_STATE` if nothing is reserved
   */
  commit(): void {
    const packetBytes = this.#reservedBytes;
    if (packetBytes === 0) throw new UsageError('ERR_STATE', 'commit without a packet reserved');
    this.#finish(packetBytes);
  }

  /**
   * Makes all committed packets visible at once.
   * @returns true if the reader must be signalled: it wants signals, and had read everything before this batch
   * @throws PeerError `ERR_RING_INDEX` if the reader's index is outside the ring; the packets are visible nevertheless
   */
  publish(): boolean {
    const before = this.#publishedIn;
    const next = this.#in;
    if (next === before) return false;
    this.#publishedIn = next;
    // Pairs with the loads in `RingReader` (`peek`, `unmask`, `release`): the packets are there before the index.
    Atomics.store(this.#control, IN, next);
    // Pairs with the exchange in `RingReader.unmask`, which stores the mask and then loads the write index: one of us
    // sees the other.
    if (Atomics.load(this.#control, MASK) !== 0) return false;
    return this.#lookAtOut() === before;
  }

  /**
   * In-band data, copied.
   * @param flags descriptor flags; bit 0 asks for a completion
   * @param idLo low word of the transaction id, signed or unsigned alike; `idHi` is the high word
   * @param payload copied up to `payloadBytes`; a view of exactly the payload is the fastest
   * @returns `RingWrite.Full` if there is no room now; nothing was written
   * @throws UsageError, PeerError as `reserve`; UsageError `ERR_ARGUMENT` if the payload is shorter than it says
   */
  stage(flags: number, idLo: number, idHi: number, payload: Uint8Array, payloadBytes = payload.length): RingWrite {
    return this.#stageSimple(IN_BAND, flags, idLo, idHi, payload, payloadBytes);
  }

  /** The completion of the peer's packet `idHi:idLo`; otherwise as `stage`. `null` is a payload of no bytes. */
  stageCompletion(
    idLo: number,
    idHi: number,
    payload: Uint8Array | null,
    payloadBytes = payload?.length ?? 0,
  ): RingWrite {
    return this.#stageSimple(COMPLETION, 0, idLo, idHi, payload, payloadBytes);
  }

  /** As `stage`, from an aligned buffer: the fastest way to send short payloads that lie in one. */
  stageBuffer(flags: number, idLo: number, idHi: number, payload: PacketBuffer, payloadBytes: number): RingWrite {
    const start = this.#in;
    const totalBytes = payloadBytes + HEADER_BYTES + TAIL_BYTES;
    const slotCount = payloadBytes >>> 3;
    // What is usual, in one piece and without a call: a short payload of whole slots that does not reach its end.
    if (
      slotCount * 8 === payloadBytes &&
      payloadBytes <= SLOT_COPY_BYTES &&
      slotCount <= payload.slots.length &&
      totalBytes <= this.#freeBytes &&
      start + totalBytes < this.#inPlaceBytes &&
      this.#pendingBytes === 0
    ) {
      const words = this.#words;
      const word = start >>> 2;
      const end = start + totalBytes;
      words[word] = IN_BAND;
      words[word + 1] = (slotCount + 2) | (flags << 16);
      words[word + 2] = idLo | 0;
      words[word + 3] = idHi | 0;
      COPY_SLOTS(this.#slots, words, (word >>> 1) + 2, payload.slots, payload.words, 0, slotCount);
      words[(end >>> 2) - 2] = 0;
      words[(end >>> 2) - 1] = start;
      this.#in = end;
      this.#freeBytes -= totalBytes;
      this.#reservedBytes = 0;
      return STAGED;
    }
    return this.#stageUnusual(flags, idLo, idHi, payload, payloadBytes);
  }

  /**
   * A GPA-direct packet with one range of whole pages; a completion is requested.
   * @param pfns page frame numbers; the first `pfnCount` are taken, 1 or more
   */
  stagePfns(
    idLo: number,
    idHi: number,
    pfns: ArrayLike<number>,
    pfnCount: number,
    payload: Uint8Array | null,
    payloadBytes = payload?.length ?? 0,
  ): RingWrite {
    this.#checkPayload(payload, payloadBytes);
    if (!(pfnCount >= 1 && pfnCount <= pfns.length)) throw badPfnCount(pfnCount, pfns.length);
    if (pfnCount * 8 > this.maxPacketBytes) throw this.#tooBig(pfnCount * 8);
    if (this.reserve(gpaDirectPfnsBytes(pfnCount, payloadBytes)) === FULL) return FULL;
    encodeGpaDirectPfns(this.areaWords, this.areaBytes, this.areaAt, idLo, idHi, pfns, pfnCount, payload, payloadBytes);
    this.commit();
    return STAGED;
  }

  /** A GPA-direct packet with any ranges, one or more. @throws UsageError `ERR_ARGUMENT` for a malformed range */
  stageRanges(
    flags: number,
    idLo: number,
    idHi: number,
    ranges: readonly GpaRange[],
    payload: Uint8Array | null,
    payloadBytes = payload?.length ?? 0,
  ): RingWrite {
    this.#checkPayload(payload, payloadBytes);
    if (this.reserve(gpaDirectBytes(ranges, payloadBytes)) === FULL) return FULL;
    encodeGpaDirect(this.areaWords, this.areaBytes, this.areaAt, flags, idLo, idHi, ranges, payload, payloadBytes);
    this.commit();
    return STAGED;
  }

  /** A transfer-pages packet: ranges of the buffer `pageSetId` that both ends share. */
  stageTransferPages(
    flags: number,
    idLo: number,
    idHi: number,
    pageSetId: number,
    ranges: readonly TransferRange[],
    payload: Uint8Array | null,
    payloadBytes = payload?.length ?? 0,
  ): RingWrite {
    this.#checkPayload(payload, payloadBytes);
    if (this.reserve(transferPagesBytes(ranges.length, payloadBytes)) === FULL) return FULL;
    const { areaWords, areaBytes, areaAt } = this;
    encodeTransferPages(areaWords, areaBytes, areaAt, flags, idLo, idHi, pageSetId, ranges, payload, payloadBytes);
    this.commit();
    return STAGED;
  }

  /** A packet that was encoded earlier, descriptor to padding, such as one that waited for room. */
  stagePacket(packet: Uint8Array, packetBytes = packet.length): RingWrite {
    if (!(packetBytes <= packet.length)) throw shortPayload(packet.length, packetBytes);
    if (this.reserve(packetBytes) === FULL) return FULL;
    this.areaBytes.set(packet.length === packetBytes ? packet : packet.subarray(0, packetBytes), this.areaAt);
    this.commit();
    return STAGED;
  }

  /**
   * Asks the reader for a signal when a packet of `packetBytes` has room. Publish first: a batch of ours that the
   * reader cannot see would never make room.
   * @returns true if there is room now after all, and no signal was asked for; false: wait for one, then try again
   * @throws UsageError `ERR_STATE` if committed packets are not published; `ERR_PACKET_TOO_BIG` as `reserve`
   * @throws PeerError `ERR_RING_INDEX` if the reader's index is outside the ring
   */
  awaitRoom(packetBytes: number): boolean {
    if (packetBytes > this.maxPacketBytes) throw this.#tooBig(packetBytes);
    if (this.#in !== this.#publishedIn) throw new UsageError('ERR_STATE', 'publish before waiting for room');
    const neededBytes = align8(packetBytes) + TRAILER_BYTES;
    // Ask for a quarter of the ring at least, so that full and not full do not alternate packet by packet.
    // Source: OpenVMM `vmbus_async` `queue.rs`.
    this.#pendingBytes = Math.max(neededBytes, ((this.#dataBytes - GAP_BYTES) / 4) & ~7);
    // Pairs with the load in `RingReader.release`, which stores the read index and then loads this: one of us sees the
    // other, so no room is ever made in silence.
    Atomics.store(this.#control, PENDING, this.#pendingBytes);
    this.#lookAtOut();
    if (neededBytes > this.#freeBytes) return false;
    this.stopAwaiting();
    return true;
  }

  /** Takes the wish for a signal back, as `reserve` does when it finds room. No effect without one. */
  stopAwaiting(): void {
    if (this.#pendingBytes === 0) return;
    this.#pendingBytes = 0;
    Atomics.store(this.#control, PENDING, 0); // pairs with the load in `RingReader.release`
  }

  /** True while a signal for room is asked for. */
  get isAwaitingRoom(): boolean {
    return this.#pendingBytes !== 0;
  }

  /** Looks whether the reader has read and released everything published. @throws PeerError `ERR_RING_INDEX` */
  loadIsDrained(): boolean {
    return this.#lookAtOut() === this.#publishedIn;
  }

  /** Our side as we know it; shared memory is not looked at. */
  inspect(): {
    dataBytes: number;
    isContiguous: boolean;
    in: number;
    publishedIn: number;
    seenOut: number;
    freeBytes: number;
    pendingSendBytes: number;
  } {
    return {
      dataBytes: this.#dataBytes,
      isContiguous: this.#ring.isContiguous,
      in: this.#in,
      publishedIn: this.#publishedIn,
      seenOut: this.#seenOut,
      freeBytes: this.#freeBytes,
      pendingSendBytes: this.#pendingBytes,
    };
  }

  /**
   * The packets that are most of the traffic: what is usual goes in one piece, since a call that V8 does not inline
   * costs as much as the copy of a short payload.
   */
  #stageSimple(
    descriptor: number,
    flags: number,
    idLo: number,
    idHi: number,
    payload: Uint8Array | null,
    payloadBytes: number,
  ): RingWrite {
    const start = this.#in;
    const slotCount = (payloadBytes + 7) >>> 3;
    const totalBytes = slotCount * 8 + HEADER_BYTES + TAIL_BYTES;
    const present = payload === null ? 0 : payload.length;
    // As in `stageBuffer`; the first test is for the sum above.
    if (
      payloadBytes >= 0 &&
      payloadBytes <= present &&
      payloadBytes <= MAX_SIMPLE_BYTES &&
      totalBytes <= this.#freeBytes &&
      start + totalBytes < this.#inPlaceBytes &&
      this.#pendingBytes === 0
    ) {
      const words = this.#words;
      const word = start >>> 2;
      const end = start + totalBytes;
      words[word] = descriptor;
      words[word + 1] = (slotCount + 2) | (flags << 16);
      // Made integers here: a number of unknown kind would be stored by way of a float.
      words[word + 2] = idLo | 0;
      words[word + 3] = idHi | 0;
      ENCODE_PAYLOAD(words, this.#bytes, start + HEADER_BYTES, payload, payloadBytes);
      words[(end >>> 2) - 2] = 0;
      words[(end >>> 2) - 1] = start;
      this.#in = end;
      this.#freeBytes -= totalBytes;
      this.#reservedBytes = 0;
      return STAGED;
    }
    if (!(payloadBytes >= 0 && payloadBytes <= present)) throw shortPayload(present, payloadBytes);
    const packetBytes = this.#begin(descriptor, flags, idLo, idHi, payloadBytes);
    if (packetBytes === 0) return FULL;
    ENCODE_PAYLOAD(this.areaWords, this.areaBytes, this.areaAt + HEADER_BYTES, payload, payloadBytes);
    this.#finish(packetBytes);
    return STAGED;
  }

  /**
   * `reserve` and the descriptor in one.
   * @param payloadBytes 0 or more, perhaps too many
   * @returns bytes of the packet, 0 if there is no room for it now
   */
  #begin(descriptor: number, flags: number, idLo: number, idHi: number, payloadBytes: number): number {
    if (payloadBytes > this.maxPacketBytes - HEADER_BYTES) throw this.#tooBig(payloadBytes);
    const packetBytes = (payloadBytes + HEADER_BYTES + 7) & ~7;
    if (this.reserve(packetBytes) === FULL) return 0;
    const words = this.areaWords;
    const word = this.areaAt >>> 2;
    words[word] = descriptor;
    words[word + 1] = (packetBytes >>> 3) | (flags << 16);
    words[word + 2] = idLo | 0;
    words[word + 3] = idHi | 0;
    return packetBytes;
  }

  /** The trailer, and on to the next packet. */
  #finish(packetBytes: number): void {
    const start = this.#in;
    const dataBytes = this.#dataBytes;
    let next = start + packetBytes;
    if (next >= dataBytes) next -= dataBytes;
    if (this.areaWords === this.#words) {
      // As `encodeTrailer` does. A trailer is one slot, so it never wraps by itself.
      const words = this.#words;
      words[next >>> 2] = 0;
      words[(next >>> 2) + 1] = start;
    } else {
      this.#copyScratch(start, packetBytes);
    }
    next += TAIL_BYTES;
    this.#in = next === dataBytes ? 0 : next;
    this.#freeBytes -= packetBytes + TAIL_BYTES;
    this.#reservedBytes = 0;
  }

  #copyScratch(start: number, packetBytes: number): void {
    encodeTrailer(this.#scratch.words, packetBytes, start);
    this.#ring.copyIn(start, this.#scratch, packetBytes + TAIL_BYTES);
  }

  /** `stageBuffer` for a payload that is long or no multiple of 8, and for a packet that wraps. */
  #stageUnusual(flags: number, idLo: number, idHi: number, payload: PacketBuffer, payloadBytes: number): RingWrite {
    const present = payload.bytes.length;
    if (!(payloadBytes >= 0 && payloadBytes <= present)) throw shortPayload(present, payloadBytes);
    if (payloadBytes > SLOT_COPY_BYTES) {
      return this.#stageSimple(IN_BAND, flags, idLo, idHi, payload.exactly(payloadBytes), payloadBytes);
    }
    const packetBytes = this.#begin(IN_BAND, flags, idLo, idHi, payloadBytes);
    if (packetBytes === 0) return FULL;
    const at = this.areaAt + HEADER_BYTES;
    const bytes = this.areaBytes;
    const wholeSlots = payloadBytes >>> 3;
    const end = at + payloadBytes;
    let from = wholeSlots * 8;
    COPY_SLOTS(this.#areaSlots, this.areaWords, at >>> 3, payload.slots, payload.words, 0, wholeSlots);
    for (let to = at + from; to < end; to++) bytes[to] = payload.bytes[from++] as number;
    for (let to = end; (to & 7) !== 0; to++) bytes[to] = 0;
    this.#finish(packetBytes);
    return STAGED;
  }

  /** Before any sum with it: `align8` is for numbers below 2^31. */
  #checkPayload(payload: Uint8Array | null, payloadBytes: number): void {
    const present = payload === null ? 0 : payload.length;
    if (!(payloadBytes >= 0 && payloadBytes <= present)) throw shortPayload(present, payloadBytes);
    if (payloadBytes > this.maxPacketBytes) throw this.#tooBig(payloadBytes);
  }

  #lookForRoom(totalBytes: number): boolean {
    this.#reservedBytes = 0;
    this.#lookAtOut();
    return totalBytes <= this.#freeBytes;
  }

  /**
   * Loads the reader's index, checked, and what is free by it. Pairs with the store in `RingReader.release`: its loads
   * of our packets are done.
   */
  #lookAtOut(): number {
    const index = Atomics.load(this.#control, OUT);
    if (!isIndex(index, this.#dataBytes)) throw badIndex('read', index, this.#dataBytes, this.#where);
    this.#seenOut = index;
    this.#freeBytes = freeBytes(this.#in, index, this.#dataBytes);
    return index;
  }

  #useRing(): void {
    this.areaBytes = this.#ring.bytes;
    this.areaWords = this.#ring.words;
    this.#areaSlots = this.#ring.slots;
  }

  #useScratch(totalBytes: number): void {
    const scratch = this.#scratch;
    scratch.ensure(totalBytes);
    this.areaAt = 0;
    this.areaBytes = scratch.bytes;
    this.areaWords = scratch.words;
    this.#areaSlots = scratch.slots;
  }

  #tooBig(packetBytes: number): UsageError {
    const most = `${this.maxPacketBytes} fit a ring of ${hex(this.#dataBytes)}`;
    return new UsageError('ERR_PACKET_TOO_BIG', `a packet of ${packetBytes} bytes or more; at most ${most}`);
  }
}
