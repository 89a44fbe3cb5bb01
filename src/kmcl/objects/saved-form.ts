/**
 * What a saved channel looks like: chunks of three kinds, in this order. The format is ours, as Windows' is not public.
 *
 * ```
 *   Channel   identity, whether it was open, answers that wait, transactions given up, a parked packet
 *   Packet    one for each packet object in use: the library's part and the driver's part
 *   End       how many packets there were; the last chunk
 * ```
 */
import type { TransactionId } from '../../channel/index.ts';
import type { Guid } from '../../wire/guid.ts';
import { MAX_PACKET_BYTES } from '../../wire/packet.ts';
import { bool, bytes, guid, i32, list, optional, record, u8, u16, u32 } from '../../wire/saved/index.ts';

export const ChunkKind = { Channel: 1, Packet: 2, End: 3 } as const;

/** Packet objects in use, answers that wait, transactions given up: more of each than a channel ever has. */
export const MAX_SAVED_ITEMS = 65_536;
/** The driver's part of one packet. */
export const MAX_SAVE_BUFFER_BYTES = 2 ** 24;
/** Bytes of all chunks of one channel that are kept until the last one is there. */
export const MAX_SAVED_CHANNEL_BYTES = 2 ** 28;

export interface ChannelChunk {
  readonly interfaceId: Guid;
  readonly instanceId: Guid;
  readonly subchannelIndex: number;
  readonly isPipe: boolean;
  /** Its rings were in use: transactions may be in flight. */
  readonly wasOpen: boolean;
  /** Encoded completions, in order. */
  readonly completions: readonly Uint8Array[];
  readonly abandoned: readonly TransactionId[];
  /** Encoded. */
  readonly parked: Uint8Array | undefined;
}

const transactionId = record<TransactionId>({ idLo: u32, idHi: i32 });
const encodedPacket = bytes(MAX_PACKET_BYTES);

export const channelChunk = record<ChannelChunk>({
  interfaceId: guid,
  instanceId: guid,
  subchannelIndex: u16,
  isPipe: bool,
  wasOpen: bool,
  completions: list(encodedPacket, MAX_SAVED_ITEMS),
  abandoned: list(transactionId, MAX_SAVED_ITEMS),
  parked: optional(encodedPacket),
});

/** The library's part of a packet: what `VmbPacketRestore` is given. */
export interface LibraryPart extends TransactionId {
  /** 1: waits for the ring. 2: its completion is to come. */
  readonly state: number;
  readonly wantsCompletion: boolean;
  readonly payloadBytes: number;
  /** The packet that waits; none if it is in flight. */
  readonly encoded: Uint8Array;
}

export const PacketIs = { Queued: 1, InFlight: 2 } as const;

export const libraryPart = record<LibraryPart>({
  state: u8,
  wantsCompletion: bool,
  idLo: u32,
  idHi: i32,
  payloadBytes: u32,
  encoded: encodedPacket,
});

export interface PacketChunk {
  readonly libraryBytes: Uint8Array;
  /** Undefined: the driver had nothing to save. */
  readonly driverBytes: Uint8Array | undefined;
}

export const packetChunk = record<PacketChunk>({
  libraryBytes: bytes(MAX_PACKET_BYTES + 64),
  driverBytes: optional(bytes(MAX_SAVE_BUFFER_BYTES)),
});

export const endChunk = record<{ readonly packetCount: number }>({ packetCount: u32 });
