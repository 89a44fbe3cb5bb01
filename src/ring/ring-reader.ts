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
import { UsageError } from '../errors.ts';
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
}

/** Up to here the slot loop beats `set`, which needs a fresh view of the ring; see `bench/`. */
const SLOT_COPY_BYTES = 384;

/** 8-byte units before the first range of an extended header. */
const RANGES_AT_8 = 3;

export class RingReader {
  /** Of the packet that `peek` found, valid until `advance`; nobody but `peek` writes these. One of `PacketType`. */
  packetType = 0;
  /** From the descriptor to the payload, 8-byte units. */
  dataOffset8 = 0;
  /** Descriptor to padding, 8-byte units. */
  length8 = 0;
  /** Bit 0: a completion is wanted. */
  flags = 0;
  /** Transaction id: two opaque words, as signed 32-bit numbers. */
  idLo = 0;
  idHi = 0;
  /** Ranges announced, a u32: for the types that have ranges, else 0. That they are there is not checked. */
  rangeCount = 0;
  /** `length8 * 8`. */
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
  readonly #scratch = new PacketBuffer(0);
  /** Where the next packet is; runs ahead of what is released. */
  #out: number;
  #releasedOut: number;
  /** The writer's index as last loaded and checked. */
  #seenIn: number;
  /** Ring bytes of the packet peeked, trailer included; 0 if there is none. */
  #peekedBytes = 0;
  /** First word of the extended header, loaded once with the range count. */
  #headerLo = 0;
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
    // The one time that we look at our own index; a ring that was used before goes on where it stood.
    const found = Atomics.load(ring.control, ControlWord.Out);
    if (!isIndex(found, ring.dataBytes)) throw badIndex('read', found, ring.dataBytes, this.#where);
    this.#out = found;
    this.#releasedOut = found;
    this.#seenIn = this.#loadIn();
    Atomics.store(ring.control, ControlWord.InterruptMask, 1); // pairs with the load in `RingWriter.publish`
  }

