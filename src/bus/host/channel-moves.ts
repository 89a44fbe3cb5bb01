/**
 * The life of one offered channel as the host sees it: what the guest asks, what the device answers, what the bus does
 * to it when the connection ends.
 *
 * ```
 *   unassigned ──assigned──> offered ──openRequested──> opening ──deviceOpened──> open
 *       ^                      ^  ^                        |                        | closeRequested
 *       |                      |  └────────(failed)────────┘                        v
 *       └──── idReleased ──────┴──────────────── deviceClosed ───────────────── closing ──> reopening
 *
 *   any of these ──revoked──> revoked ──idReleased──> gone
 * ```
 *
 * Source: OpenVMM `vmbus_server` `channels.rs` (`ChannelState` and its handlers).
 */
import { PeerError } from '../../errors.ts';
import { VP_INDEX_DISABLE_INTERRUPT } from '../../wire/messages/index.ts';
import { type Moves, type Step, takeStep, to } from '../moves.ts';

/** Where the answers to a reserved channel's messages go. */
export interface ReservedTarget {
  readonly targetVp: number;
  readonly targetSint: number;
}

/** What a guest asks for when it opens a channel; the ring's GPADL has been looked up by whoever holds one of these. */
export interface HostOpenRequest {
  /** Opaque to the host, echoed in the result. */
  readonly openId: number;
  readonly ringGpadlId: number;
  /** Pages from the start of the ring GPADL to the host-to-guest ring. */
  readonly downstreamPageOffset: number;
  /** Virtual processor that the host interrupts, or `VP_INDEX_DISABLE_INTERRUPT`. */
  readonly targetVp: number;
  /** 120 bytes for the device. */
  readonly userData: Uint8Array;
  /** Connection that the guest will signal; only when the guest chooses it (6.0, feature bit 0). */
  readonly connectionId?: number;
  /** Event flag that the host shall raise; only when the guest chooses it. */
  readonly eventFlag?: number;
  /** Bit 0: raise the interrupt at the redirected VTL and SINT; only with feature bit 1. */
  readonly openFlags?: number;
  /** Set when the channel was opened as reserved: it outlives the connection. */
  readonly reserved?: ReservedTarget;
}

export type ChannelState =
  | { readonly at: 'unassigned' } // the guest does not know it
  | { readonly at: 'held' } // an older offer of the same key is revoked but not released: this one waits for its id
  | { readonly at: 'offered' }
  | { readonly at: 'opening'; readonly open: HostOpenRequest } // the device was asked, the guest waits
  | { readonly at: 'open'; readonly open: HostOpenRequest }
  | { readonly at: 'closing'; readonly open: HostOpenRequest } // the device is draining
  | { readonly at: 'reopening'; readonly open: HostOpenRequest; readonly next: HostOpenRequest }
  | { readonly at: 'openingReleased'; readonly open: HostOpenRequest } // the guest has gone; the device's answer is due
  | { readonly at: 'closingReleased'; readonly open: HostOpenRequest }
  | { readonly at: 'revoked' } // rescinded; the id is the guest's until it lets go of it
  | { readonly at: 'gone' };

export type ChannelEvent =
  | { readonly is: 'assigned' } // it has a channel id and the guest asked for offers
  | { readonly is: 'openRequested'; readonly open: HostOpenRequest }
  | { readonly is: 'closeRequested' }
  | { readonly is: 'closeReserved' }
  | { readonly is: 'idReleased' }
  | { readonly is: 'modifyRequested'; readonly targetVp: number }
  | { readonly is: 'deviceOpened'; readonly ok: boolean }
  | { readonly is: 'deviceClosed'; readonly isOffering: boolean } // the guest has asked for offers
  | { readonly is: 'revoked'; readonly isConnected: boolean }
  | { readonly is: 'connectionEnded' } // unload or new contact: everything but reserved channels ends
  | { readonly is: 'reset' }; // the guest is gone: reserved channels end too

