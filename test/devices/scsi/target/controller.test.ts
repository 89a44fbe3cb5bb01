import { describe, expect, test } from 'vitest';
import { ScsiController } from '../../../../src/devices/scsi/target/controller.ts';
import { ask, good, hex, refused, SRB, someDisk, untouched } from './some-disk.ts';

const INQUIRY = '12 00 00 00 24 00';
const REPORT_LUNS = 'a0 00 00 00 00 00 00 00 01 00 00 00';

function someController() {
  const controller = new ScsiController();
  controller.attach(someDisk().unit);
  controller.attach(someDisk().unit, { lun: 9 });
  controller.attach(someDisk().unit, { lun: 2 });
  controller.attach(someDisk().unit, { path: 1, target: 1, lun: 7 });
  return controller;
}

describe('REPORT LUNS', () => {
  test('lists the units of the addressed path and target in order', async () => {
    const answer = await ask(someController(), REPORT_LUNS, { data: 256 });

    expect(answer).toEqual(good(32));
    expect(answer.data.subarray(0, 32)).toEqual(
      hex(`00 00 00 18 00 00 00 00  00 00 00 00 00 00 00 00
           00 02 00 00 00 00 00 00  00 09 00 00 00 00 00 00`),
    );
  });

  test.each([
    { path: 1, target: 0, lun: 0 },
    { path: 7, target: 1, lun: 0 },
    { path: 255, target: 255, lun: 255 },
  ])('to an absent path or target ($path:$target:$lun) answers an empty list, never INVALID_LUN', async (address) => {
    const answer = await ask(someController(), REPORT_LUNS, { data: 256, ...address });

    expect(answer).toEqual(good(8));
    expect(answer.data.subarray(0, 8)).toEqual(new Uint8Array(8));
  });

  test('is cut to the buffer, with the full length in its header', async () => {
    const answer = await ask(someController(), REPORT_LUNS, { data: 20 });

    expect(answer).toEqual(good(20));
    expect(answer.data.subarray(0, 4)).toEqual(hex('00 00 00 18'));
  });

  test('with less room than its header is good and moves nothing', async () => {
    const answer = await ask(someController(), REPORT_LUNS, { data: 7 });

    expect(answer).toEqual(good(0));
    expect(answer.data).toEqual(untouched(7));
  });

  test('of well-known units answers an empty list', async () => {
    const answer = await ask(someController(), 'a0 00 01 00 00 00 00 00 01 00 00 00', { data: 256 });

    expect(answer).toEqual(good(8));
  });

  test('with an unknown selection is refused', async () => {
    const answer = await ask(someController(), 'a0 00 03 00 00 00 00 00 01 00 00 00', { data: 256 });

    expect(answer).toEqual(refused(SRB.invalidRequest, 5, 0x24, 0));
  });
});

describe('an absent LUN', () => {
  test('answers INQUIRY with "no device here" and no name', async () => {
    const answer = await ask(someController(), INQUIRY, { data: 36, lun: 3 });

    expect(answer).toEqual(good(36));
    expect(answer.data).toEqual(Uint8Array.from([...hex('7f 00 05 02 63'), ...new Uint8Array(31)]));
  });

  test('0 gives its name all the same, so that Linux asks for the other LUNs', async () => {
    const answer = await ask(someController(), INQUIRY, { data: 36, target: 1 });

    expect(answer.data.subarray(0, 5)).toEqual(hex('7f 00 05 02 63'));
    expect(new TextDecoder().decode(answer.data.subarray(8))).toBe('Msft    Virtual Disk    1.0 ');
  });

  test.each([
    ['TEST UNIT READY', '00 00 00 00 00 00'],
    ['READ(10)', '28 00 00 00 00 00 00 00 01 00'],
    ['a VPD page', '12 01 83 00 24 00'],
    ['INQUIRY for 4 bytes', '12 00 00 00 04 00'],
  ])('answers %s with INVALID_LUN, CHECK CONDITION and no sense', async (_what, cdb) => {
    const answer = await ask(someController(), cdb, { data: 512, lun: 200 });

    expect(answer).toMatchObject({ srbStatus: SRB.invalidLun, scsiStatus: 2, sense: undefined, transferredBytes: 0 });
    expect(answer.data).toEqual(untouched(512));
  });
});

test('commands reach the unit at their own address', async () => {
  const controller = new ScsiController();
  controller.attach(someDisk({ blocks: 10 }).unit);
  controller.attach(someDisk({ blocks: 20 }).unit, { path: 1, target: 2, lun: 3 });

  const first = await ask(controller, '25', { data: 8 });
  const second = await ask(controller, '25', { data: 8, path: 1, target: 2, lun: 3 });

  expect(first.data[3]).toBe(9);
  expect(second.data[3]).toBe(19);
});

test('a detached unit is absent, and its address is free', async () => {
  const controller = someController();
  const unit = controller.detach({ lun: 9 });

  const answer = await ask(controller, '00', { lun: 9 });

  expect(answer.srbStatus).toBe(SRB.invalidLun);
  expect(unit).toBeDefined();
  controller.attach(someDisk().unit, { lun: 9 });
});

test('an address is taken once, and is three bytes', () => {
  const controller = someController();

  expect(() => controller.attach(someDisk().unit, { lun: 9 })).toThrow(
    expect.objectContaining({ code: 'ERR_ARGUMENT' }),
  );
  expect(() => controller.attach(someDisk().unit, { lun: 256 })).toThrow(
    expect.objectContaining({ code: 'ERR_ARGUMENT' }),
  );
});
