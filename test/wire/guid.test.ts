import fc from 'fast-check';
import { expect, test } from 'vitest';
import { canonicalGuid, formatGuid, parseGuid } from '../../src/wire/guid.ts';
import { hex } from '../vectors/hex.ts';

test('the first three groups are little-endian, the last eight bytes stand as written', () => {
  const bytes = hex('33 22 11 00 55 44 77 66 88 99 aa bb cc dd ee ff');

  expect(parseGuid('00112233-4455-6677-8899-aabbccddeeff')).toEqual(bytes);
  expect(formatGuid(bytes)).toBe('00112233-4455-6677-8899-aabbccddeeff');
});

test('braces and upper case are read, never written', () => {
  expect(canonicalGuid('{F8615163-DF3E-46C5-913F-F2D2F965ED0E}')).toBe('f8615163-df3e-46c5-913f-f2d2f965ed0e');
});

test.each([
  '',
  '0',
  '00112233-4455-6677-8899-aabbccddeef',
  '00112233-4455-6677-8899-aabbccddeefg',
  '0011223344556677-8899-aabbccddeeff',
])('"%s" is refused', (text) => {
  expect(() => parseGuid(text)).toThrow(expect.objectContaining({ name: 'UsageError', code: 'ERR_ARGUMENT' }));
});

test('a GUID is read from the middle of a buffer, and not past its end', () => {
  const buffer = hex('a5 a5 33 22 11 00 55 44 77 66 88 99 aa bb cc dd ee ff');

  expect(formatGuid(buffer, 2)).toBe('00112233-4455-6677-8899-aabbccddeeff');
  expect(() => formatGuid(buffer, 3)).toThrow(expect.objectContaining({ code: 'ERR_SHORT' }));
});

test('any sixteen bytes survive as text', () => {
  fc.assert(
    fc.property(fc.uint8Array({ minLength: 16, maxLength: 16 }), (bytes) => {
      expect(parseGuid(formatGuid(bytes))).toEqual(bytes);
    }),
  );
});
