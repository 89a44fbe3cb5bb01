import { describe, expect, test } from 'vitest';
import type { BlockBackend } from '../../../../../src/devices/scsi/block-backend.ts';
import { DiskUnit } from '../../../../../src/devices/scsi/target/disk/disk-unit.ts';
import { ask, good, hex, refused, SRB, someDisk } from '../some-disk.ts';

function cachedDisk(): DiskUnit {
  const { backend } = someDisk();
  const cached: BlockBackend = Object.assign(Object.create(backend), { hasVolatileCache: true });
  return new DiskUnit(cached);
}

describe('MODE SENSE(6)', () => {
  test('page 08 of a disk with a cache says that writes are cached and that FUA works', async () => {
    const answer = await ask(cachedDisk(), '1a 00 08 00 ff 00', { data: 255 });

    expect(answer).toEqual(good(16));
    expect(answer.data.subarray(0, 16)).toEqual(hex('0f 00 10 00  08 0a 04 00 00 00 00 00 00 00 00 00'));
  });

  test('all pages of a read-only disk are write protected and without a cache', async () => {
    const { unit } = someDisk({ readOnly: true });

    const { data } = await ask(unit, '1a 00 3f 00 ff 00', { data: 255 });

    expect(data.subarray(0, 16)).toEqual(hex('0f 00 90 00  08 0a 00 00 00 00 00 00 00 00 00 00'));
  });

  test('four bytes are enough for a first look', async () => {
    const answer = await ask(someDisk().unit, '1a 00 3f 00 04 00', { data: 4 });

    expect(answer).toEqual(good(4));
    expect(answer.data).toEqual(hex('0f 00 10 00'));
  });

  test('nothing is changeable', async () => {
    const { data } = await ask(cachedDisk(), '1a 00 48 00 ff 00', { data: 255 });

    expect(data.subarray(4, 16)).toEqual(hex('08 0a 00 00 00 00 00 00 00 00 00 00'));
  });

  test('saved values are not supported', async () => {
    expect(await ask(someDisk().unit, '1a 00 c8 00 ff 00', { data: 255 })).toEqual(
      refused(SRB.invalidRequest, 5, 0x39, 0),
    );
  });

  test.each(['1a 00 00 00 ff 00', '1a 00 0a 00 ff 00', '1a 00 08 01 ff 00', '1a 00 3f 01 ff 00'])(
    'a page or subpage that does not exist is refused (%s)',
    async (cdb) => {
      expect(await ask(someDisk().unit, cdb, { data: 255 })).toEqual(refused(SRB.invalidRequest, 5, 0x24, 0));
    },
  );
});

test('MODE SENSE(10) has a header of eight bytes and a length of two', async () => {
  const answer = await ask(cachedDisk(), '5a 00 3f 00 00 00 00 00 ff 00', { data: 255 });

  expect(answer).toEqual(good(20));
  expect(answer.data.subarray(0, 20)).toEqual(hex('00 12 00 10 00 00 00 00  08 0a 04 00 00 00 00 00 00 00 00 00'));
});
