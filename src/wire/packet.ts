/**
 * What lies in a ring: packet descriptors, the headers that may follow them, the trailer; and encoders that fill a
 * packet in place.
 *
 * A packet is a descriptor, an optional extended header (ranges), a payload, and padding to 8 bytes. A trailer of
 * 8 bytes follows, which neither `length8` nor the sizes here count.
 *
 * The encoders are the hot path: 32-bit stores only, nothing allocated. `words` and `bytes` are two views of one
 * buffer, both from its same byte, which is 8-aligned; `at` is a byte offset in them, a multiple of 8. The caller has
 * made sure that the packet fits (`…Bytes` functions say how long it gets). Extended headers and padding are written
 * as zero where nothing else belongs there. A `null` payload leaves `payloadBytes` for the caller to fill in place.
 */
import { assert, UsageError } from '../errors.ts';
import { align8 } from './align.ts';
import type { GpaRange } from './gpa-range.ts';
import { checkGpaRange, encodeGpaRange, gpaRangeBytes } from './gpa-range.ts';
import { pad, struct, u16, u32, u64 } from './struct.ts';

export { GpaRangeHeader } from './gpa-range.ts';

// Typed arrays are as the machine is; the wire is little-endian.
assert(new Uint8Array(Uint32Array.of(1).buffer)[0] === 1, 'rings need a little-endian machine');

/**
 * What a packet carries. The wire may hold any u16, so a switch needs its `default`.
 *
 * Source: Linux `include/linux/hyperv.h`, `enum vmbus_packet_type`. Types 1 to 5, 8, 10, 12 and 13 are defined there
 * too, and nobody uses them on a ring.
 */
export const PacketType = { InBand: 6, TransferPages: 7, GpaDirect: 9, Completion: 0xb } as const;
export type PacketType = (typeof PacketType)[keyof typeof PacketType];

/** Descriptor flag, bit 0: the sender wants a completion. No other bit is defined. */
export const PACKET_FLAG_COMPLETION_REQUESTED = 1;

/**
 * Header of every packet in a ring; sizes and offsets in it count 8-byte units.
 *
 * Source: Linux `include/linux/hyperv.h`, `struct vmpacket_descriptor`.
 */
export const PacketDescriptor = struct('PacketDescriptor', 16, {
  packetType: u16(0, { names: PacketType }),
  dataOffset8: u16(2), // from the start of this header to the payload, 2 or more
  length8: u16(4), // header + payload + padding, without the 8-byte trailer
  flags: u16(6), // 0 or PACKET_FLAG_COMPLETION_REQUESTED
  transactionId: u64(8), // opaque; echoed in the completion
});

export const DESCRIPTOR_BYTES = PacketDescriptor.size;

/**
 * Behind the descriptor of a GPA-direct packet; GPA ranges follow at byte 24, then the payload.
 *
 * Source: Linux `include/linux/hyperv.h`, `struct vmdata_gpa_direct`; garbage in the reserved word: OpenVMM
 * `vmbus_ring` `lib.rs`.
 */
export const GpaDirectHeader = struct('GpaDirectHeader', 8, {
  reserved: pad(0, 4),
  rangeCount: u32(4), // 1 or more
});

/**
 * Behind the descriptor of a transfer-pages packet; transfer page ranges follow at byte 24, then the payload.
 *
 * Source: Linux `include/linux/hyperv.h`, `struct vmtransfer_page_packet_header`; bytes 2 and 3 may hold garbage
 * (OpenVMM `vmbus_ring` `lib.rs`; Linux names an owner flag there and does not read it).
 */
export const TransferPagesHeader = struct('TransferPagesHeader', 8, {
  pageSetId: u16(0), // id of the buffer shared before, such as netvsc's receive buffer
  reserved: pad(2, 2),
  rangeCount: u32(4),
});

/** A piece of a shared buffer. Source: Linux `include/linux/hyperv.h`, `struct vmtransfer_page_range`. */
export const TransferPageRange = struct('TransferPageRange', 8, {
  byteCount: u32(0),
  byteOffset: u32(4), // from the start of the shared buffer
});

export interface TransferRange {
  readonly byteCount: number;
  /** From the start of the shared buffer. */
  readonly byteOffset: number;
}

/**
 * Begins the payload on channels offered in pipe mode, the integration services among them.
 *
 * Source: Linux `include/linux/hyperv.h`, `struct vmbuspipe_hdr`; types: OpenVMM `vmbus_ring` and `vmbus_async` `pipe.rs`.
 */
export const PipePacketType = { Data: 1, Partial: 2, SetUpGpaDirect: 3, TearDownGpaDirect: 4 } as const;
export const PipeHeader = struct('PipeHeader', 8, {
  packetType: u32(0, { names: PipePacketType }),
  byteLength: u32(4), // payload bytes behind this header
});

