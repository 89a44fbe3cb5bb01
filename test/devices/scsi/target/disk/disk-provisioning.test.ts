/** UNMAP, WRITE SAME, GET LBA STATUS and what a thin disk says of itself. Bytes worked out from SBC-3. */
import { describe, expect, test } from 'vitest';
import type { BlockBackend } from '../../../../../src/devices/scsi/block-backend.ts';
import { DiskUnit } from '../../../../../src/devices/scsi/target/disk/disk-unit.ts';
import { ask, good, hex, refused, SRB, someDisk } from '../some-disk.ts';

const zeros = (blocks: number): Uint8Array => new Uint8Array(512 * blocks);
const blockOf = (value: number, blocks = 1): Uint8Array => new Uint8Array(512 * blocks).fill(value);

/** UNMAP for a list of that length. */
const unmapCdb = (listBytes: number): string => `42 00 00 00 00 00 00 00 ${listBytes.toString(16).padStart(2, '0')} 00`;
/** One descriptor: blocks 3 to 6. */
const UNMAP_3_TO_6 = hex('00 16 00 10 00 00 00 00  00 00 00 00 00 00 00 03  00 00 00 04  00 00 00 00');

describe('a thin disk says so', () => {
  test('in READ CAPACITY(16)', async () => {
    const { data } = await ask(someDisk({ isThin: true }).unit, '9e 10 00 00 00 00 00 00 00 00 00 00 00 20 00 00', {
      data: 32,
    });

    expect(data.subarray(0, 16)).toEqual(hex('00 00 00 00 00 00 00 0f  00 00 02 00  00 00 c0 00'));
  });

  test('in page B0', async () => {
    const { data } = await ask(someDisk({ isThin: true }).unit, '12 01 b0 00 40 00', { data: 64 });

    expect(data.subarray(16, 48)).toEqual(
      hex(`00 00 00 00  ff ff ff ff  00 00 10 00  00 00 00 01
           80 00 00 00  00 00 00 00 00 02 00 00  00 00 00 00`),
    );
  });

  test('in page B2: UNMAP, WRITE SAME 16 and 10, zeros afterwards, thin', async () => {
    const { data } = await ask(someDisk({ isThin: true }).unit, '12 01 b2 00 08 00', { data: 8 });

    expect(data).toEqual(hex('00 b2 00 04  00 e4 02 00'));
  });

  test('not if it is read-only', async () => {
    const { data } = await ask(someDisk({ isThin: true, readOnly: true }).unit, '12 01 b2 00 08 00', { data: 8 });

    expect(data).toEqual(hex('00 b2 00 04  00 00 00 00'));
  });
});

describe('UNMAP', () => {
  test('gives the named blocks back, which read as zeros, and no other', async () => {
    const { unit, bytes } = someDisk({ isThin: true });

    const answer = await ask(unit, unmapCdb(24), { data: UNMAP_3_TO_6 });

    expect(answer).toEqual(good(24));
    expect(bytes.subarray(2 * 512, 8 * 512)).toEqual(Uint8Array.from([...blockOf(2), ...zeros(4), ...blockOf(7)]));
  });

  test('of two runs and an empty one', async () => {
    const { unit, bytes } = someDisk({ isThin: true });
    const list = hex(`00 36 00 30 00 00 00 00
      00 00 00 00 00 00 00 01  00 00 00 01  00 00 00 00
      00 00 00 00 00 00 00 10  00 00 00 00  00 00 00 00
      00 00 00 00 00 00 00 0f  00 00 00 01  00 00 00 00`);

    const answer = await ask(unit, unmapCdb(56), { data: list });

    expect(answer).toEqual(good(56));
    expect([bytes[0], bytes[512], bytes[1024], bytes[15 * 512]]).toEqual([0, 0, 2, 0]);
  });

  test('of an empty list is no error', async () => {
    const { unit } = someDisk({ isThin: true });

    expect(await ask(unit, unmapCdb(0))).toEqual(good(0));
    expect(await ask(unit, unmapCdb(8), { data: hex('00 06 00 00 00 00 00 00') })).toEqual(good(8));
  });

  test.each([
    ['a list shorter than its header', unmapCdb(7), hex('00 05 00 00 00 00 00'), 0x1a],
    ['a data length that is not the list', unmapCdb(24), Uint8Array.from([0, 0x15, ...UNMAP_3_TO_6.slice(2)]), 0x26],
    ['descriptors beyond the list', unmapCdb(24), Uint8Array.from([0, 0x16, 0, 0x20, ...UNMAP_3_TO_6.slice(4)]), 0x26],
    ['half a descriptor', unmapCdb(16), hex('00 0e 00 08 00 00 00 00 00 00 00 00 00 00 00 00'), 0x26],
    ['a buffer shorter than the list', unmapCdb(24), UNMAP_3_TO_6.subarray(0, 23), 0x24],
    ['ANCHOR', '42 01 00 00 00 00 00 00 18 00', UNMAP_3_TO_6, 0x24],
  ])('%s is refused and gives nothing back', async (_what, cdb, data, asc) => {
    const { unit, bytes } = someDisk({ isThin: true });
    const before = bytes.slice();

    expect(await ask(unit, cdb, { data })).toEqual(refused(SRB.invalidRequest, 5, asc, 0));
    expect(bytes).toEqual(before);
  });

  test('a second run outside the disk spares the first', async () => {
    const { unit, bytes } = someDisk({ isThin: true });
    const before = bytes.slice();
    const list = hex(`00 26 00 20 00 00 00 00
      00 00 00 00 00 00 00 01  00 00 00 01  00 00 00 00
      ff ff ff ff ff ff ff ff  ff ff ff ff  00 00 00 00`);

    expect(await ask(unit, unmapCdb(40), { data: list })).toEqual(refused(SRB.error, 5, 0x21, 0));
    expect(bytes).toEqual(before);
  });

  test('of a disk that gives nothing back is an unknown command', async () => {
    expect(await ask(someDisk().unit, unmapCdb(24), { data: UNMAP_3_TO_6 })).toEqual(
      refused(SRB.invalidRequest, 5, 0x20, 0),
    );
  });
});

