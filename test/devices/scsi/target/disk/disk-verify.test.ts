/** VERIFY with data, WRITE AND VERIFY, COMPARE AND WRITE. Bytes worked out from SBC-3. */
import { describe, expect, test } from 'vitest';
import { MemoryBackend } from '../../../../../src/devices/scsi/memory-backend.ts';
import { DiskUnit } from '../../../../../src/devices/scsi/target/disk/disk-unit.ts';
import { GatedBackend } from '../../gated-backend.ts';
import { ask, good, refused, SRB, someDisk } from '../some-disk.ts';

const blockOf = (value: number, blocks = 1): Uint8Array => new Uint8Array(512 * blocks).fill(value);

/** Blocks 3 and 4 as the disk of the test has them. */
const BLOCKS_3_AND_4 = Uint8Array.from([...blockOf(3), ...blockOf(4)]);

function differingAt(bytes: Uint8Array, at: number): Uint8Array {
  const copy = bytes.slice();
  copy[at] = 0xee;
  return copy;
}

function miscompare(information: number) {
  return expect.objectContaining({
    srbStatus: SRB.error,
    scsiStatus: 2,
    sense: { key: 0xe, asc: 0x1d, ascq: 0, information },
    transferredBytes: 0,
  });
}

describe('VERIFY with data', () => {
  test.each([
    ['10', '2f 02 00 00 00 03 00 00 02 00'],
    ['12', 'af 02 00 00 00 03 00 00 00 02 00 00'],
    ['16', '8f 02 00 00 00 00 00 00 00 03 00 00 00 02 00 00'],
  ])('(%s) is good if the blocks are alike, and names the first byte that is not', async (_form, cdb) => {
    const { unit } = someDisk();

    const alike = await ask(unit, cdb, { data: BLOCKS_3_AND_4 });
    const different = await ask(unit, cdb, { data: differingAt(BLOCKS_3_AND_4, 700) });

    expect(alike).toEqual(good(1024));
    expect(different).toEqual(miscompare(700));
  });

  test('one block is compared with each', async () => {
    const { unit, bytes } = someDisk({ blocks: 2000 });
    bytes.fill(7);
    const cdb = '8f 06 00 00 00 00 00 00 00 00 00 00 07 d0 00 00';

    const alike = await ask(unit, cdb, { data: blockOf(7) });
    bytes[1999 * 512 + 5] = 8;
    const different = await ask(unit, cdb, { data: blockOf(7) });

    expect(alike).toEqual(good(512));
    expect(different).toEqual(miscompare(1999 * 512 + 5));
  });

  test.each([
    ['a reserved BYTCHK', '2f 04 00 00 00 03 00 00 02 00', BLOCKS_3_AND_4],
    ['less data than blocks', '2f 02 00 00 00 03 00 00 02 00', blockOf(3)],
  ])('%s is refused', async (_what, cdb, data) => {
    expect(await ask(someDisk().unit, cdb, { data })).toEqual(refused(SRB.invalidRequest, 5, 0x24, 0));
  });

  test('behind the end is out of range', async () => {
    expect(await ask(someDisk().unit, '2f 02 00 00 00 0f 00 00 02 00', { data: BLOCKS_3_AND_4 })).toEqual(
      refused(SRB.error, 5, 0x21, 0),
    );
  });
});

describe('WRITE AND VERIFY', () => {
  test.each([
    ['10', '2e 00 00 00 00 03 00 00 02 00'],
    ['10, compared byte by byte', '2e 02 00 00 00 03 00 00 02 00'],
    ['12', 'ae 00 00 00 00 03 00 00 00 02 00 00'],
    ['16', '8e 00 00 00 00 00 00 00 00 03 00 00 00 02 00 00'],
  ])('(%s) stores blocks 3 and 4', async (_form, cdb) => {
    const { unit, bytes } = someDisk();

    expect(await ask(unit, cdb, { data: blockOf(0xee, 2) })).toEqual(good(1024));
    expect(bytes.subarray(2 * 512, 6 * 512)).toEqual(
      Uint8Array.from([...blockOf(2), ...blockOf(0xee, 2), ...blockOf(5)]),
    );
  });

  test('a store that does not keep what it was given is found out', async () => {
    const contents = new Uint8Array(8 * 512);
    const forgetful = new MemoryBackend(contents);
    forgetful.write = async () => {};

    const answer = await ask(new DiskUnit(forgetful), '2e 02 00 00 00 03 00 00 01 00', { data: blockOf(1) });

    expect(answer).toEqual(miscompare(0));
  });

  test.each([
    ['a reserved BYTCHK', '2e 04 00 00 00 03 00 00 01 00', SRB.invalidRequest, [5, 0x24, 0]],
    ['a block behind the end', '2e 00 00 00 00 10 00 00 01 00', SRB.error, [5, 0x21, 0]],
  ] as const)('%s is refused', async (_what, cdb, srbStatus, [key, asc, ascq]) => {
    expect(await ask(someDisk().unit, cdb, { data: blockOf(1) })).toEqual(refused(srbStatus, key, asc, ascq));
  });

  test('to a read-only disk is write protected', async () => {
    expect(await ask(someDisk({ readOnly: true }).unit, '2e 00 00 00 00 03 00 00 01 00', { data: blockOf(1) })).toEqual(
      refused(SRB.error, 7, 0x27, 0),
    );
  });
});

