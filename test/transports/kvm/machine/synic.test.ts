import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { PostStatus } from '../../../../src/bus/control-port.ts';
import { HypervMsr } from '../../../../src/transports/kvm/machine/hyperv-registers.ts';
import { CONGESTED_MESSAGES } from '../../../../src/transports/kvm/machine/synic.ts';
import { hex } from '../../../vectors/hex.ts';
import { enableSynic, FLAGS, RAM_BYTES, SIMP, SLOT, type SomeMachine, someMachine, VECTOR } from './some-machine.ts';

const message = (...bytes: number[]): Uint8Array => Uint8Array.from(bytes);

function readyMachine(vpCount = 1): SomeMachine {
  const machine = someMachine(vpCount);
  enableSynic(machine);
  return machine;
}

/** What a guest does with its slot: copy, free it, and write EOM if the flag says that more waits. */
function consume(machine: SomeMachine): { payload: Uint8Array; wroteEom: boolean } | undefined {
  const { ram, synic } = machine;
  if (Atomics.load(ram.words, SLOT / 4) === 0) return undefined;
  const payload = ram.bytes.slice(SLOT + 16, SLOT + 16 + (ram.bytes[SLOT + 4] ?? 0));
  Atomics.store(ram.words, SLOT / 4, 0);
  const wroteEom = ((ram.bytes[SLOT + 5] ?? 0) & 1) !== 0;
  if (wroteEom) synic.pumpAll();
  return { payload, wroteEom };
}

describe('a message', () => {
  test('lands in the slot of SINT 2 with its size, and interrupts once', () => {
    const machine = readyMachine();
    machine.ram.bytes.fill(0xa5, SLOT + 4, SLOT + 256);

    expect(machine.synic.post(0, message(0x0f, 0, 0, 0, 0xaa))).toBe(PostStatus.Success);

    expect(machine.ram.slice(SLOT, 24)).toEqual(hex('01 00 00 00 05 00 00 00 | 8 x 00 | 0f 00 00 00 aa a5 a5 a5'));
    expect(machine.interrupts).toEqual([{ vp: 0, vector: VECTOR }]);
  });

  test('waits while the slot is taken, marks that it does, and follows at the end of the first', () => {
    const machine = readyMachine();

    machine.synic.post(0, message(1));
    machine.synic.post(0, message(2));

    expect(machine.interrupts.length).toBe(1);
    expect(machine.synic.inspect()).toEqual({ waitingMessages: [1], isSlotTaken: [true] });
    expect(consume(machine)).toEqual({ payload: message(1), wroteEom: true });
    expect(machine.interrupts.length).toBe(2);
    expect(consume(machine)).toEqual({ payload: message(2), wroteEom: false });
    expect(consume(machine)).toBeUndefined();
  });

  test('that is delivered while others wait says so at once', () => {
    const machine = someMachine();
    machine.synic.post(0, message(1));
    machine.synic.post(0, message(2));
    machine.synic.post(0, message(3));

    enableSynic(machine);
    machine.synic.pumpAll();

    const eoms = [consume(machine), consume(machine), consume(machine)].map((taken) => taken?.wroteEom);
    expect(eoms).toEqual([true, true, false]);
  });

  test('is not lost when the guest frees the slot just before the mark that more waits', () => {
    // The guest clears the type, then reads the flag: a flag that comes between the two brings no EOM. The host must
    // look at the slot again after it has set the flag.
    const machine = readyMachine();
    machine.synic.post(0, message(1));
    const { words } = machine.ram;
    const or = Atomics.or;
    Atomics.or = ((array: Int32Array, index: number, value: number) => {
      Atomics.store(words, SLOT / 4, 0);
      return or(array, index, value);
    }) as typeof Atomics.or;
    try {
      machine.synic.post(0, message(2));
    } finally {
      Atomics.or = or;
    }

    expect(consume(machine)?.payload).toEqual(message(2));
  });

  test.each([
    ['the SynIC is off', (machine: SomeMachine) => machine.msrs[0]?.write(HypervMsr.Scontrol, 0n)],
    ['the message page is off', (machine: SomeMachine) => machine.msrs[0]?.write(HypervMsr.Simp, BigInt(SIMP))],
  ])('waits while %s', (_, turnOff) => {
    const machine = readyMachine();
    turnOff(machine);

    expect(machine.synic.post(0, message(1))).toBe(PostStatus.Success);

    expect(machine.interrupts).toEqual([]);
    enableSynic(machine);
    machine.synic.pumpAll();
    expect(consume(machine)?.payload).toEqual(message(1));
  });

  test('to a masked or polled interrupt source arrives without an interrupt', () => {
    for (const sint of [0x10000n | BigInt(VECTOR), 0x40000n | BigInt(VECTOR)]) {
      const machine = readyMachine();
      machine.msrs[0]?.write(HypervMsr.Sint0 + 2, sint);

      machine.synic.post(0, message(1));

      expect(consume(machine)?.payload).toEqual(message(1));
      expect(machine.interrupts).toEqual([]);
    }
  });

  test('longer than a slot, or to a processor that is not there, is refused', () => {
    const machine = readyMachine();

    expect(machine.synic.post(0, new Uint8Array(241))).toBe(PostStatus.InsufficientMemory);
    expect(machine.synic.post(1, message(1))).toBe(PostStatus.InvalidConnectionId);
    expect(machine.synic.inspect()).toEqual({ waitingMessages: [0], isSlotTaken: [false] });
  });

  test('is a copy: the caller may reuse its buffer', () => {
    const machine = someMachine();
    const buffer = message(1);
    machine.synic.post(0, buffer);
    buffer[0] = 2;

    enableSynic(machine);
    machine.synic.pumpAll();

    expect(consume(machine)?.payload).toEqual(message(1));
  });

  test('after many others that nobody read makes the SynIC congested, until they are read', () => {
    const machine = readyMachine();
    for (let count = 0; count <= CONGESTED_MESSAGES; count++) machine.synic.post(0, message(count));
    expect(machine.synic.isCongested).toBe(true);

    consume(machine);

    expect(machine.synic.isCongested).toBe(false);
  });

  test('that waits is forgotten by a reset', () => {
    const machine = someMachine();
    machine.synic.post(0, message(1));

    machine.synic.reset();

    enableSynic(machine);
    machine.synic.pumpAll();
    expect(consume(machine)).toBeUndefined();
  });

  test('arrives exactly once and in order, whatever posts and reads do in between', () => {
    fc.assert(
      fc.property(fc.array(fc.boolean(), { maxLength: 200 }), (steps) => {
        const machine = readyMachine();
        const received: number[] = [];
        let sent = 0;
        for (const isPost of steps) {
          if (isPost) machine.synic.post(0, message(sent++));
          else received.push(...(consume(machine)?.payload ?? []));
        }
        for (let taken = consume(machine); taken !== undefined; taken = consume(machine))
          received.push(...taken.payload);

        expect(received).toEqual([...Array(sent).keys()]);
      }),
    );
  });
});

