/**
 * The life of a channel as its driver sees it, the same table for both ends.
 *
 * ```
 *   disabled ──enable──> enabled ──peerOpened──> opening ──> paused <──> starting ──> postStarting ──> active
 *      ^                    ^                    (Opened)      |  ^      (Started)    (PostStarted)      |
 *      |                    |                                  |  └─ draining <─ suspending <────────────┘
 *      |                    |                                  v                 (Suspend)
 *      └────────────────────┴──────────── parting <──────── closing (Closed)
 * ```
 *
 * Each callback is a state of its own, so no two of one channel ever overlap; what is asked for meanwhile (`run`, `end`)
 * is remembered and obeyed when the callback returns.
 *
 * Source: WDK `vmbuskernelmodeclientlibapi.h`, its state model, and the `evt_vmb_channel_*` pages.
 */

import { isLegal, type Moves, type Step, takeStep, to } from '../bus/moves.ts';
import { assert } from '../errors.ts';
import { type NtStatus, STATUS_CANCELLED, STATUS_DEVICE_REMOVED, STATUS_IO_DEVICE_ERROR } from '../wire/ntstatus.ts';

/** Why an open channel ends. */
export type Reason =
  | 'disabled' // by us
  | 'closedByPeer' // the guest closed it, or went away
  | 'rescinded' // the host took the offer back
  | 'lost' // the transport is gone
  | 'faulted'; // the peer broke the protocol on this channel

/** What packets under way are told when a channel ends. Undocumented in Windows; ours. */
export const REASON_STATUS: Readonly<Record<Reason, NtStatus>> = {
  disabled: STATUS_CANCELLED,
  closedByPeer: STATUS_DEVICE_REMOVED,
  rescinded: STATUS_DEVICE_REMOVED,
  lost: STATUS_DEVICE_REMOVED,
  faulted: STATUS_IO_DEVICE_ERROR,
};

export interface Ending {
  readonly reason: Reason;
  /** A host's channel stays offered when the guest closed it; everything else ends Disabled. */
  readonly endsAs: 'disabled' | 'enabled';
}

/** `run`: the channel shall run when it can. `end`: it shall end as soon as it can. */
interface Wishes {
  readonly run: boolean;
  readonly end: Ending | null;
}

export type LifeState =
  | { readonly at: 'disabled'; readonly isPauseArmed: boolean }
  | { readonly at: 'enabled'; readonly run: boolean } // known to the bus, the peer has not opened it
  | ({ readonly at: 'opening' } & Wishes) // Opened runs
  | { readonly at: 'paused' } // open, at rest
  | ({ readonly at: 'starting' } & Wishes) // Started runs
  | ({ readonly at: 'postStarting' } & Wishes) // packets flow, PostStarted runs
  | { readonly at: 'active' }
  | ({ readonly at: 'suspending' } & Wishes) // Suspend runs
  | ({ readonly at: 'draining' } & Wishes) // incoming packets are with the driver
  | { readonly at: 'closing'; readonly run: boolean; readonly end: Ending } // Closed runs
  | { readonly at: 'parting'; readonly run: boolean; readonly end: Ending }; // the bus takes the channel apart

export type LifeEvent =
  | { readonly is: 'enable'; readonly run: boolean }
  | { readonly is: 'disable' }
  | { readonly is: 'start' }
  | { readonly is: 'pause' }
  | { readonly is: 'peerOpened' }
  | { readonly is: 'openFailed'; readonly status: NtStatus }
  | { readonly is: 'ended'; readonly end: Ending }
  | { readonly is: 'openedReturned'; readonly ok: true }
  | { readonly is: 'openedReturned'; readonly ok: false; readonly endsAs: Ending['endsAs'] }
  | { readonly is: 'startedReturned' }
  | { readonly is: 'postStartedReturned' }
  | { readonly is: 'suspendReturned' }
  | { readonly is: 'drained' }
  | { readonly is: 'closedReturned' }
  | { readonly is: 'parted' };

