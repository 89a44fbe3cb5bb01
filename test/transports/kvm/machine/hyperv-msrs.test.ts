import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  HypervMsr,
  SYNTHETIC_MSR_COUNT,
  SYNTHETIC_MSR_FIRST,
} from '../../../../src/transports/kvm/machine/hyperv-registers.ts';
import { referenceScale, referenceTime } from '../../../../src/transports/kvm/machine/reference-time.ts';
import { hex } from '../../../vectors/hex.ts';
import { RAM_BYTES, type SomeMachine, someMachine, TSC_HZ } from './some-machine.ts';

const LAST_PAGE = BigInt(RAM_BYTES - 4096);
/** Pages that are not RAM: just behind it, the top of 52 bits, all ones. */
const OUTSIDE = [BigInt(RAM_BYTES) | 1n, 0xf_ffff_ffff_f001n, 0xffff_ffff_ffff_f001n];

const msrsOf = (machine: SomeMachine, vp = 0) => {
  const msrs = machine.msrs[vp];
  if (msrs === undefined) throw new Error(`no processor ${vp}`);
  return msrs;
};

test('the registers read as after reset until they are written', () => {
  const msrs = msrsOf(someMachine(2), 1);

  expect(msrs.read(HypervMsr.VpIndex)).toBe(1n);
  expect(msrs.read(HypervMsr.Sversion)).toBe(1n);
  expect(msrs.read(HypervMsr.Scontrol)).toBe(0n);
  expect(msrs.read(HypervMsr.Sint0 + 2)).toBe(0x10000n);
  expect(msrs.read(HypervMsr.TscFrequency)).toBe(TSC_HZ);
  expect(msrs.read(HypervMsr.ApicFrequency)).toBe(1_000_000_000n);
});

test.each([0x40000003, 0x40000010, 0x40000085, 0x400000a0, 0x400000b0, 0x40000106, 0x400001ff])(
  'register %i does not exist, for reading or writing',
  (index) => {
    const msrs = msrsOf(someMachine());

    expect(msrs.read(index)).toBeUndefined();
    expect(msrs.write(index, 1n)).toBe(false);
  },
);

test.each([
  HypervMsr.VpIndex,
  HypervMsr.TimeRefCount,
  HypervMsr.TscFrequency,
  HypervMsr.ApicFrequency,
  HypervMsr.Sversion,
])('register %i is read-only', (index) => {
  expect(msrsOf(someMachine()).write(index, 0n)).toBe(false);
});

describe('the hypercall page', () => {
  test('holds an I/O write and a return once the guest has said who it is', () => {
    const machine = someMachine();
    const msrs = msrsOf(machine);

    msrs.write(HypervMsr.GuestOsId, 0x8100_0006_01c0_0000n);
    expect(msrs.write(HypervMsr.Hypercall, LAST_PAGE | 1n)).toBe(true);

    expect(machine.ram.slice(RAM_BYTES - 4096, 4)).toEqual(hex('e7 e6 c3 cc'));
    expect(msrs.read(HypervMsr.Hypercall)).toBe(LAST_PAGE | 1n);
  });

  test('stays off for a guest without an identity, and goes off with it', () => {
    const machine = someMachine();
    const msrs = msrsOf(machine);

    msrs.write(HypervMsr.Hypercall, LAST_PAGE | 1n);
    expect(msrs.read(HypervMsr.Hypercall)).toBe(LAST_PAGE);
    expect(machine.ram.slice(RAM_BYTES - 4096, 4)).toEqual(new Uint8Array(4));

    msrs.write(HypervMsr.GuestOsId, 1n);
    msrs.write(HypervMsr.Hypercall, LAST_PAGE | 1n);
    msrs.write(HypervMsr.GuestOsId, 0n);
    expect(msrs.read(HypervMsr.Hypercall)).toBe(0n);
  });
});

describe('a page that is not RAM', () => {
  test.each([HypervMsr.Hypercall, HypervMsr.ReferenceTsc, HypervMsr.Simp, HypervMsr.Siefp])(
    'is refused by register %i, which keeps its value',
    (index) => {
      const msrs = msrsOf(someMachine());
      msrs.write(HypervMsr.GuestOsId, 1n);
      const before = msrs.read(index);

      for (const place of OUTSIDE) expect(msrs.write(index, place)).toBe(false);

      expect(msrs.read(index)).toBe(before);
    },
  );

  test('may be named by a register that is off', () => {
    const msrs = msrsOf(someMachine());

    expect(msrs.write(HypervMsr.Simp, 0xffff_ffff_ffff_f000n)).toBe(true);
  });
});

describe('a SynIC page', () => {
  test('is all zeros when it is placed, and left alone when it is placed there again', () => {
    const machine = someMachine();
    const msrs = msrsOf(machine);
    machine.ram.bytes.fill(0xa5, 0x5000, 0x6000);

    msrs.write(HypervMsr.Simp, 0x5001n);
    expect(machine.ram.slice(0x5000, 4096).every((byte) => byte === 0)).toBe(true);

    machine.ram.bytes[0x5000] = 7;
    msrs.write(HypervMsr.Simp, 0x5001n);
    expect(machine.ram.bytes[0x5000]).toBe(7);
  });

  test('belongs to one processor', () => {
    const machine = someMachine(2);

    msrsOf(machine, 0).write(HypervMsr.Simp, 0x5001n);

    expect(msrsOf(machine, 1).read(HypervMsr.Simp)).toBe(0n);
  });
});

