import fc from 'fast-check';
import { expect, test } from 'vitest';
import { AddressError, UsageError } from '../../src/errors.ts';
import { Mdl, sliceMdl } from '../../src/memory/mdl.ts';
import { PAGE_BYTES } from '../../src/memory/page.ts';
import { ScatterView } from '../../src/memory/scatter-view.ts';
import { bytesOfPages, SOME_PFNS, someMemory } from './some-memory.ts';

test('an MDL over whole pages describes all their bytes', () => {
  const mdl = Mdl.fromPfns(someMemory(), [40, 17]);

  expect(mdl).toMatchObject({ byteOffset: 0, byteCount: 2 * PAGE_BYTES, pfns: [40, 17], next: null, isValid: true });
  expect(mdl.view().toBytes()).toEqual(bytesOfPages([40, 17], 0, 2 * PAGE_BYTES));
});

test('an MDL copies its page list and drops the pages behind its last byte', () => {
  const pfns = Float64Array.of(40, 17, 18);

  const mdl = Mdl.fromPfns(someMemory(), pfns, 100, PAGE_BYTES);
  pfns[0] = 0xdead;

  expect(mdl.pfns).toEqual([40, 17]);
});

test('an MDL may name pages outside memory until it is mapped', () => {
  const mdl = Mdl.fromPfns(someMemory(), [40, 0xdead]);

  expect(() => mdl.view()).toThrow(AddressError);
});

test.each([
  [-1, 10],
  [4096, 10],
  [1.5, 10],
  [0, -1],
  [0, 0.5],
  [1, 2 * PAGE_BYTES],
])('byte offset %d and %d bytes do not fit two pages', (byteOffset, byteCount) => {
  expect(() => Mdl.fromPfns(someMemory(), [16, 17], byteOffset, byteCount)).toThrow(UsageError);
});

test('a chain counts and shows the bytes of all its MDLs, each view those of one', () => {
  const memory = someMemory();
  const chain = Mdl.chain(
    Mdl.fromPfns(memory, [40], 4000, 96),
    Mdl.fromPfns(memory, []),
    Mdl.fromPfns(memory, [16, 20], 0, 5000),
  );

  expect(Mdl.totalBytes(chain)).toBe(5096);
  expect(Mdl.totalBytes(null)).toBe(0);
  expect(chain.view().byteLength).toBe(96);
  expect(chain.chainView().toBytes()).toEqual(
    Uint8Array.of(...bytesOfPages([40], 4000, 96), ...bytesOfPages([16, 20], 0, 5000)),
  );
});

test('an MDL is in one chain only', () => {
  const memory = someMemory();
  const [one, two] = [Mdl.fromPfns(memory, [16]), Mdl.fromPfns(memory, [17])];
  Mdl.chain(one, two);

  expect(() => Mdl.chain(one, Mdl.fromPfns(memory, [18]))).toThrow(UsageError);
  expect(() => Mdl.chain(two, two)).toThrow(UsageError);
  expect(() => Mdl.chain()).toThrow(UsageError);
});

test('taking a chain back ends every MDL of it and the views handed out', () => {
  const memory = someMemory();
  const second = Mdl.fromPfns(memory, [17]);
  const first = Mdl.chain(Mdl.fromPfns(memory, [16]), second);
  const view = second.view();

  first.invalidate('packet 7 was completed');

  expect([first.isValid, second.isValid]).toEqual([false, false]);
  expect(() => first.view()).toThrow('packet 7 was completed');
  expect(() => first.chainView()).toThrow(UsageError);
  expect(() => view.toBytes()).toThrow('packet 7 was completed');
});

test('a slice inside one MDL starts at the page that holds its first byte', () => {
  const mdl = Mdl.fromPfns(someMemory(), [40, 17, 18], 0x200, 0x2100);

  expect(sliceMdl(mdl, 0, 0x2100)).toEqual([{ byteCount: 0x2100, byteOffset: 0x200, pfns: [40, 17, 18] }]);
  expect(sliceMdl(mdl, 0xe00, 0x1000)).toEqual([{ byteCount: 0x1000, byteOffset: 0, pfns: [17] }]);
  expect(sliceMdl(mdl, 0xdff, 2)).toEqual([{ byteCount: 2, byteOffset: 0xfff, pfns: [40, 17] }]);
  expect(sliceMdl(mdl, 0x2100, 0)).toEqual([]);
});

test.each([
  [-1, 1],
  [0.5, 1],
  [0, -1],
  [0, 0x2101],
  [0x2100, 1],
  [Number.NaN, 1],
])('a window of %d + %d is outside an MDL of 0x2100 bytes', (offset, length) => {
  const mdl = Mdl.fromPfns(someMemory(), [40, 17, 18], 0x200, 0x2100);

  expect(() => sliceMdl(mdl, offset, length)).toThrow(AddressError);
});

test('the ranges of any window over any chain hold the bytes of that window', () => {
  const somePart = fc.record({
    pfns: fc.array(fc.constantFrom(...SOME_PFNS), { maxLength: 4 }),
    byteOffset: fc.nat(4095),
    size: fc.nat(),
  });

  fc.assert(
    fc.property(fc.array(somePart, { minLength: 1, maxLength: 4 }), fc.nat(), fc.nat(), (parts, from, size) => {
      const memory = someMemory();
      const mdls = parts.map((part) => {
        const room = Math.max(part.pfns.length * PAGE_BYTES - part.byteOffset, 0);
        return Mdl.fromPfns(memory, part.pfns, part.byteOffset, part.size % (room + 1));
      });
      const chain = Mdl.chain(...mdls);
      const all = mdls.flatMap((mdl) => [...mdl.view().toBytes()]);
      const offset = from % (all.length + 1);
      const length = size % (all.length - offset + 1);

      const ranges = sliceMdl(chain, offset, length);

      const bytes = ranges.flatMap((range) => [
        ...new ScatterView(memory, range.pfns, range.byteOffset, range.byteCount).toBytes(),
      ]);
      expect(bytes).toEqual(all.slice(offset, offset + length));
      // Exactly the pages that the bytes need: a receiver computes the count by itself.
      for (const range of ranges) {
        expect(range.pfns.length).toBe(Math.ceil((range.byteOffset + range.byteCount) / PAGE_BYTES));
      }
    }),
  );
});
