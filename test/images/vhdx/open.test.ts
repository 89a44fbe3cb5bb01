import { expect, test } from 'vitest';
import { openVhdxFile } from '../../../src/images/vhdx/open.ts';
import { readAll } from '../disk-model.ts';
import { JournalFile } from '../journal-file.ts';
import {
  BAT_AT,
  BLOCKS_AT,
  batSector,
  CURRENT_HEADER_AT,
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

type Damage = (image: Uint8Array) => Uint8Array;

/** Changes a byte of the metadata region. */
const metadata =
  (change: (view: DataView) => void): Damage =>
  (image) => {
    change(viewOf(image.subarray(METADATA_AT, METADATA_AT + MIB)));
    return image;
  };

/** Puts entries at the start of the block table, and makes the file long enough for blocks at 4 to 8 MiB. */
const table =
  (...entries: bigint[]): Damage =>
  (image) => {
    const longer = new Uint8Array(8 * MIB);
    longer.set(image);
    longer.set(batSector(...entries), BAT_AT);
    return longer;
  };

/** Items of the metadata: table entry n begins at 32 + 32 n, its item stands from 64 KiB on. */
const entryAt = (index: number): number => 32 + 32 * index;
const PARAMETERS_AT = 65536;
const DISK_SIZE_AT = PARAMETERS_AT + 8;
const LOGICAL_AT = DISK_SIZE_AT + 8 + 16;
const PHYSICAL_AT = LOGICAL_AT + 4;

const refusals: readonly [name: string, damage: Damage, why: RegExp][] = [
  ['an empty file', () => new Uint8Array(0), /is no VHDX: it has 0 bytes/],
  ['a file of something else', () => new Uint8Array(2 * MIB).fill(0x20), /is no VHDX: it does not begin as one/],
  ['a file that ends in the headers', (image) => image.slice(0, 100_000), /is truncated: a VHDX has 1 MiB/],
  [
    'two headers without signatures',
    (image) => image.fill(0, 64 * 1024, 132 * 1024),
    /neither of its two headers is valid/,
  ],
  [
    'two headers with wrong checksums',
    (image) => {
      image.fill(0xff, 64 * 1024 + 20, 64 * 1024 + 21);
      return image.fill(0xff, CURRENT_HEADER_AT + 20, CURRENT_HEADER_AT + 21);
    },
    /neither of its two headers is valid/,
  ],
  ['another version', (image) => withHeader(image, (view) => view.setUint16(66, 2, true)), /VHDX of version 2/],
  [
    'a log of another version',
    (image) =>
      withLog(
        withHeader(image, (view) => view.setUint16(64, 1, true)),
        [],
      ),
    /log of version 1/,
  ],
  ['no log at all', (image) => withHeader(image, (view) => view.setUint32(68, 0, true)), /its log of 0 bytes/],
  [
    'a log of odd length',
    (image) => withHeader(image, (view) => view.setUint32(68, MIB + 1, true)),
    /not made of whole/,
  ],
  [
    'a log of 4 GiB',
    (image) => withHeader(image, (view) => view.setUint32(68, 0xfff0_0000, true)),
    /log of 4293918720 bytes; this program takes 67108864/,
  ],
  [
    'a log at the headers',
    (image) => withHeader(image, (view) => view.setBigUint64(72, 0n, true)),
    /not made of whole MiB behind the headers/,
  ],
  [
    'a log behind the end',
    (image) => withHeader(image, (view) => view.setBigUint64(72, 0xffff_ffff_fff0_0000n, true)),
    /is truncated: its log ends/,
  ],
  [
    'a sequence number that cannot rise',
    (image) => withHeader(image, (view) => view.setBigUint64(8, 0xffff_ffff_ffff_ffffn, true)),
    /sequence number is at its end/,
  ],
  [
    'two region tables with wrong checksums',
    (image) => {
      image.fill(0xff, 192 * 1024 + 40, 192 * 1024 + 41);
      return image.fill(0xff, 256 * 1024 + 40, 256 * 1024 + 41);
    },
    /neither copy of its region table/,
  ],
  ['too many regions', (image) => withRegions(image, (view) => view.setUint32(8, 2048, true)), /has 2048 entries/],
  [
    'a region that nobody knows and everybody must',
    (image) => withRegions(image, (view) => view.setUint8(16, 0xff)),
    /needs region .*which this program does not know/,
  ],
  ['no metadata region', (image) => withRegions(image, (view) => view.setUint32(8, 1, true)), /has no metadata/],
  [
    'no block table',
    (image) =>
      withRegions(image, (view) => {
        view.setUint8(16, 0xff);
        view.setUint32(44, 0, true);
      }),
    /has no block allocation table/,
  ],
  [
    'a region named twice',
    (image) =>
      withRegions(image, (view) => {
        for (let at = 0; at < 16; at++) view.setUint8(48 + at, view.getUint8(16 + at));
      }),
    /two of the block allocation table/,
  ],
  [
    'a region at an odd place',
    (image) => withRegions(image, (view) => view.setBigUint64(32, 3n * BigInt(MIB) + 512n, true)),
    /is not whole MiB/,
  ],
  ['a region of no length', (image) => withRegions(image, (view) => view.setUint32(40, 0, true)), /is not whole MiB/],
  [
    'a region in the headers',
    (image) => withRegions(image, (view) => view.setBigUint64(32, 0n, true)),
    /behind the headers/,
  ],
  [
    'a region behind the end',
    (image) => withRegions(image, (view) => view.setUint32(40, 0xfff0_0000, true)),
    /is truncated: the block allocation table ends/,
  ],
  [
    'two regions in one place',
    (image) => withRegions(image, (view) => view.setBigUint64(32, BigInt(METADATA_AT), true)),
    /overlaps/,
  ],
  [
    'a region over the log',
    (image) => withRegions(image, (view) => view.setBigUint64(32, BigInt(MIB), true)),
    /overlaps/,
  ],
  ['metadata without their signature', metadata((view) => view.setUint8(0, 0)), /metadata do not begin as such/],
  ['too many metadata', metadata((view) => view.setUint16(10, 2048, true)), /has 2048 entries/],
  ['metadata that lack an item', metadata((view) => view.setUint16(10, 4, true)), /have no physical sector size/],
  [
    'metadata that nobody knows and everybody must',
    metadata((view) => view.setUint8(entryAt(0), 0xff)),
    /needs metadata item/,
  ],
  [
    'an item twice',
    metadata((view) => {
      for (let at = 0; at < 32; at++) view.setUint8(entryAt(1) + at, view.getUint8(entryAt(0) + at));
    }),
    /has metadata item .* twice/,
  ],
  ['an item of a wrong length', metadata((view) => view.setUint32(entryAt(1) + 20, 4, true)), /disk size has 4 bytes/],
  [
    'an item outside its region',
    metadata((view) => view.setUint32(entryAt(1) + 16, 0xffff_fff8, true)),
    /lies outside its region/,
  ],
  ['an item in the table', metadata((view) => view.setUint32(entryAt(1) + 16, 64, true)), /lies outside its region/],
  [
    'items on top of each other',
    metadata((view) => view.setUint32(entryAt(1) + 16, PARAMETERS_AT + 4, true)),
    /items of its metadata overlap/,
  ],
  ['a parent', metadata((view) => view.setUint32(PARAMETERS_AT + 4, 2, true)), /is a differencing VHDX/],
  ['blocks that are too small', metadata((view) => view.setUint32(PARAMETERS_AT, 65536, true)), /block size is 65536/],
  ['blocks that are too large', metadata((view) => view.setUint32(PARAMETERS_AT, 2 ** 29, true)), /block size is/],
  ['blocks of an odd size', metadata((view) => view.setUint32(PARAMETERS_AT, 3 * MIB, true)), /block size is/],
  ['odd logical sectors', metadata((view) => view.setUint32(LOGICAL_AT, 1024, true)), /logical sectors have 1024/],
  ['odd physical sectors', metadata((view) => view.setUint32(PHYSICAL_AT, 513, true)), /physical sectors have 513/],
  ['a disk of no bytes', metadata((view) => view.setBigUint64(DISK_SIZE_AT, 0n, true)), /its disk has 0 bytes/],
  ['a disk of an odd size', metadata((view) => view.setBigUint64(DISK_SIZE_AT, 513n, true)), /its disk has 513 bytes/],
  [
    'a disk larger than the format has',
    metadata((view) => view.setBigUint64(DISK_SIZE_AT, 0x4000_0000_0200n, true)),
    /its disk has/,
  ],
  [
    'a disk of more blocks than we keep in memory',
    metadata((view) => view.setBigUint64(DISK_SIZE_AT, 64n * 2n ** 40n, true)),
    /has 67108864 blocks; this program takes 8388608/,
  ],
  [
    'a disk of more blocks than its table',
    metadata((view) => view.setBigUint64(DISK_SIZE_AT, 2n ** 38n, true)),
    /do not fit a table of 1048576 bytes/,
  ],
  ['reserved bits in the block table', table(present(4) | 8n), /reserved bits are set in the entry of block 0/],
  ['a block that is partly present', table(present(4), present(5) | 7n), /block 1 has the state 7/],
  ['a block in a reserved state', table(4n), /block 0 has the state 4/],
  ['a block in the headers', table(present(0)), /block 0 lies at 0, in the headers/],
  ['a block in the log', table(present(1)), /overlaps/],
  ['a block in the block table', table(present(3)), /overlaps/],
  ['two blocks in one place', table(present(4), present(4)), /a block at 4194304 overlaps a block/],
  ['a block behind the end', table(present(8)), /is truncated: block 0 ends/],
  ['a block at the end of the world', table(0xffff_ffff_fff0_0006n), /is truncated: block 0 ends/],
];

test.each(refusals)('%s is refused with one line', async (_name, damage, why) => {
  const file = new JournalFile(damage(await someVhdx()));

  const error = await openVhdxFile(file).catch((reason: unknown) => reason);

  expect(error).toMatchObject({ code: 'ERR_BACKEND', message: expect.stringMatching(why) });
  expect((error as Error).message).toMatch(/^disk\.img [^\n]*$/);
  expect(file.changeCount).toBe(0);
});

const replayRefusals: readonly [name: string, damage: Damage, why: RegExp][] = [
  ['a log without an entry', (image) => withLog(image, []), /its log holds no valid entry/],
  [
    'an entry with a wrong checksum',
    (image) => {
      const entry = someEntry();
      entry[60] = 1;
      return withLog(image, [entry]);
    },
    /no valid entry/,
  ],
  [
    'an entry of another log',
    (image) => withLog(image, [someEntry({ logGuid: crypto.randomUUID() })]),
    /no valid entry/,
  ],
  ['an entry number of zero', (image) => withLog(image, [someEntry({ sequenceNumber: 0n })]), /no valid entry/],
  ['a tail that is nowhere', (image) => withLog(image, [someEntry({ tail: 8192 })]), /no valid entry/],
  [
    'a file that was longer once',
    (image) => withLog(image, [someEntry({ flushedFileOffset: 5 * MIB })]),
    /is truncated: it had 5242880 bytes once, now 4194304/,
  ],
  [
    'a file that is to be made endless',
    (image) => withLog(image, [someEntry({ lastFileOffset: 2 ** 50 })]),
    /its log makes it 1125899906842624 bytes long/,
  ],
  [
    'an update of the headers',
    (image) => withLog(image, [someEntry({ sectors: [{ fileOffset: 65536, bytes: batSector() }] })]),
    /changes 4096 bytes at 65536, where it may not/,
  ],
  [
    'an update of the log',
    (image) => withLog(image, [someEntry({ sectors: [{ fileOffset: MIB + 8192, bytes: batSector() }] })]),
    /where it may not/,
  ],
  [
    'an update behind the end',
    (image) => withLog(image, [someEntry({ sectors: [{ fileOffset: 4 * MIB, bytes: batSector() }] })]),
    /where it may not/,
  ],
];

test.each(replayRefusals)('%s is refused and nothing is changed', async (_name, damage, why) => {
  const file = new JournalFile(damage(await someVhdx()));

  const error = await openVhdxFile(file).catch((reason: unknown) => reason);

  expect(error).toMatchObject({ code: 'ERR_BACKEND', message: expect.stringMatching(why) });
  expect(file.changeCount).toBe(0);
});

test('a log is replayed, also one that wraps round the end of its space', async () => {
  const image = new Uint8Array(6 * MIB);
  image.set(await someVhdx());
  image.fill(0xcc, BLOCKS_AT, 6 * MIB);
  const bat = { fileOffset: BAT_AT, bytes: batSector(present(5)) };
  const startAt = MIB - 4096;
  const entry = someEntry({ tail: startAt, sectors: [bat], flushedFileOffset: 6 * MIB, lastFileOffset: 8 * MIB });
  const file = new JournalFile(withLog(image, [entry], startAt));

  const disk = await openVhdxFile(file);

  const bytes = await readAll(disk);
  expect(bytes.slice(0, MIB).every((byte) => byte === 0xcc)).toBe(true);
  expect(bytes.slice(MIB).every((byte) => byte === 0)).toBe(true);
  expect(file.now.sizeBytes).toBe(8 * MIB);
});

test('of several sequences in a log the newest is replayed, from its tail on', async () => {
  const update = (mib: number) => [{ fileOffset: BAT_AT, bytes: batSector(present(mib)) }];
  const image = new Uint8Array(8 * MIB);
  image.set(await someVhdx());
  for (let mib = 4; mib < 8; mib++) image.fill(mib, mib * MIB, (mib + 1) * MIB);
  const lengths = { flushedFileOffset: 8 * MIB, lastFileOffset: 8 * MIB };
  const entries = [
    // Number 9 stands alone; 4 and 5 follow each other, but 5 says that only itself counts; 2 is old.
    someEntry({ ...lengths, sequenceNumber: 9n, tail: 0, sectors: update(6) }),
    someEntry({ ...lengths, sequenceNumber: 4n, tail: 8192, sectors: update(5) }),
    someEntry({ ...lengths, sequenceNumber: 5n, tail: 16384, sectors: update(7) }),
    someEntry({ ...lengths, sequenceNumber: 2n, tail: 24576, sectors: update(4) }),
  ];

  const disk = await openVhdxFile(new JournalFile(withLog(image, entries)));

  expect((await readAll(disk))[0]).toBe(6);
});

test('entries that count together are replayed in order', async () => {
  const image = new Uint8Array(8 * MIB);
  image.set(await someVhdx());
  image.fill(5, 5 * MIB, 6 * MIB);
  image.fill(6, 6 * MIB, 7 * MIB);
  const lengths = { flushedFileOffset: 8 * MIB, lastFileOffset: 8 * MIB };
  const bat = (...entries: bigint[]) => [{ fileOffset: BAT_AT, bytes: batSector(...entries) }];
  const entries = [
    someEntry({ ...lengths, sequenceNumber: 1n, tail: 0, sectors: bat(present(4)) }),
    someEntry({ ...lengths, sequenceNumber: 2n, tail: 0, sectors: bat(present(5), present(6)) }),
  ];

  const disk = await openVhdxFile(new JournalFile(withLog(image, entries)));

  const bytes = await readAll(disk);
  expect([bytes[0], bytes[MIB]]).toEqual([5, 6]);
});

test('a file that must be replayed cannot be opened read-only', async () => {
  const file = new JournalFile(withLog(await someVhdx(), [someEntry()]), { readOnly: true });

  await expect(openVhdxFile(file)).rejects.toThrow(/has a log to replay: open it for writing once/);
});

test('one broken header and one broken region table do no harm', async () => {
  const image = await someVhdx();
  image.fill(0, 64 * 1024, 68 * 1024);
  image.fill(0, 192 * 1024, 256 * 1024);

  const disk = await openVhdxFile(new JournalFile(image));

  expect(disk.sizeBytes).toBe(4 * MIB);
});

test('blocks that are absent, undefined, zero or unmapped read as zeros', async () => {
  const image = new Uint8Array(8 * MIB).fill(0xee, 4 * MIB);
  image.set(await someVhdx());
  image.set(batSector(0n, 1n | (4n << 20n), 2n, 3n | (5n << 20n)), BAT_AT);

  const disk = await openVhdxFile(new JournalFile(image));

  expect((await readAll(disk)).every((byte) => byte === 0)).toBe(true);
});

test('opening and closing without a change leaves every byte as it was', async () => {
  const image = await someVhdx();
  const file = new JournalFile(image.slice());

  const disk = await openVhdxFile(file);
  await disk.flush();
  await disk.close();

  expect(Buffer.compare(file.now.toBytes(), image)).toBe(0);
});

test('the first change gives the file new identifiers, and closing leaves no log behind', async () => {
  const file = new JournalFile(await someVhdx());
  const before = file.now.toBytes();
  const disk = await openVhdxFile(file);

  await disk.discard(0, 512);
  await disk.close();

  const after = file.now.toBytes();
  for (const at of [64 * 1024, 128 * 1024]) {
    expect(Buffer.compare(after.subarray(at + 16, at + 32), before.subarray(at + 16, at + 32))).not.toBe(0);
    expect(Buffer.compare(after.subarray(at + 32, at + 48), before.subarray(at + 32, at + 48))).not.toBe(0);
    expect(after.subarray(at + 48, at + 64)).toEqual(new Uint8Array(16));
  }
});
