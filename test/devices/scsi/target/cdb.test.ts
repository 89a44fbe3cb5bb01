import fc from 'fast-check';
import { expect, test } from 'vitest';
import { blockCountOf, encodeReadWrite, lbaOf } from '../../../../src/devices/scsi/target/cdb.ts';
import { cdbBytesOf } from '../../../../src/devices/scsi/target/opcodes.ts';
import { hex } from './some-disk.ts';

test('READ of a near block has ten bytes', () => {
  const cdb = new Uint8Array(16).fill(0xa5);

  expect(encodeReadWrite(cdb, false, 0x12345678, 0x100)).toBe(10);
  expect(cdb).toEqual(hex('28 00 12 34 56 78 00 01 00 00  00 00 00 00 00 00'));
});

test.each([
  [2 ** 32, 1, '8a 00 00 00 00 01 00 00 00 00 00 00 00 01 00 00'],
  [0, 0x10000, '8a 00 00 00 00 00 00 00 00 00 00 01 00 00 00 00'],
])('WRITE of block %i, %i blocks, needs sixteen bytes', (lba, blocks, expected) => {
  const cdb = new Uint8Array(16).fill(0xa5);

  expect(encodeReadWrite(cdb, true, lba, blocks)).toBe(16);
  expect(cdb).toEqual(hex(expected));
});

test('what is encoded is what is decoded', () => {
  fc.assert(
    fc.property(fc.boolean(), fc.nat(2 ** 50), fc.integer({ min: 0, max: 2 ** 32 - 1 }), (isWrite, lba, blocks) => {
      const cdb = new Uint8Array(16);

      const cdbBytes = encodeReadWrite(cdb, isWrite, lba, blocks);

      expect([lbaOf(cdb), blockCountOf(cdb)]).toEqual([lba, blocks]);
      expect(cdbBytesOf(cdb[0] as number)).toBe(cdbBytes);
    }),
  );
});