/** Largest payload of one pipe packet, bytes. Source: OpenVMM `vmbus_async` `pipe.rs`. */
export const MAX_PIPE_PAYLOAD_BYTES = 16_384;

/**
 * Follows each packet. No known reader looks at it.
 *
 * Source: Linux `drivers/hv/ring_buffer.c`, `hv_ringbuffer_write` (`prev_indices`).
 */
export const PacketTrailer = struct('PacketTrailer', 8, {
  reserved: pad(0, 4),
  packetOffset: u32(4), // ring offset of the descriptor of the packet before this trailer
});

export const TRAILER_BYTES = PacketTrailer.size;

/** `length8` is a u16: no packet is longer, whatever its ring. Bytes, trailer not included. */
export const MAX_PACKET_BYTES = 0xffff * 8;

const RANGES_AT = DESCRIPTOR_BYTES + GpaDirectHeader.size;
const PAGE_BYTES = 4096;

/** Bytes of an in-band or completion packet. */
export function inBandBytes(payloadBytes: number): number {
  return align8(DESCRIPTOR_BYTES + payloadBytes);
}

/**
 * Bytes of a GPA-direct packet with any ranges.
 * @throws UsageError `ERR_ARGUMENT` without a range, or with one that must not be sent
 */
export function gpaDirectBytes(ranges: readonly GpaRange[], payloadBytes: number): number {
  if (ranges.length === 0) throw new UsageError('ERR_ARGUMENT', 'a GPA-direct packet needs a range');
  let bytes = RANGES_AT;
  for (const range of ranges) {
    checkGpaRange(range);
    bytes += gpaRangeBytes(range.pfns.length);
  }
  return bytes + align8(payloadBytes);
}

/** Bytes of a GPA-direct packet with one range of `pfnCount` pages. */
export function gpaDirectPfnsBytes(pfnCount: number, payloadBytes: number): number {
  return RANGES_AT + gpaRangeBytes(pfnCount) + align8(payloadBytes);
}

/** Bytes of a transfer-pages packet. */
export function transferPagesBytes(rangeCount: number, payloadBytes: number): number {
  return RANGES_AT + TransferPageRange.size * rangeCount + align8(payloadBytes);
}

/**
 * A packet without extended header: in-band data or a completion.
 * @returns bytes of the packet, trailer not included
 * @throws UsageError `ERR_PACKET_TOO_BIG` if no descriptor can say its length
 */
export function encodeSimple(
  type: PacketType,
  words: Int32Array,
  bytes: Uint8Array,
  at: number,
  flags: number,
  idLo: number,
  idHi: number,
  payload: Uint8Array | null,
  payloadBytes: number,
): number {
  encodeDescriptor(words, at, type, DESCRIPTOR_BYTES, payloadBytes, flags, idLo, idHi);
  encodePayload(words, bytes, at + DESCRIPTOR_BYTES, payload, payloadBytes);
  return DESCRIPTOR_BYTES + align8(payloadBytes);
}

/** In-band data. @returns bytes of the packet */
export function encodeInBand(
  words: Int32Array,
  bytes: Uint8Array,
  at: number,
  flags: number,
  idLo: number,
  idHi: number,
  payload: Uint8Array | null,
  payloadBytes: number,
): number {
  return encodeSimple(PacketType.InBand, words, bytes, at, flags, idLo, idHi, payload, payloadBytes);
}

/** The answer to the packet with that id; flags are 0. @returns bytes of the packet */
export function encodeCompletion(
  words: Int32Array,
  bytes: Uint8Array,
  at: number,
  idLo: number,
  idHi: number,
  payload: Uint8Array | null,
  payloadBytes: number,
): number {
  return encodeSimple(PacketType.Completion, words, bytes, at, 0, idLo, idHi, payload, payloadBytes);
}

/** GPA-direct with any ranges; `gpaDirectBytes` has checked them. @returns bytes of the packet */
export function encodeGpaDirect(
  words: Int32Array,
  bytes: Uint8Array,
  at: number,
  flags: number,
  idLo: number,
  idHi: number,
  ranges: readonly GpaRange[],
  payload: Uint8Array | null,
  payloadBytes: number,
): number {
  let wordAt = (at + RANGES_AT) >>> 2;
  for (let index = 0; index < ranges.length; index++) {
    const range = ranges[index] as GpaRange;
    wordAt = encodeGpaRange(words, wordAt, range.byteCount, range.byteOffset, range.pfns, range.pfns.length);
  }
  const dataOffset = wordAt * 4 - at;
  encodeDescriptor(words, at, PacketType.GpaDirect, dataOffset, payloadBytes, flags, idLo, idHi);
  words[(at >>> 2) + 4] = 0;
  words[(at >>> 2) + 5] = ranges.length;
  encodePayload(words, bytes, wordAt * 4, payload, payloadBytes);
  return dataOffset + align8(payloadBytes);
}

