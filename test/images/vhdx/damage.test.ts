import fc from 'fast-check';
import { expect, test } from 'vitest';
import { SystemError } from '../../../src/errors.ts';
import { crc32cWithout } from '../../../src/images/crc32c.ts';
import { LogEntryHeader } from '../../../src/images/vhdx/format.ts';
import { encodeLogEntry, parseLogEntry } from '../../../src/images/vhdx/log-entry.ts';
import { openVhdxFile } from '../../../src/images/vhdx/open.ts';
import { findActiveSequence } from '../../../src/images/vhdx/replay.ts';
import { readAll } from '../disk-model.ts';
import { JournalFile } from '../journal-file.ts';
import {
  BAT_AT,
  batSector,
  CURRENT_HEADER_AT,
  LOG_AT,
  LOG_GUID,
  METADATA_AT,
  MIB,
  present,
  someEntry,
  someVhdx,
  viewOf,
  withHeader,
  withLog,
  withRegions,
} from './some-vhdx.ts';

/** Places where a changed byte can matter: the fields, not the padding. */
const place = fc.oneof(
  fc.integer({ min: 0, max: 16 }),
  fc.integer({ min: CURRENT_HEADER_AT, max: CURRENT_HEADER_AT + 80 }),
  fc.integer({ min: 192 * 1024, max: 192 * 1024 + 80 }),
  fc.integer({ min: 256 * 1024, max: 256 * 1024 + 80 }),
  fc.integer({ min: LOG_AT, max: LOG_AT + 9000 }),
  fc.integer({ min: METADATA_AT, max: METADATA_AT + 200 }),
  fc.integer({ min: METADATA_AT + 65536, max: METADATA_AT + 65536 + 40 }),
  fc.integer({ min: BAT_AT, max: BAT_AT + 40 }),
);

test('whatever bytes are changed, a file opens and reads, or is refused with one line', async () => {
  const image = new Uint8Array(8 * MIB);
  image.set(await someVhdx());
  image.set(batSector(present(4), present(5)), BAT_AT);
  const changes = fc.array(fc.tuple(place, fc.integer({ min: 0, max: 255 })), { minLength: 1, maxLength: 6 });
  await fc.assert(
    fc.asyncProperty(changes, fc.boolean(), fc.boolean(), async (list, rightSums, log) => {
      const damaged = image.slice();
      if (log) withLog(damaged, [someEntry({ sectors: [{ fileOffset: BAT_AT, bytes: batSector(present(6)) }] })]);
      for (const [at, value] of list) damaged[at] = value;
      if (rightSums) {
        withHeader(damaged, () => {});
        withRegions(damaged, () => {});
      }

      const outcome = await openVhdxFile(new JournalFile(damaged)).then(
        (disk) => (disk.sizeBytes <= 64 * MIB ? readAll(disk) : undefined),
        (error: unknown) => error,
      );

      if (outcome instanceof Error) {
        expect(outcome).toBeInstanceOf(SystemError);
        expect(outcome.message).not.toContain('\n');
      }
    }),
    { numRuns: 120 },
  );
});

test('a log of random sectors holds no sequence, and finding that out takes one pass', () => {
  const log = new Uint8Array(4 * MIB);
  const entry = someEntry({ tail: 4096 });
  // Every sector begins an entry whose tail is nowhere, or whose number does not follow.
  for (let at = 0; at < log.length; at += 4096) log.set(entry, at);

  expect(findActiveSequence(log, LOG_GUID)?.length).toBe(1);

  for (let at = 0; at < log.length; at += 4096) log.fill(0xff, at + 12, at + 16);
  expect(findActiveSequence(log, LOG_GUID)).toBeUndefined();
});

