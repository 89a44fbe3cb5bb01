/** What a host bus can be told, with the defaults. */
import { FeatureFlag } from '../../wire/versions.ts';
import type { MonitorPages } from '../monitor-pages.ts';
import type { VersionRange } from '../version-range.ts';
import type { HostConnection } from './contact.ts';

/** The features that a host supports by itself; three more need something from its owner. */
export const DEFAULT_HOST_FEATURES =
  FeatureFlag.GuestSpecifiedSignalParameters |
  FeatureFlag.ChannelInterruptRedirection |
  FeatureFlag.ModifyConnection |
  FeatureFlag.ClientId |
  FeatureFlag.PauseResume;

export interface HostBusOptions extends VersionRange {
  /** `FeatureFlag` bits that may be agreed. Default: `DEFAULT_HOST_FEATURES`. */
  readonly features?: number;
  /** Virtual trust level of the guest code that this host serves. Default 0. */
  readonly vtl?: number;
  /** Virtual processors of the guest; without it every index is taken. */
  readonly vpCount?: number;
  /** Where guests of 5.0 and newer post after contact. Default 1. */
  readonly messageConnectionId?: number;
  /** Message connection that only trusted code in the guest can post to. Default: none, nobody is trusted. */
  readonly trustedConnectionId?: number;
  /** Monitor pages that the host supplies to guests that ask for feature ServerSpecifiedMonitorPages. */
  readonly serverMonitorPages?: MonitorPages;
  /** GPADLs of the guest at a time. Default 8192. */
  readonly maxGpadls?: number;
  /** GPADLs of which words are missing, at a time; each takes at most 64 KiB. Default 256. */
  readonly maxGpadlsInProgress?: number;
  /** Pages in all GPADLs together. Default 327680 (1280 MiB, about what Windows Server 2019 allows). */
  readonly maxGpadlPages?: number;
  /** Messages that wait for the guest to take them; with more, what it asks is dropped. Default 8192. */
  readonly maxUnsentMessages?: number;
  /** hvsock connects that the guest may have waiting; more are refused. Default 16. */
  readonly maxTlConnects?: number;
}

/** A guest asks for a connection to a service on the host. */
export interface TlConnectRequest {
  /** Chosen by the guest; the instance id of the offer that answers. */
  readonly endpointId: string;
  /** The interface id of the offer that answers. */
  readonly serviceId: string;
  /** From 5.2, when the guest sent it. */
  readonly siloId: string | undefined;
}

export interface HostBusEvents {
  /** A guest made contact. */
  connected?(version: number, features: number, connection: HostConnection): void;
  /** The connection has ended and every device has let go of it. */
  disconnected?(): void;
  /**
   * The guest chose (or dropped) its monitor pages and, below 2.4, its interrupt page (0 for none).
   * @returns false if they cannot be used
   */
  pagesChosen?(monitorPages: MonitorPages | undefined, interruptPageGpa: bigint): boolean;
  /**
   * Answer with an offer (interface `serviceId`, instance `endpointId`) or with `HostBus.refuseTlConnect`.
   * @returns false to refuse at once; so it is without this handler
   */
  tlConnect?(request: TlConnectRequest): boolean;
  /** What came was not obeyed, and why. May be called at the guest's pace: limit what you log. */
  dropped?(reason: string, message: Uint8Array): void;
  /** Every message that crosses; `message` is valid during the call. */
  message?(direction: 'sent' | 'received', message: Uint8Array): void;
  /** A message could not be posted now; call `HostBus.flush` in a while. */
  backlog?(): void;
}
