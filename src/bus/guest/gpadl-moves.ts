/**
 * The life of one GPADL as the guest sees it.
 *
 * ```
 *   creating ──created──> created ──teardown──> tearingDown ──torndown──> gone
 * ```
 *
 * The guest may reuse the pages when it is gone, and not before.
 *
 * Source: Linux `drivers/hv/channel.c` (`__vmbus_establish_gpadl`, `vmbus_teardown_gpadl`).
 */
import { type NtStatus, STATUS_SUCCESS } from '../../wire/ntstatus.ts';
import { type Moves, type Step, takeStep, to } from '../moves.ts';

export type GuestGpadlState =
  | { readonly at: 'creating' }
  | { readonly at: 'created' }
  | { readonly at: 'tearingDown' }
  | { readonly at: 'gone' };

export type GuestGpadlEvent =
  | { readonly is: 'created'; readonly status: NtStatus }
  | { readonly is: 'teardown'; readonly isRescinded: boolean }
  | { readonly is: 'torndown' }
  | { readonly is: 'channelEnded'; readonly status: NtStatus; readonly isGone: boolean };

export type GuestGpadlAction =
  | { readonly do: 'endCreate'; readonly status: NtStatus }
  | { readonly do: 'sendTeardown' }
  | { readonly do: 'endTeardown' };

type GuestGpadlStep = Step<GuestGpadlState, GuestGpadlAction>;

export const guestGpadlMoves: Moves<GuestGpadlState, GuestGpadlEvent, GuestGpadlAction> = {
  creating: {
    created: (_, e) =>
      to({ at: e.status === STATUS_SUCCESS ? 'created' : 'gone' }, { do: 'endCreate', status: e.status }),
    channelEnded: (_, e) => to({ at: 'gone' }, { do: 'endCreate', status: e.status }),
  },
  created: {
    // A rescinded channel gets no answers: the host has let go of its pages.
    teardown: (_, e) =>
      e.isRescinded ? to({ at: 'gone' }, { do: 'endTeardown' }) : to({ at: 'tearingDown' }, { do: 'sendTeardown' }),
    channelEnded: (s, e) => to(e.isGone ? { at: 'gone' } : s),
  },
  tearingDown: {
    torndown: () => to({ at: 'gone' }, { do: 'endTeardown' }),
    channelEnded: () => to({ at: 'gone' }, { do: 'endTeardown' }),
  },
  gone: {},
};

/** @throws PeerError `ERR_MESSAGE` for an event out of turn */
export function stepGuestGpadl(state: GuestGpadlState, event: GuestGpadlEvent, subject: string): GuestGpadlStep {
  return takeStep(guestGpadlMoves, state, event, subject);
}
