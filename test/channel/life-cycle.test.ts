import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { isLegal } from '../../src/bus/moves.ts';
import { type LifeEvent, type LifeState, lifeMoves, stepLife } from '../../src/channel/index.ts';

const byPeer = { reason: 'closedByPeer', endsAs: 'enabled' } as const;
const rescinded = { reason: 'rescinded', endsAs: 'disabled' } as const;

/** Runs events from Disabled on; gives the last state and everything that was to be done. */
function live(...events: LifeEvent[]): { state: LifeState; done: string[] } {
  let state: LifeState = { at: 'disabled', isPauseArmed: false };
  const done: string[] = [];
  for (const event of events) {
    const step = stepLife(state, event, 'a channel');
    state = step.next;
    done.push(...step.actions.map((action) => action.do));
  }
  return { state, done };
}

const opened: LifeEvent[] = [{ is: 'enable', run: true }, { is: 'peerOpened' }, { is: 'openedReturned', ok: true }];
const running: LifeEvent[] = [...opened, { is: 'startedReturned' }, { is: 'postStartedReturned' }];

test('the packets’ gates open between Started and PostStarted', () => {
  expect(live(...running).done).toEqual([
    'begin',
    'runOpened',
    'answerOpen',
    'runStarted',
    'openGates',
    'runPostStarted',
  ]);
});

test('a running channel that is disabled is cut off only after Suspend and the last incoming packet', () => {
  const { done, state } = live(
    ...running,
    { is: 'disable' },
    { is: 'suspendReturned' },
    { is: 'drained' },
    { is: 'closedReturned' },
    { is: 'parted' },
  );

  expect(done.slice(6)).toEqual([
    'closeGates',
    'runSuspend',
    'awaitDrain',
    'closeGates',
    'retire',
    'detach',
    'runClosed',
    'part',
    'retire',
  ]);
  expect(state).toEqual({ at: 'disabled', isPauseArmed: false });
});

describe('crossings', () => {
  test('a rescind that meets Opened: the open is not answered before Closed has run', () => {
    const { done } = live(
      { is: 'enable', run: true },
      { is: 'peerOpened' },
      { is: 'ended', end: rescinded },
      { is: 'openedReturned', ok: true },
    );

    expect(done).not.toContain('runStarted');
    expect(done).not.toContain('answerOpen');
    expect(done.at(-1)).toBe('runClosed');
  });

  test('a rescind that meets Started: Suspend follows, as Started was seen', () => {
    const { done } = live(...opened, { is: 'ended', end: rescinded }, { is: 'startedReturned' });

    expect(done.at(-1)).toBe('runSuspend');
    expect(done).not.toContain('openGates');
  });

  test('a rescind that meets PostStarted releases whoever waits there', () => {
    const { done, state } = live(...opened, { is: 'startedReturned' }, { is: 'ended', end: rescinded });

    expect(done.slice(-3)).toEqual(['closeGates', 'retire', 'detach']);
    expect(state.at).toBe('postStarting');
  });

  test('a disable that meets PostStarted releases whoever waits there, and keeps the rings for what drains', () => {
    const { done } = live(...opened, { is: 'startedReturned' }, { is: 'disable' });

    expect(done.slice(-2)).toEqual(['closeGates', 'retire']);
  });

  test('a pause that meets Started or PostStarted suspends the channel when that returns', () => {
    const inStarted = live(...opened, { is: 'pause' }, { is: 'startedReturned' });
    const inPostStarted = live(...opened, { is: 'startedReturned' }, { is: 'pause' }, { is: 'postStartedReturned' });

    for (const { done, state } of [inStarted, inPostStarted]) {
      expect(done.slice(-2)).toEqual(['closeGates', 'runSuspend']);
      expect(state).toMatchObject({ at: 'suspending', run: false, end: null });
    }
  });

  test('a disable that meets the guest’s close ends Disabled, and the first reason stands', () => {
    const { state } = live(...running, { is: 'ended', end: byPeer }, { is: 'disable' }, { is: 'suspendReturned' });

    expect(state).toMatchObject({ at: 'draining', end: { reason: 'closedByPeer', endsAs: 'disabled' } });
  });

  test('a close that meets a pause that drains does not start the channel again', () => {
    const { done, state } = live(
      ...running,
      { is: 'pause' },
      { is: 'suspendReturned' },
      { is: 'start' },
      { is: 'ended', end: byPeer },
      { is: 'drained' },
    );

    expect(done.at(-1)).toBe('runClosed');
    expect(state.at).toBe('closing');
  });

  test('a disable while the bus still takes the channel apart for the peer takes it apart for us', () => {
    const { done, state } = live(
      ...running,
      { is: 'ended', end: byPeer },
      { is: 'suspendReturned' },
      { is: 'drained' },
      { is: 'closedReturned' },
      { is: 'disable' },
    );

    expect(done.filter((action) => action === 'part')).toHaveLength(2);
    expect(state).toMatchObject({ at: 'parting', end: { endsAs: 'disabled' } });
  });
});

