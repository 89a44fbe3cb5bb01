/** What a channel has under way, as it is saved on one host and restored on another. */
import type { RingReader } from '../../ring/index.ts';
import type { OutgoingPacket } from './outgoing-packet.ts';

/** Two words, as they stand on the wire. */
export interface TransactionId {
  readonly idLo: number;
  readonly idHi: number;
}

/** The outgoing half of a channel at rest. */
export interface SavedSends {
  /** In the ring or beyond; their completions are to come. */
  readonly inFlight: readonly OutgoingPacket[];
  /** Waiting for the ring, in order. */
  readonly queued: readonly OutgoingPacket[];
  /** Answers to the peer that wait, in order: encoded packets. */
  readonly completions: readonly Uint8Array[];
  /** Given up, but their completions are still to come. */
  readonly abandoned: readonly TransactionId[];
}

export interface RestoredInFlight extends TransactionId {
  readonly packet: OutgoingPacket;
}

export interface RestoredQueued extends RestoredInFlight {
  readonly wantsCompletion: boolean;
  /** Descriptor to padding. */
  readonly encoded: Uint8Array;
  readonly payloadBytes: number;
}

/** The same, with packet objects of the new host. */
export interface RestoredSends {
  readonly inFlight: readonly RestoredInFlight[];
  readonly queued: readonly RestoredQueued[];
  readonly completions: readonly Uint8Array[];
  readonly abandoned: readonly TransactionId[];
}

/** A whole channel at rest. */
export interface SavedChannel extends SavedSends {
  /** Taken out of the ring and to be delivered again: an encoded packet. */
  readonly parked: Uint8Array | null;
}

export interface RestoredChannel extends RestoredSends {
  /** A reader that has peeked at it; see `replayed-packet.ts`. */
  readonly parked: RingReader | null;
}
