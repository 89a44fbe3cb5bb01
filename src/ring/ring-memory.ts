/**
 * The memory of one ring: a control page and data pages, wherever they lie.
 *
 * Data pages that are adjacent in one buffer are reached through one set of views, packets in place. Scattered ones, and
 * packets that wrap around the end, are copied to and from private memory piece by piece; both ends of a ring go through
 * the same few lines for that.
 */
import { AddressError, hex, PeerError, UsageError } from '../errors.ts';
import type { GuestMemory } from '../memory/guest-memory.ts';
import { PAGE_BYTES } from '../memory/page.ts';
import { copySlots } from './copy-slots.ts';
import type { PacketBuffer } from './packet-buffer.ts';

/** Above any ring in use (a GPADL of one range has at most 8190 pages), and low enough for 32-bit index arithmetic. */
export const MAX_RING_DATA_BYTES = 2 ** 30;

export class RingMemory {
  /** Bytes of the data area, a multiple of 4096. */
  readonly dataBytes: number;
  /** The control page as words; see `ControlWord`. */
  readonly control: Int32Array;
  /** The data area if it is contiguous, else empty. */
  readonly bytes: Uint8Array;
  readonly words: Int32Array;
  readonly slots: Float64Array;
  /** `dataBytes` if the data area is contiguous, else 0: what ends at or below it can be reached in place. */
  readonly inPlaceBytes: number;
  /** The data area in pieces of equal size: one, or one for each page. */
  readonly #pieces: readonly Piece[];
  readonly #pieceSlots: number;

  private constructor(control: Uint8Array, pieces: readonly Uint8Array[]) {
    const [first] = pieces;
    if (first === undefined) throw new UsageError('ERR_RING_MEMORY', 'a ring without data pages');
    this.control = new Int32Array(control.buffer, control.byteOffset, PAGE_BYTES / 4);
    this.#pieces = pieces.map(pieceOver);
    this.#pieceSlots = first.length / 8;
    this.dataBytes = first.length * pieces.length;
    const whole = pieces.length === 1 ? pieceOver(first) : pieceOver(new Uint8Array(0));
    this.bytes = whole.bytes;
    this.words = whole.words;
    this.slots = whole.slots;
    this.inPlaceBytes = whole.bytes.length;
  }

  /**
   * A ring over pages that the guest named: the control page first, then the data in order.
   * @throws PeerError `ERR_RING_MEMORY` for fewer than two pages, too many, or one outside guest memory
   */
  static overPages(memory: GuestMemory, pfns: ArrayLike<number>): RingMemory {
    const dataPages = pfns.length - 1;
    if (dataPages < 1 || dataPages > MAX_RING_DATA_BYTES / PAGE_BYTES) {
      throw new PeerError(
        'ERR_RING_MEMORY',
        `${pfns.length} pages make no ring: it takes 2 to ${MAX_RING_DATA_BYTES / PAGE_BYTES + 1}`,
      );
    }
    try {
      const control = memory.page(pfns[0] as number);
      if (isContiguous(memory, pfns)) {
        return new RingMemory(control, [memory.bytes((pfns[1] as number) * PAGE_BYTES, dataPages * PAGE_BYTES)]);
      }
      return new RingMemory(
        control,
        Array.from({ length: dataPages }, (_, index) => memory.page(pfns[index + 1] as number)),
      );
    } catch (cause) {
      if (!(cause instanceof AddressError)) throw cause;
      throw new PeerError('ERR_RING_MEMORY', `a page of a ring: ${cause.message}`, { cause });
    }
  }

  /**
   * A ring over bytes at hand: control page and data in one piece.
   * @param bytes two pages or more, at an offset in its buffer that is a multiple of 8
   * @throws UsageError `ERR_RING_MEMORY` otherwise
   */
  static over(bytes: Uint8Array): RingMemory {
    const dataBytes = bytes.length - PAGE_BYTES;
    const isRing = bytes.length % PAGE_BYTES === 0 && dataBytes > 0 && dataBytes <= MAX_RING_DATA_BYTES;
    if (!isRing || bytes.byteOffset % 8 !== 0) {
      throw new UsageError('ERR_RING_MEMORY', `${bytes.length} bytes at offset ${hex(bytes.byteOffset)} make no ring`);
    }
    return new RingMemory(bytes.subarray(0, PAGE_BYTES), [bytes.subarray(PAGE_BYTES)]);
  }

  get isContiguous(): boolean {
    return this.inPlaceBytes !== 0;
  }

  /**
   * Zeroes the control page. The guest does this to both rings after it made the GPADL and before it asks to open the
   * channel; nobody else ever does.
   */
  clearControlPage(): void {
    this.control.fill(0);
  }

  /** One 32-bit word of the data. @param at byte offset, a multiple of 4 inside the ring */
  loadWord(at: number): number {
    const pieceBytes = this.#pieceSlots * 8;
    const piece = this.#pieces[Math.trunc(at / pieceBytes)] as Piece;
    return piece.words[(at % pieceBytes) >>> 2] as number;
  }

  /**
   * Copies out of the ring, around its end and across pages.
   * @param at byte offset in the ring, a multiple of 8 inside it
   * @param targetAt byte offset in `target`, a multiple of 8
   * @param byteCount a multiple of 8 that fits both
   */
  copyOut(at: number, target: PacketBuffer, targetAt: number, byteCount: number): void {
    const { slots, words } = target;
    let ringSlot = at >>> 3;
    let slot = targetAt >>> 3;
    for (let left = byteCount >>> 3; left > 0; ) {
      const piece = this.#pieces[Math.trunc(ringSlot / this.#pieceSlots)] as Piece;
      const from = ringSlot % this.#pieceSlots;
      const count = Math.min(left, this.#pieceSlots - from);
      copySlots(slots, words, slot, piece.slots, piece.words, from, count);
      ringSlot = this.#behind(ringSlot + count);
      slot += count;
      left -= count;
    }
  }

  /** Copies the first `byteCount` bytes of `source` into the ring; as `copyOut`, the other way round. */
  copyIn(at: number, source: PacketBuffer, byteCount: number): void {
    const { slots, words } = source;
    let ringSlot = at >>> 3;
    let slot = 0;
    for (let left = byteCount >>> 3; left > 0; ) {
      const piece = this.#pieces[Math.trunc(ringSlot / this.#pieceSlots)] as Piece;
      const to = ringSlot % this.#pieceSlots;
      const count = Math.min(left, this.#pieceSlots - to);
      copySlots(piece.slots, piece.words, to, slots, words, slot, count);
      ringSlot = this.#behind(ringSlot + count);
      slot += count;
      left -= count;
    }
  }

  /** Where slot `ringSlot` is, if the ring ended before it. */
  #behind(ringSlot: number): number {
    return ringSlot === this.dataBytes >>> 3 ? 0 : ringSlot;
  }
}

interface Piece {
  readonly bytes: Uint8Array;
  readonly words: Int32Array;
  readonly slots: Float64Array;
}

function pieceOver(bytes: Uint8Array): Piece {
  return {
    bytes,
    words: new Int32Array(bytes.buffer, bytes.byteOffset, bytes.length / 4),
    slots: new Float64Array(bytes.buffer, bytes.byteOffset, bytes.length / 8),
  };
}

/** True if the data pages (all but the first) lie one behind the other in one buffer. */
function isContiguous(memory: GuestMemory, pfns: ArrayLike<number>): boolean {
  const first = pfns[1] as number;
  for (let index = 2; index < pfns.length; index++) if (pfns[index] !== first + index - 1) return false;
  return memory.runAt(first, pfns.length - 1) === pfns.length - 1;
}