describe('an event', () => {
  test.each([
    [1, FLAGS, 0x02],
    [31, FLAGS + 3, 0x80],
    [2047, FLAGS + 255, 0x80],
  ])('flag %i is a bit of the event page, and interrupts', (flag, at, bit) => {
    const machine = readyMachine();

    machine.synic.signal(0, flag);

    expect(machine.ram.bytes[at]).toBe(bit);
    expect(machine.interrupts).toEqual([{ vp: 0, vector: VECTOR }]);
  });

  test('that is set already interrupts no second time, until the guest clears it', () => {
    const machine = readyMachine();

    machine.synic.signal(0, 5);
    machine.synic.signal(0, 5);
    expect(machine.interrupts.length).toBe(1);

    machine.ram.bytes[FLAGS] = 0;
    machine.synic.signal(0, 5);
    expect(machine.interrupts.length).toBe(2);
  });

  test('goes to the processor that was named', () => {
    const machine = someMachine(2);
    enableSynic(machine, 0);
    enableSynic(machine, 1);

    machine.synic.signal(1, 3);

    expect(machine.ram.bytes[FLAGS]).toBe(0);
    expect(machine.ram.bytes[FLAGS + 0x2000]).toBe(8);
    expect(machine.interrupts).toEqual([{ vp: 1, vector: VECTOR }]);
  });

  test.each([
    ['flag 2048', 0, 2048],
    ['processor 7', 7, 1],
    ['processor 0xffffffff, which means no interrupts', 0xffffffff, 1],
  ])('for %s changes nothing', (_, vp, flag) => {
    const machine = readyMachine();
    const before = Buffer.from(machine.ram.bytes);

    machine.synic.signal(vp, flag);

    expect(before.equals(machine.ram.bytes)).toBe(true);
    expect(machine.interrupts).toEqual([]);
  });

  test('while the event page is off changes nothing', () => {
    const machine = readyMachine();
    machine.msrs[0]?.write(HypervMsr.Siefp, 0n);

    machine.synic.signal(0, 1);

    expect(machine.interrupts).toEqual([]);
  });
});

test('whatever a guest writes into its SynIC registers and pages, nothing throws and nothing leaves RAM', () => {
  const registers = [HypervMsr.Simp, HypervMsr.Siefp, HypervMsr.Scontrol, HypervMsr.Sint0 + 2, HypervMsr.Eom];
  const value = fc.oneof(
    fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }),
    fc.integer({ min: 0, max: RAM_BYTES }).map((n) => BigInt(n) | 1n),
  );
  const write = fc.record({ register: fc.constantFrom(...registers), value });
  const scribble = fc.record({ at: fc.integer({ min: 0, max: 255 }), byte: fc.integer({ min: 0, max: 255 }) });
  fc.assert(
    fc.property(fc.array(fc.oneof(write, scribble), { maxLength: 60 }), (steps) => {
      const machine = readyMachine();
      for (const step of steps) {
        if ('register' in step) machine.msrs[0]?.write(step.register, step.value);
        else machine.ram.bytes[SLOT + step.at] = step.byte;
        machine.synic.pumpAll();
        machine.synic.post(0, message(1, 2, 3));
        machine.synic.signal(0, 1);
      }

      expect(machine.interrupts.every(({ vp, vector }) => vp === 0 && vector >= 16 && vector <= 255)).toBe(true);
    }),
  );
});
