/**
 * What a StorVSP accepts when: the initialisation sequence as a table of moves.
 *
 *   begin -> version (asked again until one is accepted) -> properties -> end -> ready
 *
 * A message out of turn is answered with STATUS_INVALID_DEVICE_STATE and moves nothing; one that nobody sends to a host
 * with STATUS_INVALID_DEVICE_REQUEST. The guest may go on after either.
 *
 * Source: Linux `drivers/scsi/storvsc_drv.c`, storvsc_channel_init and handle_multichannel_storage; status values as
 * OpenVMM's `storvsp` gives them.
 */
import {
  type NtStatus,
  STATUS_INVALID_DEVICE_REQUEST,
  STATUS_INVALID_DEVICE_STATE,
  STATUS_INVALID_PARAMETER,
  STATUS_REVISION_MISMATCH,
  STATUS_SUCCESS,
} from '../../../wire/ntstatus.ts';
import { ALL_STOR_VERSIONS, StorVersion, VstorOperation } from '../../../wire/storvsc.ts';

/** Named after the message that is expected next. `hasSubChannels`: the guest has asked for its sub-channels. */
export type StorState =
  | { readonly at: 'begin' }
  | { readonly at: 'version' }
  | { readonly at: 'properties'; readonly version: number }
  | { readonly at: 'end'; readonly version: number; readonly hasSubChannels: boolean }
  | { readonly at: 'ready'; readonly version: number; readonly hasSubChannels: boolean };

export interface StorEvent {
  /** Any u32: what the guest wrote. */
  readonly operation: number;
  /** QueryProtocolVersion: the version asked for. CreateSubChannels: how many. Else unused. */
  readonly value: number;
  /** Sub-channels that the properties allow. */
  readonly maxSubChannelCount: number;
}

/** What the host does beside answering. */
export type StorAction =
  | { readonly do: 'describe' } // the completion carries the channel properties
  | { readonly do: 'offerSubChannels'; readonly count: number }
  | { readonly do: 'letRun' } // I/O is legal from here on, sub-channels included
  | { readonly do: 'reset'; readonly scope: ResetScope };

/** How far a reset reaches: one LUN, all units of a path, all units. */
export type ResetScope = 'lun' | 'bus' | 'adapter';

export interface StorStep {
  readonly next: StorState;
  /** Goes into the completion. */
  readonly status: NtStatus;
  readonly action?: StorAction;
}

/** Where every open of the primary channel starts. */
export const FIRST_STATE: StorState = { at: 'begin' };

type Move<State extends StorState> = (state: State, event: StorEvent) => StorStep;
type Moves = { readonly [At in StorState['at']]: Readonly<Record<number, Move<Extract<StorState, { at: At }>>>> };

const moves: Moves = {
  begin: {
    [VstorOperation.BeginInitialization]: () => to({ at: 'version' }),
  },
  version: {
    [VstorOperation.QueryProtocolVersion]: (state, { value }) =>
      isSpoken(value) ? to({ at: 'properties', version: value }) : refuse(state, STATUS_REVISION_MISMATCH),
  },
  properties: {
    [VstorOperation.QueryProperties]: ({ version }) =>
      to({ at: 'end', version, hasSubChannels: false }, { do: 'describe' }),
  },
  end: {
    [VstorOperation.CreateSubChannels]: createSubChannels,
    [VstorOperation.EndInitialization]: (state) => to({ ...state, at: 'ready' }, { do: 'letRun' }),
  },
  ready: {
    [VstorOperation.ResetLun]: reset('lun'),
    [VstorOperation.ResetAdapter]: reset('adapter'),
    [VstorOperation.ResetBus]: reset('bus'),
    [VstorOperation.CreateSubChannels]: createSubChannels,
  },
};

/** Operations that a guest sends, in turn or not. Everything else is no request at all. */
const REQUESTS: ReadonlySet<number> = new Set([
  VstorOperation.ExecuteSrb,
  ...Object.values(moves).flatMap((table) => Object.keys(table).map(Number)),
]);

/** What also makes sense on a sub-channel, beside EXECUTE_SRB: everything else belongs on the primary. */
const SUB_CHANNEL_REQUESTS: ReadonlySet<number> = new Set([
  VstorOperation.ResetLun,
  VstorOperation.ResetAdapter,
  VstorOperation.ResetBus,
]);

/** Pure: the same state and message give the same step. EXECUTE_SRB is no message of this table once `ready`. */
export function step(state: StorState, event: StorEvent): StorStep {
  if (!REQUESTS.has(event.operation)) return refuse(state, STATUS_INVALID_DEVICE_REQUEST);
  // The table's type ties each state to its own moves; an indexed access cannot show that.
  const move = (moves[state.at] as Readonly<Record<number, Move<StorState>>>)[event.operation];
  return move === undefined ? refuse(state, STATUS_INVALID_DEVICE_STATE) : move(state, event);
}

/** The same for a message on a sub-channel, which takes no part in the initialisation. */
export function stepSubChannel(state: StorState, event: StorEvent): StorStep {
  if (!REQUESTS.has(event.operation) || SUB_CHANNEL_REQUESTS.has(event.operation)) return step(state, event);
  return refuse(state, STATUS_INVALID_DEVICE_STATE);
}

function isSpoken(version: number): boolean {
  return ALL_STOR_VERSIONS.some((known) => known === version);
}

/**
 * Requests that are under way go on and end by themselves, and the reset is answered after them: a guest that resets
 * the bus waits for every one of them (Linux, storvsc_host_reset), so none may be dropped.
 */
function reset(scope: ResetScope): Move<StorState> {
  return (state) => to(state, { do: 'reset', scope });
}

/** Once for each open, and no more than the properties allow. Asking for none changes nothing. */
function createSubChannels(
  state: Extract<StorState, { at: 'end' | 'ready' }>,
  { value, maxSubChannelCount }: StorEvent,
): StorStep {
  if (state.version < StorVersion.WIN8 || state.hasSubChannels) return refuse(state, STATUS_INVALID_DEVICE_STATE);
  if (value > maxSubChannelCount) return refuse(state, STATUS_INVALID_PARAMETER);
  if (value === 0) return to(state);
  return to({ ...state, hasSubChannels: true }, { do: 'offerSubChannels', count: value });
}

function to(next: StorState, action?: StorAction): StorStep {
  return { next, status: STATUS_SUCCESS, ...(action === undefined ? {} : { action }) };
}

function refuse(next: StorState, status: NtStatus): StorStep {
  return { next, status };
}
