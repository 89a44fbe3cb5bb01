/**
 * What a StorVSP accepts when: the initialisation sequence as a table of moves.
 *
 *   begin -> version (asked again until one is accepted) -> properties -> end -> ready
 *
 * A message out of turn is answered with STATUS_INVALID_DEVICE_STATE and moves nothing; one that nobody sends to a host
 * with STATUS_INVALID_DEVICE_REQUEST. The guest may go on after either.
 *
 * Source: Linux `drivers/scsi/storvsc_drv.c`, storvsc_channel_init; status values as OpenVMM's `storvsp` gives them.
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

/** Named after the message that is expected next. */
export type StorState =
  | { readonly at: 'begin' }
  | { readonly at: 'version' }
  | { readonly at: 'properties'; readonly version: number }
  | { readonly at: 'end'; readonly version: number }
  | { readonly at: 'ready'; readonly version: number };

export interface StorEvent {
  /** Any u32: what the guest wrote. */
  readonly operation: number;
  /** QueryProtocolVersion: the version asked for. CreateSubChannels: how many. Else unused. */
  readonly value: number;
  /** Sub-channels that the properties allow. */
  readonly maxSubChannelCount: number;
}

export interface StorStep {
  readonly next: StorState;
  /** Goes into the completion. */
  readonly status: NtStatus;
  /** The completion carries the channel properties. */
  readonly withProperties?: true;
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
      isSpoken(value) ? to({ at: 'properties', version: value }) : stay(state, STATUS_REVISION_MISMATCH),
  },
  properties: {
    [VstorOperation.QueryProperties]: ({ version }) => ({ ...to({ at: 'end', version }), withProperties: true }),
  },
  end: {
    [VstorOperation.CreateSubChannels]: createSubChannels,
    [VstorOperation.EndInitialization]: ({ version }) => to({ at: 'ready', version }),
  },
  ready: {
    [VstorOperation.ResetLun]: reset,
    [VstorOperation.ResetAdapter]: reset,
    [VstorOperation.ResetBus]: reset,
    [VstorOperation.CreateSubChannels]: createSubChannels,
  },
};

/** Operations that a guest sends, in turn or not. Everything else is no request at all. */
const REQUESTS: ReadonlySet<number> = new Set([
  VstorOperation.ExecuteSrb,
  ...Object.values(moves).flatMap((table) => Object.keys(table).map(Number)),
]);

/** Pure: the same state and message give the same step. EXECUTE_SRB is no message of this table once `ready`. */
export function step(state: StorState, event: StorEvent): StorStep {
  if (!REQUESTS.has(event.operation)) return stay(state, STATUS_INVALID_DEVICE_REQUEST);
  // The table's type ties each state to its own moves; an indexed access cannot show that.
  const move = (moves[state.at] as Readonly<Record<number, Move<StorState>>>)[event.operation];
  return move === undefined ? stay(state, STATUS_INVALID_DEVICE_STATE) : move(state, event);
}

function isSpoken(version: number): boolean {
  return ALL_STOR_VERSIONS.some((known) => known === version);
}

/**
 * Requests that are under way go on and end by themselves: a guest that resets the bus waits for every one of them
 * (Linux, storvsc_host_reset), so none may be dropped.
 */
function reset(state: StorState): StorStep {
  return stay(state, STATUS_SUCCESS);
}

/** No more than the properties allow, which is none as long as this host offers none. */
function createSubChannels(
  state: Extract<StorState, { at: 'end' | 'ready' }>,
  { value, maxSubChannelCount }: StorEvent,
): StorStep {
  if (state.version < StorVersion.WIN8) return stay(state, STATUS_INVALID_DEVICE_STATE);
  return stay(state, value > maxSubChannelCount ? STATUS_INVALID_PARAMETER : STATUS_SUCCESS);
}

function to(next: StorState): StorStep {
  return { next, status: STATUS_SUCCESS };
}

function stay(next: StorState, status: NtStatus): StorStep {
  return { next, status };
}
