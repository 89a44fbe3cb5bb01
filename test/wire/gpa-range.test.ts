import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { GpaRange } from '../../src/wire/gpa-range.ts';
import {
  checkGpaRange,
  encodeGpaRange,
  GpaRangeReader,
  gpaRangeBytes,
  parseGpaRanges,
} from '../../src/wire/gpa-range.ts';
import { hex } from '../vectors/hex.ts';

const malformed = expect.objectContaining({ name: 'PeerError', code: 'ERR_GPA_RANGE' });
const refused = expect.objectContaining({ name: 'UsageError', code: 'ERR_ARGUMENT' });

const threePages = hex(`
  00 21 00 00 | 00 02 00 00
  b0 a2 01 00 00 00 00 00 | b1 a2 01 00 00 00 00 00 | d5 c4 03 00 00 00 00 00`);

function encoded(ranges: readonly GpaRange[]): Uint8Array {
  const words = new Int32Array(ranges.reduce((sum, range) => sum + gpaRangeBytes(range.pfns.length) / 4, 0));
  let at = 0;
  for (const range of ranges) {
    at = encodeGpaRange(words, at, range.byteCount, range.byteOffset, range.pfns, range.pfns.length);
  }
  return new Uint8Array(words.buffer);
}

const anyRange: fc.Arbitrary<GpaRange> = fc
  .record({ byteOffset: fc.nat(4095), byteCount: fc.integer({ min: 1, max: 20 * 4096 }) })
  .chain(({ byteOffset, byteCount }) => {
    const pageCount = Math.ceil((byteOffset + byteCount) / 4096);
    return fc.record({
      byteOffset: fc.constant(byteOffset),
      byteCount: fc.constant(byteCount),
      pfns: fc.array(
        fc.maxSafeNat().map((n) => n % 2 ** 52),
        { minLength: pageCount, maxLength: pageCount },
      ),
    });
  });

describe('parsing GPA ranges', () => {
  test('0x2100 bytes from offset 0x200 touch three pages', () => {
    expect(parseGpaRanges(threePages, 0, threePages.length, 1)).toEqual([
      { byteCount: 0x2100, byteOffset: 0x200, pfns: [0x1a2b0, 0x1a2b1, 0x3c4d5] },
    ]);
  });

  test('the result does not change when the buffer does', () => {
    const source = threePages.slice();

    const ranges = parseGpaRanges(source, 0, source.length, 1);

    source.fill(0xff);
    expect(ranges[0]?.pfns).toEqual([0x1a2b0, 0x1a2b1, 0x3c4d5]);
  });

  test('data that is only 4-aligned, as in a GPADL header message, is read too', () => {
    const shifted = Uint8Array.from([...hex('a5 a5 a5 a5'), ...threePages]);

    expect(parseGpaRanges(shifted, 4, shifted.length, 1)[0]?.pfns[2]).toBe(0x3c4d5);
  });

  test('words behind the last range are ignored, and half a word at the end too', () => {
    const longer = Uint8Array.from([...threePages, ...hex('11 x ff')]);

    expect(parseGpaRanges(longer, 0, longer.length, 1)).toHaveLength(1);
  });

  test('no range announced is no range', () => {
    expect(parseGpaRanges(threePages, 0, threePages.length, 0)).toEqual([]);
  });

  test('any ranges come back from their bytes', () => {
    fc.assert(
      fc.property(fc.array(anyRange, { minLength: 1, maxLength: 8 }), (ranges) => {
        const bytes = encoded(ranges);

        expect(parseGpaRanges(bytes, 0, bytes.length, ranges.length)).toEqual(ranges);
      }),
    );
  });

  test('random bytes give ranges whose page count fits, or a PeerError', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), fc.nat(0xffff_ffff), (bytes, rangeCount) => {
        let ranges: GpaRange[] = [];
        try {
          ranges = parseGpaRanges(bytes, 0, bytes.length, rangeCount);
        } catch (error) {
          expect(error).toEqual(malformed);
          return;
        }
        expect(ranges).toHaveLength(rangeCount);
        for (const range of ranges) expect(() => checkGpaRange(range)).not.toThrow();
      }),
    );
  });

  const huge = '00 00 00 00 | 00 00 00 00';
  test.each([
    ['no word left for the header', '', 1],
    ['half a header', '00 10 00 00', 1],
    ['a second range announced that is not there', '00 10 00 00 | 00 00 00 00 | 01 00 00 00 00 00 00 00', 2],
    ['a range count of 2^32 - 1', '00 10 00 00 | 00 00 00 00 | 01 00 00 00 00 00 00 00', 0xffff_ffff],
    ['byte count 0', `${huge} | 01 00 00 00 00 00 00 00`, 1],
    [
      'a byte offset of a whole page',
      '00 10 00 00 | 00 10 00 00 | 01 00 00 00 00 00 00 00 | 02 00 00 00 00 00 00 00',
      1,
    ],
    ['a byte offset of 2^32 - 1', '00 10 00 00 | ff ff ff ff | 01 00 00 00 00 00 00 00', 1],
    ['a byte count whose page count overflows a u32', 'ff ff ff ff | ff 0f 00 00 | 01 00 00 00 00 00 00 00', 1],
    ['the smallest byte count that overflows', '01 f0 ff ff | 00 00 00 00 | 01 00 00 00 00 00 00 00', 1],
    ['fewer page frame numbers than the bytes touch', '01 10 00 00 | 00 00 00 00 | 01 00 00 00 00 00 00 00', 1],
    ['one number too few because of the offset', '00 10 00 00 | 01 00 00 00 | 01 00 00 00 00 00 00 00', 1],
    ['half a page frame number', '00 10 00 00 | 00 00 00 00 | 01 00 00 00', 1],
  ])('refuses %s', (_, text, rangeCount) => {
    const bytes = hex(text);

    expect(() => parseGpaRanges(bytes, 0, bytes.length, rangeCount)).toThrow(malformed);
  });

  test('the largest byte count that does not overflow asks for a million pages, and is refused as too short', () => {
    const bytes = hex('00 f0 ff ff | 00 00 00 00 | 01 00 00 00 00 00 00 00');

    expect(() => parseGpaRanges(bytes, 0, bytes.length, 1)).toThrow('touches 1048575 pages, 1 page frame numbers');
  });

  test('a page frame number beyond 2^53 stays beyond every page that exists', () => {
    const bytes = hex('00 10 00 00 | 00 00 00 00 | ff ff ff ff ff ff ff ff');

    expect(parseGpaRanges(bytes, 0, bytes.length, 1)[0]?.pfns[0]).toBeGreaterThanOrEqual(2 ** 52);
  });

  test('limits bound ranges and pages', () => {
    const bytes = Uint8Array.from([...threePages, ...threePages]);

    expect(parseGpaRanges(bytes, 0, bytes.length, 2, { maxRanges: 2, maxPages: 6 })).toHaveLength(2);
    expect(() => parseGpaRanges(bytes, 0, bytes.length, 2, { maxRanges: 1 })).toThrow(malformed);
    expect(() => parseGpaRanges(bytes, 0, bytes.length, 2, { maxPages: 5 })).toThrow(malformed);
  });

  test.each([
    [-1, 8],
    [8, 0],
    [0, 33],
  ])('bytes %d to %d of 32 are our own mistake', (start, end) => {
    expect(() => parseGpaRanges(threePages, start, end, 1)).toThrow(refused);
  });
});

