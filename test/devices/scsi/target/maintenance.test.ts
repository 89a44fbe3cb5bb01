/** Commands about the unit itself: REPORT SUPPORTED OPERATION CODES, LOG SENSE, MODE SELECT and those that do nothing. */
import { describe, expect, test } from 'vitest';
import type { BlockBackend } from '../../../../src/devices/scsi/block-backend.ts';
import { BackendError, BackendFault } from '../../../../src/devices/scsi/block-backend.ts';
import { CommandTable } from '../../../../src/devices/scsi/target/command-table.ts';
import { DiskUnit } from '../../../../src/devices/scsi/target/disk/disk-unit.ts';
import { ask, good, hex, refused, SRB, someDisk, untouched } from './some-disk.ts';

const invalidField = refused(SRB.invalidRequest, 5, 0x24, 0);

describe('REPORT SUPPORTED OPERATION CODES', () => {
  test('lists every command once, in order, with its CDB length', async () => {
    const { unit } = someDisk();

    const answer = await ask(unit, 'a3 0c 00 00 00 00 00 00 10 00 00 00', { data: 4096 });

    const { entries } = unit.commands;
    expect(answer).toEqual(good(4 + 8 * entries.length));
    expect(answer.data.subarray(0, 28)).toEqual(
      Uint8Array.from([
        ...hex('00 00'),
        ((8 * entries.length) >> 8) & 0xff,
        (8 * entries.length) & 0xff,
        ...hex('00 00 00 00 00 00 00 06  03 00 00 00 00 00 00 06  04 00 00 00 00 00 00 06'),
      ]),
    );
    expect(entries.map((entry) => entry.opcode)).not.toContain(0x42);
  });

  test('of a thin disk lists UNMAP', () => {
    expect(someDisk({ isThin: true }).unit.commands.hasOpcode(0x42)).toBe(true);
  });

  test('marks commands with a service action', async () => {
    const { unit } = someDisk();
    const { data, transferredBytes } = await ask(unit, 'a3 0c 00 00 00 00 00 00 10 00 00 00', { data: 4096 });

    const rows = Array.from({ length: (transferredBytes - 4) / 8 }, (_, index) =>
      Array.from(data.subarray(4 + 8 * index, 12 + 8 * index)),
    );

    expect(rows.filter(([opcode]) => opcode === 0x9e)).toEqual([
      [0x9e, 0, 0, 0x10, 0, 1, 0, 16],
      [0x9e, 0, 0, 0x12, 0, 1, 0, 16],
    ]);
  });

  test.each([
    ['READ(10)', '01 28 00 00', '00 03 00 0a  28 e1 ff ff ff ff 00 ff ff 00'],
    ['GET LBA STATUS', '02 9e 00 12', '00 03 00 10  9e 1f ff ff ff ff ff ff ff ff ff ff ff ff 00 00'],
    ['READ(10), action or none', '03 28 00 00', '00 03 00 0a  28 e1 ff ff ff ff 00 ff ff 00'],
    ['what is not there', '01 42 00 00', '00 01 00 00'],
    ['an action that is not there', '02 9e 00 13', '00 01 00 00'],
  ])('tells of %s', async (_what, asked, expected) => {
    const answer = await ask(someDisk().unit, `a3 0c ${asked} 00 00 00 ff 00 00`, { data: 255 });

    expect(answer.data.subarray(0, answer.transferredBytes)).toEqual(hex(expected));
  });

  test('adds a timeouts descriptor when asked', async () => {
    const answer = await ask(someDisk().unit, 'a3 0c 81 00 00 00 00 00 00 ff 00 00', { data: 255 });

    expect(answer.data.subarray(0, answer.transferredBytes)).toEqual(
      hex('00 83 00 06  00 00 00 00 00 00  00 0a 00 00 00 00 00 00 00 00 00 00'),
    );
  });

  test.each([
    ['one opcode that has actions', '01 9e 00 10'],
    ['an action of an opcode that has none', '02 28 00 00'],
    ['a reserved option', '04 28 00 00'],
  ])('asked for %s is refused', async (_what, asked) => {
    expect(await ask(someDisk().unit, `a3 0c ${asked} 00 00 00 ff 00 00`, { data: 255 })).toEqual(invalidField);
  });

  test('another service action of MAINTENANCE IN is refused', async () => {
    expect(await ask(someDisk().unit, 'a3 0d 00 00 00 00 00 00 00 ff 00 00', { data: 255 })).toEqual(invalidField);
  });
});

test('a table whose usage data does not have the length of its CDB is a usage error', () => {
  const entry = { opcode: 0x28, usage: '28 00', access: 'read' as const, run: () => expect.fail('never called') };

  expect(() => new CommandTable([entry])).toThrow(expect.objectContaining({ code: 'ERR_ARGUMENT' }));
});

