/** A save under way: chunks are made one at a time, as there is room for them. */
import { type OutgoingPacket, OutgoingState, type SavedChannel } from '../../channel/index.ts';
import { ZERO_GUID } from '../../wire/guid.ts';
import { NT_SUCCESS, type NtStatus, STATUS_INVALID_BUFFER_SIZE, STATUS_SUCCESS } from '../../wire/ntstatus.ts';
import { ChunkWriter, encodeWith } from '../../wire/saved/index.ts';
import type { ChannelObject } from './channel-object.ts';
import { PacketObject } from './packet-object.ts';
import {
  ChunkKind,
  channelChunk,
  endChunk,
  libraryPart,
  MAX_SAVE_BUFFER_BYTES,
  PacketIs,
  packetChunk,
} from './saved-form.ts';

/** The next chunk, `null` after the last, or the status with which the driver's callback failed. */
export type NextChunk = { readonly chunk: Uint8Array | null } | { readonly failedWith: NtStatus };

export class SaveContext {
  readonly #channel: ChannelObject;
  readonly #saved: SavedChannel;
  readonly #packets: readonly OutgoingPacket[];
  readonly #writer = new ChunkWriter();
  /** Chunks made so far. */
  #made = 0;
  /** Made, but found no room yet. */
  #waiting: Uint8Array | null = null;

  constructor(channel: ChannelObject, saved: SavedChannel) {
    this.#channel = channel;
    this.#saved = saved;
    this.#packets = [...saved.inFlight, ...saved.queued];
  }

  get isDone(): boolean {
    return this.#waiting === null && this.#made === this.#packets.length + 2;
  }

  /** The chunk that is next, the same again until `taken`. Calls the driver at most once per packet. */
  next(): NextChunk {
    if (this.#waiting !== null) return { chunk: this.#waiting };
    if (this.isDone) return { chunk: null };
    if (this.#made === 0) return this.#make(ChunkKind.Channel, this.#channelPayload());
    const packet = this.#packets[this.#made - 1];
    if (packet === undefined) {
      return this.#make(ChunkKind.End, encodeWith(endChunk, { packetCount: this.#packets.length }));
    }
    const driver = this.#driverPart(packet);
    if (driver.status !== STATUS_SUCCESS) return { failedWith: driver.status };
    const libraryBytes = encodeWith(libraryPart, {
      state: packet.state === OutgoingState.Queued ? PacketIs.Queued : PacketIs.InFlight,
      wantsCompletion: packet.wantsCompletion,
      idLo: packet.idLo,
      idHi: packet.idHi,
      payloadBytes: packet.payloadBytes,
      encoded: packet.state === OutgoingState.Queued ? packet.encoded() : new Uint8Array(0),
    });
    return this.#make(ChunkKind.Packet, encodeWith(packetChunk, { libraryBytes, driverBytes: driver.bytes }));
  }

  taken(): void {
    this.#waiting = null;
    if (this.isDone) this.#channel.endpoint.saved(this.#saved);
  }

  #make(kind: number, payload: Uint8Array): NextChunk {
    this.#waiting = this.#writer.next({ kind, payload, isLast: kind === ChunkKind.End });
    this.#made++;
    return { chunk: this.#waiting };
  }

  #channelPayload(): Uint8Array {
    const { endpoint, subchannelIndex } = this.#channel;
    const { interfaceId, instanceId } = this.#channel.serverIdentity() ?? NO_IDENTITY;
    return encodeWith(channelChunk, {
      interfaceId,
      instanceId,
      subchannelIndex,
      isPipe: endpoint.settings.isPipe,
      wasOpen: endpoint.isOpen,
      completions: this.#saved.completions,
      abandoned: this.#saved.abandoned,
      parked: this.#saved.parked ?? undefined,
    });
  }

  /** The two calls: how much, and then the bytes. */
  #driverPart(packet: OutgoingPacket): { readonly status: NtStatus; readonly bytes?: Uint8Array } {
    const { savePacket } = this.#channel.server;
    if (savePacket === null || !(packet instanceof PacketObject)) return { status: STATUS_SUCCESS };
    const { handle } = this.#channel;
    const needed = { value: 0 };
    const first = savePacket(handle, packet.handle, null, 0, needed);
    if (NT_SUCCESS(first)) return { status: STATUS_SUCCESS };
    const byteCount = needed.value;
    if (byteCount === 0) return { status: first };
    if (!Number.isInteger(byteCount) || byteCount < 0 || byteCount > MAX_SAVE_BUFFER_BYTES) {
      return { status: STATUS_INVALID_BUFFER_SIZE };
    }
    const buffer = new Uint8Array(byteCount);
    const second = savePacket(handle, packet.handle, buffer, byteCount, needed);
    return NT_SUCCESS(second) ? { status: STATUS_SUCCESS, bytes: buffer } : { status: second };
  }
}

const NO_IDENTITY = { interfaceId: ZERO_GUID, instanceId: ZERO_GUID };
