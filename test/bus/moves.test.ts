import { readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { guestChannelMoves, guestConnectionMoves, guestGpadlMoves } from '../../src/bus/guest/index.ts';
import {
  channelMoves,
  gpadlMoves,
  type HostOpenRequest,
  hostConnectionMoves,
  stepChannel,
} from '../../src/bus/host/index.ts';

const OPEN: HostOpenRequest = {
  openId: 1,
  ringGpadlId: 1,
  downstreamPageOffset: 1,
  targetVp: 0,
  userData: new Uint8Array(120),
};

describe('tables of moves', () => {
  test('the same state and event give the same step, and the state given is not changed', () => {
    const state = Object.freeze({ at: 'opening', open: Object.freeze(OPEN) } as const);

    const steps = [1, 2].map(() => stepChannel(state, { is: 'deviceOpened', ok: true }, 'channel 1'));

    expect(steps[0]).toEqual(steps[1]);
    expect(steps[0]).toEqual({
      next: { at: 'open', open: OPEN },
      actions: [{ do: 'sendOpenResult', open: OPEN, ok: true }],
    });
  });

  test('an event that the table does not list says what it was, and in which state', () => {
    expect(() => stepChannel({ at: 'offered' }, { is: 'closeRequested' }, 'channel 5')).toThrow(
      expect.objectContaining({ code: 'ERR_MESSAGE', message: 'closeRequested is out of turn: channel 5 is offered' }),
    );
  });

  test('names of an object’s own machinery are no events', () => {
    const event = { is: 'toString' } as unknown as { is: 'closeRequested' };

    expect(() => stepChannel({ at: 'offered' }, event, 'channel 5')).toThrow(/out of turn/);
  });

  test.each([
    ['host channel', channelMoves, ['connectionEnded', 'reset', 'revoked']],
    ['host GPADL', gpadlMoves, ['channelReleased', 'channelRevoked']],
  ])('every state of the %s can end', (_, moves, endings) => {
    for (const [state, row] of Object.entries(moves)) {
      for (const ending of endings)
        expect({ state, moves: Object.keys(row) }).toHaveProperty('moves', expect.arrayContaining([ending]));
    }
  });

  test('every state of a connection can lose its peer', () => {
    for (const row of Object.values(hostConnectionMoves)) expect(Object.keys(row)).toContain('reset');
    for (const row of Object.values(guestConnectionMoves)) expect(Object.keys(row)).toContain('lost');
  });

  test('every state of a guest’s channel and list, but the last, ends with the connection', () => {
    for (const [state, row] of Object.entries(guestChannelMoves)) {
      expect(Object.hasOwn(row, 'connectionEnded')).toBe(state !== 'gone');
    }
    for (const [state, row] of Object.entries(guestGpadlMoves)) {
      expect(Object.hasOwn(row, 'channelEnded')).toBe(state !== 'gone');
    }
  });
});

test('every row of bad control input, 24 to 59, has a test with its number', () => {
  const sources = ['host', 'guest'].map((side) =>
    readFileSync(new URL(`${side}/bad-input.test.ts`, import.meta.url), 'utf8'),
  );
  const numbers = sources.flatMap((source) => [...source.matchAll(/'row (\d+):/g)].map(([, row]) => Number(row)));

  const missing = Array.from({ length: 36 }, (_, index) => 24 + index).filter((row) => !numbers.includes(row));

  expect(missing).toEqual([]);
});
