import fc from 'fast-check';
import { expect, test } from 'vitest';
import { AddressError, UsageError } from '../../src/errors.ts';
import { PAGE_BYTES } from '../../src/memory/page.ts';
import { ScatterView } from '../../src/memory/scatter-view.ts';
import { bytesOfPages, SOME_PFNS, someMemory } from './some-memory.ts';

test('adjacent pages are one segment, also across regions of one buffer', () => {
  const memory = someMemory();

  const view = new ScatterView(memory, [18, 19, 20], 100, 2 * PAGE_BYTES);

  expect(view.byteLength).toBe(2 * PAGE_BYTES);
  expect(view.segments).toHaveLength(1);
  expect(view.contiguous).toEqual(bytesOfPages([18, 19, 20], 100, 2 * PAGE_BYTES));
});

test('pages out of order stay in the order listed', () => {
  const memory = someMemory();

  const view = new ScatterView(memory, [41, 40, 16, 17, 16], 4000, 4 * PAGE_BYTES);

  expect(view.contiguous).toBeUndefined();
  expect(view.segments.map((segment) => segment.length)).toEqual([96, PAGE_BYTES, 2 * PAGE_BYTES, 4000]);
  expect(view.toBytes()).toEqual(bytesOfPages([41, 40, 16, 17, 16], 4000, 4 * PAGE_BYTES));
});

test('pages behind the last byte are not looked at', () => {
  const view = new ScatterView(someMemory(), [40, 0xdead], 0, PAGE_BYTES);

  expect(view.byteLength).toBe(PAGE_BYTES);
});

test('no bytes are a contiguous view of no segments', () => {
  const view = new ScatterView(someMemory(), [], 0, 0);

  expect(view.segments).toEqual([]);
  expect(view.contiguous).toHaveLength(0);
  expect(view.toBytes()).toHaveLength(0);
  expect(() => view.read(0, new Uint8Array(1))).toThrow(AddressError);
});

test.each([23, 39, -1, 16.5, Number.NaN, 2 ** 52, 2 ** 64])('a list that names page %d is refused', (pfn) => {
  expect(() => new ScatterView(someMemory(), [16, pfn, 17], 0, 3 * PAGE_BYTES)).toThrow(AddressError);
});

test('a list that ends before the bytes do is refused', () => {
  expect(() => new ScatterView(someMemory(), [16, 17], 1, 2 * PAGE_BYTES)).toThrow(AddressError);
});

test.each([
  [-1, 1],
  [PAGE_BYTES, 1],
  [0.5, 1],
  [0, -1],
  [0, 1.5],
  [0, Number.NaN],
])('byte offset %d with %d bytes makes no view', (byteOffset, byteCount) => {
  expect(() => new ScatterView(someMemory(), [16, 17], byteOffset, byteCount)).toThrow(UsageError);
});

test('segments at hand are joined where they are neighbours and empty ones left out', () => {
  const bytes = Uint8Array.from({ length: 16 }, (_, index) => index);

  const view = ScatterView.over([bytes.subarray(0, 4), bytes.subarray(4, 4), bytes.subarray(4, 8), bytes.subarray(12)]);

  expect(view.segments.map((segment) => [...segment])).toEqual([
    [0, 1, 2, 3, 4, 5, 6, 7],
    [12, 13, 14, 15],
  ]);
});

test.each([
  [-1, 1],
  [0.5, 1],
  [Number.NaN, 1],
  [8192, 1],
  [8191, 2],
  [0, 8193],
])('%d + %d is outside a view of 8192 bytes, and nothing is touched', (at, byteCount) => {
  const memory = someMemory();
  const view = new ScatterView(memory, [40, 16], 0, 8192);
  const bytes = new Uint8Array(byteCount).fill(0xee);

  expect(() => view.read(at, bytes)).toThrow(AddressError);
  expect(() => view.write(at, bytes)).toThrow(AddressError);
  expect(() => view.fill(0xee, at, at + byteCount)).toThrow(AddressError);
  expect(() => view.slice(at, byteCount)).toThrow(AddressError);

  expect(bytes.every((byte) => byte === 0xee)).toBe(true);
  expect(view.toBytes()).toEqual(bytesOfPages([40, 16], 0, 8192));
});

test('an invalidated view and its slices name the reason at every touch', () => {
  const view = new ScatterView(someMemory(), [40, 16], 0, 8192);
  const slice = view.slice(10, 100).slice(1, 2);

  view.invalidate('packet 7 was completed');

  const touches = [
    () => view.segments,
    () => view.contiguous,
    () => view.read(0, new Uint8Array(0)),
    () => view.write(0, new Uint8Array(1)),
    () => view.fill(0),
    () => view.slice(0, 1),
    () => view.toBytes(),
    () => slice.read(0, new Uint8Array(1)),
  ];
  for (const touch of touches) {
    expect(touch).toThrow(UsageError);
    expect(touch).toThrow('packet 7 was completed');
  }
});

test('reads, writes, fills and slices do what they do to a plain array of bytes', () => {
  const somePages = fc
    .array(fc.constantFrom(...SOME_PFNS), { minLength: 1, maxLength: 6 })
    .map((pfns) => [...new Set(pfns)]);
  const someMove = fc.record({
    kind: fc.constantFrom('read', 'write', 'fill', 'sliceWrite'),
    at: fc.nat(),
    byteCount: fc.nat(),
    seed: fc.integer({ min: 0, max: 255 }),
  });

  fc.assert(
    fc.property(
      somePages,
      fc.nat(4095),
      fc.nat(),
      fc.array(someMove, { maxLength: 12 }),
      (pfns, byteOffset, size, moves) => {
        const byteCount = size % (pfns.length * PAGE_BYTES - byteOffset + 1);
        const memory = someMemory();
        const view = new ScatterView(memory, pfns, byteOffset, byteCount);
        const model = bytesOfPages(pfns, byteOffset, byteCount);

        for (const move of moves) {
          const at = move.at % (byteCount + 1);
          const length = move.byteCount % (byteCount - at + 1);
          const bytes = Uint8Array.from({ length }, (_, index) => move.seed + index);
          switch (move.kind) {
            case 'read': {
              const target = new Uint8Array(length);
              view.read(at, target);
              expect(Buffer.compare(target, model.subarray(at, at + length))).toBe(0);
              break;
            }
            case 'write':
              view.write(at, bytes);
              model.set(bytes, at);
              break;
            case 'fill':
              view.fill(move.seed, at, at + length);
              model.fill(move.seed, at, at + length);
              break;
            default:
              view.slice(at, length).write(0, bytes);
              model.set(bytes, at);
          }
        }

        expect(Buffer.compare(view.toBytes(), model)).toBe(0);
        expect(Buffer.compare(Buffer.concat(view.segments), model)).toBe(0);
        // Not a byte outside the view has changed.
        for (const pfn of SOME_PFNS)
          if (!pfns.includes(pfn)) expect(memory.page(pfn).every((byte) => byte === pfn)).toBe(true);
        const firstPage = memory.page(pfns[0] as number);
        expect(firstPage.subarray(0, byteOffset).every((byte) => byte === pfns[0])).toBe(true);
      },
    ),
  );
});