test.each([
  [0n, false],
  [15n, false],
  [16n, true],
  [0xf3n, true],
  [0x10000n, true],
])('a SINT value of %i is accepted: %s', (value, isAccepted) => {
  const msrs = msrsOf(someMachine());

  expect(msrs.write(HypervMsr.Sint0, value)).toBe(isAccepted);
});

test('every change of the SynIC and every EOM makes the device thread look again', () => {
  const machine = someMachine();
  const msrs = msrsOf(machine);

  msrs.write(HypervMsr.Simp, 0x5001n);
  msrs.write(HypervMsr.Siefp, 0x6001n);
  msrs.write(HypervMsr.Sint0 + 2, 0xf3n);
  msrs.write(HypervMsr.Scontrol, 1n);
  msrs.write(HypervMsr.Eom, 0n);

  expect(machine.synicChanges).toBe(5);
});

describe('reference time', () => {
  test('counts 100 ns whatever the frequency of the TSC', () => {
    for (const tscHz of [10_000_001n, 2_000_000_000n, 5_123_456_789n]) {
      const after = referenceTime(tscHz * 3600n, referenceScale(tscHz));

      // The scale is rounded down: at most one unit in 2^64 / tsc is lost.
      expect(36_000_000_000n - after).toBeLessThanOrEqual(1n);
    }
  });

  test('is the same from the register and from the page', () => {
    const machine = someMachine();
    const msrs = msrsOf(machine);
    machine.tsc = 123_456_789_012n;

    msrs.write(HypervMsr.ReferenceTsc, 0x7001n);

    const page = new DataView(machine.ram.slice(0x7000, 4096).slice().buffer);
    expect(page.getUint32(0, true)).toBe(1);
    expect(page.getBigUint64(16, true)).toBe(0n);
    const fromPage = (machine.tsc * page.getBigUint64(8, true)) >> 64n;
    expect(msrs.read(HypervMsr.TimeRefCount)).toBe(fromPage);
    expect(fromPage).toBe(617_283_945n);
  });
});

describe('a crash report', () => {
  const NOTIFY = 1n << 63n;
  const NOTIFY_MESSAGE = 1n << 62n;

  function crash(message: { address: bigint; length: bigint } | undefined): SomeMachine {
    const machine = someMachine();
    const msrs = msrsOf(machine);
    machine.ram.bytes.set(new TextEncoder().encode('Kernel panic - not syncing: test'), 0x8000);
    for (const index of [0, 1, 2]) msrs.write(HypervMsr.CrashP0 + index, BigInt(0x100 + index));
    if (message !== undefined) {
      msrs.write(HypervMsr.CrashP0 + 3, message.address);
      msrs.write(HypervMsr.CrashP0 + 4, message.length);
    }
    msrs.write(HypervMsr.CrashControl, message === undefined ? NOTIFY : NOTIFY | NOTIFY_MESSAGE);
    return machine;
  }

  test('carries the five parameters', () => {
    expect(crash(undefined).crashes).toEqual([{ parameters: [0x100n, 0x101n, 0x102n, 0n, 0n], message: undefined }]);
  });

  test('carries the text that the guest left in its memory', () => {
    expect(crash({ address: 0x8000n, length: 32n }).crashes[0]?.message).toBe('Kernel panic - not syncing: test');
  });

  test.each([
    ['behind RAM', BigInt(RAM_BYTES), 1n],
    ['across the end of RAM', BigInt(RAM_BYTES) - 1n, 2n],
    ['at the end of the address space', 0xffff_ffff_ffff_ffffn, 4096n],
    ['longer than a page', 0x8000n, 4097n],
    ['longer than any memory', 0x8000n, 0xffff_ffff_ffff_ffffn],
    ['empty', 0x8000n, 0n],
  ])('with a text that is %s is a report without text', (_, address, length) => {
    expect(crash({ address, length }).crashes[0]?.message).toBeUndefined();
  });

  test('is made by the notify bit only', () => {
    const machine = someMachine();

    msrsOf(machine).write(HypervMsr.CrashControl, NOTIFY_MESSAGE);

    expect(machine.crashes).toEqual([]);
  });
});

test('any value in any register is taken or refused, never an exception', () => {
  const index = fc.integer({ min: SYNTHETIC_MSR_FIRST, max: SYNTHETIC_MSR_FIRST + SYNTHETIC_MSR_COUNT - 1 });
  const value = fc.bigInt({ min: 0n, max: 2n ** 64n - 1n });
  fc.assert(
    fc.property(fc.array(fc.tuple(index, value), { maxLength: 50 }), (writes) => {
      const msrs = msrsOf(someMachine());

      for (const [register, written] of writes) {
        msrs.write(register, written);
        const read = msrs.read(register);
        expect(read === undefined || (read >= 0n && read < 2n ** 64n)).toBe(true);
      }
    }),
  );
});
