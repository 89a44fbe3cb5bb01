/** A packet from the peer: a private copy that belongs to the channel's pool, and to the driver until it completes. */
import type { Mdl } from '../../memory/index.ts';
import { PacketBuffer, type RingReader } from '../../ring/index.ts';
import { PACKET_FLAG_COMPLETION_REQUESTED, PacketType, PipeHeader } from '../../wire/packet.ts';
import type { ChannelEndpoint } from '../channel-endpoint.ts';
import { PayloadViews } from './payload-views.ts';
import { checkPipeHeader } from './pipe.ts';

/** Where an incoming packet is. */
export const IncomingState = {
  /** In the pool. */
  Free: 0,
  /** Its packet callback is running. */
  Delivering: 1,
  /** With the driver. */
  Held: 2,
  /** Handed back by the driver, to be delivered again. */
  Parked: 3,
} as const;
export type IncomingState = (typeof IncomingState)[keyof typeof IncomingState];

const NO_BYTES = new Uint8Array(0);

export class IncomingPacket {
  readonly endpoint: ChannelEndpoint;
  state: IncomingState = IncomingState.Free;
  packetType = 0;
  /** The sender waits for `ChannelEndpoint.complete`. */
  wantsCompletion = false;
  /** The sender's transaction id: two opaque words. */
  idLo = 0;
  idHi = 0;
  /** The payload and whatever the buffer holds behind it; valid until completion. */
  payload: Uint8Array = NO_BYTES;
  /** Bytes of `payload` that count: outside pipes the sent length rounded up to 8. */
  payloadBytes = 0;
  /** Ranges that the sender announced; they are judged when somebody asks for them. */
  rangeCount = 0;
  /** Byte offset at which ranges end and the payload begins. */
  dataOffset = 0;
  /** The MDL chain given out; `null` before. */
  external: Mdl | null = null;
  /** The driver asked for external data that is not there yet. */
  isAwaitingData = false;
  /** What the driver shows its user for this object; stays with it from packet to packet. */
  face: object | null = null;
  /** Bytes of the driver's own; `null` if the channel gives none. */
  readonly context: Uint8Array | null;

  readonly #copy: PacketBuffer;
  readonly #views = new PayloadViews();

  /** @param capacityBytes of a packet that fits without growing */
  constructor(endpoint: ChannelEndpoint, capacityBytes: number, contextBytes: number) {
    this.endpoint = endpoint;
    this.#copy = new PacketBuffer(capacityBytes);
    this.context = contextBytes === 0 ? null : new Uint8Array(contextBytes);
  }

  /** Pages of the sender's come with it. */
  get hasExternalData(): boolean {
    return this.packetType === PacketType.GpaDirect;
  }

  /** The private copy: descriptor to padding. */
  get bytes(): Uint8Array {
    return this.#copy.bytes;
  }

  get words(): Int32Array {
    return this.#copy.words;
  }

  get packetBytes(): number {
    return this.#copy.packetBytes;
  }

  /**
   * Takes the packet that the reader looked at.
   * @throws PeerError `ERR_RING_LENGTHS` for a malformed pipe header
   */
  takeFrom(reader: RingReader, isPipe: boolean): void {
    reader.copyPacket(this.#copy);
    const dataOffset8 = reader.dataOffset8;
    this.packetType = reader.packetType;
    this.wantsCompletion = (reader.flags & PACKET_FLAG_COMPLETION_REQUESTED) !== 0;
    this.idLo = reader.idLo;
    this.idHi = reader.idHi;
    this.rangeCount = reader.rangeCount;
    this.dataOffset = dataOffset8 * 8;
    if (isPipe) {
      this.payloadBytes = checkPipeHeader(this.#copy.words, this.dataOffset, reader.packetBytes - this.dataOffset);
      this.payload = this.#views.from(this.#copy.bytes, dataOffset8 + PipeHeader.size / 8);
    } else {
      this.payloadBytes = reader.packetBytes - this.dataOffset;
      this.payload = this.#views.from(this.#copy.bytes, dataOffset8);
    }
    this.isAwaitingData = false;
    this.context?.fill(0);
  }
}