describe('the range reader', () => {
  test('walks several ranges without a new object', () => {
    const second: GpaRange = { byteCount: 1, byteOffset: 4095, pfns: [2 ** 52 - 1] };
    const bytes = Uint8Array.from([...threePages, ...encoded([second])]);
    const reader = new GpaRangeReader();
    reader.start(new Int32Array(bytes.buffer), 0, bytes.length, 2);

    expect(reader.next()).toBe(true);
    expect([reader.byteCount, reader.byteOffset, reader.pfnCount, reader.pfn(2)]).toEqual([0x2100, 0x200, 3, 0x3c4d5]);
    expect(reader.next()).toBe(true);
    expect([reader.byteCount, reader.byteOffset, reader.pfnCount, reader.pfn(0)]).toEqual([1, 4095, 1, 2 ** 52 - 1]);
    expect(reader.next()).toBe(false);
  });

  test.each([
    [2, 8],
    [-4, 8],
    [8, 4],
    [0, 36],
  ])('refuses bytes %d to %d of 32', (start, end) => {
    const words = new Int32Array(8);

    expect(() => new GpaRangeReader().start(words, start, end, 1)).toThrow(refused);
  });
});

describe('a range of our own', () => {
  test.each([
    ['byte count 0', { byteCount: 0, byteOffset: 0, pfns: [] }],
    ['a fraction of a byte', { byteCount: 0.5, byteOffset: 0, pfns: [1] }],
    ['an offset outside the page', { byteCount: 1, byteOffset: 4096, pfns: [1] }],
    ['a negative offset', { byteCount: 1, byteOffset: -1, pfns: [1] }],
    ['a page too few', { byteCount: 4097, byteOffset: 0, pfns: [1] }],
    ['a page too many', { byteCount: 4096, byteOffset: 0, pfns: [1, 2] }],
    ['a byte count that is no u32', { byteCount: 2 ** 32, byteOffset: 0, pfns: { length: 2 ** 20 } }],
  ])('is refused with %s', (_, range) => {
    expect(() => checkGpaRange(range)).toThrow(refused);
  });
});
