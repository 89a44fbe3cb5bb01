/** A packet on its way out: from the send call to its one completion. */
import { PacketBuffer } from '../../ring/index.ts';
import { type NtStatus, STATUS_SUCCESS } from '../../wire/ntstatus.ts';

/** Where an outgoing packet is. */
export const OutgoingState = {
  /** With its owner: may be sent, reused or dropped. */
  Idle: 0,
  /** Waits for room in the ring, or for the channel to open. */
  Queued: 1,
  /** In the ring or beyond; the peer's completion ends it. */
  InFlight: 2,
  /** In the ring without completion asked for, or refused by it: its routine runs next. */
  Sent: 3,
} as const;
export type OutgoingState = (typeof OutgoingState)[keyof typeof OutgoingState];

/**
 * The object that stands for one transaction at a time. Its owner subclasses it for `completed`, and may send it again
 * from there.
 */
export class OutgoingPacket {
  state: OutgoingState = OutgoingState.Idle;
  wantsCompletion = false;
  /** True for the answer to an incoming packet, which leaves even while the channel is paused. */
  isCompletion = false;
  /** Transaction id, two words as they stand on the wire. */
  idLo = 0;
  idHi = 0;
  /** Behind it in the list that it is in. */
  next: OutgoingPacket | null = null;
  /** Bytes of the encoded packet, without trailer; of the copy in `held` while it is queued. */
  packetBytes = 0;
  payloadBytes = 0;
  /** What its routine is told when no completion is involved. */
  endStatus: NtStatus = STATUS_SUCCESS;
  /** Bytes described by page frame numbers. */
  externalBytes = 0;
  #held: PacketBuffer | null = null;

  /**
   * The transaction is over: called exactly once for each send, at DISPATCH or below.
   * @param _status `STATUS_SUCCESS`, or why no completion will come
   * @param _bytes completion payload, valid during the call; `null` without one
   * @param _byteCount bytes of it that count
   */
  completed(_status: NtStatus, _bytes: Uint8Array | null, _byteCount: number): void {}

  /** It goes on where its channel was restored, and its routine runs there: here it is only given back. */
  handedOver(): void {}

  /** Private memory for the encoded packet while it waits; kept for the next time. */
  hold(packetBytes: number): PacketBuffer {
    this.#held ??= new PacketBuffer(packetBytes);
    this.#held.ensure(packetBytes);
    return this.#held;
  }

  /** A copy of the packet that waits, descriptor to padding; only while it is queued. */
  encoded(): Uint8Array {
    return this.hold(this.packetBytes).bytes.slice(0, this.packetBytes);
  }
}
