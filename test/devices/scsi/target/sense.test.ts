import fc from 'fast-check';
import { expect, test } from 'vitest';
import { encodeFixedSense, formatSense, parseSense, SENSE } from '../../../../src/devices/scsi/target/sense.ts';
import { hex } from './some-disk.ts';

test('invalid field in CDB in fixed format, every byte set', () => {
  const bytes = new Uint8Array(20).fill(0xa5);

  encodeFixedSense(bytes, 1, SENSE.InvalidFieldInCdb);

  expect(bytes).toEqual(hex('a5  70 00 05 00 00 00 00 0a 00 00 00 00 24 00 00 00 00 00  a5'));
});

test('a miscompare says at which byte, and that it says so', () => {
  const bytes = new Uint8Array(18).fill(0xa5);

  encodeFixedSense(bytes, 0, { ...SENSE.Miscompare, information: 0x01020304 });

  expect(bytes).toEqual(hex('f0 00 0e 01 02 03 04 0a 00 00 00 00 1d 00 00 00 00 00'));
  expect(parseSense(bytes)).toEqual({ ...SENSE.Miscompare, information: 0x01020304 });
});

test('what is written is what is read back', () => {
  const byte = fc.nat(255);

  fc.assert(
    fc.property(fc.nat(15), byte, byte, (key, asc, ascq) => {
      const bytes = new Uint8Array(18).fill(0xa5);

      encodeFixedSense(bytes, 0, { key, asc, ascq });

      expect(parseSense(bytes)).toEqual({ key, asc, ascq });
    }),
  );
});

test.each([
  ['descriptor format', '72 06 29 00 00 00 00 00', { key: 6, asc: 0x29, ascq: 0 }],
  [
    'a deferred error with the information bit',
    'f1 00 03 00 00 00 00 0a 00 00 00 00 0c 02 00 00 00 00',
    { key: 3, asc: 0x0c, ascq: 2, information: 0 },
  ],
  ['fixed sense cut after the length', '70 00 02 00 00 00 00 00', { key: 2, asc: 0, ascq: 0 }],
  ['nothing', '', undefined],
  ['another format', '00 00 05 00 00 00 00 0a', undefined],
  ['fixed sense without its head', '70 00 05', undefined],
])('%s is read', (_what, bytes, expected) => {
  expect(parseSense(hex(bytes))).toEqual(expected);
});

test('sense is shown as its three numbers and, if known, its words', () => {
  expect(formatSense(SENSE.LbaOutOfRange)).toBe('5/21/00 logical block address out of range');
  expect(formatSense({ key: 3, asc: 0x99, ascq: 1 })).toBe('3/99/01 medium error');
});