describe('WRITE SAME', () => {
  test.each([
    ['10', '41 00 00 00 00 02 00 00 03 00'],
    ['16', '93 00 00 00 00 00 00 00 00 02 00 00 00 03 00 00'],
  ])('(%s) repeats a block over blocks 2 to 4', async (_form, cdb) => {
    const { unit, bytes } = someDisk();

    const answer = await ask(unit, cdb, { data: blockOf(0xee) });

    expect(answer).toEqual(good(512));
    expect(bytes.subarray(512, 6 * 512)).toEqual(Uint8Array.from([...blockOf(1), ...blockOf(0xee, 3), ...blockOf(5)]));
  });

  test('(16) without a buffer writes zeros', async () => {
    const { unit, bytes } = someDisk();

    expect(await ask(unit, '93 01 00 00 00 00 00 00 00 02 00 00 00 03 00 00')).toEqual(good(0));
    expect(bytes.subarray(512, 6 * 512)).toEqual(Uint8Array.from([...blockOf(1), ...zeros(3), ...blockOf(5)]));
  });

  test('of a block that differs inside itself repeats all of it, over more than one piece', async () => {
    const { unit, bytes } = someDisk({ blocks: 5000 });
    const block = Uint8Array.from({ length: 512 }, (_, at) => at & 0xff);

    await ask(unit, '93 00 00 00 00 00 00 00 00 01 00 00 13 86 00 00', { data: block });

    expect(bytes[511]).toBe(0);
    expect(Buffer.compare(bytes.subarray(512, 1024), block)).toBe(0);
    expect(Buffer.compare(bytes.subarray(4998 * 512, 4999 * 512), block)).toBe(0);
    expect(bytes[4999 * 512]).toBe(4999 & 0xff);
  });

  test('of zeros with UNMAP gives the blocks back; without it they keep their space', async () => {
    const { unit, backend } = someDisk({ isThin: true });

    await ask(unit, '93 08 00 00 00 00 00 00 00 02 00 00 00 03 00 00', { data: blockOf(0) });
    await ask(unit, '93 00 00 00 00 00 00 00 00 08 00 00 00 02 00 00', { data: blockOf(0) });

    expect(await backend.extents?.(0, 16 * 512, 10)).toMatchObject([
      { byteCount: 1024, isAllocated: true },
      { byteCount: 1536, isAllocated: false },
      { byteCount: 11 * 512, isAllocated: true },
    ]);
  });

  test('with UNMAP of another block writes it', async () => {
    const { unit, bytes } = someDisk({ isThin: true });

    await ask(unit, '93 08 00 00 00 00 00 00 00 02 00 00 00 01 00 00', { data: blockOf(9) });

    expect(bytes.subarray(1024, 1536)).toEqual(blockOf(9));
  });

  test('a store that knows no zeros gets them written', async () => {
    const { backend, bytes } = someDisk();
    const plain: BlockBackend = Object.assign(Object.create(backend), {
      writeZeroes: undefined,
      write: backend.write.bind(backend),
    });

    await ask(new DiskUnit(plain), '93 01 00 00 00 00 00 00 00 02 00 00 00 03 00 00');

    expect(bytes.subarray(1024, 5 * 512)).toEqual(zeros(3));
  });

  test.each([
    ['no blocks, which would mean all', '93 00 00 00 00 00 00 00 00 02 00 00 00 00 00 00', SRB.invalidRequest, 0x24],
    ['more than page B0 allows', '93 00 00 00 00 00 00 00 00 00 00 02 00 01 00 00', SRB.invalidRequest, 0x24],
    ['blocks behind the end', '93 00 00 00 00 00 00 00 00 0f 00 00 00 02 00 00', SRB.error, 0x21],
    ['UNMAP of a disk that gives nothing back', '41 08 00 00 00 02 00 00 03 00', SRB.invalidRequest, 0x24],
    ['ANCHOR', '41 10 00 00 00 02 00 00 03 00', SRB.invalidRequest, 0x24],
    ['LBDATA', '41 02 00 00 00 02 00 00 03 00', SRB.invalidRequest, 0x24],
    ['protection information', '41 20 00 00 00 02 00 00 03 00', SRB.invalidRequest, 0x24],
  ])('of %s is refused', async (_what, cdb, srbStatus, asc) => {
    const { unit, bytes } = someDisk();
    const before = bytes.slice();

    expect(await ask(unit, cdb, { data: blockOf(0xee) })).toEqual(refused(srbStatus, 5, asc, 0));
    expect(bytes).toEqual(before);
  });

  test('with less than a block of data is refused', async () => {
    expect(await ask(someDisk().unit, '41 00 00 00 00 02 00 00 03 00', { data: new Uint8Array(511) })).toEqual(
      refused(SRB.invalidRequest, 5, 0x24, 0),
    );
  });

  test('to a read-only disk is write protected', async () => {
    expect(await ask(someDisk({ readOnly: true }).unit, '41 00 00 00 00 02 00 00 03 00', { data: blockOf(1) })).toEqual(
      refused(SRB.error, 7, 0x27, 0),
    );
  });
});

