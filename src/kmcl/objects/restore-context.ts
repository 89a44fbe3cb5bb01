/**
 * A restore under way. Chunks are checked and kept until the last one is there; then the driver is asked to make its
 * packets, and only when all of them are made does the channel take anything up. Whatever fails, nothing has happened.
 */
import { OutgoingState, type RestoredInFlight, type RestoredQueued, replay } from '../../channel/index.ts';
import { align8 } from '../../wire/align.ts';
import {
  NT_SUCCESS,
  type NtStatus,
  STATUS_DATA_ERROR,
  STATUS_INVALID_DEVICE_STATE,
  STATUS_INVALID_PARAMETER_1,
  STATUS_INVALID_PARAMETER_2,
  STATUS_SUCCESS,
} from '../../wire/ntstatus.ts';
import { DESCRIPTOR_BYTES, PacketType, PipeHeader } from '../../wire/packet.ts';
import { badSavedState, ChunkReader, decodeWith } from '../../wire/saved/index.ts';
import type { ChannelObject } from './channel-object.ts';
import type { PacketObject } from './packet-object.ts';
import {
  type ChannelChunk,
  ChunkKind,
  channelChunk,
  endChunk,
  type LibraryPart,
  libraryPart,
  MAX_SAVED_CHANNEL_BYTES,
  MAX_SAVED_ITEMS,
  PacketIs,
  packetChunk,
} from './saved-form.ts';

interface SavedPacket {
  readonly library: LibraryPart;
  readonly libraryBytes: Uint8Array;
  readonly driverBytes: Uint8Array | undefined;
}

export class RestoreContext {
  readonly #channel: ChannelObject;
  readonly #reader = new ChunkReader();
  #saved: ChannelChunk | null = null;
  readonly #packets: SavedPacket[] = [];
  readonly #ids = new Set<number>();
  #keptBytes = 0;
  /** The packet that the driver is asked for now, and the object that it gave. */
  #asked: SavedPacket | null = null;
  #given: PacketObject | null = null;

  constructor(channel: ChannelObject) {
    this.#channel = channel;
  }

  get isWhole(): boolean {
    return this.#reader.isOver;
  }