export type LifeAction =
  | { readonly do: 'begin' } // offer, or look for an offer
  | { readonly do: 'answerOpen'; readonly ok: boolean }
  | { readonly do: 'reportOpenFailure'; readonly status: NtStatus }
  | { readonly do: 'runOpened' }
  | { readonly do: 'runStarted' }
  | { readonly do: 'runPostStarted' }
  | { readonly do: 'runSuspend' }
  | { readonly do: 'runClosed' }
  | { readonly do: 'openGates' }
  | { readonly do: 'closeGates' }
  | { readonly do: 'retire'; readonly reason: Reason } // end every outgoing packet
  | { readonly do: 'detach' } // the rings are not touched any more
  | { readonly do: 'awaitDrain' }
  | { readonly do: 'part'; readonly end: Ending };

type LifeStep = Step<LifeState, LifeAction>;

const byUs: Ending = { reason: 'disabled', endsAs: 'disabled' };

/** The first reason stands; once it shall be Disabled it stays so. */
function also(before: Ending | null, end: Ending): Ending {
  if (before === null) return end;
  return before.endsAs === 'disabled' ? before : { reason: before.reason, endsAs: end.endsAs };
}

/** Whatever the peer still owes is not waited for; nobody may wait for it any more. */
const retire = (end: Ending): LifeAction => ({ do: 'retire', reason: end.reason });

/** Nothing goes in or out from here on. */
const cutOff = (end: Ending): LifeAction[] => [{ do: 'closeGates' }, retire(end), { do: 'detach' }];

const start = (): LifeStep => to({ at: 'starting', run: true, end: null }, { do: 'runStarted' });

const suspend = (wishes: Wishes, ...first: LifeAction[]): LifeStep =>
  to({ at: 'suspending', run: wishes.run, end: wishes.end }, { do: 'closeGates' }, ...first, { do: 'runSuspend' });

const close = (run: boolean, end: Ending): LifeStep =>
  to({ at: 'closing', run, end }, ...cutOff(end), { do: 'runClosed' });

const part = (run: boolean, end: Ending): LifeStep => to({ at: 'parting', run, end }, { do: 'part', end });

/** While a callback runs, wishes are only written down. */
const remember = {
  start: <S extends Wishes>(s: S): { next: S; actions: [] } => ({ next: { ...s, run: true }, actions: [] }),
  pause: <S extends Wishes>(s: S): { next: S; actions: [] } => ({ next: { ...s, run: false }, actions: [] }),
  disable: <S extends Wishes>(s: S): { next: S; actions: [] } => ({
    next: { ...s, end: also(s.end, byUs) },
    actions: [],
  }),
  ended: <S extends Wishes>(s: S, e: { end: Ending }): { next: S; actions: LifeAction[] } => ({
    next: { ...s, end: also(s.end, e.end) },
    actions: cutOff(e.end),
  }),
};

