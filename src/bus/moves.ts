/**
 * Tables of moves: how every life cycle on the bus is written down.
 *
 * A table says, for each state and each event that is legal there, which state follows and what is to be done. It is
 * pure: the caller stores `next` first and runs the actions after, so an action that is answered at once meets the new
 * state. An event that the table does not list is out of turn.
 */
import { PeerError } from '../errors.ts';

export interface Step<S, A> {
  readonly next: S;
  readonly actions: readonly A[];
}

export type Moves<S extends { readonly at: string }, E extends { readonly is: string }, A> = {
  readonly [At in S['at']]: {
    readonly [Is in E['is']]?: (state: Extract<S, { at: At }>, event: Extract<E, { is: Is }>) => Step<S, A>;
  };
};

/** The step to `next` with `actions`, in the order in which they are to be done. */
export function to<S, A>(next: S, ...actions: readonly NoInfer<A>[]): Step<S, A> {
  return { next, actions };
}

/** True when the table has a move for this event in this state. */
export function isLegal<S extends { readonly at: string }, E extends { readonly is: string }, A>(
  moves: Moves<S, E, A>,
  state: S,
  event: E,
): boolean {
  return Object.hasOwn(moves[state.at as S['at']], event.is);
}

/**
 * Pure: same state and event, same step.
 * @param subject whose table this is, for the message: "channel 5"
 * @throws PeerError `ERR_MESSAGE` for an event out of turn; nothing changed
 */
export function takeStep<S extends { readonly at: string }, E extends { readonly is: string }, A>(
  moves: Moves<S, E, A>,
  state: S,
  event: E,
  subject: string,
): Step<S, A> {
  // The row is indexed by the state and the move by the event, so the pair fits; the compiler cannot follow that.
  const row = moves[state.at as S['at']] as Partial<Record<string, (state: S, event: E) => Step<S, A>>>;
  const move = Object.hasOwn(row, event.is) ? row[event.is] : undefined;
  if (move === undefined) throw new PeerError('ERR_MESSAGE', `${event.is} is out of turn: ${subject} is ${state.at}`);
  return move(state, event);
}
