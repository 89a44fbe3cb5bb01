import { existsSync } from 'node:fs';
import { mkdtemp, readdir, readFile, rm, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterAll, expect, test } from 'vitest';
import { MemoryBackend } from '../../../src/devices/scsi/memory-backend.ts';
import { SystemError } from '../../../src/errors.ts';
import { crc32cWithout } from '../../../src/images/crc32c.ts';
import { createOverlay, writeEmptyOverlay } from '../../../src/images/overlay/create.ts';
import { openOverlay, openOverlayFile } from '../../../src/images/overlay/overlay-image.ts';
import { pattern, readAll, scattered } from '../disk-model.ts';
import { JournalFile } from '../journal-file.ts';
import { someBase } from '../some-base.ts';

const folder = await mkdtemp(join(tmpdir(), 'vmbus-overlay-'));
afterAll(() => rm(folder, { recursive: true }));

const BLOCKS = 400;

/** The bytes of a fresh overlay over `someBase(BLOCKS)`. */
async function someOverlay(): Promise<Uint8Array> {
  const file = new JournalFile();
  await writeEmptyOverlay(file, someBase(BLOCKS));
  return file.now.toBytes();
}

/** Changes the header, with a right checksum. */
const header =
  (change: (view: DataView) => void) =>
  (image: Uint8Array): Uint8Array => {
    const page = image.subarray(0, 4096);
    const view = new DataView(page.buffer, page.byteOffset, 4096);
    change(view);
    view.setUint32(8, crc32cWithout(page, 8), true);
    return image;
  };

test.each<[name: string, damage: (image: Uint8Array) => Uint8Array, why: RegExp]>([
  ['an empty file', () => new Uint8Array(0), /is no overlay: 0 bytes are too few/],
  ['zeros', (image) => new Uint8Array(image.length), /is no overlay: it does not begin as one/],
  ['a wrong checksum', (image) => image.fill(9, 100, 101), /checksum of its header is wrong/],
  ['another version', header((view) => view.setUint32(12, 2, true)), /overlay of version 2/],
  ['clusters too small', header((view) => view.setUint32(40, 4096, true)), /cluster size is 4096/],
  ['clusters too large', header((view) => view.setUint32(40, 2 ** 30, true)), /cluster size is 1073741824/],
  ['clusters of an odd size', header((view) => view.setUint32(40, 65537, true)), /cluster size is 65537/],
  ['another disk size', header((view) => view.setBigUint64(16, 2n ** 60n, true)), /belongs to another base: it is of/],
  ['another block size', header((view) => view.setUint32(44, 4096, true)), /its blocks have 4096 bytes/],
  ['a table elsewhere', header((view) => view.setBigUint64(24, 8192n, true)), /names impossible places/],
  ['data elsewhere', header((view) => view.setBigUint64(32, 0n, true)), /names impossible places/],
  [
    'another base',
    header((view) => view.setUint32(64, 1, true)),
    /belongs to another base, or the base was written to/,
  ],
  ['a lost end', (image) => image.slice(0, -512), /is truncated: \d+ of \d+ bytes/],
  ['a longer end', (image) => new Uint8Array(Buffer.concat([image, image.subarray(0, 1)])), /is too long/],
  ['an unknown state', (image) => image.fill(1, 4097, 4098), /cluster 1 has the state 0x1/],
  ['a state behind the last cluster', (image) => image.fill(0xa7, 5000, 5001), /cluster 904 has the state 0xa7/],
])('an overlay with %s is refused with one line', async (_name, damage, why) => {
  const file = new JournalFile(damage(await someOverlay()), { path: 'over.lay' });

  const error = await openOverlayFile(file, someBase(BLOCKS)).catch((reason: unknown) => reason);

  expect(error).toMatchObject({ code: 'ERR_BACKEND', message: expect.stringMatching(why) });
  expect((error as Error).message).toMatch(/^over\.lay [^\n]*$/);
});

test('whatever bytes are changed, an overlay opens and reads, or is refused with one line', async () => {
  const image = await someOverlay();
  const place = fc.oneof(fc.integer({ min: 0, max: 80 }), fc.integer({ min: 4096, max: 4110 }));
  const changes = fc.array(fc.tuple(place, fc.integer({ min: 0, max: 255 })), { minLength: 1, maxLength: 4 });
  await fc.assert(
    fc.asyncProperty(changes, fc.boolean(), async (list, rightSum) => {
      const damaged = image.slice();
      for (const [at, value] of list) damaged[at] = value;
      if (rightSum) header(() => {})(damaged);

      const outcome = await openOverlayFile(new JournalFile(damaged), someBase(BLOCKS)).then(
        readAll,
        (e: unknown) => e,
      );

      if (outcome instanceof Error) expect(outcome).toBeInstanceOf(SystemError);
    }),
    { numRuns: 200 },
  );
});