describe('COMPARE AND WRITE', () => {
  const CDB = '89 00 00 00 00 00 00 00 00 03 00 00 00 02 00 00';

  test('stores the second half if the first is what the blocks hold', async () => {
    const { unit, bytes } = someDisk();

    const answer = await ask(unit, CDB, { data: Uint8Array.from([...BLOCKS_3_AND_4, ...blockOf(0xee, 2)]) });

    expect(answer).toEqual(good(2048));
    expect(bytes.subarray(2 * 512, 6 * 512)).toEqual(
      Uint8Array.from([...blockOf(2), ...blockOf(0xee, 2), ...blockOf(5)]),
    );
  });

  test('else stores nothing and names the first byte that differs', async () => {
    const { unit, bytes } = someDisk();
    const before = bytes.slice();

    const answer = await ask(unit, CDB, {
      data: Uint8Array.from([...differingAt(BLOCKS_3_AND_4, 1023), ...blockOf(0xee, 2)]),
    });

    expect(answer).toEqual(miscompare(1023));
    expect(bytes).toEqual(before);
  });

  test('of two that expect the same, from two guests at once, one wins', async () => {
    const contents = new Uint8Array(8 * 512);
    const store = new GatedBackend(new MemoryBackend(contents));
    const one = new DiskUnit(store);
    const other = new DiskUnit(store);
    const lock = '89 00 00 00 00 00 00 00 00 00 00 00 00 01 00 00';

    const answers = Promise.all([
      ask(one, lock, { data: Uint8Array.from([...blockOf(0), ...blockOf(1)]) }),
      ask(other, lock, { data: Uint8Array.from([...blockOf(0), ...blockOf(2)]) }),
    ]);
    const held: number[] = [];
    for (let turn = 0; turn < 50; turn++) {
      held.push(store.held.length);
      store.releaseAll();
      await new Promise((resolve) => setImmediate(resolve));
    }
    const [first, second] = await answers;

    expect(first).toEqual(good(1024));
    expect(second).toEqual(miscompare(0));
    expect(contents.subarray(0, 512)).toEqual(blockOf(1));
    expect(Math.max(...held)).toBe(1);
  });

  test('waits for writes under way, and writes that come later wait for it', async () => {
    const store = new GatedBackend(new MemoryBackend(new Uint8Array(8 * 512)));
    const unit = new DiskUnit(store);
    const seen: string[] = [];
    const note = (what: string) => (answer: unknown) => {
      seen.push(what);
      return answer;
    };
    const write = '2a 00 00 00 00 05 00 00 01 00';

    const before = ask(unit, write, { data: blockOf(9) }).then(note('write before'));
    const lock = ask(unit, '89 00 00 00 00 00 00 00 00 05 00 00 00 01 00 00', {
      data: Uint8Array.from([...blockOf(9), ...blockOf(1)]),
    }).then(note('compare and write'));
    const after = ask(unit, write, { data: blockOf(7) }).then(note('write after'));
    for (let turn = 0; turn < 50; turn++) {
      store.releaseAll();
      await new Promise((resolve) => setImmediate(resolve));
    }

    expect(await Promise.all([before, lock, after])).toEqual([good(512), good(1024), good(512)]);
    expect(seen).toEqual(['write before', 'compare and write', 'write after']);
  });

  test('of no blocks is no error', async () => {
    expect(await ask(someDisk().unit, '89 00 00 00 00 00 00 00 00 03 00 00 00 00 00 00')).toEqual(good(0));
  });

  test.each([
    ['half of its data', CDB, BLOCKS_3_AND_4, SRB.invalidRequest, 0x24],
    [
      'more blocks than page B0 allows',
      '89 00 00 00 00 00 00 00 00 00 00 00 00 09 00 00',
      blockOf(0, 18),
      SRB.invalidRequest,
      0x24,
    ],
    ['a block behind the end', '89 00 00 00 00 00 00 00 00 0f 00 00 00 02 00 00', blockOf(0, 4), SRB.error, 0x21],
    ['protection information', `89 20${CDB.slice(5)}`, blockOf(0, 4), SRB.invalidRequest, 0x24],
  ])('with %s is refused', async (_what, cdb, data, srbStatus, asc) => {
    const { unit } = someDisk({ maxTransferBytes: 8192 });

    expect(await ask(unit, cdb, { data })).toEqual(refused(srbStatus, 5, asc, 0));
  });

  test('to a read-only disk is write protected', async () => {
    expect(await ask(someDisk({ readOnly: true }).unit, CDB, { data: blockOf(0, 4) })).toEqual(
      refused(SRB.error, 7, 0x27, 0),
    );
  });

  test('leaves the gate open after a failure of the store', async () => {
    const backend = new MemoryBackend(new Uint8Array(8 * 512));
    const unit = new DiskUnit(backend);
    const read = backend.read.bind(backend);
    backend.read = async () => {
      throw new Error('no');
    };
    const failed = await ask(unit, CDB, { data: blockOf(0, 4) });
    backend.read = read;

    const again = await ask(unit, CDB, { data: blockOf(0, 4) });

    expect(failed).toEqual(refused(SRB.error, 3, 0, 0));
    expect(again).toEqual(good(2048));
  });
});
