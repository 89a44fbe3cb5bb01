import fc from 'fast-check';
import { expect, test } from 'vitest';
import { UsageError } from '../../src/errors.ts';
import { GuestMemory } from '../../src/memory/guest-memory.ts';
import { PageAllocator } from '../../src/memory/page-allocator.ts';
import { SOME_PFNS, someMemory } from './some-memory.ts';

const OUT_OF_MEMORY = expect.objectContaining({ code: 'ERR_OUT_OF_MEMORY', status: 0xc000_009a });

test('an allocation is a run of pages inside one region', () => {
  const allocator = new PageAllocator(someMemory());

  expect(allocator.allocate(3)).toEqual([16, 17, 18]);
  expect(allocator.allocate(4)).toEqual([40, 41, 42, 43]);
  expect(allocator.allocate(3)).toEqual([20, 21, 22]);
  expect(allocator.freePages).toBe(1);
});

test('scattered pages are never listed directly behind one another', () => {
  const allocator = new PageAllocator(someMemory());

  const pfns = allocator.allocateScattered(11);

  expect([...pfns].sort((a, b) => a - b)).toEqual(SOME_PFNS);
  expect(pfns.some((pfn, index) => pfn === (pfns[index - 1] ?? 0) + 1)).toBe(false);
  expect(allocator.freePages).toBe(0);
});

test('too few free pages, or none adjacent, is out of memory and takes nothing', () => {
  const allocator = new PageAllocator(GuestMemory.allocate(5));
  const pages = allocator.allocate(5);
  allocator.free([pages[0], pages[2], pages[4]] as number[]);

  expect(() => allocator.allocate(2)).toThrow(OUT_OF_MEMORY);
  expect(() => allocator.allocateScattered(4)).toThrow(OUT_OF_MEMORY);
  expect(allocator.freePages).toBe(3);
});

test('reserved pages are never handed out nor taken back', () => {
  const allocator = new PageAllocator(GuestMemory.allocate(4), { reserved: [1, 1] });

  expect(allocator.freePages).toBe(3);
  expect(allocator.allocateScattered(3)).toEqual([3, 2, 0]);
  expect(() => new PageAllocator(GuestMemory.allocate(4), { reserved: [4] })).toThrow(UsageError);
});

test.each([0, -1, 1.5, Number.NaN])('%d pages cannot be asked for', (pageCount) => {
  const allocator = new PageAllocator(GuestMemory.allocate(4));

  expect(() => allocator.allocate(pageCount)).toThrow(UsageError);
  expect(() => allocator.allocateScattered(pageCount)).toThrow(UsageError);
});

test.each([
  ['one that is free', [0, 1, 2]],
  ['one twice', [0, 1, 0]],
  ['one of somebody else', [0, 99]],
  ['half a page', [0, 0.5]],
])('freeing %s frees none', (_, pfns) => {
  const allocator = new PageAllocator(GuestMemory.allocate(4));
  allocator.allocate(2);

  expect(() => allocator.free(pfns)).toThrow(UsageError);
  expect(allocator.freePages).toBe(2);

  allocator.free([0, 1]);
  expect(allocator.freePages).toBe(4);
});

test('no page is ever handed out twice, and a run is found whenever there is one', () => {
  const someMove = fc.record({
    kind: fc.constantFrom('allocate', 'allocateScattered', 'free'),
    pageCount: fc.integer({ min: 1, max: 5 }),
    pick: fc.nat(),
  });

  fc.assert(
    fc.property(fc.array(someMove, { maxLength: 40 }), (moves) => {
      const memory = someMemory();
      const allocator = new PageAllocator(memory);
      const owned: number[][] = [];
      const isFree = new Set(SOME_PFNS);

      for (const { kind, pageCount, pick } of moves) {
        if (kind === 'free') {
          const [pfns] = owned.splice(pick % Math.max(owned.length, 1), 1);
          if (pfns === undefined) continue;
          allocator.free(pfns);
          for (const pfn of pfns) isFree.add(pfn);
          continue;
        }
        const hasRun = memory.regions.some(({ firstPfn, bytes }) =>
          Array.from({ length: bytes.length / 4096 }, (_, index) => firstPfn + index).some((start) =>
            Array.from({ length: pageCount }, (_, index) => start + index).every(
              (pfn) => isFree.has(pfn) && pfn < firstPfn + bytes.length / 4096,
            ),
          ),
        );
        if (kind === 'allocate' ? !hasRun : isFree.size < pageCount) {
          expect(() => allocator[kind](pageCount)).toThrow(OUT_OF_MEMORY);
          continue;
        }
        const pfns = allocator[kind](pageCount);
        expect(pfns).toHaveLength(pageCount);
        for (const pfn of pfns) expect(isFree.delete(pfn)).toBe(true);
        owned.push(pfns);
      }

      expect(allocator.freePages).toBe(isFree.size);
    }),
  );
});