export type ChannelAction =
  | { readonly do: 'sendOffer' }
  | { readonly do: 'sendRescind' }
  | { readonly do: 'sendOpenResult'; readonly open: HostOpenRequest; readonly ok: boolean }
  | { readonly do: 'sendModifyRefused' }
  | { readonly do: 'sendCloseReservedResponse' }
  | { readonly do: 'openDevice'; readonly open: HostOpenRequest }
  | { readonly do: 'closeDevice' }
  | { readonly do: 'changeTargetVp'; readonly targetVp: number } // and send the answer that the device gives
  | { readonly do: 'endGpadls' } // the guest let go of the channel: its GPADLs go without messages
  | { readonly do: 'failGpadlsInProgress' }
  | { readonly do: 'tellReleased' }; // the device learns that the guest forgot the channel

type ChannelStep = Step<ChannelState, ChannelAction>;

const refuseModify = (state: ChannelState): ChannelStep => to(state, { do: 'sendModifyRefused' });

/** The guest no longer knows the channel; the device may be asked to open it again after the next contact. */
const letGo = (next: ChannelState): ChannelStep => to(next, { do: 'endGpadls' }, { do: 'tellReleased' });

/** Without a connection only a reserved channel is left, and nobody that could be told. */
const revoke = (_: ChannelState, event: { readonly isConnected: boolean }): ChannelStep =>
  event.isConnected
    ? to({ at: 'revoked' }, { do: 'failGpadlsInProgress' }, { do: 'sendRescind' })
    : letGo({ at: 'gone' });

const isReserved = (state: { readonly open: HostOpenRequest }): boolean => state.open.reserved !== undefined;

