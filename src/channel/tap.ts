/**
 * The one place to listen at: tracer, inspector and verifier are taps. Without one, each point costs one branch.
 */
import type { ChannelEndpoint } from './channel-endpoint.ts';

export interface ChannelTap {
  /**
   * A packet went into the ring.
   * @param bytes the packet is `bytes[at .. at + packetBytes)`; valid during the call
   */
  packetSent?(channel: ChannelEndpoint, bytes: Uint8Array, at: number, packetBytes: number): void;
  /** A packet was taken out of the ring: its private copy, valid during the call. */
  packetReceived?(channel: ChannelEndpoint, bytes: Uint8Array, at: number, packetBytes: number): void;
  /** The channel's life moved on; the names are those of `LifeState`. */
  stateChanged?(channel: ChannelEndpoint, from: string, to: string): void;
  /** The peer broke a rule and the channel ends for it. */
  faulted?(channel: ChannelEndpoint, error: Error): void;
}
