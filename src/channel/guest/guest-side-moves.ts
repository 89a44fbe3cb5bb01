/**
 * How a guest's channel comes to its rings and gives them back, towards the bus.
 *
 * ```
 *   waiting ──offered──> describing ──described──> opening ──openResult──> open
 *                            |  └─end─> abandoning     |                     |
 *                            v              v          v                     v
 *                           gone <────────────────── leaving <───────────────┘
 * ```
 *
 * Source: Linux `drivers/hv/channel.c`, `__vmbus_open` and `vmbus_disconnect_ring`.
 */

import { isLegal, type Moves, type Step, takeStep, to } from '../../bus/moves.ts';
import { assert } from '../../errors.ts';
import { type NtStatus, STATUS_SUCCESS } from '../../wire/ntstatus.ts';

/** What is told when all is given back: that an open failed, or that the end asked for is reached. */
export type Verdict = { readonly failedWith: NtStatus } | 'ended';

export type GuestSideState =
  | { readonly at: 'waiting' } // for an offer that suits
  | { readonly at: 'describing' } // the host learns which pages the rings are
  | { readonly at: 'abandoning' } // the same, but nobody wants them any more
  | { readonly at: 'opening' }
  | { readonly at: 'open' }
  | { readonly at: 'leaving'; readonly verdict: Verdict } // the host lets go of the pages
  | { readonly at: 'gone' };

export type GuestSideEvent =
  | { readonly is: 'offered' }
  | { readonly is: 'noRoom'; readonly status: NtStatus } // there are no pages for rings, or no MMIO space
  | { readonly is: 'described'; readonly status: NtStatus }
  | { readonly is: 'openResult'; readonly status: NtStatus }
  | { readonly is: 'end' }
  | { readonly is: 'tornDown' };

export type GuestSideAction =
  | { readonly do: 'makeRings' }
  | { readonly do: 'openChannel' }
  | { readonly do: 'tellOpened' }
  | { readonly do: 'closeChannel' }
  | { readonly do: 'tearDown' }
  | { readonly do: 'giveBack' } // pages, MMIO space, the claim on the offer
  | { readonly do: 'tell'; readonly verdict: Verdict };

type GuestSideStep = Step<GuestSideState, GuestSideAction>;

const leave = (verdict: Verdict, ...first: GuestSideAction[]): GuestSideStep =>
  to({ at: 'leaving', verdict }, ...first, { do: 'tearDown' });

const gone = (verdict: Verdict): GuestSideStep => to({ at: 'gone' }, { do: 'giveBack' }, { do: 'tell', verdict });

export const guestSideMoves: Moves<GuestSideState, GuestSideEvent, GuestSideAction> = {
  waiting: {
    offered: () => to({ at: 'describing' }, { do: 'makeRings' }),
    end: () => gone('ended'),
  },
  describing: {
    noRoom: (_, e) => gone({ failedWith: e.status }),
    described: (_, e) =>
      e.status === STATUS_SUCCESS ? to({ at: 'opening' }, { do: 'openChannel' }) : gone({ failedWith: e.status }),
    end: () => to({ at: 'abandoning' }),
  },
  abandoning: {
    described: (_, e) => (e.status === STATUS_SUCCESS ? leave('ended') : gone('ended')),
    end: (s) => to(s),
  },
  opening: {
    openResult: (_, e) =>
      e.status === STATUS_SUCCESS ? to({ at: 'open' }, { do: 'tellOpened' }) : leave({ failedWith: e.status }),
    // Its answer may be long in coming: the bus closes what is opened too late.
    end: () => leave('ended', { do: 'closeChannel' }),
  },
  open: {
    end: () => leave('ended', { do: 'closeChannel' }),
  },
  leaving: {
    openResult: (s) => to(s),
    end: () => to({ at: 'leaving', verdict: 'ended' }),
    tornDown: (s) => gone(s.verdict),
  },
  gone: {
    openResult: (s) => to(s),
    end: (s) => to(s, { do: 'tell', verdict: 'ended' }),
  },
};

/** The next state and what is to be done. An event that the table does not list would be a bug of ours. */
export function stepGuestSide(state: GuestSideState, event: GuestSideEvent): GuestSideStep {
  assert(isLegal(guestSideMoves, state, event), `${event.is} while the guest's side of a channel is ${state.at}`);
  return takeStep(guestSideMoves, state, event, 'guest side');
}
