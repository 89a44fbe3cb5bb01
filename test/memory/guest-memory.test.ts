import fc from 'fast-check';
import { expect, test } from 'vitest';
import { AddressError, SystemError, UsageError } from '../../src/errors.ts';
import { GuestMemory, MAX_PFN_END } from '../../src/memory/guest-memory.ts';
import { PAGE_BYTES } from '../../src/memory/page.ts';
import { SOME_PFNS, someMemory } from './some-memory.ts';

const GARBAGE = [-1, 0.5, 16.5, Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY, 2 ** 52, 2 ** 64];

test('fresh memory is zeroed, starts at page 0 and is not shared', () => {
  const memory = GuestMemory.allocate(3);

  expect(memory.pageCount).toBe(3);
  expect(memory.hasRun(0, 3)).toBe(true);
  expect(memory.hasPage(3)).toBe(false);
  expect(memory.bytes(0, 3 * PAGE_BYTES).every((byte) => byte === 0)).toBe(true);
  expect(memory.inspect()).toEqual({ pageCount: 3, regions: [{ firstPfn: 0, pageCount: 3, shared: false }] });
});

test('memory may start anywhere below page 2^41 and be shared between threads', () => {
  const memory = GuestMemory.allocate(2, { firstPfn: MAX_PFN_END - 2, shared: true });

  memory.bytes(2 ** 53 - PAGE_BYTES, 1)[0] = 7;

  expect(memory.page(MAX_PFN_END - 1)[0]).toBe(7);
  expect(memory.page(MAX_PFN_END - 1).buffer).toBeInstanceOf(SharedArrayBuffer);
});

test('regions are listed lowest first and all their pages counted', () => {
  const memory = someMemory();

  expect(memory.regions.map((region) => region.firstPfn)).toEqual([16, 20, 40]);
  expect(memory.pageCount).toBe(11);
  expect(SOME_PFNS.every((pfn) => memory.hasPage(pfn))).toBe(true);
  expect([15, 23, 39, 44].some((pfn) => memory.hasPage(pfn))).toBe(false);
});

test('neighbouring regions of one buffer are one run of bytes', () => {
  const memory = someMemory();

  const bytes = memory.bytes(19 * PAGE_BYTES + 4000, 200);

  expect([...new Set(bytes)]).toEqual([19, 20]);
  expect(memory.runAt(16, 100)).toBe(7);
  expect(memory.runAt(19, 3)).toBe(3);
  expect(memory.runAt(23, 1)).toBe(0);
});

test('regions that are neighbours in guest memory but not in a buffer make a run of pages, not of bytes', () => {
  const memory = new GuestMemory([
    { firstPfn: 0, bytes: new Uint8Array(PAGE_BYTES) },
    { firstPfn: 1, bytes: new Uint8Array(PAGE_BYTES) },
  ]);

  expect(memory.hasRun(0, 2)).toBe(true);
  expect(memory.runAt(0, 2)).toBe(1);
  expect(() => memory.bytes(PAGE_BYTES - 1, 2)).toThrow(AddressError);
});

test('a view aliases the memory', () => {
  const memory = someMemory();

  memory.bytes(41 * PAGE_BYTES + 3, 2).set([0xaa, 0xbb]);

  expect([...memory.page(41).subarray(2, 6)]).toEqual([41, 0xaa, 0xbb, 41]);
});

test.each(GARBAGE)('page %d is outside memory', (pfn) => {
  const memory = someMemory();

  expect(memory.hasPage(pfn)).toBe(false);
  expect(memory.hasRun(pfn, 1)).toBe(false);
  expect(memory.runAt(pfn, 1)).toBe(0);
  expect(() => memory.page(pfn)).toThrow(AddressError);
});

test.each([-1, 0.5, Number.NaN, Number.POSITIVE_INFINITY])('a run of %d bytes or pages is not there', (count) => {
  const memory = someMemory();

  expect(() => memory.bytes(16 * PAGE_BYTES, count)).toThrow(AddressError);
  expect(memory.hasRun(16, count)).toBe(false);
});

