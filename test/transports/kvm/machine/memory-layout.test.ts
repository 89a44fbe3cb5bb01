import { describe, expect, test } from 'vitest';
import { GuestRam } from '../../../../src/transports/kvm/machine/guest-ram.ts';
import { checkMemoryBytes, memoryMap } from '../../../../src/transports/kvm/machine/memory-layout.ts';

const MIB = 2 ** 20;

test.each([32 * MIB, 256 * MIB, 3072 * MIB])('a machine may have %i bytes', (memoryBytes) => {
  expect(() => checkMemoryBytes(memoryBytes)).not.toThrow();
});

test.each([0, 31 * MIB, 32 * MIB + 1, 3072 * MIB + 4096, 2 ** 53, Number.NaN, -256 * MIB, 64.5 * MIB + 0.5])(
  'a machine may not have %d bytes',
  (memoryBytes) => {
    expect(() => checkMemoryBytes(memoryBytes)).toThrow(expect.objectContaining({ code: 'ERR_ARGUMENT' }));
  },
);

test('the memory map covers all RAM but the hole, in order and without overlap', () => {
  const entries = memoryMap(64 * MIB);

  for (const [index, entry] of entries.entries()) {
    const next = entries[index + 1];
    if (next !== undefined) expect(entry.address + entry.byteCount).toBeLessThanOrEqual(next.address);
    else expect(entry.address + entry.byteCount).toBe(64 * MIB);
  }
});

describe('RAM', () => {
  const ram = new GuestRam(new ArrayBuffer(16384));

  test.each([
    [0, 16384],
    [16383, 1],
    [16384, 0],
  ])('has %i and the %i bytes from there', (gpa, byteCount) => {
    expect(ram.slice(gpa, byteCount).length).toBe(byteCount);
  });

  test.each([
    [16384, 1],
    [0, 16385],
    [16383, 2],
    [-1, 1],
    [0.5, 1],
    [Number.NaN, 1],
    [Number.POSITIVE_INFINITY, 1],
    [2 ** 60, 1],
  ])('has not %d and the %i bytes from there', (gpa, byteCount) => {
    expect(() => ram.slice(gpa, byteCount)).toThrow(expect.objectContaining({ code: 'ERR_ADDRESS' }));
  });

  test.each([
    [0x3001n, 0x3000],
    [0x3fffn, 0x3000],
    [0x4001n, -1],
    [2n ** 64n - 1n, -1],
  ])('finds the page that register %i names at %i', (register, gpa) => {
    expect(ram.pageOf(register)).toBe(gpa);
  });

  test.each([0, 1, 4095])('is not %i bytes', (byteCount) => {
    expect(() => new GuestRam(new ArrayBuffer(byteCount))).toThrow(expect.objectContaining({ code: 'ERR_ARGUMENT' }));
  });
});