describe('GET LBA STATUS', () => {
  test('lists runs with and without space, from the block named on', async () => {
    const { unit } = someDisk({ isThin: true });
    await ask(unit, unmapCdb(24), { data: UNMAP_3_TO_6 });

    const answer = await ask(unit, '9e 12 00 00 00 00 00 00 00 01 00 00 00 ff 00 00', { data: 255 });

    expect(answer).toEqual(good(56));
    expect(answer.data.subarray(0, 56)).toEqual(
      hex(`00 00 00 34  00 00 00 00
           00 00 00 00 00 00 00 01  00 00 00 02  00 00 00 00
           00 00 00 00 00 00 00 03  00 00 00 04  01 00 00 00
           00 00 00 00 00 00 00 07  00 00 00 09  00 00 00 00`),
    );
  });

  test('gives no more runs than there is room for, and one at least', async () => {
    const { unit } = someDisk({ isThin: true });
    await ask(unit, unmapCdb(24), { data: UNMAP_3_TO_6 });

    const answer = await ask(unit, '9e 12 00 00 00 00 00 00 00 00 00 00 00 18 00 00', { data: 24 });

    expect(answer).toEqual(good(24));
    expect(answer.data).toEqual(hex('00 00 00 14 00 00 00 00  00 00 00 00 00 00 00 00  00 00 00 03  00 00 00 00'));
  });

  test('of a store that cannot tell is one run with space', async () => {
    const { backend } = someDisk();
    const plain: BlockBackend = Object.assign(Object.create(backend), { extents: undefined });

    const { data } = await ask(new DiskUnit(plain), '9e 12 00 00 00 00 00 00 00 04 00 00 00 18 00 00', { data: 24 });

    expect(data).toEqual(hex('00 00 00 14 00 00 00 00  00 00 00 00 00 00 00 04  00 00 00 0c  00 00 00 00'));
  });

  test('of a block behind the end is out of range', async () => {
    expect(await ask(someDisk().unit, '9e 12 00 00 00 00 00 00 00 10 00 00 00 18 00 00', { data: 24 })).toEqual(
      refused(SRB.error, 5, 0x21, 0),
    );
  });
});
