import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { BackendError, BackendFault, type BlockBackend } from '../../../../../src/devices/scsi/block-backend.ts';
import { DiskUnit } from '../../../../../src/devices/scsi/target/disk/disk-unit.ts';
import { DataDirection } from '../../../../../src/wire/storvsc.ts';
import { ask, good, refused, SRB, someDisk, untouched } from '../some-disk.ts';

const blockOf = (value: number, blocks = 1): Uint8Array => new Uint8Array(512 * blocks).fill(value);

describe('READ', () => {
  test.each([
    ['6', '08 00 00 03 02 00'],
    ['10', '28 00 00 00 00 03 00 00 02 00'],
    ['12', 'a8 00 00 00 00 03 00 00 00 02 00 00'],
    ['16', '88 00 00 00 00 00 00 00 00 03 00 00 00 02 00 00'],
  ])('(%s) moves blocks 3 and 4', async (_form, cdb) => {
    const answer = await ask(someDisk().unit, cdb, { data: 1024 });

    expect(answer).toEqual(good(1024));
    expect(answer.data).toEqual(Uint8Array.from([...blockOf(3), ...blockOf(4)]));
  });

  test('(6) with a length of 0 means 256 blocks', async () => {
    const { unit, bytes } = someDisk({ blocks: 300 });

    const answer = await ask(unit, '08 00 00 01 00 00', { data: 256 * 512 });

    expect(answer).toEqual(good(256 * 512));
    expect(answer.data).toEqual(bytes.subarray(512, 257 * 512));
  });

  test('(6) takes 21 bits of LBA', async () => {
    expect(await ask(someDisk().unit, '08 1f ff ff 01 00', { data: 512 })).toEqual(refused(SRB.error, 5, 0x21, 0));
  });

  test('a buffer longer than the blocks keeps its end', async () => {
    const answer = await ask(someDisk().unit, '28 00 00 00 00 05 00 00 01 00', { data: 1000 });

    expect(answer).toEqual(good(512));
    expect(answer.data).toEqual(Uint8Array.from([...blockOf(5), ...untouched(488)]));
  });

  test.each([
    ['the last block and one more', '28 00 00 00 00 0f 00 00 02 00'],
    ['the block after the last', '28 00 00 00 00 10 00 00 01 00'],
    ['an LBA whose end overflows 64 bits', '88 00 ff ff ff ff ff ff ff ff 00 00 00 01 00 00'],
    ['more blocks than the disk has', '88 00 00 00 00 00 00 00 00 00 ff ff ff ff 00 00'],
    ['no block behind the end', '28 00 00 00 00 11 00 00 00 00'],
  ])('%s is out of range and moves nothing', async (_what, cdb) => {
    const answer = await ask(someDisk().unit, cdb, { data: 1024 });

    expect(answer).toEqual(refused(SRB.error, 5, 0x21, 0));
    expect(answer.data).toEqual(untouched(1024));
  });

  test('zero blocks, up to the very end, is no error and moves nothing', async () => {
    expect(await ask(someDisk().unit, '28 00 00 00 00 10 00 00 00 00')).toEqual(good(0));
  });

  test.each([0, 511])('a buffer of %i bytes for one block is refused', async (bufferBytes) => {
    const asked = bufferBytes === 0 ? {} : { data: bufferBytes };

    expect(await ask(someDisk().unit, '28 00 00 00 00 00 00 00 01 00', asked)).toEqual(refused(SRB.error, 5, 0x21, 0));
  });

  test('a buffer that the guest offers for writing only is not written', async () => {
    const answer = await ask(someDisk().unit, '28 00 00 00 00 00 00 00 01 00', { data: untouched(512) });

    expect(answer).toEqual(refused(SRB.invalidRequest, 5, 0x24, 0));
    expect(answer.data).toEqual(untouched(512));
  });

  test.each([
    ['RELADR', '28 01 00 00 00 00 00 00 01 00'],
    ['RDPROTECT', '88 20 00 00 00 00 00 00 00 00 00 00 00 01 00 00'],
  ])('%s is refused', async (_what, cdb) => {
    expect(await ask(someDisk().unit, cdb, { data: 512 })).toEqual(refused(SRB.invalidRequest, 5, 0x24, 0));
  });
});

