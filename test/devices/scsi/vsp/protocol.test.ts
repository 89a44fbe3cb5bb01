import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { FIRST_STATE, type StorState, step, stepSubChannel } from '../../../../src/devices/scsi/vsp/protocol.ts';
import {
  STATUS_INVALID_DEVICE_REQUEST,
  STATUS_INVALID_DEVICE_STATE,
  STATUS_INVALID_PARAMETER,
  STATUS_REVISION_MISMATCH,
  STATUS_SUCCESS,
} from '../../../../src/wire/ntstatus.ts';
import { formatStorVersion, VstorOperation } from '../../../../src/wire/storvsc.ts';

/** Every state, with a version that has sub-channels where one is agreed. */
const STATES: Record<StorState['at'], StorState> = {
  begin: { at: 'begin' },
  version: { at: 'version' },
  properties: { at: 'properties', version: 0x0602 },
  end: { at: 'end', version: 0x0602, hasSubChannels: false },
  ready: { at: 'ready', version: 0x0602, hasSubChannels: false },
};

function send(state: StorState, operation: number, value = 0, maxSubChannelCount = 0) {
  return step(state, { operation, value, maxSubChannelCount });
}

function named(version: number): [string, number] {
  return [formatStorVersion(version), version];
}

test('the whole sequence leads to ready, with properties on the way', () => {
  const begun = send(FIRST_STATE, VstorOperation.BeginInitialization);
  const versioned = send(begun.next, VstorOperation.QueryProtocolVersion, 0x0600);
  const described = send(versioned.next, VstorOperation.QueryProperties);
  const ready = send(described.next, VstorOperation.EndInitialization);

  expect([begun, versioned, described, ready].map(({ status }) => status)).toEqual([0, 0, 0, 0]);
  expect(described.action).toEqual({ do: 'describe' });
  expect(ready.next).toEqual({ at: 'ready', version: 0x0600, hasSubChannels: false });
  expect(ready.action).toEqual({ do: 'letRun' });
});

test.each([0x0200, 0x0402, 0x0501, 0x0600, 0x0602].map(named))('version %s is spoken', (_name, version) => {
  expect(send(STATES.version, VstorOperation.QueryProtocolVersion, version)).toEqual({
    next: { at: 'properties', version },
    status: STATUS_SUCCESS,
  });
});

test.each([0, 0x0001, 0x0100, 0x0603, 0x0700, 0xffff].map(named))(
  'version %s is not: the guest may ask again',
  (_name, version) => {
    expect(send(STATES.version, VstorOperation.QueryProtocolVersion, version)).toEqual({
      next: STATES.version,
      status: STATUS_REVISION_MISMATCH,
    });
  },
);

describe('a message out of turn moves nothing', () => {
  const inTurn: Record<StorState['at'], number[]> = {
    begin: [7],
    version: [9],
    properties: [10],
    end: [8, 13],
    ready: [4, 5, 6, 13],
  };
  const requests = [3, 4, 5, 6, 7, 8, 9, 10, 13];
  const outOfTurn = Object.values(STATES).flatMap((state) =>
    requests.filter((operation) => !inTurn[state.at].includes(operation)).map((operation) => ({ state, operation })),
  );

  test.each(outOfTurn)('operation $operation in state $state.at', ({ state, operation }) => {
    expect(send(state, operation, 0x0602)).toEqual({ next: state, status: STATUS_INVALID_DEVICE_STATE });
  });
});

test.each([0, 1, 2, 11, 12, 14, 15, 0xffff_ffff])('operation %i is no request in any state', (operation) => {
  for (const state of Object.values(STATES)) {
    expect(send(state, operation)).toEqual({ next: state, status: STATUS_INVALID_DEVICE_REQUEST });
  }
});

test.each([
  [4, 'lun'],
  [5, 'adapter'],
  [6, 'bus'],
])('reset %i reaches as far as its %s and leaves the controller ready', (operation, scope) => {
  expect(send(STATES.ready, operation)).toEqual({
    next: STATES.ready,
    status: STATUS_SUCCESS,
    action: { do: 'reset', scope },
  });
});

describe('sub-channels', () => {
  test('beyond what the properties allow are refused', () => {
    expect(send(STATES.ready, VstorOperation.CreateSubChannels, 1, 0).status).toBe(STATUS_INVALID_PARAMETER);
    expect(send(STATES.end, VstorOperation.CreateSubChannels, 4, 3).status).toBe(STATUS_INVALID_PARAMETER);
  });

  test.each(['end', 'ready'] as const)('below version 5.1 are out of turn (%s)', (at) => {
    const state = { at, version: 0x0402, hasSubChannels: false };

    expect(send(state, VstorOperation.CreateSubChannels, 1, 7).status).toBe(STATUS_INVALID_DEVICE_STATE);
  });

  test.each(['end', 'ready'] as const)('are offered once in each open (%s)', (at) => {
    const created = send(STATES[at], VstorOperation.CreateSubChannels, 3, 3);
    const again = send(created.next, VstorOperation.CreateSubChannels, 1, 3);

    expect(created).toEqual({
      next: { ...STATES[at], hasSubChannels: true },
      status: STATUS_SUCCESS,
      action: { do: 'offerSubChannels', count: 3 },
    });
    expect(again).toEqual({ next: created.next, status: STATUS_INVALID_DEVICE_STATE });
  });

  test('asked for before the end stay asked for after it', () => {
    const created = send(STATES.end, VstorOperation.CreateSubChannels, 1, 3);
    const ended = send(created.next, VstorOperation.EndInitialization);

    expect(ended.next).toEqual({ ...STATES.ready, hasSubChannels: true });
  });

  test('none of them may be asked for, which changes nothing', () => {
    expect(send(STATES.ready, VstorOperation.CreateSubChannels, 0, 0)).toEqual({
      next: STATES.ready,
      status: STATUS_SUCCESS,
    });
  });

  test.each([7, 8, 9, 10, 13])(
    'take no part in the initialisation: operation %i is out of turn on one',
    (operation) => {
      for (const state of Object.values(STATES)) {
        const answer = stepSubChannel(state, { operation, value: 1, maxSubChannelCount: 7 });

        expect(answer).toEqual({ next: state, status: STATUS_INVALID_DEVICE_STATE });
      }
    },
  );

  test.each([4, 5, 6])('take reset %i, and what is no request stays none', (operation) => {
    const event = { value: 0, maxSubChannelCount: 7 };

    expect(stepSubChannel(STATES.ready, { ...event, operation }).status).toBe(STATUS_SUCCESS);
    expect(stepSubChannel(STATES.ready, { ...event, operation: 99 }).status).toBe(STATUS_INVALID_DEVICE_REQUEST);
  });
});

test('whatever is sent, a state follows and ready is reached through every step', () => {
  const operation = fc.oneof(fc.integer({ min: 0, max: 16 }), fc.integer({ min: 0, max: 0xffff_ffff }));
  const order = ['begin', 'version', 'properties', 'end', 'ready'];

  fc.assert(
    fc.property(fc.array(fc.tuple(operation, fc.constantFrom(0x0602, 0x0501, 0x0700))), (messages) => {
      let state = FIRST_STATE;

      for (const [message, value] of messages) {
        const { next } = send(state, message, value);
        const moved = order.indexOf(next.at) - order.indexOf(state.at);
        expect([0, 1]).toContain(moved);
        state = next;
      }
    }),
  );
});