test('a base that is open for writing is refused', async () => {
  const base = new MemoryBackend(new Uint8Array(512 * BLOCKS));

  await expect(openOverlayFile(new JournalFile(await someOverlay()), base)).rejects.toThrow(/reading only/);
});

test('an overlay in files: writes stay in the delta, the base is not touched, a move keeps the identity', async () => {
  const path = join(folder, 'disk.delta');
  await createOverlay(path, someBase(BLOCKS), { basePath: '/somewhere/base.img' });
  const disk = await openOverlay(path, someBase(BLOCKS));
  const { identity } = disk;
  await disk.write(1024, scattered(pattern(1, 1024, 2048)), true);
  await disk.close();

  const again = await openOverlay(path, someBase(BLOCKS));

  const expected = someBase(BLOCKS).bytes.slice();
  expected.set(pattern(1, 1024, 2048), 1024);
  expect(Buffer.compare(await readAll(again), expected)).toBe(0);
  expect(again.identity).toBe(identity);
  expect(again.inspect()).toMatchObject({ storedClusters: 1, zeroClusters: 0, dirtyPages: 0 });
  await again.close();
  expect((await readFile(path)).includes('/somewhere/base.img')).toBe(true);
});

test('an overlay is never made over a file that exists', async () => {
  const path = join(folder, 'precious');
  await writeFile(path, 'precious');

  await expect(createOverlay(path, someBase(BLOCKS))).rejects.toThrow(/cannot open .*precious: it exists already/);

  expect(await readFile(path, 'utf8')).toBe('precious');
});

test('a making that fails leaves no file behind', async () => {
  const path = join(folder, 'unmade');
  const failing = Object.assign(new MemoryBackend(new Uint8Array(512), { readOnly: true }), {
    read: () => Promise.reject(new SystemError('ERR_BACKEND', 'the base cannot be read')),
  });

  await expect(createOverlay(path, failing)).rejects.toThrow('the base cannot be read');

  expect(existsSync(path)).toBe(false);
  expect((await readdir(folder)).filter((name) => name.startsWith('unmade'))).toEqual([]);
});

test.each([1000, 32 * 1024, 8 * 1024 * 1024])('clusters of %i bytes are no clusters', async (clusterBytes) => {
  await expect(writeEmptyOverlay(new JournalFile(), someBase(8), { clusterBytes })).rejects.toMatchObject({
    code: 'ERR_ARGUMENT',
  });
});

test('opening a truncated delta file closes the base as well', async () => {
  const path = join(folder, 'short.delta');
  const base = someBase(BLOCKS);
  let isClosed = false;
  const watched = Object.assign(base, {
    close: async () => {
      isClosed = true;
    },
  });
  await createOverlay(path, base);
  await truncate(path, 10_000);

  await expect(openOverlay(path, watched)).rejects.toThrow(/is truncated/);

  expect(isClosed).toBe(true);
});

test('a flush that failed is made good by the next one that does not', async () => {
  const file = new JournalFile(await someOverlay());
  const disk = await openOverlayFile(file, someBase(BLOCKS));
  await disk.write(0, scattered(pattern(3, 0, 512)), false);
  file.failing = 'sync';
  await expect(disk.flush()).rejects.toThrow('sync fails');
  file.failing = undefined;

  await disk.flush();

  const after = await openOverlayFile(new JournalFile(file.cut(file.changeCount, () => false)), someBase(BLOCKS));
  expect((await readAll(after)).slice(0, 512)).toEqual(pattern(3, 0, 512));
});

test('a write that failed leaves the cluster as it was', async () => {
  const file = new JournalFile(await someOverlay());
  const disk = await openOverlayFile(file, someBase(BLOCKS));
  file.failing = 'write';
  await expect(disk.write(0, scattered(new Uint8Array(512)), false)).rejects.toThrow('write fails');
  file.failing = undefined;

  await disk.flush();

  expect(Buffer.compare(await readAll(disk), someBase(BLOCKS).bytes)).toBe(0);
});
