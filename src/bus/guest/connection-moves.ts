/**
 * The life of the guest's connection.
 *
 * ```
 *   disconnected ──connect──> connecting ──accepted──> requestingOffers ──allDelivered──> connected
 *        ^                    │  ^    │                      |                               |
 *        |                    └──┘    └─ disconnect ─> abandoning                            |
 *        |             refused: older version            | accepted                          |
 *        └──unloadComplete───────────────────────── disconnecting <───────── disconnect ─────┘
 *
 *   lost, from anywhere, leads back to disconnected
 * ```
 *
 * Source: Linux `drivers/hv/connection.c` (`vmbus_connect`, `vmbus_negotiate_version`); OpenVMM `vmbus_client`.
 */
import type { VmbusError } from '../../errors.ts';
import { VmbusVersion } from '../../wire/versions.ts';
import type { MonitorPages } from '../monitor-pages.ts';
import { type Moves, type Step, takeStep, to } from '../moves.ts';

/** What was agreed. */
export interface GuestConnection {
  readonly version: number;
  /** Negotiated `FeatureFlag` bits. */
  readonly features: number;
  /** Message connection for everything after contact. */
  readonly messageConnectionId: number;
  /** The pages in use, whoever supplied them. */
  readonly monitorPages: MonitorPages | undefined;
}

export type GuestConnectionState =
  | { readonly at: 'disconnected' }
  | { readonly at: 'connecting'; readonly version: number; readonly olderVersions: readonly number[] }
  | { readonly at: 'abandoning'; readonly version: number } // the host's answer is due, then it is told to unload
  | { readonly at: 'requestingOffers'; readonly connection: GuestConnection }
  | { readonly at: 'connected'; readonly connection: GuestConnection } // all first offers were delivered
  | { readonly at: 'disconnecting'; readonly connection: GuestConnection };

export type GuestConnectionEvent =
  | { readonly is: 'connect'; readonly versions: readonly number[] }
  | { readonly is: 'accepted'; readonly connection: GuestConnection }
  | { readonly is: 'versionRefused' } // by the host, or by the hypervisor: no such message connection
  | { readonly is: 'contactFailed'; readonly error: VmbusError } // the version is fine, the host is not
  | { readonly is: 'allOffersDelivered' }
  | { readonly is: 'monitorPagesModified'; readonly monitorPages: MonitorPages | undefined }
  | { readonly is: 'disconnect' }
  | { readonly is: 'unloadComplete' }
  | { readonly is: 'lost'; readonly error: VmbusError };

export type GuestConnectionAction =
  | { readonly do: 'sendContact'; readonly version: number }
  | { readonly do: 'sendRequestOffers' }
  | { readonly do: 'sendUnload'; readonly connection: GuestConnection }
  | { readonly do: 'endEverything' } // pending callbacks, then offers
  | { readonly do: 'tellConnected'; readonly connection: GuestConnection }
  | { readonly do: 'tellAllOffersDelivered' }
  | { readonly do: 'tellConnectFailed'; readonly error: VmbusError | undefined } // undefined: no version suits both
  | { readonly do: 'tellDisconnected' };

type GuestConnectionStep = Step<GuestConnectionState, GuestConnectionAction>;

const disconnected: GuestConnectionState = { at: 'disconnected' };

function ask(versions: readonly number[]): GuestConnectionStep {
  const [version, ...olderVersions] = versions;
  if (version === undefined) return to(disconnected, { do: 'tellConnectFailed', error: undefined });
  return to({ at: 'connecting', version, olderVersions }, { do: 'sendContact', version });
}

const end = (): GuestConnectionStep => to(disconnected, { do: 'endEverything' }, { do: 'tellDisconnected' });

function unload(connection: GuestConnection): GuestConnectionStep {
  const send: GuestConnectionAction = { do: 'sendUnload', connection };
  // UnloadComplete exists since 1.1; an older host has nothing to say.
  if (connection.version < VmbusVersion.WIN7) return to(disconnected, send, ...end().actions);
  return to({ at: 'disconnecting', connection }, send);
}

export const guestConnectionMoves: Moves<GuestConnectionState, GuestConnectionEvent, GuestConnectionAction> = {
  disconnected: {
    connect: (_, e) => ask(e.versions),
    disconnect: (s) => to(s),
    lost: (s) => to(s),
  },
  connecting: {
    accepted: (_, { connection }) =>
      to({ at: 'requestingOffers', connection }, { do: 'sendRequestOffers' }, { do: 'tellConnected', connection }),
    versionRefused: (s) => ask(s.olderVersions),
    contactFailed: (_, e) => to(disconnected, { do: 'tellConnectFailed', error: e.error }),
    disconnect: (s) => to({ at: 'abandoning', version: s.version }),
    lost: (_, e) => to(disconnected, { do: 'tellConnectFailed', error: e.error }),
  },
  abandoning: {
    accepted: (_, e) => unload(e.connection),
    versionRefused: () => to(disconnected, { do: 'tellDisconnected' }),
    contactFailed: () => to(disconnected, { do: 'tellDisconnected' }),
    disconnect: (s) => to(s),
    lost: () => to(disconnected, { do: 'tellDisconnected' }),
  },
  requestingOffers: {
    allOffersDelivered: (s) => to({ at: 'connected', connection: s.connection }, { do: 'tellAllOffersDelivered' }),
    monitorPagesModified: (s, e) => to({ ...s, connection: { ...s.connection, monitorPages: e.monitorPages } }),
    disconnect: (s) => unload(s.connection),
    lost: end,
  },
  connected: {
    monitorPagesModified: (s, e) => to({ ...s, connection: { ...s.connection, monitorPages: e.monitorPages } }),
    disconnect: (s) => unload(s.connection),
    lost: end,
  },
  disconnecting: {
    // The host was still listing its offers when we asked to leave.
    allOffersDelivered: (s) => to(s),
    monitorPagesModified: (s) => to(s),
    unloadComplete: end,
    disconnect: (s) => to(s),
    lost: end,
  },
};

/** @throws PeerError `ERR_MESSAGE` for an event out of turn */
export function stepGuestConnection(state: GuestConnectionState, event: GuestConnectionEvent): GuestConnectionStep {
  return takeStep(guestConnectionMoves, state, event, 'the connection');
}
