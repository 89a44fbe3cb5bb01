/**
 * The reading end of a ring.
 *
 * `peek` loads one descriptor into private fields and checks it; the packet is then copied out (`copyPacket`) or, from a
 * trusted peer, read where it lies (`locatePacket`). `advance` goes past it, `release` gives the room of a whole batch
 * back. Nothing is read twice from memory that the peer can write, and what was checked is the copy that is used.
 *
 * Sources for the rules: Linux `drivers/hv/ring_buffer.c`, `hv_pkt_iter_*`; OpenVMM `vmbus_ring` `lib.rs`. Control words
 * are touched with `Atomics` (sequentially consistent). Our own index is never read back.
 */
import { type PeerError, UsageError } from '../errors.ts';
import { DESCRIPTOR_BYTES, PACKET_FLAG_COMPLETION_REQUESTED, PacketType, TRAILER_BYTES } from '../wire/packet.ts';
import { ControlWord, FEATURE_PENDING_SEND_SIZE, freeBytes, isIndex } from './control-page.ts';
import { copySlots } from './copy-slots.ts';
import {
  badDataOffset,
  badFlags,
  badIndex,
  badLength,
  badMask,
  badType,
  noRanges,
  pastEnd,
  tooLittle,
  tooLong,
} from './faults.ts';
import { PacketBuffer } from './packet-buffer.ts';
import type { RingMemory } from './ring-memory.ts';
import type { RingEndOptions } from './ring-writer.ts';

/** What a look into the ring found: an ordinary answer, never an error. */
export const RingRead = { Empty: 0, Packet: 1 } as const;
export type RingRead = (typeof RingRead)[keyof typeof RingRead];

export interface RingReaderOptions extends RingEndOptions {
  /** Longest packet that is accepted, bytes with descriptor and without trailer; what fits the ring unless given. */
  readonly maxPacketBytes?: number;
  /**
   * Deliver packets of types that no ring should carry, for the reader's owner to log and skip: how a guest treats its
   * host. Otherwise they are a `PeerError`.
   */
  readonly passUnknownTypes?: boolean;
  /**
   * Packets longer than this are copied out through a temporary view of the ring: half the time at 4 KiB, but about a
   * hundred bytes of garbage for each packet. It begins to pay at 384 bytes; never done unless given.
   */
  readonly viewCopyBytes?: number;
}

// Constants of this module's own are folded into compiled code; see `ring-writer.ts`.
const EMPTY: RingRead = RingRead.Empty;
const PACKET: RingRead = RingRead.Packet;
const HEADER_BYTES = DESCRIPTOR_BYTES;
const TAIL_BYTES = TRAILER_BYTES;
const COPY_SLOTS = copySlots;
const { In: IN, Out: OUT, InterruptMask: MASK, PendingSendBytes: PENDING } = ControlWord;
const { InBand: IN_BAND, Completion: COMPLETION, GpaDirect: GPA_DIRECT, TransferPages: TRANSFER_PAGES } = PacketType;
/** First word of a descriptor without extended header: type, and payload at 2 times 8 bytes. */
const SIMPLE_IN_BAND = PacketType.InBand | (2 << 16);
const SIMPLE_COMPLETION = PacketType.Completion | (2 << 16);
/** In the second word of a descriptor, whose upper half is the flags. */
const UNDEFINED_FLAGS = ~PACKET_FLAG_COMPLETION_REQUESTED << 16;

/** 8-byte units before the first range of an extended header. */
const RANGES_AT_8 = 3;

export class RingReader {
  /** Transaction id of the packet that `peek` found: two opaque words, as signed 32-bit numbers. Only `peek` writes. */
  idLo = 0;
  idHi = 0;
  /** `length8 * 8` of that packet: descriptor to padding. Only `peek` writes. */
  packetBytes = 0;

  /** Where `locatePacket` found the packet; see there. */
  areaBytes: Uint8Array;
  areaWords: Int32Array;

