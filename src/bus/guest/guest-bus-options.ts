/** What a guest bus can be told, with the defaults. */
import type { VmbusError } from '../../errors.ts';
import { FeatureFlag } from '../../wire/versions.ts';
import type { MonitorPages } from '../monitor-pages.ts';
import type { VersionRange } from '../version-range.ts';
import type { GuestConnection } from './connection-moves.ts';
import type { GuestOffer } from './guest-offer.ts';

/** The features that a guest asks for by itself; with a client id also `FeatureFlag.ClientId`. */
export const DEFAULT_GUEST_FEATURES =
  FeatureFlag.GuestSpecifiedSignalParameters |
  FeatureFlag.ChannelInterruptRedirection |
  FeatureFlag.ModifyConnection |
  FeatureFlag.PauseResume;

export interface GuestBusOptions extends VersionRange {
  /** `FeatureFlag` bits to ask for at 6.0. Default: `DEFAULT_GUEST_FEATURES`. */
  readonly features?: number;
  /** Virtual processor for the host's messages, from 3.0. Default 0. */
  readonly targetMessageVp?: number;
  /** Virtual trust level of the host that is meant, from 5.1. Default 0. */
  readonly targetVtl?: number;
  /** Byte address of the interrupt page, for hosts below 2.4. Default: none. */
  readonly interruptPageGpa?: bigint;
  /** Our monitor pages. Default: none. */
  readonly monitorPages?: MonitorPages;
  /** A GUID that tells the host who asks. */
  readonly clientId?: string;
  /**
   * Messages that wait for the host to take them. What the host provokes is not answered beyond it; our own requests
   * are not limited. Default 8192.
   */
  readonly maxUnsentMessages?: number;
}

export interface GuestBusEvents {
  connected(version: number, features: number, connection: GuestConnection): void;
  /** No connection: no version suits both (`ERR_REFUSED`), the host failed, or the transport did. */
  connectFailed(error: VmbusError): void;
  offered(offer: GuestOffer): void;
  allOffersDelivered(): void;
  /** The host took the offer back, or the connection has ended. Let go of the channel, then `release` it. */
  rescinded(offer: GuestOffer): void;
  disconnected(): void;
  /** What came was not obeyed, and why. May be called at the host's pace: limit what you log. */
  dropped?(reason: string, message: Uint8Array): void;
  /** Every message that crosses; `message` is valid during the call. */
  message?(direction: 'sent' | 'received', message: Uint8Array): void;
  /** A message could not be posted now; call `GuestBus.flush` in a while. */
  backlog?(): void;
}
