/**
 * The life of one GPADL (a list of guest pages under an id) as the host sees it.
 *
 * ```
 *   assembling ──completed──> accepted ──teardownRequested──> tearingDown ──unused──> gone
 * ```
 *
 * GpadlTorndown tells the guest that it may reuse the memory, so it waits for the last user: a mapping of the device, or
 * an open channel whose rings lie in these pages.
 *
 * Source: OpenVMM `vmbus_server` `channels.rs` (`GpadlState`).
 */
import { type Moves, type Step, takeStep, to } from '../moves.ts';

export type GpadlState =
  | { readonly at: 'assembling' } // words are still missing
  | { readonly at: 'accepted' }
  | { readonly at: 'tearingDown'; readonly owesReply: boolean } // no new users; the last one is awaited
  | { readonly at: 'gone' };

export type GpadlEvent =
  | { readonly is: 'completed'; readonly ok: boolean } // all words are there, and they are (in)valid
  | { readonly is: 'teardownRequested'; readonly isUsed: boolean }
  | { readonly is: 'channelReleased'; readonly isUsed: boolean } // the guest let go of the channel: no messages
  | { readonly is: 'channelRevoked' }
  | { readonly is: 'unused' }; // the last user has left

export type GpadlAction =
  | { readonly do: 'sendCreated'; readonly ok: boolean }
  | { readonly do: 'sendTorndown' }
  | { readonly do: 'tellTornDown' }; // the device must not map it any more, and shall unmap it soon

type GpadlStep = Step<GpadlState, GpadlAction>;

const tellTornDown: GpadlAction = { do: 'tellTornDown' };

export const gpadlMoves: Moves<GpadlState, GpadlEvent, GpadlAction> = {
  assembling: {
    completed: (_, e) => to({ at: e.ok ? 'accepted' : 'gone' }, { do: 'sendCreated', ok: e.ok }),
    channelReleased: () => to({ at: 'gone' }),
    channelRevoked: () => to({ at: 'gone' }, { do: 'sendCreated', ok: false }),
  },
  accepted: {
    teardownRequested: (_, e) =>
      e.isUsed
        ? to({ at: 'tearingDown', owesReply: true }, tellTornDown)
        : to({ at: 'gone' }, { do: 'sendTorndown' }, tellTornDown),
    channelReleased: (_, e) =>
      e.isUsed ? to({ at: 'tearingDown', owesReply: false }, tellTornDown) : to({ at: 'gone' }, tellTornDown),
    // The pages stay known: the guest may tear them down until it releases the channel.
    channelRevoked: (s) => to(s),
    unused: (s) => to(s),
  },
  tearingDown: {
    channelReleased: () => to({ at: 'tearingDown', owesReply: false }),
    channelRevoked: (s) => to(s),
    unused: (s) => (s.owesReply ? to({ at: 'gone' }, { do: 'sendTorndown' }) : to({ at: 'gone' })),
  },
  gone: {
    channelReleased: (s) => to(s),
    channelRevoked: (s) => to(s),
    unused: (s) => to(s),
  },
};

/** @throws PeerError `ERR_MESSAGE` for an event out of turn */
export function stepGpadl(state: GpadlState, event: GpadlEvent, subject: string): GpadlStep {
  return takeStep(gpadlMoves, state, event, subject);
}
