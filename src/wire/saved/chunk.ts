/**
 * Chunks: the pieces that saved state is made of.
 *
 * Each has a header of 24 bytes, says how long it is, and ends in a checksum that goes on from that of the chunk before
 * it. A chunk that is damaged, missing, moved, repeated or taken from another save does not fit into the chain. The last
 * one is marked, so a save that was cut off is known as such.
 */
import { crc32c } from '../crc32c.ts';
import { struct, u16, u32 } from '../struct.ts';

import { badSavedState } from './saved-bytes.ts';

/** 'VMBs' in memory. */
export const SAVED_MAGIC = 0x7342_4d56;
/** Of the format: chunks, and what is in them. */
export const SAVED_VERSION = 1;

/** Longest payload of one chunk: 64 MiB, far beyond any packet or bus. */
export const MAX_CHUNK_PAYLOAD_BYTES = 2 ** 26;

/** Ours. */
export const SavedChunkHeader = struct('SavedChunkHeader', 24, {
  magic: u32(0), // SAVED_MAGIC
  version: u16(4), // SAVED_VERSION
  kind: u16(6), // what the payload is, for whoever saved it
  payloadBytes: u32(8),
  sequence: u32(12), // 0 for the first chunk
  isLast: u32(16), // 1 in the last chunk, else 0
  checksum: u32(20), // CRC-32C of the header up to here and the payload, begun with the checksum before
});

const SUMMED_HEADER_BYTES = 20;

export interface SavedChunk {
  readonly kind: number;
  readonly payload: Uint8Array;
  readonly isLast: boolean;
}

/** Makes chunks, one behind the other. */
export class ChunkWriter {
  #sequence = 0;
  #checksum = 0;

  /** @param payload at most `MAX_CHUNK_PAYLOAD_BYTES`; copied */
  next({ kind, payload, isLast }: SavedChunk): Uint8Array {
    if (payload.length > MAX_CHUNK_PAYLOAD_BYTES) throw badSavedState(`a chunk of ${payload.length} bytes`);
    const bytes = new Uint8Array(SavedChunkHeader.size + payload.length);
    const header = {
      magic: SAVED_MAGIC,
      version: SAVED_VERSION,
      kind,
      payloadBytes: payload.length,
      sequence: this.#sequence++,
      isLast: isLast ? 1 : 0,
    };
    SavedChunkHeader.write(bytes, 0, { ...header, checksum: 0 });
    this.#checksum = crc32c(payload, crc32c(bytes.subarray(0, SUMMED_HEADER_BYTES), this.#checksum));
    SavedChunkHeader.write(bytes, 0, { ...header, checksum: this.#checksum });
    bytes.set(payload, SavedChunkHeader.size);
    return bytes;
  }
}

/** Takes chunks apart, in the order in which they were made. */
export class ChunkReader {
  #sequence = 0;
  #checksum = 0;
  #isOver = false;

  /** The last chunk was read. */
  get isOver(): boolean {
    return this.#isOver;
  }

  /**
   * @param bytes whole chunks; the payloads are copies
   * @throws PeerError `ERR_SAVED_STATE`; this reader is of no use any more
   */
  read(bytes: Uint8Array): SavedChunk[] {
    const chunks: SavedChunk[] = [];
    for (let at = 0; at < bytes.length; ) {
      const chunk = this.#readOne(bytes.subarray(at));
      chunks.push(chunk);
      at += SavedChunkHeader.size + chunk.payload.length;
    }
    return chunks;
  }

  #readOne(bytes: Uint8Array): SavedChunk {
    if (this.#isOver) throw badSavedState('there is something behind the last chunk');
    if (bytes.length < SavedChunkHeader.size) throw badSavedState(`a chunk of ${bytes.length} bytes`);
    const { magic, version, kind, payloadBytes, sequence, isLast, checksum } = SavedChunkHeader.parse(bytes);
    if (magic !== SAVED_MAGIC) throw badSavedState('no chunk begins here');
    const room = bytes.length - SavedChunkHeader.size;
    if (payloadBytes > room || payloadBytes > MAX_CHUNK_PAYLOAD_BYTES) {
      throw badSavedState(`a chunk with ${payloadBytes} bytes of payload, ${room} are there`);
    }
    const payload = bytes.slice(SavedChunkHeader.size, SavedChunkHeader.size + payloadBytes);
    const summed = crc32c(payload, crc32c(bytes.subarray(0, SUMMED_HEADER_BYTES), this.#checksum));
    if (summed !== checksum) throw badSavedState(`chunk ${sequence} is damaged, or out of order`);
    if (version !== SAVED_VERSION) throw badSavedState(`version ${version}; this is version ${SAVED_VERSION}`);
    if (sequence !== this.#sequence) throw badSavedState(`chunk ${sequence} where ${this.#sequence} is next`);
    if (isLast > 1) throw badSavedState(`chunk ${sequence} has mark ${isLast}`);
    this.#sequence++;
    this.#checksum = checksum;
    this.#isOver = isLast === 1;
    return { kind, payload, isLast: this.#isOver };
  }
}