  /** @throws PeerError for what cannot be used; the context is of no use then */
  feed(bytes: Uint8Array): void {
    this.#keptBytes += bytes.length;
    if (this.#keptBytes > MAX_SAVED_CHANNEL_BYTES)
      throw badSavedState(`a channel of more than ${this.#keptBytes} bytes`);
    for (const { kind, payload, isLast } of this.#reader.read(bytes)) {
      if ((kind === ChunkKind.End) !== isLast) throw badSavedState('the end is not the last chunk');
      if ((kind === ChunkKind.Channel) !== (this.#saved === null))
        throw badSavedState('the channel is not the first chunk');
      if (kind === ChunkKind.Channel) this.#saved = this.#checkChannel(decodeWith(channelChunk, payload));
      else if (kind === ChunkKind.Packet) this.#addPacket(payload);
      else if (kind === ChunkKind.End) this.#checkEnd(payload);
      else throw badSavedState(`a chunk of kind ${kind}`);
    }
  }

  /** Asks the driver for its packets and hands everything to the channel; only when `isWhole`. */
  finish(): NtStatus {
    const saved = this.#saved;
    if (saved === null) return STATUS_DATA_ERROR;
    const inFlight: RestoredInFlight[] = [];
    const queued: RestoredQueued[] = [];
    const made: PacketObject[] = [];
    for (const packet of this.#packets) {
      const status = this.#ask(packet);
      // Also of a failed callback: what it made is to be taken back.
      if (this.#given !== null) made.push(this.#given);
      if (status !== STATUS_SUCCESS || this.#given === null) {
        for (const object of made) object.state = OutgoingState.Idle;
        return status === STATUS_SUCCESS ? STATUS_INVALID_DEVICE_STATE : status;
      }
      const { library } = packet;
      if (library.state === PacketIs.Queued) queued.push({ ...library, packet: this.#given });
      else inFlight.push({ ...library, packet: this.#given });
    }
    const { completions, abandoned, parked } = saved;
    this.#channel.endpoint.restore({
      inFlight,
      queued,
      completions,
      abandoned,
      parked: parked === undefined ? null : replay(parked),
    });
    this.#channel.restored = { wasOpen: saved.wasOpen };
    return STATUS_SUCCESS;
  }

  /** `VmbPacketRestore`, from inside the driver's callback. */
  give(packet: PacketObject, bytes: Uint8Array, byteCount: number): NtStatus {
    const asked = this.#asked;
    if (asked === null || this.#given !== null) return STATUS_INVALID_DEVICE_STATE;
    if (!packet.hasRoutine || packet.channel !== this.#channel) return STATUS_INVALID_PARAMETER_1;
    const isSame =
      byteCount === asked.libraryBytes.length &&
      bytes.length >= byteCount &&
      asked.libraryBytes.every((byte, index) => byte === bytes[index]);
    if (!isSame) return STATUS_INVALID_PARAMETER_2;
    // Not idle from here on, so that it cannot be sent or freed before the channel takes it up.
    packet.state = OutgoingState.InFlight;
    this.#given = packet;
    return STATUS_SUCCESS;
  }

  #ask(packet: SavedPacket): NtStatus {
    const { restorePacket } = this.#channel.server;
    if (restorePacket === null) return STATUS_INVALID_DEVICE_STATE;
    const { libraryBytes, driverBytes } = packet;
    this.#asked = packet;
    this.#given = null;
    try {
      const status = restorePacket(
        this.#channel.handle,
        libraryBytes.slice(),
        libraryBytes.length,
        driverBytes ?? null,
        driverBytes?.length ?? 0,
      );
      return NT_SUCCESS(status) ? STATUS_SUCCESS : status;
    } finally {
      this.#asked = null;
    }
  }

  #checkChannel(saved: ChannelChunk): ChannelChunk {
    const { endpoint, subchannelIndex } = this.#channel;
    const identity = this.#channel.serverIdentity();
    const isOurs = saved.interfaceId === identity?.interfaceId && saved.instanceId === identity.instanceId;
    if (!isOurs || saved.subchannelIndex !== subchannelIndex || saved.isPipe !== endpoint.settings.isPipe) {
      throw badSavedState('it is of another channel');
    }
    for (const encoded of saved.completions) {
      if (replay(encoded).packetType !== PacketType.Completion) throw badSavedState('an answer that is none');
    }
    for (const { idLo } of saved.abandoned) this.#addId(idLo);
    if (saved.parked !== undefined) {
      const reader = replay(saved.parked);
      if (reader.packetType === PacketType.Completion) throw badSavedState('a completion waits to be delivered');
      const payloadBytes = reader.packetBytes - reader.dataOffset8 * 8;
      if (payloadBytes > this.#maxPayloadBytes) throw badSavedState(`a packet of ${payloadBytes} bytes`);
    }
    return saved;
  }

  #addPacket(payload: Uint8Array): void {
    const { libraryBytes, driverBytes } = decodeWith(packetChunk, payload);
    const library = decodeWith(libraryPart, libraryBytes);
    if (this.#packets.length >= MAX_SAVED_ITEMS) throw badSavedState('too many packets');
    if (library.wantsCompletion) this.#addId(library.idLo);
    if (library.state === PacketIs.Queued) this.#checkQueued(library);
    else if (library.state !== PacketIs.InFlight || !library.wantsCompletion || library.encoded.length > 0) {
      throw badSavedState(`a packet in state ${library.state}`);
    }
    this.#packets.push({ library, libraryBytes, driverBytes });
  }

  #checkQueued({ encoded, wantsCompletion, idLo, idHi, payloadBytes }: LibraryPart): void {
    const reader = replay(encoded);
    const sameId = !wantsCompletion || (reader.idLo >>> 0 === idLo && reader.idHi === idHi);
    const room = reader.packetBytes - DESCRIPTOR_BYTES;
    const isOurs = reader.packetType === PacketType.InBand && (reader.flags === 1) === wantsCompletion && sameId;
    if (!isOurs || payloadBytes > room) throw badSavedState('a packet that waits is not what it should be');
    if (room > this.#maxPayloadBytes) throw badSavedState(`a packet of ${room} bytes`);
  }

  #checkEnd(payload: Uint8Array): void {
    const { packetCount } = decodeWith(endChunk, payload);
    if (packetCount !== this.#packets.length)
      throw badSavedState(`${packetCount} packets, ${this.#packets.length} came`);
  }

  #addId(idLo: number): void {
    if (this.#ids.has(idLo) || !this.#channel.endpoint.isIdFree(idLo)) throw badSavedState(`transaction ${idLo}`);
    this.#ids.add(idLo);
  }

  get #maxPayloadBytes(): number {
    const { maxPacketBytes, isPipe } = this.#channel.endpoint.settings;
    return align8(maxPacketBytes + (isPipe ? PipeHeader.size : 0));
  }
}
