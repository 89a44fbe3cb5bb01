/** Keeps the first read that went over a channel: the packet with its page frame numbers, and its completion. */
import type { ChannelTap } from '../../channel/index.ts';
import { DESCRIPTOR_BYTES, PacketDescriptor, PacketType } from '../../wire/packet.ts';

export interface CapturedTransaction {
  /** Descriptor to padding. */
  readonly request: Uint8Array;
  readonly completion: Uint8Array;
}

/** Listens to a guest's channel. `transaction` is there once the first GPA-direct packet was answered. */
export class TransactionCapture implements ChannelTap {
  /** Only a packet of at least this many bytes counts: the data, not the INQUIRY before it. */
  readonly #minPacketBytes: number;
  #request: Uint8Array | undefined;
  #completion: Uint8Array | undefined;

  constructor(minPacketBytes = 0) {
    this.#minPacketBytes = minPacketBytes;
  }

  get transaction(): CapturedTransaction | undefined {
    if (this.#request === undefined || this.#completion === undefined) return undefined;
    return { request: this.#request, completion: this.#completion };
  }

  packetSent(_channel: unknown, bytes: Uint8Array, at: number, packetBytes: number): void {
    if (this.#request !== undefined || packetBytes < this.#minPacketBytes) return;
    if (typeOf(bytes, at) === PacketType.GpaDirect) this.#request = bytes.slice(at, at + packetBytes);
  }

  packetReceived(_channel: unknown, bytes: Uint8Array, at: number, packetBytes: number): void {
    if (this.#request === undefined || this.#completion !== undefined) return;
    if (typeOf(bytes, at) !== PacketType.Completion || !isSameId(this.#request, bytes, at)) return;
    this.#completion = bytes.slice(at, at + packetBytes);
  }
}

function typeOf(bytes: Uint8Array, at: number): number {
  return (bytes[at] as number) | ((bytes[at + 1] as number) << 8);
}

function isSameId(request: Uint8Array, bytes: Uint8Array, at: number): boolean {
  for (let index = PacketDescriptor.offsets.transactionId; index < DESCRIPTOR_BYTES; index++) {
    if (request[index] !== bytes[at + index]) return false;
  }
  return true;
}
