import { describe, expect, test } from 'vitest';
import type { BlockBackend } from '../../../../../src/devices/scsi/block-backend.ts';
import { DiskUnit } from '../../../../../src/devices/scsi/target/disk/disk-unit.ts';
import { ask, good, hex, refused, SRB, someDisk, untouched } from '../some-disk.ts';

/** A disk of any size: only its capacity is asked for. */
function hugeDisk(sizeBytes: number): DiskUnit {
  const { backend } = someDisk();
  const huge: BlockBackend = Object.assign(Object.create(backend), { sizeBytes });
  return new DiskUnit(huge);
}

describe('READ CAPACITY(10)', () => {
  test('gives the last block and the block size, big-endian', async () => {
    const { unit } = someDisk({ blocks: 0x1234 });

    const answer = await ask(unit, '25 00 00 00 00 00 00 00 00 00', { data: 8 });

    expect(answer).toEqual(good(8));
    expect(answer.data).toEqual(hex('00 00 12 33  00 00 02 00'));
  });

  test.each([
    [2 ** 32 * 512, 'ff ff ff ff'],
    [(2 ** 32 + 1) * 512, 'ff ff ff ff'],
    [(2 ** 32 - 1) * 512, 'ff ff ff fe'],
  ])('a disk of %i bytes shows last block %s', async (sizeBytes, last) => {
    const { data } = await ask(hugeDisk(sizeBytes), '25', { data: 8 });

    expect(data.subarray(0, 4)).toEqual(hex(last));
  });

  test('a short buffer is an overrun and stays as it was', async () => {
    const answer = await ask(someDisk().unit, '25', { data: 7 });

    expect(answer).toEqual(refused(SRB.dataOverrun, 5, 0x24, 0));
    expect(answer.data).toEqual(untouched(7));
  });

  test('an LBA without PMI is refused', async () => {
    expect(await ask(someDisk().unit, '25 00 00 00 00 01 00 00 00 00', { data: 8 })).toEqual(
      refused(SRB.invalidRequest, 5, 0x24, 0),
    );
  });
});

describe('READ CAPACITY(16)', () => {
  test('gives 32 bytes with a 64-bit last block', async () => {
    const answer = await ask(hugeDisk((2 ** 33 + 2) * 512), '9e 10 00 00 00 00 00 00 00 00 00 00 00 20 00 00', {
      data: 32,
    });

    expect(answer).toEqual(good(32));
    expect(answer.data).toEqual(
      Uint8Array.from([...hex('00 00 00 02 00 00 00 01  00 00 02 00'), ...new Uint8Array(20)]),
    );
  });

  test('is cut to the allocation length', async () => {
    const answer = await ask(someDisk().unit, '9e 10 00 00 00 00 00 00 00 00 00 00 00 0c 00 00', { data: 32 });

    expect(answer).toEqual(good(12));
    expect(answer.data.subarray(12)).toEqual(untouched(20));
  });

  test('another service action is refused', async () => {
    expect(await ask(someDisk().unit, '9e 13 00 00 00 00 00 00 00 00 00 00 00 20 00 00', { data: 32 })).toEqual(
      refused(SRB.invalidRequest, 5, 0x24, 0),
    );
  });
});