  readonly #ring: RingMemory;
  readonly #where: string;
  readonly #control: Int32Array;
  readonly #bytes: Uint8Array;
  readonly #words: Int32Array;
  readonly #slots: Float64Array;
  readonly #dataBytes: number;
  readonly #inPlaceBytes: number;
  readonly #maxPacketBytes: number;
  readonly #passUnknownTypes: boolean;
  readonly #viewCopyBytes: number;
  readonly #scratch = new PacketBuffer(0);
  /** Where the next packet is; runs ahead of what is released. */
  #out: number;
  #releasedOut: number;
  /** Bytes from `#out` to the writer's index as last loaded and checked. */
  #readableBytes = 0;
  /** Ring bytes of the packet peeked, trailer included; 0 if there is none. */
  #peekedBytes = 0;
  /** First words of the descriptor, and of the header behind it for the types that have ranges: loaded once. */
  #word0 = 0;
  #word1 = 0;
  #word4 = 0;
  #word5 = 0;
  /** The interrupt mask as we stored it last. */
  #mask = 1;

  /**
   * Takes over the reading end as it is found: indexes are kept, signals are masked. Whoever goes to sleep calls
   * `unmask` first, so nothing that is in the ring already is missed.
   * @throws PeerError `ERR_RING_INDEX` if an index found is outside the ring
   */
  constructor(ring: RingMemory, options: RingReaderOptions = {}) {
    this.#ring = ring;
    this.#where = options.where ?? '';
    this.#control = ring.control;
    this.#bytes = ring.bytes;
    this.#words = ring.words;
    this.#slots = ring.slots;
    this.areaBytes = ring.bytes;
    this.areaWords = ring.words;
    this.#dataBytes = ring.dataBytes;
    this.#inPlaceBytes = ring.inPlaceBytes;
    this.#maxPacketBytes = options.maxPacketBytes ?? ring.dataBytes;
    this.#passUnknownTypes = options.passUnknownTypes ?? false;
    this.#viewCopyBytes = options.viewCopyBytes ?? ring.dataBytes;
    // The one time that we look at our own index; a ring that was used before goes on where it stood.
    const found = Atomics.load(ring.control, OUT);
    if (!isIndex(found, ring.dataBytes)) throw badIndex('read', found, ring.dataBytes, this.#where);
    this.#out = found;
    this.#releasedOut = found;
    this.#lookAtIn();
    Atomics.store(ring.control, MASK, 1); // pairs with the load in `RingWriter.publish`
  }

  /**
   * Looks at the next packet: its descriptor is loaded once, checked, and kept in the fields of this object. Looking
   * again before `advance` gives the same.
   * @throws PeerError `ERR_RING_INDEX`, `ERR_RING_AVAILABLE`, `ERR_RING_LENGTHS`, `ERR_RING_FLAGS`, `ERR_RING_TYPE` or
   *   `ERR_RING_RANGES`: the ring is broken for good
   */
  peek(): RingRead {
    if (this.#peekedBytes !== 0) return PACKET;
    // Shared memory is looked at only when the last look says empty.
    if (this.#readableBytes === 0 && this.#lookAtIn() === 0) return EMPTY;
    const at = this.#out;
    if (at + HEADER_BYTES <= this.#inPlaceBytes) {
      const words = this.#words;
      const word = at >>> 2;
      this.#word0 = words[word] as number;
      this.#word1 = words[word + 1] as number;
      this.idLo = words[word + 2] as number;
      this.idHi = words[word + 3] as number;
    } else {
      this.#loadDescriptor(at);
    }
    const word0 = this.#word0;
    const word1 = this.#word1;
    const packetBytes = (word1 & 0xffff) * 8;
    // Our look at the write index may be old, but an index of the writer is always the end of a packet. What was loaded
    // from beyond it fails here too: no sound packet has less than a descriptor and a trailer.
    const isSound =
      word0 >>> 16 >= 2 &&
      packetBytes >= (word0 >>> 16) * 8 &&
      packetBytes <= this.#readableBytes - TAIL_BYTES &&
      packetBytes <= this.#maxPacketBytes &&
      (word1 & UNDEFINED_FLAGS) === 0;
    if (!isSound) throw this.#fault(at, this.#readableBytes);
    if (word0 !== SIMPLE_IN_BAND && word0 !== SIMPLE_COMPLETION) this.#peekUnusual(word0, at);
    this.packetBytes = packetBytes;
    this.#peekedBytes = packetBytes + TAIL_BYTES;
    return PACKET;
  }

  /** One of `PacketType`; this and what follows is of the packet that `peek` found, valid until `advance`. */
  get packetType(): number {
    return this.#word0 & 0xffff;
  }

  /** From the descriptor to the payload, 8-byte units. */
  get dataOffset8(): number {
    return this.#word0 >>> 16;
  }

  /** Descriptor to padding, 8-byte units. */
  get length8(): number {
    return this.#word1 & 0xffff;
  }

  /** Bit 0: a completion is wanted. */
  get flags(): number {
    return this.#word1 >>> 16;
  }

  /** Ranges announced, a u32: for the types that have ranges, else 0. That they are there is not checked. */
  get rangeCount(): number {
    return this.#hasRanges() ? this.#word5 >>> 0 : 0;
  }

  /**
   * Copies the packet peeked, descriptor to padding, to private memory. What `peek` checked comes from the fields it
   * kept, so that the copy agrees with them whatever the peer did meanwhile.
   * @param target grows if it has to
   * @throws UsageError `ERR_STATE` without a packet peeked
   */
  copyPacket(target: PacketBuffer): void {
    if (this.#peekedBytes === 0) throw nothingPeeked();
    const packetBytes = this.packetBytes;
    const at = this.#out;
    target.ensure(packetBytes);
    if (at + packetBytes <= this.#inPlaceBytes && packetBytes <= this.#viewCopyBytes) {
      // The two slots of the descriptor are written below.
      COPY_SLOTS(target.slots, target.words, 2, this.#slots, this.#words, (at >>> 3) + 2, (packetBytes >>> 3) - 2);
    } else {
      this.#copyUnusual(at, target, packetBytes);
    }
    const word0 = this.#word0;
    const words = target.words;
    words[0] = word0;
    words[1] = this.#word1;
    words[2] = this.idLo;
    words[3] = this.idHi;
    if (word0 !== SIMPLE_IN_BAND && word0 !== SIMPLE_COMPLETION && this.#hasRanges()) {
      words[4] = this.#word4;
      words[5] = this.#word5;
    }
    target.packetBytes = packetBytes;
  }

  /** A packet that wraps or lies in scattered pages, or a long one where views are wanted. */
  #copyUnusual(at: number, target: PacketBuffer, packetBytes: number): void {
    if (at + packetBytes > this.#inPlaceBytes) this.#ring.copyOut(at, target, 0, packetBytes);
    else target.bytes.set(this.#bytes.subarray(at, at + packetBytes), 0);
  }

  /**
   * The packet peeked where it lies, for peers that are trusted not to change it: `areaBytes[at]` and on, the same
   * memory as `areaWords[at / 4]`. A packet that wraps, or lies in scattered pages, is copied first.
   * @returns `at`, valid until `advance`
   * @throws UsageError `ERR_STATE` without a packet peeked
   */
  locatePacket(): number {
    if (this.#peekedBytes === 0) throw nothingPeeked();
    if (this.#out + this.packetBytes <= this.#inPlaceBytes) {
      if (this.areaWords !== this.#words) {
        this.areaBytes = this.#bytes;
        this.areaWords = this.#words;
      }
      return this.#out;
    }
    this.copyPacket(this.#scratch);
    this.areaBytes = this.#scratch.bytes;
    this.areaWords = this.#scratch.words;
    return 0;
  }

  /** Goes past the packet peeked; the writer does not see it yet. @throws UsageError `ERR_STATE` without one */
  advance(): void {
    const step = this.#peekedBytes;
    if (step === 0) throw nothingPeeked();
    const next = this.#out + step;
    this.#out = next >= this.#dataBytes ? next - this.#dataBytes : next;
    this.#readableBytes -= step;
    this.#peekedBytes = 0;
  }

  /**
   * Gives the room of all packets passed back to the writer.
   * @returns true if the writer must be signalled: it waits for room, and this made enough
   * @throws PeerError `ERR_RING_INDEX` if the writer's index is outside the ring; the room is given back nevertheless
   */
  release(): boolean {
    const before = this.#releasedOut;
    const next = this.#out;
    if (next === before) return false;
    this.#releasedOut = next;
    // Pairs with the loads in `RingWriter` (`reserve`, `publish`, `awaitRoom`): our loads of the packets are done.
    Atomics.store(this.#control, OUT, next);
    // Pairs with the store in `RingWriter.awaitRoom`, which stores this and then loads the read index: one of us sees
    // the other.
    const pending = Atomics.load(this.#control, PENDING);
    return pending !== 0 && this.#isRoomMade(pending, before, next);
  }

  /** Bytes passed and not yet released: at an eighth of the ring it is time. */
  get unreleasedBytes(): number {
    const passed = this.#out - this.#releasedOut;
    return passed < 0 ? passed + this.#dataBytes : passed;
  }

  /**
   * Tells the writer not to signal data: we are awake and will look again.
   * @throws PeerError `ERR_RING_MASK` if the mask is not as we left it
   */
  mask(): void {
    this.#storeMask(1);
  }

  /**
   * Before going to sleep: asks for a signal, then looks once more.
   * @returns true if packets arrived meanwhile: signals are masked again, read on; false: wait for the signal
   * @throws UsageError `ERR_STATE` if packets were passed and not released: the writer would see a ring that is not
   *   empty, and never signal
   * @throws PeerError `ERR_RING_MASK` if the mask is not as we left it; `ERR_RING_INDEX`
   */
  unmask(): boolean {
    if (this.#out !== this.#releasedOut) throw new UsageError('ERR_STATE', 'release before unmasking signals');
    this.#storeMask(0);
    if (this.#lookAtIn() === 0) return false;
    this.#storeMask(1);
    return true;
  }

  get isMasked(): boolean {
    return this.#mask !== 0;
  }

  /**
   * Whether the writer of this ring uses pending send sizes, and so honours them on the ring in the other direction.
   * If not (hosts before Windows 8), a writer there that finds its ring full has to poll.
   */
  loadPeerSignalsRoom(): boolean {
    // Pairs with the store in the constructor of `RingWriter`.
    return (Atomics.load(this.#control, ControlWord.Features) & FEATURE_PENDING_SEND_SIZE) !== 0;
  }

  /** Looks whether packets wait. @throws PeerError `ERR_RING_INDEX` */
  loadIsEmpty(): boolean {
    return this.#readableBytes === 0 && this.#lookAtIn() === 0;
  }

  /** Our side as we know it; shared memory is not looked at. */
  inspect(): {
    dataBytes: number;
    isContiguous: boolean;
    out: number;
    releasedOut: number;
    readableBytes: number;
    isMasked: boolean;
    peekedBytes: number;
  } {
    return {
      dataBytes: this.#dataBytes,
      isContiguous: this.#ring.isContiguous,
      out: this.#out,
      releasedOut: this.#releasedOut,
      readableBytes: this.#readableBytes,
      isMasked: this.isMasked,
      peekedBytes: this.#peekedBytes === 0 ? 0 : this.packetBytes,
    };
  }

  /** What is wrong with the descriptor that `peek` loaded: the first rule, in this order, that it breaks. */
  #fault(at: number, readable: number): PeerError {
    const { dataOffset8, length8, flags } = this;
    if (readable < HEADER_BYTES) return tooLittle(readable, at, this.#where);
    if (dataOffset8 < 2) return badDataOffset(dataOffset8, 2, at, this.#where);
    if (length8 < dataOffset8) return badLength(length8, dataOffset8, at, this.#where);
    if (length8 * 8 > readable - TRAILER_BYTES) return pastEnd(length8, readable, at, this.#where);
    if (length8 * 8 > this.#maxPacketBytes) return tooLong(length8, this.#maxPacketBytes, at, this.#where);
    return badFlags(flags, at, this.#where);
  }

  /** The part of `peek` for packets with more than a descriptor before the payload. */
  #peekUnusual(word0: number, at: number): void {
    const packetType = word0 & 0xffff;
    const dataOffset8 = word0 >>> 16;
    if (packetType === IN_BAND || packetType === COMPLETION) return;
    if (packetType !== PacketType.GpaDirect && packetType !== PacketType.TransferPages) {
      if (this.#passUnknownTypes) return;
      throw badType(packetType, at, this.#where);
    }
    if (dataOffset8 < RANGES_AT_8) throw badDataOffset(dataOffset8, RANGES_AT_8, at, this.#where);
    this.#word4 = this.#loadWord(at + DESCRIPTOR_BYTES);
    this.#word5 = this.#loadWord(at + DESCRIPTOR_BYTES + 4);
    if (packetType === PacketType.GpaDirect && this.#word5 === 0) throw noRanges(at, this.#where);
  }

  /** A descriptor that wraps or lies in scattered pages. */
  #loadDescriptor(at: number): void {
    this.#word0 = this.#loadWord(at);
    this.#word1 = this.#loadWord(at + 4);
    this.idLo = this.#loadWord(at + 8);
    this.idHi = this.#loadWord(at + 12);
  }

  #hasRanges(): boolean {
    const packetType = this.#word0 & 0xffff;
    return packetType === GPA_DIRECT || packetType === TRANSFER_PAGES;
  }

  /** @param at byte offset in the ring, perhaps behind its end */
  #loadWord(at: number): number {
    const inside = at >= this.#dataBytes ? at - this.#dataBytes : at;
    return inside < this.#inPlaceBytes ? (this.#words[inside >>> 2] as number) : this.#ring.loadWord(inside);
  }

  /**
   * The edge rule: signal if there was not enough room before this release and is now.
   *
   * Some writers store the size of the ring less 1 to ask for an empty ring; without its low bits that is the most that
   * can ever be free. Source: OpenVMM `vmbus_ring` `lib.rs`, `set_pending_send_size` and `commit_read`.
   */
  #isRoomMade(pending: number, before: number, next: number): boolean {
    // A writer that does not promise to use the word may have left anything in it. Source: Linux
    // `drivers/hv/ring_buffer.c`, `hv_pkt_iter_close`.
    if (!this.loadPeerSignalsRoom()) return false;
    const wantedBytes = (pending & ~7) >>> 0;
    const inIndex = this.#loadIn();
    return (
      freeBytes(inIndex, before, this.#dataBytes) < wantedBytes &&
      freeBytes(inIndex, next, this.#dataBytes) >= wantedBytes
    );
  }

  #storeMask(value: 0 | 1): void {
    // Pairs with the load in `RingWriter.publish`. What was there is what we stored last, or somebody else wrote it.
    const found = Atomics.exchange(this.#control, MASK, value);
    if (found !== this.#mask) throw badMask(found, this.#mask, this.#where);
    this.#mask = value;
  }

  /** Looks where the writer is now. @returns bytes to read */
  #lookAtIn(): number {
    const readable = this.#loadIn() - this.#out;
    this.#readableBytes = readable < 0 ? readable + this.#dataBytes : readable;
    return this.#readableBytes;
  }

  /** The writer's index, checked. Pairs with the store in `RingWriter.publish`: the packets before it are there. */
  #loadIn(): number {
    const index = Atomics.load(this.#control, IN);
    if (!isIndex(index, this.#dataBytes)) throw badIndex('write', index, this.#dataBytes, this.#where);
    return index;
  }
}

function nothingPeeked(): UsageError {
  return new UsageError('ERR_STATE', 'no packet was peeked');
}