describe('LOG SENSE', () => {
  test('lists its pages', async () => {
    const answer = await ask(someDisk().unit, '4d 00 40 00 00 00 00 00 ff 00', { data: 255 });

    expect(answer.data.subarray(0, answer.transferredBytes)).toEqual(hex('00 00 00 03  00 02 03'));
  });

  test('lists its pages and subpages', async () => {
    const answer = await ask(someDisk().unit, '4d 00 40 ff 00 00 00 00 ff 00', { data: 255 });

    expect(answer.data.subarray(0, answer.transferredBytes)).toEqual(hex('40 ff 00 08  00 00 02 00 03 00 00 ff'));
  });

  test('counts bytes read and reads that failed', async () => {
    const { backend } = someDisk();
    let isBroken = false;
    const store: BlockBackend = Object.assign(Object.create(backend), {
      read: async () => {
        if (isBroken) throw new BackendError(BackendFault.Read, 'broken');
      },
    });
    const unit = new DiskUnit(store);
    await ask(unit, '28 00 00 00 00 00 00 00 02 00', { data: 1024 });
    isBroken = true;
    await ask(unit, '28 00 00 00 00 00 00 00 02 00', { data: 1024 });

    const answer = await ask(unit, '4d 00 43 00 00 00 00 00 ff 00', { data: 255 });

    expect(answer.data.subarray(0, answer.transferredBytes)).toEqual(
      hex('03 00 00 14  00 05 00 08 00 00 00 00 00 00 08 00  00 06 00 04 00 00 00 01'),
    );
  });

  test('begins with the parameter asked for', async () => {
    const answer = await ask(someDisk().unit, '4d 00 42 00 00 00 06 00 ff 00', { data: 255 });

    expect(answer.data.subarray(0, answer.transferredBytes)).toEqual(hex('02 00 00 08  00 06 00 04 00 00 00 00'));
  });

  test.each([
    ['a page that does not exist', '4d 00 4d 00 00 00 00 00 ff 00'],
    ['thresholds', '4d 00 02 00 00 00 00 00 ff 00'],
    ['saved values', '4d 01 42 00 00 00 00 00 ff 00'],
    ['a parameter behind the last', '4d 00 42 00 00 00 07 00 ff 00'],
  ])('of %s is refused', async (_what, cdb) => {
    expect(await ask(someDisk().unit, cdb, { data: 255 })).toEqual(invalidField);
  });
});

describe('MODE SELECT', () => {
  const PAGE = '08 0a 00 00 00 00 00 00 00 00 00 00';

  test.each([
    ['6', '15 10 00 00 10 00', `00 00 00 00 ${PAGE}`],
    ['10', '55 10 00 00 00 00 00 00 14 00', `00 00 00 00 00 00 00 00 ${PAGE}`],
  ])('(%s) of the caching page as it is, is good', async (_form, cdb, list) => {
    const data = hex(list);

    expect(await ask(someDisk().unit, cdb, { data })).toEqual(good(data.length));
  });

  test.each([
    [
      'another value for the write cache',
      '15 10 00 00 10 00',
      `00 00 00 00 ${PAGE.replace('08 0a 00', '08 0a 04')}`,
      0x26,
    ],
    ['another page', '15 10 00 00 10 00', `00 00 00 00 ${PAGE.replace('08 0a', '0a 0a')}`, 0x26],
    ['a block descriptor', '15 10 00 00 10 00', `00 00 00 08 ${PAGE}`, 0x26],
    ['half a page', '15 10 00 00 0a 00', '00 00 00 00 08 0a 00 00 00 00', 0x1a],
    ['less than a header', '15 10 00 00 03 00', '00 00 00', 0x1a],
    ['a wish to save', '15 11 00 00 10 00', `00 00 00 00 ${PAGE}`, 0x24],
    ['less data than it says', '15 10 00 00 10 00', '00 00 00 00', 0x24],
  ])('with %s is refused', async (_what, cdb, list, asc) => {
    expect(await ask(someDisk().unit, cdb, { data: hex(list) })).toEqual(refused(SRB.invalidRequest, 5, asc, 0));
  });

  test('of nothing is no error', async () => {
    expect(await ask(someDisk().unit, '15 10 00 00 00 00')).toEqual(good(0));
  });
});

describe('commands with nothing to do', () => {
  test.each([
    ['FORMAT UNIT', '04 00 00 00 00 00'],
    ['SEND DIAGNOSTIC, self-test', '1d 04 00 00 00 00'],
    ['PREVENT MEDIUM REMOVAL', '1e 00 00 00 01 00'],
  ])('%s is good and changes nothing', async (_name, cdb) => {
    const { unit, bytes } = someDisk();
    const before = bytes.slice();

    expect(await ask(unit, cdb)).toEqual(good(0));
    expect(bytes).toEqual(before);
  });

  test.each([
    ['FORMAT UNIT with data', '04 10 00 00 00 00'],
    ['SEND DIAGNOSTIC with a self-test code', '1d 20 00 00 00 00'],
    ['SEND DIAGNOSTIC with parameters', '1d 10 00 00 04 00'],
  ])('%s is refused', async (_name, cdb) => {
    expect(await ask(someDisk().unit, cdb, { data: untouched(4) })).toEqual(invalidField);
  });

  test('FORMAT UNIT of a read-only disk is write protected', async () => {
    expect(await ask(someDisk({ readOnly: true }).unit, '04 00 00 00 00 00')).toEqual(refused(SRB.error, 7, 0x27, 0));
  });
});