describe('WRITE', () => {
  test.each([
    ['6', '0a 00 00 03 01 00'],
    ['10', '2a 00 00 00 00 03 00 00 01 00'],
    ['12', 'aa 00 00 00 00 03 00 00 00 01 00 00'],
    ['16', '8a 00 00 00 00 00 00 00 00 03 00 00 00 01 00 00'],
  ])('(%s) stores block 3 and no other', async (_form, cdb) => {
    const { unit, bytes } = someDisk();

    const answer = await ask(unit, cdb, { data: blockOf(0xee) });

    expect(answer).toEqual(good(512));
    expect(bytes.subarray(2 * 512, 5 * 512)).toEqual(Uint8Array.from([...blockOf(2), ...blockOf(0xee), ...blockOf(4)]));
  });

  test('past the end stores nothing', async () => {
    const { unit, bytes } = someDisk();
    const before = bytes.slice();

    const answer = await ask(unit, '2a 00 00 00 00 0f 00 00 02 00', { data: blockOf(0xee, 2) });

    expect(answer).toEqual(refused(SRB.error, 5, 0x21, 0));
    expect(bytes).toEqual(before);
  });

  test('to a read-only disk is write protected', async () => {
    const { unit, bytes } = someDisk({ readOnly: true });
    const before = bytes.slice();

    expect(await ask(unit, '2a 00 00 00 00 00 00 00 01 00', { data: blockOf(0xee) })).toEqual(
      refused(SRB.error, 7, 0x27, 0),
    );
    expect(bytes).toEqual(before);
  });

  test('from a buffer that the guest offers for reading only is refused', async () => {
    const answer = await ask(someDisk().unit, '2a 00 00 00 00 00 00 00 01 00', { data: 512 });

    expect(answer).toEqual(refused(SRB.invalidRequest, 5, 0x24, 0));
  });

  test.each([
    ['2a 08 00 00 00 00 00 00 01 00', true],
    ['2a 00 00 00 00 00 00 00 01 00', false],
    ['8a 08 00 00 00 00 00 00 00 00 00 00 00 01 00 00', true],
    // In the 6-byte form that bit belongs to the LBA.
    ['0a 08 00 00 01 00', false],
  ])('%s asks the store for unit access: %s', async (cdb, expected) => {
    const seen: boolean[] = [];
    const { backend } = someDisk();
    const recording: BlockBackend = Object.assign(Object.create(backend), {
      sizeBytes: 2 ** 30,
      write: async (_offset: number, _source: unknown, isFua: boolean) => void seen.push(isFua),
    });

    const answer = await ask(new DiskUnit(recording), cdb, { data: blockOf(1) });

    expect(answer).toEqual(good(512));
    expect(seen).toEqual([expected]);
  });
});

test('what was written is what is read, in any form and order', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(
        fc.record({
          isWrite: fc.boolean(),
          lba: fc.nat(20),
          blocks: fc.integer({ min: 1, max: 6 }),
          fill: fc.nat(255),
          form: fc.constantFrom(6, 10, 12, 16),
        }),
        { maxLength: 40 },
      ),
      async (moves) => {
        const { unit, bytes } = someDisk({ blocks: 16 });
        const model = bytes.slice();

        for (const { isWrite, lba, blocks, fill, form } of moves) {
          const cdb = cdbFor(form, isWrite, lba, blocks);
          const answer = await ask(unit, cdb, { data: isWrite ? blockOf(fill, blocks) : blocks * 512 });

          if (lba + blocks > 16) {
            expect(answer).toEqual(refused(SRB.error, 5, 0x21, 0));
          } else {
            expect(answer).toEqual(good(blocks * 512));
            if (isWrite) model.fill(fill, lba * 512, (lba + blocks) * 512);
            else expect(answer.data).toEqual(model.subarray(lba * 512, (lba + blocks) * 512));
          }
        }
        expect(bytes).toEqual(model);
      },
    ),
    { numRuns: 60 },
  );
});

/** A CDB worked out from SBC-3 tables, apart from the code under test. */
function cdbFor(form: number, isWrite: boolean, lba: number, blocks: number): Uint8Array {
  const cdb = new Uint8Array(16);
  const view = new DataView(cdb.buffer);
  if (form === 6) {
    view.setUint32(0, lba);
    cdb[0] = isWrite ? 0x0a : 0x08;
    cdb[4] = blocks;
  } else if (form === 10) {
    cdb[0] = isWrite ? 0x2a : 0x28;
    view.setUint32(2, lba);
    view.setUint16(7, blocks);
  } else if (form === 12) {
    cdb[0] = isWrite ? 0xaa : 0xa8;
    view.setUint32(2, lba);
    view.setUint32(6, blocks);
  } else {
    cdb[0] = isWrite ? 0x8a : 0x88;
    view.setBigUint64(2, BigInt(lba));
    view.setUint32(10, blocks);
  }
  return cdb;
}

