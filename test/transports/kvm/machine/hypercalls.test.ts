import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { ExitMailbox } from '../../../../src/transports/kvm/machine/exit-mailbox.ts';
import { GuestRam } from '../../../../src/transports/kvm/machine/guest-ram.ts';
import { FAST, HypercallCode, HypercallStatus, Hypercalls } from '../../../../src/transports/kvm/machine/hypercalls.ts';

const RAM_BYTES = 64 * 1024;
const INPUT = 0x3000;

function someHypercalls() {
  const ram = new GuestRam(new ArrayBuffer(RAM_BYTES));
  const mailbox = new ExitMailbox(ExitMailbox.allocate());
  const bell = {
    rings: 0,
    ring() {
      bell.rings++;
    },
  };
  const hypercalls = new Hypercalls(ram, mailbox, bell, () => true);
  const received: (readonly ['message', number, ...number[]] | readonly ['signal', number])[] = [];
  const drain = () => {
    mailbox.drain(
      {
        message: (connectionId, bytes) => received.push(['message', connectionId, ...bytes]),
        signalled: (connectionId) => received.push(['signal', connectionId]),
      },
      () => true,
    );
    return received;
  };
  return { ram, hypercalls, bell, drain };
}

/** Fills an HvPostMessage input block. */
function putPost(
  ram: GuestRam,
  at: number,
  fields: { connectionId?: number; type?: number; size?: number; payload?: number[] },
) {
  ram.view.setUint32(at, fields.connectionId ?? 1, true);
  ram.view.setUint32(at + 8, fields.type ?? 1, true);
  ram.view.setUint32(at + 12, fields.size ?? fields.payload?.length ?? 0, true);
  ram.bytes.set(fields.payload ?? [], at + 16);
}

describe('HvPostMessage', () => {
  test.each([1, 4])('to connection %i hands the payload over and wakes the device thread', (connectionId) => {
    const { ram, hypercalls, bell, drain } = someHypercalls();
    putPost(ram, INPUT, { connectionId, payload: [0x0e, 0, 0, 0, 0xaa] });

    expect(hypercalls.call(HypercallCode.PostMessage, 0, INPUT, 0)).toBe(HypercallStatus.Success);

    expect(drain()).toEqual([['message', connectionId, 0x0e, 0, 0, 0, 0xaa]]);
    expect(bell.rings).toBe(1);
  });

  test('takes a copy: what the guest writes afterwards is not seen', () => {
    const { ram, hypercalls, drain } = someHypercalls();
    putPost(ram, INPUT, { payload: [1] });
    hypercalls.call(HypercallCode.PostMessage, 0, INPUT, 0);
    ram.bytes[INPUT + 16] = 2;

    expect(drain()).toEqual([['message', 1, 1]]);
  });

  test('of 240 bytes at the very end of a page is whole', () => {
    const { ram, hypercalls, drain } = someHypercalls();
    const payload = Array.from({ length: 240 }, (_, index) => index);
    putPost(ram, RAM_BYTES - 256, { payload });

    expect(hypercalls.call(HypercallCode.PostMessage, 0, RAM_BYTES - 256, 0)).toBe(HypercallStatus.Success);

    expect(drain()).toEqual([['message', 1, ...payload]]);
  });

  test.each([
    ['a payload longer than a message', INPUT, { size: 241 }, HypercallStatus.InvalidParameter],
    ['a payload of 4 GiB', INPUT, { size: 0xffffffff }, HypercallStatus.InvalidParameter],
    ['another message type', INPUT, { type: 2 }, HypercallStatus.InvalidParameter],
    ['a type of the hypervisor', INPUT, { type: 0x80000001 }, HypercallStatus.InvalidParameter],
    ['an unknown connection', INPUT, { connectionId: 2 }, HypercallStatus.InvalidConnectionId],
    ['a connection beyond 24 bits', INPUT, { connectionId: 0x1000001 }, HypercallStatus.InvalidConnectionId],
    ['an unaligned block', INPUT + 4, {}, HypercallStatus.InvalidAlignment],
    ['a header across two pages', INPUT - 8, {}, HypercallStatus.InvalidAlignment],
    ['a payload across two pages', INPUT - 32, { size: 17 }, HypercallStatus.InvalidAlignment],
  ])('with %s is refused', (_, at, fields, status) => {
    const { ram, hypercalls, drain } = someHypercalls();
    putPost(ram, at, fields);

    expect(hypercalls.call(HypercallCode.PostMessage, 0, at, 0)).toBe(status);

    expect(drain()).toEqual([]);
  });

  test.each([
    [RAM_BYTES, 0],
    [0, 1],
    [0xfffffff0, 0xffffffff],
    [0, 0x200000],
  ])('with its block at %i and high word %i, outside RAM, is refused', (lo, hi) => {
    const { hypercalls, drain } = someHypercalls();

    expect(hypercalls.call(HypercallCode.PostMessage, 0, lo, hi)).toBe(HypercallStatus.InvalidParameter);

    expect(drain()).toEqual([]);
  });

  test('with its parameters in registers is refused', () => {
    expect(someHypercalls().hypercalls.call(HypercallCode.PostMessage | FAST, 0, 1, 0)).toBe(
      HypercallStatus.InvalidInput,
    );
  });

  test('is told to try again when nobody has taken the last 64', () => {
    const { ram, hypercalls, drain } = someHypercalls();
    putPost(ram, INPUT, { payload: [1] });
    for (let count = 0; count < 64; count++) hypercalls.call(HypercallCode.PostMessage, 0, INPUT, 0);

    expect(hypercalls.call(HypercallCode.PostMessage, 0, INPUT, 0)).toBe(HypercallStatus.InsufficientBuffers);

    expect(drain().length).toBe(64);
    expect(hypercalls.call(HypercallCode.PostMessage, 0, INPUT, 0)).toBe(HypercallStatus.Success);
  });
});

