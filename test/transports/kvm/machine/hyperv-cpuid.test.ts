import { describe, expect, test } from 'vitest';
import { type CpuidEntry, guestCpuid } from '../../../../src/transports/kvm/machine/hyperv-cpuid.ts';

const entry = (leaf: number, registers: Partial<CpuidEntry> = {}): CpuidEntry => ({
  leaf,
  subleaf: 0,
  flags: 0,
  eax: 0,
  ebx: 0,
  ecx: 0,
  edx: 0,
  ...registers,
});

const find = (entries: readonly CpuidEntry[], leaf: number, subleaf = 0): CpuidEntry | undefined =>
  entries.find((candidate) => candidate.leaf === leaf && candidate.subleaf === subleaf);

const text = (...words: number[]): string => new TextDecoder().decode(new Uint32Array(words));

test('the guest sees a hypervisor that is Hyper-V, and no trace of KVM', () => {
  const entries = guestCpuid([entry(1), entry(0x40000000, { ebx: 1 }), entry(0x40000001), entry(0x40000100)], 0, 1);

  const first = find(entries, 0x40000000);
  expect((find(entries, 1)?.ecx ?? 0) >>> 31).toBe(1);
  expect(text(first?.ebx ?? 0, first?.ecx ?? 0, first?.edx ?? 0)).toBe('Microsoft Hv');
  expect(text(find(entries, 0x40000001)?.eax ?? 0)).toBe('Hv#1');
  expect(find(entries, 0x40000100)).toBeUndefined();
  expect(entries.filter((candidate) => candidate.leaf === 0x40000000).length).toBe(1);
});

test('what Linux must see is there: leaf count, hypercall and VP index registers, no AutoEOI', () => {
  const entries = guestCpuid([], 0, 1);

  expect(find(entries, 0x40000000)?.eax).toBeGreaterThanOrEqual(0x40000005);
  expect((find(entries, 0x40000003)?.eax ?? 0) & 0x60).toBe(0x60);
  expect((find(entries, 0x40000004)?.eax ?? 0) & 0x200).toBe(0x200);
});

test('nothing is offered that would need another hypercall: partitions, CPU management, extended calls', () => {
  const entries = guestCpuid([], 0, 1);

  expect((find(entries, 0x40000003)?.ebx ?? 0) & ((1 << 0) | (1 << 1) | (1 << 12) | (1 << 20))).toBe(0);
  expect((find(entries, 0x40000004)?.eax ?? 0) & ((1 << 2) | (1 << 3) | (1 << 10) | (1 << 11) | (1 << 14))).toBe(0);
});

describe('topology', () => {
  test.each([
    [0, 1, 0],
    [1, 2, 1],
    [2, 3, 2],
    [3, 4, 2],
  ])('processor %i of %i has its own APIC id, in %i bits', (vpIndex, vpCount, bits) => {
    const entries = guestCpuid(
      [entry(1, { ebx: 0xff00_1234, edx: 0x1000_0001 }), entry(0xb, { eax: 7 })],
      vpIndex,
      vpCount,
    );

    const one = find(entries, 1);
    expect(one?.ebx).toBe(((vpIndex << 24) | (vpCount << 16) | 0x1234) >>> 0);
    expect((one?.edx ?? 0) >>> 28).toBe(vpCount > 1 ? 1 : 0);
    expect(find(entries, 0xb, 0)).toMatchObject({ eax: 0, ebx: 1, edx: vpIndex });
    expect(find(entries, 0xb, 1)).toMatchObject({ eax: bits, ebx: vpCount, edx: vpIndex });
    expect(entries.filter((candidate) => candidate.leaf === 0xb).length).toBe(3);
  });

  test('of the host does not show: its cache, core and node numbers are replaced or dropped', () => {
    const host = [
      entry(4, { eax: 0xfc00_c121, flags: 1 }),
      entry(0x1f, { ebx: 64 }),
      entry(0x80000001, { ecx: 0x0040_0001 }),
      entry(0x80000008, { eax: 0x3030, ecx: 0x703f }),
      entry(0x8000001e, { ebx: 5 }),
    ];

    const entries = guestCpuid(host, 1, 2);

    expect(find(entries, 4)?.eax).toBe(0x0400_0121);
    expect(find(entries, 0x1f)).toBeUndefined();
    expect(find(entries, 0x80000001)?.ecx).toBe(1);
    expect(find(entries, 0x80000008)).toMatchObject({ eax: 0x3030, ecx: 0x1001 });
    expect(find(entries, 0x8000001e)).toBeUndefined();
  });
});

test('every word is an unsigned 32-bit number', () => {
  const ones = entry(1, { eax: 0xffffffff, ebx: 0xffffffff, ecx: 0xffffffff, edx: 0xffffffff });

  for (const { eax, ebx, ecx, edx } of guestCpuid([ones, { ...ones, leaf: 0x80000001 }], 3, 4)) {
    for (const word of [eax, ebx, ecx, edx]) expect(word).toBe(word >>> 0);
  }
});
