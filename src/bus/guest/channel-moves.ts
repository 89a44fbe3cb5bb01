/**
 * The life of one offered channel as the guest sees it.
 *
 * ```
 *   offered ──open──> opening ──openResult──> open ──close──> offered
 *                        | close
 *                        v
 *                    abandoned ──openResult──> offered        (closed as soon as it is open)
 *
 *   any of these ──rescind──> rescinded ──release──> gone
 * ```
 *
 * Source: Linux `drivers/hv/channel.c` (`vmbus_open`, `vmbus_close_internal`), `drivers/hv/channel_mgmt.c`
 * (`vmbus_onoffer_rescind`); OpenVMM `vmbus_client`.
 */
import { PeerError } from '../../errors.ts';
import {
  type NtStatus,
  STATUS_CANCELLED,
  STATUS_DEVICE_NOT_CONNECTED,
  STATUS_DEVICE_REMOVED,
  STATUS_SUCCESS,
} from '../../wire/ntstatus.ts';
import { type Moves, type Step, takeStep, to } from '../moves.ts';

export type GuestChannelState =
  | { readonly at: 'offered' }
  | { readonly at: 'opening'; readonly openId: number }
  | { readonly at: 'abandoned'; readonly openId: number } // closed before the result of the open came
  | { readonly at: 'open' }
  | { readonly at: 'rescinded'; readonly wasOpen: boolean } // the id stays ours until we release it
  | { readonly at: 'gone' };

export type GuestChannelEvent =
  | { readonly is: 'open'; readonly openId: number }
  | { readonly is: 'openResult'; readonly openId: number; readonly status: NtStatus }
  | { readonly is: 'close' }
  | { readonly is: 'rescind' }
  | { readonly is: 'release' }
  | { readonly is: 'connectionEnded' };

export type GuestChannelAction =
  | { readonly do: 'sendOpen' }
  | { readonly do: 'sendClose' }
  | { readonly do: 'sendRelIdReleased' }
  | { readonly do: 'endOpen'; readonly status: NtStatus }
  | { readonly do: 'endPending'; readonly status: NtStatus } // whatever else waits for an answer about this channel
  | { readonly do: 'tellRescinded' };

type GuestChannelStep = Step<GuestChannelState, GuestChannelAction>;

const GONE: GuestChannelState = { at: 'gone' };

const removed: GuestChannelAction = { do: 'endPending', status: STATUS_DEVICE_REMOVED };
const notConnected: GuestChannelAction = { do: 'endPending', status: STATUS_DEVICE_NOT_CONNECTED };

const rescind = (wasOpen: boolean): GuestChannelStep =>
  to({ at: 'rescinded', wasOpen }, removed, { do: 'tellRescinded' });

const endConnection = (): GuestChannelStep => to(GONE, notConnected, { do: 'tellRescinded' });

const release = (): GuestChannelStep => to(GONE, removed, { do: 'sendRelIdReleased' });

/** @throws PeerError `ERR_MESSAGE` for the result of another open than the one that waits */
function checkAnswers(state: { openId: number }, event: { openId: number }): void {
  if (state.openId === event.openId) return;
  throw new PeerError('ERR_MESSAGE', `open result with id ${event.openId}, ${state.openId} is awaited`);
}

export const guestChannelMoves: Moves<GuestChannelState, GuestChannelEvent, GuestChannelAction> = {
  offered: {
    open: (_, e) => to({ at: 'opening', openId: e.openId }, { do: 'sendOpen' }),
    close: (s) => to(s),
    rescind: () => rescind(false),
    release,
    connectionEnded: endConnection,
  },
  opening: {
    openResult: (s, e) => {
      checkAnswers(s, e);
      const end: GuestChannelAction = { do: 'endOpen', status: e.status };
      return e.status === STATUS_SUCCESS ? to({ at: 'open' }, end) : to({ at: 'offered' }, end);
    },
    close: (s) => to({ at: 'abandoned', openId: s.openId }, { do: 'endOpen', status: STATUS_CANCELLED }),
    // No result follows a rescind, so it ends the wait.
    rescind: () =>
      to({ at: 'rescinded', wasOpen: true }, { do: 'endOpen', status: STATUS_DEVICE_REMOVED }, removed, {
        do: 'tellRescinded',
      }),
    connectionEnded: () =>
      to(GONE, { do: 'endOpen', status: STATUS_DEVICE_NOT_CONNECTED }, notConnected, { do: 'tellRescinded' }),
  },
  abandoned: {
    openResult: (s, e) => {
      checkAnswers(s, e);
      return e.status === STATUS_SUCCESS ? to({ at: 'offered' }, { do: 'sendClose' }) : to({ at: 'offered' });
    },
    close: (s) => to(s),
    rescind: () => rescind(true),
    connectionEnded: endConnection,
  },
  open: {
    close: () => to({ at: 'offered' }, { do: 'sendClose' }),
    rescind: () => rescind(true),
    connectionEnded: endConnection,
  },
  rescinded: {
    // Both crossed the rescind, or come from a host that repeats itself.
    openResult: (s) => to(s),
    rescind: (s) => to(s),
    // The host ignores it, except that some use it to learn that the rings are left alone now.
    close: (s) => (s.wasOpen ? to({ at: 'rescinded', wasOpen: false }, { do: 'sendClose' }) : to(s)),
    release,
    connectionEnded: () => to(GONE, notConnected),
  },
  gone: {},
};

/** @throws PeerError `ERR_MESSAGE` for an event out of turn */
export function stepGuestChannel(
  state: GuestChannelState,
  event: GuestChannelEvent,
  subject: string,
): GuestChannelStep {
  return takeStep(guestChannelMoves, state, event, subject);
}