export const channelMoves: Moves<ChannelState, ChannelEvent, ChannelAction> = {
  unassigned: {
    assigned: () => to({ at: 'offered' }, { do: 'sendOffer' }),
    revoked: () => to({ at: 'gone' }),
    connectionEnded: (s) => to(s),
    reset: (s) => to(s),
  },
  held: {
    assigned: () => to({ at: 'offered' }, { do: 'sendOffer' }),
    revoked: () => to({ at: 'gone' }),
    connectionEnded: () => to({ at: 'unassigned' }),
    reset: () => to({ at: 'unassigned' }),
  },
  offered: {
    openRequested: (_, e) => to({ at: 'opening', open: e.open }, { do: 'openDevice', open: e.open }),
    idReleased: () => letGo({ at: 'unassigned' }),
    modifyRequested: refuseModify,
    revoked: revoke,
    connectionEnded: () => letGo({ at: 'unassigned' }),
    reset: () => letGo({ at: 'unassigned' }),
  },
  opening: {
    deviceOpened: (s, e) =>
      to(e.ok ? { at: 'open', open: s.open } : { at: 'offered' }, { do: 'sendOpenResult', open: s.open, ok: e.ok }),
    modifyRequested: refuseModify,
    // No open result follows: the rescind itself ends the guest's wait.
    revoked: revoke,
    connectionEnded: (s) => (isReserved(s) ? to(s) : to({ at: 'openingReleased', open: s.open })),
    reset: (s) => to({ at: 'openingReleased', open: s.open }),
  },
  open: {
    closeRequested: (s) => {
      if (isReserved(s)) throw new PeerError('ERR_MESSAGE', 'closeRequested for a channel opened as reserved');
      return to({ at: 'closing', open: s.open }, { do: 'closeDevice' });
    },
    closeReserved: (s) => {
      if (!isReserved(s)) throw new PeerError('ERR_MESSAGE', 'closeReserved for a channel not opened as reserved');
      return to({ at: 'closing', open: s.open }, { do: 'closeDevice' });
    },
    modifyRequested: (s, e) => {
      const isFixed = s.open.targetVp === VP_INDEX_DISABLE_INTERRUPT || e.targetVp === VP_INDEX_DISABLE_INTERRUPT;
      return isFixed ? refuseModify(s) : to(s, { do: 'changeTargetVp', targetVp: e.targetVp });
    },
    revoked: revoke,
    connectionEnded: (s) =>
      isReserved(s) ? to(s) : to({ at: 'closingReleased', open: s.open }, { do: 'closeDevice' }),
    reset: (s) => to({ at: 'closingReleased', open: s.open }, { do: 'closeDevice' }),
  },
  closing: {
    openRequested: (s, e) => {
      if (isReserved(s) || e.open.reserved !== undefined) {
        throw new PeerError(
          'ERR_MESSAGE',
          'openRequested while a reserved channel closes, or as reserved while closing',
        );
      }
      return to({ at: 'reopening', open: s.open, next: e.open });
    },
    idReleased: (s) => {
      if (isReserved(s)) throw new PeerError('ERR_MESSAGE', 'idReleased for a reserved channel that is closing');
      return to({ at: 'closingReleased', open: s.open });
    },
    modifyRequested: refuseModify,
    deviceClosed: (s, e) => {
      if (!isReserved(s)) return to({ at: 'offered' });
      const answer: ChannelAction = { do: 'sendCloseReservedResponse' };
      // The next list of offers shall hold it, unless the guest has that list already.
      if (e.isOffering) return to({ at: 'offered' }, answer);
      return to({ at: 'unassigned' }, answer, { do: 'endGpadls' }, { do: 'tellReleased' });
    },
    revoked: revoke,
    connectionEnded: (s) => (isReserved(s) ? to(s) : to({ at: 'closingReleased', open: s.open })),
    reset: (s) => to({ at: 'closingReleased', open: s.open }),
  },
  reopening: {
    modifyRequested: refuseModify,
    deviceClosed: (s) => to({ at: 'opening', open: s.next }, { do: 'openDevice', open: s.next }),
    revoked: revoke,
    connectionEnded: (s) => to({ at: 'closingReleased', open: s.open }),
    reset: (s) => to({ at: 'closingReleased', open: s.open }),
  },
  openingReleased: {
    deviceOpened: (s, e) =>
      e.ok ? to({ at: 'closingReleased', open: s.open }, { do: 'closeDevice' }) : letGo({ at: 'unassigned' }),
    revoked: () => letGo({ at: 'gone' }),
    connectionEnded: (s) => to(s),
    reset: (s) => to(s),
  },
  closingReleased: {
    deviceClosed: () => letGo({ at: 'unassigned' }),
    revoked: () => letGo({ at: 'gone' }),
    connectionEnded: (s) => to(s),
    reset: (s) => to(s),
  },
  revoked: {
    // All of these crossed the rescind on their way, or come from a guest that has not seen it yet.
    openRequested: (s) => to(s),
    closeRequested: (s) => to(s),
    closeReserved: (s) => to(s),
    modifyRequested: refuseModify,
    idReleased: () => letGo({ at: 'gone' }),
    deviceOpened: (s) => to(s),
    deviceClosed: (s) => to(s),
    revoked: (s) => to(s),
    connectionEnded: () => letGo({ at: 'gone' }),
    reset: () => letGo({ at: 'gone' }),
  },
  gone: {
    // The device's answers may still be under way when it takes its offer back.
    deviceOpened: (s) => to(s),
    deviceClosed: (s) => to(s),
    revoked: (s) => to(s),
    connectionEnded: (s) => to(s),
    reset: (s) => to(s),
  },
};

/** @throws PeerError `ERR_MESSAGE` for an event out of turn */
export function stepChannel(state: ChannelState, event: ChannelEvent, subject: string): ChannelStep {
  return takeStep(channelMoves, state, event, subject);
}

/** True for a channel that outlives the connection: open as reserved, or on its way there or back. */
export function isReservedNow(state: ChannelState): boolean {
  return (
    openInDevice(state)?.reserved !== undefined && state.at !== 'openingReleased' && state.at !== 'closingReleased'
  );
}

/** True when the guest may name the channel: it was offered and not released. */
export function isVisible(state: ChannelState): boolean {
  switch (state.at) {
    case 'offered':
    case 'opening':
    case 'open':
    case 'closing':
    case 'reopening':
    case 'revoked':
      return true;
    default:
      return false;
  }
}

/** The open request that the device is busy with: its ring must not be torn down yet. */
export function openInDevice(state: ChannelState): HostOpenRequest | undefined {
  return 'open' in state ? state.open : undefined;
}