describe('VERIFY', () => {
  test.each([
    ['2f 00 00 00 00 0f 00 00 01 00', good(0)],
    ['2f 00 00 00 00 0f 00 00 02 00', refused(SRB.error, 5, 0x21, 0)],
    ['af 00 00 00 00 00 00 00 00 11 00 00', refused(SRB.error, 5, 0x21, 0)],
    ['8f 00 00 00 00 00 00 00 00 00 00 00 00 10 00 00', good(0)],
    ['2f 02 00 00 00 00 00 00 01 00', refused(SRB.invalidRequest, 5, 0x24, 0)],
  ])('%s checks the range only', async (cdb, expected) => {
    expect(await ask(someDisk().unit, cdb)).toEqual(expected);
  });
});

describe('flushing', () => {
  function flushedDisk() {
    const flushes: string[] = [];
    const { backend } = someDisk();
    const counting: BlockBackend = Object.assign(Object.create(backend), { flush: async () => void flushes.push('x') });
    return { unit: new DiskUnit(counting), flushes };
  }

  test.each([
    ['SYNCHRONIZE CACHE(10)', '35 00 00 00 00 00 00 00 00 00', 1],
    ['SYNCHRONIZE CACHE(16)', '91 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00', 1],
    ['STOP UNIT', '1b 00 00 00 00 00', 1],
    ['START UNIT', '1b 00 00 00 01 00', 0],
  ])('%s flushes the store as often as it should', async (_name, cdb, expected) => {
    const { unit, flushes } = flushedDisk();

    expect(await ask(unit, cdb)).toEqual(good(0));
    expect(flushes).toHaveLength(expected);
  });

  test.each([
    ['IMMED', '1b 01 00 00 01 00'],
    ['LOEJ', '1b 00 00 00 02 00'],
    ['a power condition', '1b 00 00 00 30 00'],
  ])('START STOP UNIT with %s is refused', async (_what, cdb) => {
    expect(await ask(flushedDisk().unit, cdb)).toEqual(refused(SRB.invalidRequest, 5, 0x24, 0));
  });

  test('SYNCHRONIZE CACHE of a range that is no range of the disk is refused', async () => {
    expect(await ask(flushedDisk().unit, '35 00 00 00 00 10 00 00 01 00')).toEqual(refused(SRB.error, 5, 0x21, 0));
  });
});

describe('a store that fails', () => {
  test.each([
    [BackendFault.Read, 3, 0x11, 0],
    [BackendFault.Write, 3, 0x03, 0],
    [BackendFault.OutOfRange, 5, 0x21, 0],
    [BackendFault.ReadOnly, 7, 0x27, 0],
    [BackendFault.NoSpace, 7, 0x27, 7],
  ] as const)('with fault "%s" gives its sense and tells the host why', async (fault, key, asc, ascq) => {
    const faults: unknown[] = [];
    const cause = new BackendError(fault, 'the test says so');
    const failing: BlockBackend = Object.assign(Object.create(someDisk().backend), {
      read: () => Promise.reject(cause),
    });
    const unit = new DiskUnit(failing, { onFault: (error) => faults.push(error) });

    const answer = await ask(unit, '28 00 00 00 00 00 00 00 01 00', { data: 512 });

    expect(answer).toEqual(refused(SRB.error, key, asc, ascq));
    expect(faults).toEqual([cause]);
  });

  test('with any other error gives a medium error without details', async () => {
    const failing: BlockBackend = Object.assign(Object.create(someDisk().backend), {
      flush: () => Promise.reject(new Error('unplugged')),
    });

    expect(await ask(new DiskUnit(failing), '35')).toEqual(refused(SRB.error, 3, 0, 0));
  });
});

test('an operation code that nobody knows is refused', async () => {
  expect(await ask(someDisk().unit, 'e0')).toEqual(refused(SRB.invalidRequest, 5, 0x20, 0));
});

test('TEST UNIT READY is good', async () => {
  expect(await ask(someDisk().unit, '00', { direction: DataDirection.None })).toEqual(good(0));
});

describe('REQUEST SENSE', () => {
  test('returns the sense that was kept, once', async () => {
    const { unit } = someDisk();
    unit.pendingSense = { key: 5, asc: 0x21, ascq: 0 };

    const first = await ask(unit, '03 00 00 00 12 00', { data: 18 });
    const second = await ask(unit, '03 00 00 00 12 00', { data: 18 });

    expect(first).toEqual(good(18));
    expect(first.data.subarray(0, 14)).toEqual(Uint8Array.from([0x70, 0, 5, 0, 0, 0, 0, 10, 0, 0, 0, 0, 0x21, 0]));
    expect(second.data[2]).toBe(0);
    expect(second.data[12]).toBe(0);
  });

  test.each([
    ['descriptor format', '03 01 00 00 12 00', 18],
    ['a buffer below the allocation', '03 00 00 00 12 00', 17],
  ])('%s is refused', async (_what, cdb, data) => {
    expect(await ask(someDisk().unit, cdb, { data })).toEqual(refused(SRB.invalidRequest, 5, 0x24, 0));
  });
});