test('an entry comes back as it was written, wherever in the log it begins', () => {
  fc.assert(
    fc.property(
      fc.integer({ min: 0, max: 255 }),
      fc.array(fc.tuple(fc.integer({ min: 1, max: 2 ** 20 }), fc.uint8Array({ minLength: 4096, maxLength: 4096 })), {
        maxLength: 5,
      }),
      fc.bigInt({ min: 1n, max: 2n ** 64n - 1n }),
      (sector, list, sequenceNumber) => {
        const sectors = list.map(([page, bytes]) => ({ fileOffset: page * 4096, bytes }));
        const entry = encodeLogEntry({
          tail: 8192,
          sequenceNumber,
          logGuid: LOG_GUID,
          flushedFileOffset: MIB,
          lastFileOffset: 2 * MIB,
          sectors,
        });
        const log = new Uint8Array(MIB).fill(0xa5);
        for (let done = 0; done < entry.length; done += 4096) {
          log.set(entry.subarray(done, done + 4096), (sector * 4096 + done) % MIB);
        }

        const parsed = parseLogEntry(log, sector * 4096, LOG_GUID);

        expect(parsed).toMatchObject({ tail: 8192, sequenceNumber, flushedFileOffset: BigInt(MIB) });
        expect(parsed?.updates).toEqual(sectors.map((update) => ({ kind: 'data', ...update })));
      },
    ),
    { numRuns: 12 },
  );
});

test('a changed byte anywhere in an entry makes it invalid', () => {
  const entry = someEntry({ sectors: [{ fileOffset: BAT_AT, bytes: batSector(present(4)) }] });
  const log = new Uint8Array(MIB);
  fc.assert(
    fc.property(fc.integer({ min: 0, max: entry.length - 1 }), fc.integer({ min: 1, max: 255 }), (at, flip) => {
      log.set(entry);
      log[at] = (log[at] as number) ^ flip;

      expect(parseLogEntry(log, 0, LOG_GUID)).toBeUndefined();
    }),
  );
});

test('a zero descriptor zeroes its range of the file', async () => {
  const image = new Uint8Array(8 * MIB);
  image.set(await someVhdx());
  image.set(batSector(present(4)), BAT_AT);
  image.fill(0xdd, 4 * MIB, 5 * MIB);
  const entry = someEntry({
    sectors: [{ fileOffset: 4 * MIB + 4096, bytes: new Uint8Array(4096) }],
    flushedFileOffset: 8 * MIB,
    lastFileOffset: 8 * MIB,
  });
  // The data descriptor becomes a zero descriptor of 8 KiB, and its sector goes.
  const zero = entry.slice(0, 4096);
  const view = viewOf(zero);
  view.setUint32(8, 4096, true);
  view.setUint32(LogEntryHeader.size, 0x6f72_657a, true);
  view.setUint32(LogEntryHeader.size + 4, 0, true);
  view.setBigUint64(LogEntryHeader.size + 8, 8192n, true);
  resum(zero);

  const disk = await openVhdxFile(new JournalFile(withLog(image, [zero])));

  const bytes = (await readAll(disk)).subarray(0, MIB);
  const expected = new Uint8Array(MIB).fill(0xdd).fill(0, 4096, 12288);
  expect(Buffer.compare(bytes, expected)).toBe(0);
});

test('a log that asks for endless zeros is refused', async () => {
  const image = await someVhdx();
  const entry = someEntry({ sectors: [{ fileOffset: BAT_AT, bytes: new Uint8Array(4096) }] }).slice(0, 4096);
  const view = viewOf(entry);
  view.setUint32(8, 4096, true);
  view.setUint32(LogEntryHeader.size, 0x6f72_657a, true);
  view.setBigUint64(LogEntryHeader.size + 8, 2n ** 40n, true);
  view.setBigUint64(56, 2n ** 35n, true);
  resum(entry);

  await expect(openVhdxFile(new JournalFile(withLog(image, [entry])))).rejects.toThrow(/where it may not/);
});

function resum(entry: Uint8Array): void {
  viewOf(entry).setUint32(4, crc32cWithout(entry, 4), true);
}