describe('HvSignalEvent', () => {
  test('is the connection in a register, or in memory', () => {
    const { ram, hypercalls, bell, drain } = someHypercalls();
    ram.view.setUint32(INPUT, 0x2002, true);

    expect(hypercalls.call(HypercallCode.SignalEvent | FAST, 0, 0x2001, 0)).toBe(HypercallStatus.Success);
    expect(hypercalls.call(HypercallCode.SignalEvent, 0, INPUT, 0)).toBe(HypercallStatus.Success);

    expect(drain()).toEqual([
      ['signal', 0x2001],
      ['signal', 0x2002],
    ]);
    expect(bell.rings).toBe(2);
  });

  test('merges with the same signal before it while nobody has looked, and only then', () => {
    const { hypercalls, drain } = someHypercalls();
    const signal = (connectionId: number) => hypercalls.call(HypercallCode.SignalEvent | FAST, 0, connectionId, 0);

    signal(5);
    signal(5);
    signal(6);
    signal(5);
    expect(drain().length).toBe(3);

    signal(5);
    expect(drain().length).toBe(4);
  });

  test.each([
    ['connection 0', 0, 0, HypercallStatus.InvalidConnectionId],
    ['a connection beyond 24 bits', 0x1000000, 0, HypercallStatus.InvalidConnectionId],
    ['a flag that our ports do not have', 0x2001, 1, HypercallStatus.InvalidParameter],
    ['reserved bits', 0x2001, 0x10000, HypercallStatus.InvalidParameter],
  ])('with %s is refused', (_, lo, hi, status) => {
    const { hypercalls, drain } = someHypercalls();

    expect(hypercalls.call(HypercallCode.SignalEvent | FAST, 0, lo, hi)).toBe(status);

    expect(drain()).toEqual([]);
  });

  test('to a full mailbox of a machine that is being stopped gives up instead of waiting for ever', () => {
    const { hypercalls } = someHypercalls();

    for (let connectionId = 1; connectionId <= 100; connectionId++) {
      expect(hypercalls.call(HypercallCode.SignalEvent | FAST, 0, connectionId, 0)).toBe(HypercallStatus.Success);
    }
  });
});

test.each([
  ['no such call', 0x0001, 0, HypercallStatus.InvalidCode],
  ['code 0', 0, 0, HypercallStatus.InvalidCode],
  ['a variable header', HypercallCode.SignalEvent | FAST | 0x20000, 0, HypercallStatus.InvalidInput],
  ['reserved bits', HypercallCode.SignalEvent | FAST | 0x8000000, 0, HypercallStatus.InvalidInput],
  ['a repeat count', HypercallCode.SignalEvent | FAST, 1, HypercallStatus.InvalidInput],
])('an input value with %s is refused', (_, lo, hi, status) => {
  expect(someHypercalls().hypercalls.call(lo, hi, 0x2001, 0)).toBe(status);
});

test('any registers over any memory give a status, never an exception', () => {
  const word = fc.oneof(fc.integer({ min: 0, max: 0xffffffff }), fc.integer({ min: 0, max: RAM_BYTES + 8 }));
  const code = fc.oneof(fc.constantFrom<number>(HypercallCode.PostMessage, HypercallCode.SignalEvent), word);
  fc.assert(
    fc.property(
      code,
      fc.boolean(),
      word,
      word,
      fc.uint8Array({ minLength: 32, maxLength: 32 }),
      (lo, isFast, a, b, block) => {
        const { ram, hypercalls } = someHypercalls();
        ram.bytes.set(block, INPUT);

        const status = hypercalls.call((lo | (isFast ? FAST : 0)) >>> 0, 0, a, b % 3);

        expect(Object.values(HypercallStatus)).toContain(status);
      },
    ),
  );
});