  /**
   * Looks at the next packet: its descriptor is loaded once, checked, and kept in the fields of this object. Looking
   * again before `advance` gives the same.
   * @throws PeerError `ERR_RING_INDEX`, `ERR_RING_AVAILABLE`, `ERR_RING_LENGTHS`, `ERR_RING_FLAGS`, `ERR_RING_TYPE` or
   *   `ERR_RING_RANGES`: the ring is broken for good
   */
  peek(): RingRead {
    if (this.#peekedBytes !== 0) return RingRead.Packet;
    const at = this.#out;
    let readable = this.#seenIn - at;
    if (readable === 0) {
      this.#seenIn = this.#loadIn(); // shared memory is looked at only when the last look says empty
      readable = this.#seenIn - at;
      if (readable === 0) return RingRead.Empty;
    }
    if (readable < 0) readable += this.#dataBytes;
    if (readable < DESCRIPTOR_BYTES) throw tooLittle(readable, at, this.#where);
    let word0: number;
    let word1: number;
    if (at + DESCRIPTOR_BYTES <= this.#inPlaceBytes) {
      const words = this.#words;
      const word = at >>> 2;
      word0 = words[word] as number;
      word1 = words[word + 1] as number;
      this.idLo = words[word + 2] as number;
      this.idHi = words[word + 3] as number;
    } else {
      word0 = this.#loadWord(at);
      word1 = this.#loadWord(at + 4);
      this.idLo = this.#loadWord(at + 8);
      this.idHi = this.#loadWord(at + 12);
    }
    const packetType = word0 & 0xffff;
    const dataOffset8 = word0 >>> 16;
    const length8 = word1 & 0xffff;
    const flags = word1 >>> 16;
    if (dataOffset8 < 2) throw badDataOffset(dataOffset8, 2, at, this.#where);
    if (length8 < dataOffset8) throw badLength(length8, dataOffset8, at, this.#where);
    // Our look at the write index may be old, but an index of the writer is always the end of a packet.
    if (length8 * 8 > readable - TRAILER_BYTES) throw pastEnd(length8, readable, at, this.#where);
    if (length8 * 8 > this.#maxPacketBytes) throw tooLong(length8, this.#maxPacketBytes, at, this.#where);
    if ((flags & ~PACKET_FLAG_COMPLETION_REQUESTED) !== 0) throw badFlags(flags, at, this.#where);
    this.rangeCount = 0;
    if (packetType !== PacketType.InBand && packetType !== PacketType.Completion) {
      this.#peekRanges(packetType, dataOffset8, at);
    }
    this.packetType = packetType;
    this.dataOffset8 = dataOffset8;
    this.length8 = length8;
    this.flags = flags;
    this.packetBytes = length8 * 8;
    this.#peekedBytes = length8 * 8 + TRAILER_BYTES;
    return RingRead.Packet;
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
    if (at + packetBytes > this.#inPlaceBytes) {
      this.#ring.copyOut(at, target, 0, packetBytes);
    } else if (packetBytes <= SLOT_COPY_BYTES) {
      // The two slots of the descriptor are written below.
      copySlots(target.slots, target.words, 2, this.#slots, this.#words, (at >>> 3) + 2, (packetBytes >>> 3) - 2);
    } else {
      target.bytes.set(this.#bytes.subarray(at, at + packetBytes), 0);
    }
    const words = target.words;
    words[0] = this.packetType | (this.dataOffset8 << 16);
    words[1] = this.length8 | (this.flags << 16);
    words[2] = this.idLo;
    words[3] = this.idHi;
    if (this.#hasRanges()) {
      words[4] = this.#headerLo;
      words[5] = this.rangeCount;
    }
    target.packetBytes = packetBytes;
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
    Atomics.store(this.#control, ControlWord.Out, next);
    // Pairs with the store in `RingWriter.awaitRoom`, which stores this and then loads the read index: one of us sees
    // the other.
    const pending = Atomics.load(this.#control, ControlWord.PendingSendBytes);
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
    this.#seenIn = this.#loadIn();
    if (this.#seenIn === this.#out) return false;
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
    if (this.#seenIn === this.#out) this.#seenIn = this.#loadIn();
    return this.#seenIn === this.#out;
  }

  /** Our side as we know it; shared memory is not looked at. */
  inspect(): {
    dataBytes: number;
    isContiguous: boolean;
    out: number;
    releasedOut: number;
    seenIn: number;
    isMasked: boolean;
    peekedBytes: number;
  } {
    return {
      dataBytes: this.#dataBytes,
      isContiguous: this.#ring.isContiguous,
      out: this.#out,
      releasedOut: this.#releasedOut,
      seenIn: this.#seenIn,
      isMasked: this.isMasked,
      peekedBytes: this.#peekedBytes === 0 ? 0 : this.packetBytes,
    };
  }

  /** The part of `peek` for types that are neither in-band nor completion. */
  #peekRanges(packetType: number, dataOffset8: number, at: number): void {
    if (packetType !== PacketType.GpaDirect && packetType !== PacketType.TransferPages) {
      if (this.#passUnknownTypes) return;
      throw badType(packetType, at, this.#where);
    }
    if (dataOffset8 < RANGES_AT_8) throw badDataOffset(dataOffset8, RANGES_AT_8, at, this.#where);
    this.#headerLo = this.#loadWord(at + DESCRIPTOR_BYTES);
    this.rangeCount = this.#loadWord(at + DESCRIPTOR_BYTES + 4) >>> 0;
    if (packetType === PacketType.GpaDirect && this.rangeCount === 0) throw noRanges(at, this.#where);
  }

  #hasRanges(): boolean {
    return this.packetType === PacketType.GpaDirect || this.packetType === PacketType.TransferPages;
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
    const found = Atomics.exchange(this.#control, ControlWord.InterruptMask, value);
    if (found !== this.#mask) throw badMask(found, this.#mask, this.#where);
    this.#mask = value;
  }

  /** The writer's index, checked. Pairs with the store in `RingWriter.publish`: the packets before it are there. */
  #loadIn(): number {
    const index = Atomics.load(this.#control, ControlWord.In);
    if (!isIndex(index, this.#dataBytes)) throw badIndex('write', index, this.#dataBytes, this.#where);
    return index;
  }
}

function nothingPeeked(): UsageError {
  return new UsageError('ERR_STATE', 'no packet was peeked');
}