test.each([-1, -PAGE_BYTES, 0, 0.5, 16 * PAGE_BYTES + 0.5, Number.NaN, Number.POSITIVE_INFINITY, 2 ** 53, 2 ** 64])(
  'address %d is outside memory',
  (gpa) => {
    expect(() => someMemory().bytes(gpa, 1)).toThrow(AddressError);
  },
);

test('no bytes are inside memory where a page is, and outside elsewhere', () => {
  const memory = someMemory();

  expect(memory.bytes(22 * PAGE_BYTES + 4095, 0).length).toBe(0);
  expect(() => memory.bytes(23 * PAGE_BYTES, 0)).toThrow(AddressError);
});

test('bytes and pages are inside exactly where a plain list of pages says so', () => {
  const memory = someMemory();
  const isThere = (gpa: number): boolean => SOME_PFNS.includes(Math.floor(gpa / PAGE_BYTES));

  fc.assert(
    fc.property(
      fc.integer({ min: 15 * PAGE_BYTES, max: 45 * PAGE_BYTES }),
      fc.integer({ min: 1, max: 9 * PAGE_BYTES }),
      (gpa, byteCount) => {
        // Pages 22 and 40 are not neighbours, so a gap decides it: first, last and every page border between.
        const inside =
          isThere(gpa) &&
          isThere(gpa + byteCount - 1) &&
          (gpa >= 40 * PAGE_BYTES || gpa + byteCount <= 23 * PAGE_BYTES);

        if (inside) {
          const expected = Uint8Array.from({ length: byteCount }, (_, index) => Math.floor((gpa + index) / PAGE_BYTES));
          expect(Buffer.compare(memory.bytes(gpa, byteCount), expected)).toBe(0);
        } else {
          expect(() => memory.bytes(gpa, byteCount)).toThrow(AddressError);
        }
      },
    ),
  );
});

test.each<[string, { firstPfn: number; bytes: Uint8Array }[]]>([
  ['no region', []],
  ['an empty region', [{ firstPfn: 0, bytes: new Uint8Array(0) }]],
  ['part of a page', [{ firstPfn: 0, bytes: new Uint8Array(PAGE_BYTES + 8) }]],
  ['a negative page', [{ firstPfn: -1, bytes: new Uint8Array(PAGE_BYTES) }]],
  ['half a page number', [{ firstPfn: 0.5, bytes: new Uint8Array(PAGE_BYTES) }]],
  ['a page above 2^41', [{ firstPfn: MAX_PFN_END, bytes: new Uint8Array(PAGE_BYTES) }]],
  ['an odd offset', [{ firstPfn: 0, bytes: new Uint8Array(new ArrayBuffer(2 * PAGE_BYTES), 4, PAGE_BYTES) }]],
  ['a resizable buffer', [{ firstPfn: 0, bytes: new Uint8Array(resizable(), 0, PAGE_BYTES) }]],
  [
    'an overlap',
    [
      { firstPfn: 1, bytes: new Uint8Array(PAGE_BYTES) },
      { firstPfn: 0, bytes: new Uint8Array(2 * PAGE_BYTES) },
    ],
  ],
])('%s is no guest memory', (_, regions) => {
  expect(() => new GuestMemory(regions)).toThrow(UsageError);
});

test.each([0, -1, 1.5, Number.NaN])('memory of %d pages cannot be allocated', (pageCount) => {
  expect(() => GuestMemory.allocate(pageCount)).toThrow(UsageError);
});

test('more memory than the process can have is a system error', () => {
  expect(() => GuestMemory.allocate(2 ** 40)).toThrow(SystemError);
});

function resizable(): ArrayBuffer {
  const ResizableBuffer = ArrayBuffer as unknown as new (
    byteLength: number,
    options: { maxByteLength: number },
  ) => ArrayBuffer;
  return new ResizableBuffer(PAGE_BYTES, { maxByteLength: 2 * PAGE_BYTES });
}
