import { describe, expect, test } from 'vitest';
import { MemoryBackend } from '../../../../src/devices/scsi/memory-backend.ts';
import { DiskUnit } from '../../../../src/devices/scsi/target/disk/disk-unit.ts';
import { SENSE } from '../../../../src/devices/scsi/target/sense.ts';
import { ask, good, hex, refused, SRB, someDisk } from './some-disk.ts';

const TEST_UNIT_READY = '00 00 00 00 00 00';

describe('a unit attention', () => {
  test('is reported once, by the next command, which does nothing else', async () => {
    const { unit, bytes } = someDisk();
    unit.lunsChanged();

    const first = await ask(unit, '2a 00 00 00 00 00 00 00 01 00', { data: new Uint8Array(512).fill(9) });
    const second = await ask(unit, TEST_UNIT_READY);

    expect(first).toEqual(refused(SRB.error, 6, 0x3f, 0x0e));
    expect(second).toEqual(good(0));
    expect(bytes[0]).toBe(0);
  });

  test.each([
    ['INQUIRY', '12 00 00 00 24 00', 36],
    ['MODE SENSE(6), whose failure Linux does not see', '1a 00 08 00 10 00', 16],
    ['MODE SENSE(10)', '5a 00 08 00 00 00 00 00 14 00', 20],
  ])('waits while %s runs', async (_name, cdb, byteCount) => {
    const { unit } = someDisk();
    unit.lunsChanged();

    expect(await ask(unit, cdb, { data: byteCount })).toEqual(good(byteCount));
    expect(await ask(unit, TEST_UNIT_READY)).toEqual(refused(SRB.error, 6, 0x3f, 0x0e));
  });

  test('is what REQUEST SENSE returns as data, and is over then', async () => {
    const { unit } = someDisk();
    unit.lunsChanged();

    const answer = await ask(unit, '03 00 00 00 12 00', { data: 18 });

    expect(answer).toEqual(good(18));
    expect(answer.data).toEqual(hex('70 00 06 00 00 00 00 0a 00 00 00 00 3f 0e 00 00 00 00'));
    expect(await ask(unit, TEST_UNIT_READY)).toEqual(good(0));
  });

  test('waits in line behind an earlier one; the same one twice is one', async () => {
    const { unit } = someDisk();
    unit.lunsChanged();
    unit.postAttention(SENSE.ReservationsReleased);
    unit.lunsChanged();

    const answers = [
      await ask(unit, TEST_UNIT_READY),
      await ask(unit, TEST_UNIT_READY),
      await ask(unit, TEST_UNIT_READY),
    ];

    expect(answers).toEqual([refused(SRB.error, 6, 0x3f, 0x0e), refused(SRB.error, 6, 0x2a, 0x04), good(0)]);
  });

  test('after a reset stands for all that waited', async () => {
    const { unit } = someDisk();
    unit.lunsChanged();

    unit.reset();

    expect(await ask(unit, TEST_UNIT_READY)).toEqual(refused(SRB.error, 6, 0x29, 0));
    expect(await ask(unit, TEST_UNIT_READY)).toEqual(good(0));
  });

  test('does not outlive the guest that it was meant for', async () => {
    const { unit } = someDisk();
    unit.lunsChanged();
    unit.keepSense(SENSE.LbaOutOfRange);

    unit.nexusLost();

    expect(await ask(unit, TEST_UNIT_READY)).toEqual(good(0));
    const { data } = await ask(unit, '03 00 00 00 12 00', { data: 18 });
    expect(data[2]).toBe(0);
  });
});

test('a store that has grown is told to every guest once, and READ CAPACITY gives the new size', async () => {
  const small = new MemoryBackend(new Uint8Array(16 * 512));
  let sizeBytes = small.sizeBytes;
  Object.defineProperty(small, 'sizeBytes', { get: () => sizeBytes });
  const [one, other] = [new DiskUnit(small), new DiskUnit(small)];

  sizeBytes = 20 * 512;
  one.capacityChanged();
  const answers = [
    await ask(one, TEST_UNIT_READY),
    await ask(one, TEST_UNIT_READY),
    await ask(other, '28 00 00 00 00 00 00 00 01 00', { data: 512 }),
  ];
  const { data } = await ask(other, '25', { data: 8 });

  expect(answers).toEqual([refused(SRB.error, 6, 0x2a, 9), good(0), refused(SRB.error, 6, 0x2a, 9)]);
  expect(data).toEqual(hex('00 00 00 13 00 00 02 00'));
});