/** The letter of each callback, and the returns that may end it. */
const callbacks = new Map<string, { letter: string; returns: readonly LifeEvent[] }>([
  [
    'runOpened',
    {
      letter: 'O',
      returns: [
        { is: 'openedReturned', ok: true },
        { is: 'openedReturned', ok: false, endsAs: 'enabled' },
      ],
    },
  ],
  ['runStarted', { letter: 'S', returns: [{ is: 'startedReturned' }] }],
  ['runPostStarted', { letter: 'P', returns: [{ is: 'postStartedReturned' }] }],
  ['runSuspend', { letter: 's', returns: [{ is: 'suspendReturned' }] }],
  ['runClosed', { letter: 'C', returns: [{ is: 'closedReturned' }] }],
]);

/** A channel whose callbacks return when the test says so. */
class Played {
  state: LifeState = { at: 'disabled', isPauseArmed: false };
  /** What may come next from whom the channel waits for: a callback, the drain, the bus. */
  pending: readonly LifeEvent[] = [];
  history = '';

  take(event: LifeEvent): void {
    if (event.is === 'openedReturned' && !event.ok) this.history += 'f';
    const step = stepLife(this.state, event, 'a channel');
    this.state = step.next;
    for (const { do: name } of step.actions) {
      if (name === 'awaitDrain') this.pending = [{ is: 'drained' }];
      if (name === 'part') this.pending = [{ is: 'parted' }];
      const callback = callbacks.get(name);
      if (callback === undefined) continue;
      expect(this.pending, `${name} while another callback runs`).toEqual([]);
      this.pending = callback.returns;
      this.history += callback.letter;
    }
  }

  /** What the channel waits for happens. */
  goOn(event: LifeEvent | undefined): void {
    if (event === undefined) return;
    this.pending = [];
    this.take(event);
  }
}

test('whatever is asked in whatever order, callbacks never overlap, and their order is the documented one', () => {
  const wishes: LifeEvent[] = [
    { is: 'enable', run: true },
    { is: 'disable' },
    { is: 'start' },
    { is: 'pause' },
    { is: 'peerOpened' },
    { is: 'ended', end: byPeer },
    { is: 'ended', end: rescinded },
  ];
  const choice = fc.oneof(fc.constantFrom(...wishes), fc.constant('go on' as const), fc.constant('fail' as const));
  // One open cycle: Opened, any number of Started to Suspend, Closed; a refused Opened ends it.
  const grammar = /^(O(f|(S(P)?s)*C))*(O|O(S(P)?s)*(S(P)?s?)?|O(S(P)?s)*C)?$/;

  fc.assert(
    fc.property(fc.array(choice, { maxLength: 120 }), (choices) => {
      const channel = new Played();
      for (const wish of choices) {
        if (wish === 'go on') channel.goOn(channel.pending[0]);
        else if (wish === 'fail') channel.goOn(channel.pending.at(-1));
        else if (isLegal(lifeMoves, channel.state, wish)) channel.take(wish);
        expect(channel.history).toMatch(grammar);
      }
    }),
    { numRuns: 500 },
  );
});