/**
 * GPA-direct with one range of whole pages, completion requested: how blocks travel.
 * @param pfns page frame numbers below 2^52; the first `pfnCount` are taken
 * @returns bytes of the packet
 */
export function encodeGpaDirectPfns(
  words: Int32Array,
  bytes: Uint8Array,
  at: number,
  idLo: number,
  idHi: number,
  pfns: ArrayLike<number>,
  pfnCount: number,
  payload: Uint8Array | null,
  payloadBytes: number,
): number {
  const dataOffset = RANGES_AT + gpaRangeBytes(pfnCount);
  const flags = PACKET_FLAG_COMPLETION_REQUESTED;
  encodeDescriptor(words, at, PacketType.GpaDirect, dataOffset, payloadBytes, flags, idLo, idHi);
  words[(at >>> 2) + 4] = 0;
  words[(at >>> 2) + 5] = 1;
  encodeGpaRange(words, (at + RANGES_AT) >>> 2, pfnCount * PAGE_BYTES, 0, pfns, pfnCount);
  encodePayload(words, bytes, at + dataOffset, payload, payloadBytes);
  return dataOffset + align8(payloadBytes);
}

/** Data that lies in a buffer shared before, such as received network frames. @returns bytes of the packet */
export function encodeTransferPages(
  words: Int32Array,
  bytes: Uint8Array,
  at: number,
  flags: number,
  idLo: number,
  idHi: number,
  pageSetId: number,
  ranges: readonly TransferRange[],
  payload: Uint8Array | null,
  payloadBytes: number,
): number {
  const dataOffset = RANGES_AT + TransferPageRange.size * ranges.length;
  encodeDescriptor(words, at, PacketType.TransferPages, dataOffset, payloadBytes, flags, idLo, idHi);
  words[(at >>> 2) + 4] = pageSetId & 0xffff;
  words[(at >>> 2) + 5] = ranges.length;
  let wordAt = (at + RANGES_AT) >>> 2;
  for (let index = 0; index < ranges.length; index++) {
    const range = ranges[index] as TransferRange;
    words[wordAt++] = range.byteCount;
    words[wordAt++] = range.byteOffset;
  }
  encodePayload(words, bytes, at + dataOffset, payload, payloadBytes);
  return dataOffset + align8(payloadBytes);
}

/** @param packetOffset ring offset at which the packet before the trailer starts */
export function encodeTrailer(words: Int32Array, at: number, packetOffset: number): void {
  words[at >>> 2] = 0;
  words[(at >>> 2) + 1] = packetOffset;
}

function encodeDescriptor(
  words: Int32Array,
  at: number,
  type: number,
  dataOffset: number,
  payloadBytes: number,
  flags: number,
  idLo: number,
  idHi: number,
): void {
  const packetBytes = dataOffset + align8(payloadBytes);
  if (packetBytes > MAX_PACKET_BYTES) throw tooBig(packetBytes);
  const word = at >>> 2;
  words[word] = type | ((dataOffset >>> 3) << 16);
  words[word + 1] = (packetBytes >>> 3) | (flags << 16);
  words[word + 2] = idLo;
  words[word + 3] = idHi;
}

function tooBig(packetBytes: number): UsageError {
  return new UsageError(
    'ERR_PACKET_TOO_BIG',
    `a packet of ${packetBytes} bytes; no descriptor can say more than ${MAX_PACKET_BYTES}`,
  );
}

/** Up to here copying words is faster than `set`, which has a flat cost of some ten words. */
const WORD_COPY_BYTES = 24;
/** A payload shorter than its buffer needs a subarray for `set`: the one allocation here, so only when it is long. */
const INEXACT_WORD_COPY_BYTES = 256;

/** A payload and the zeros that pad it to 8; the last part of every encoder here. @param at byte offset, a multiple of 8 */
export function encodePayload(
  words: Int32Array,
  bytes: Uint8Array,
  at: number,
  payload: Uint8Array | null,
  payloadBytes: number,
): void {
  const end = at + payloadBytes;
  const paddedEnd = at + align8(payloadBytes);
  for (let index = end; index < paddedEnd; index++) bytes[index] = 0;
  if (payload === null) return;
  const isExact = payload.length === payloadBytes;
  if (payloadBytes > (isExact ? WORD_COPY_BYTES : INEXACT_WORD_COPY_BYTES)) {
    bytes.set(isExact ? payload : payload.subarray(0, payloadBytes), at);
    return;
  }
  const wholeBytes = payloadBytes & ~3;
  let word = at >>> 2;
  let from = 0;
  for (; from < wholeBytes; from += 4) {
    words[word++] =
      (payload[from] as number) |
      ((payload[from + 1] as number) << 8) |
      ((payload[from + 2] as number) << 16) |
      ((payload[from + 3] as number) << 24);
  }
  for (; from < payloadBytes; from++) bytes[at + from] = payload[from] as number;
}
