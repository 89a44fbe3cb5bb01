/**
 * The life of one guest's connection as the host sees it.
 *
 * ```
 *   disconnected ──contact──> connected ──offersRequested──> offering <──resume── paused
 *        ^                        |                             |  ───pause───────> |
 *        └──────released────── disconnecting <──────── contact, unload, reset ──────┘
 * ```
 *
 * A contact while connected ends the old connection first; its answer waits until every device has let go of the old
 * channels.
 *
 * Source: OpenVMM `vmbus_server` `channels.rs` (`ConnectionState`).
 */

import type { MonitorPages } from '../monitor-pages.ts';
import { type Moves, type Step, takeStep, to } from '../moves.ts';
import type { ContactRequest, HostConnection } from './contact.ts';

/** What follows once the channels of the old connection are released. */
export type AfterRelease =
  | { readonly is: 'nothing' }
  | { readonly is: 'unloadComplete'; readonly connection: HostConnection }
  | { readonly is: 'contact'; readonly request: ContactRequest };

export type HostConnectionState =
  | { readonly at: 'disconnected' }
  | { readonly at: 'connected'; readonly connection: HostConnection } // nothing is offered yet
  | { readonly at: 'offering'; readonly connection: HostConnection } // offers were sent, new ones follow at once
  | { readonly at: 'paused'; readonly connection: HostConnection; readonly resumeTo: 'connected' | 'offering' }
  | { readonly at: 'disconnecting'; readonly afterwards: AfterRelease };

export type HostConnectionEvent =
  | { readonly is: 'contact'; readonly request: ContactRequest }
  | { readonly is: 'contactAccepted'; readonly connection: HostConnection; readonly response: Uint8Array }
  | { readonly is: 'pagesModified'; readonly monitorPages: MonitorPages | undefined }
  | { readonly is: 'offersRequested' }
  | { readonly is: 'unload' }
  | { readonly is: 'pause' }
  | { readonly is: 'resume' }
  | { readonly is: 'reset' }
  | { readonly is: 'released' }; // no device holds anything of the old connection any more

export type HostConnectionAction =
  | { readonly do: 'release'; readonly isReset: boolean }
  | { readonly do: 'judgeContact'; readonly request: ContactRequest } // refuse it, or step with `contactAccepted`
  | { readonly do: 'answerContact'; readonly response: Uint8Array }
  | { readonly do: 'sendOffers' }
  | { readonly do: 'sendUnloadComplete'; readonly connection: HostConnection }
  | { readonly do: 'sendPauseResponse' }
  | { readonly do: 'holdMessages' }
  | { readonly do: 'letMessagesGo' }
  | { readonly do: 'tellConnected'; readonly connection: HostConnection }
  | { readonly do: 'tellDisconnected' };

type HostConnectionStep = Step<HostConnectionState, HostConnectionAction>;

const release = (afterwards: AfterRelease, isReset = false): HostConnectionStep =>
  to({ at: 'disconnecting', afterwards }, { do: 'release', isReset });

const whileConnected = {
  contact: (_: unknown, e: { readonly request: ContactRequest }) => release({ is: 'contact', request: e.request }),
  unload: (s: { readonly connection: HostConnection }) => release({ is: 'unloadComplete', connection: s.connection }),
  reset: () => release({ is: 'nothing' }, true),
};

const hold = [{ do: 'sendPauseResponse' }, { do: 'holdMessages' }] as const;

export const hostConnectionMoves: Moves<HostConnectionState, HostConnectionEvent, HostConnectionAction> = {
  disconnected: {
    contact: (s, e) => to(s, { do: 'judgeContact', request: e.request }),
    contactAccepted: (_, { connection, response }) =>
      to({ at: 'connected', connection }, { do: 'answerContact', response }, { do: 'tellConnected', connection }),
    // Reserved channels outlive the connection, but not the guest.
    reset: () => release({ is: 'nothing' }, true),
  },
  connected: {
    ...whileConnected,
    pagesModified: (s, e) => to({ at: 'connected', connection: { ...s.connection, monitorPages: e.monitorPages } }),
    offersRequested: (s) => to({ at: 'offering', connection: s.connection }, { do: 'sendOffers' }),
    pause: (s) => to({ at: 'paused', connection: s.connection, resumeTo: 'connected' }, ...hold),
    resume: (s) => to(s),
  },
  offering: {
    ...whileConnected,
    pagesModified: (s, e) => to({ at: 'offering', connection: { ...s.connection, monitorPages: e.monitorPages } }),
    pause: (s) => to({ at: 'paused', connection: s.connection, resumeTo: 'offering' }, ...hold),
    resume: (s) => to(s),
  },
  paused: {
    ...whileConnected,
    resume: (s) => to({ at: s.resumeTo, connection: s.connection }, { do: 'letMessagesGo' }),
  },
  disconnecting: {
    contact: (_, e) => to({ at: 'disconnecting', afterwards: { is: 'contact', request: e.request } }),
    reset: () => release({ is: 'nothing' }, true),
    released: (s) => {
      const told: HostConnectionAction = { do: 'tellDisconnected' };
      switch (s.afterwards.is) {
        case 'nothing':
          return to({ at: 'disconnected' }, told);
        case 'unloadComplete':
          return to({ at: 'disconnected' }, { do: 'sendUnloadComplete', connection: s.afterwards.connection }, told);
        case 'contact':
          return to({ at: 'disconnected' }, told, { do: 'judgeContact', request: s.afterwards.request });
      }
    },
  },
};

/** @throws PeerError `ERR_MESSAGE` for an event out of turn */
export function stepHostConnection(state: HostConnectionState, event: HostConnectionEvent): HostConnectionStep {
  return takeStep(hostConnectionMoves, state, event, 'the connection');
}

/** The connection, while there is one that the guest may use. */
export function liveConnection(state: HostConnectionState): HostConnection | undefined {
  return 'connection' in state ? state.connection : undefined;
}