export const lifeMoves: Moves<LifeState, LifeEvent, LifeAction> = {
  disabled: {
    enable: (s, e) => to({ at: 'enabled', run: e.run && !s.isPauseArmed }, { do: 'begin' }),
    pause: () => to({ at: 'disabled', isPauseArmed: true }),
    start: (s) => to(s),
    disable: (s) => to(s),
    ended: (s) => to(s),
  },
  enabled: {
    peerOpened: (s) => to({ at: 'opening', run: s.run, end: null }, { do: 'runOpened' }),
    openFailed: (_, e) =>
      to(
        { at: 'disabled', isPauseArmed: false },
        { do: 'retire', reason: 'rescinded' },
        { do: 'reportOpenFailure', status: e.status },
      ),
    start: () => to({ at: 'enabled', run: true }),
    pause: () => to({ at: 'enabled', run: false }),
    disable: (s) => part(s.run, byUs),
    ended: (s) => to(s),
  },
  opening: {
    ...remember,
    openedReturned: (s, e) => {
      if (!e.ok) {
        // No traffic and no further callback: a host stays offered, a guest gives the channel back.
        const end = s.end ?? { reason: 'disabled', endsAs: e.endsAs };
        return to({ at: 'parting', run: s.run, end }, { do: 'answerOpen', ok: false }, { do: 'part', end });
      }
      // The peer still waits for its answer and so cannot open again before Closed has returned; `part` refuses it.
      if (s.end !== null) return close(s.run, s.end);
      const answer: LifeAction = { do: 'answerOpen', ok: true };
      if (!s.run) return to({ at: 'paused' }, answer);
      return to({ at: 'starting', run: true, end: null }, answer, { do: 'runStarted' });
    },
  },
  paused: {
    start: start,
    pause: (s) => to(s),
    disable: () => close(false, byUs),
    ended: (_, e) => close(false, e.end),
  },
  starting: {
    ...remember,
    startedReturned: (s) => {
      if (s.end !== null || !s.run) return suspend(s);
      return to({ at: 'postStarting', run: true, end: null }, { do: 'openGates' }, { do: 'runPostStarted' });
    },
  },
  postStarting: {
    ...remember,
    // PostStarted may wait for a completion. Nothing is sent any more that could not be answered, and what was is over.
    disable: (s) => to({ ...s, end: also(s.end, byUs) }, { do: 'closeGates' }, retire(byUs)),
    ended: (s, e) => to({ ...s, end: also(s.end, e.end) }, ...cutOff(e.end)),
    postStartedReturned: (s) => (s.end !== null || !s.run ? suspend(s) : to({ at: 'active' })),
  },
  active: {
    start: (s) => to(s),
    pause: () => suspend({ run: false, end: null }),
    disable: () => suspend({ run: true, end: byUs }),
    ended: (_, e) => suspend({ run: true, end: e.end }, retire(e.end), { do: 'detach' }),
  },
  suspending: {
    ...remember,
    suspendReturned: (s) => to({ ...s, at: 'draining' }, { do: 'awaitDrain' }),
  },
  draining: {
    ...remember,
    drained: (s) => {
      if (s.end !== null) return close(s.run, s.end);
      return s.run ? start() : to({ at: 'paused' });
    },
  },
  closing: {
    start: (s) => to({ ...s, run: true }),
    pause: (s) => to({ ...s, run: false }),
    disable: (s) => to({ ...s, end: also(s.end, byUs) }),
    ended: (s, e) => to({ ...s, end: also(s.end, e.end) }, retire(e.end)),
    closedReturned: (s) => part(s.run, s.end),
  },
  parting: {
    start: (s) => to({ ...s, run: true }),
    pause: (s) => to({ ...s, run: false }),
    // The bus may be waiting for the peer; now it need not.
    disable: (s) => (s.end.endsAs === 'disabled' ? to(s) : part(s.run, also(s.end, byUs))),
    ended: (s) => to(s),
    openFailed: (s) => to(s),
    parted: (s) => {
      if (s.end.endsAs === 'enabled') return to({ at: 'enabled', run: s.run });
      return to({ at: 'disabled', isPauseArmed: false }, { do: 'retire', reason: s.end.reason });
    },
  },
};

/** The next state and what is to be done. An event that the table does not list would be a bug of ours. */
export function stepLife(state: LifeState, event: LifeEvent, subject: string): LifeStep {
  assert(isLegal(lifeMoves, state, event), `${event.is} while ${subject} is ${state.at}`);
  return takeStep(lifeMoves, state, event, subject);
}

/** States in which a pause is complete: nothing runs, and nothing will without a start or a new open. */
export const AT_REST: ReadonlySet<LifeState['at']> = new Set([
  'paused',
  'disabled',
  'enabled',
  'starting',
  'closing',
  'parting',
]);
