import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterAll, describe, expect, test } from 'vitest';
import { BackendFault } from '../../../src/devices/scsi/block-backend.ts';
import { type FileBackendOptions, openFileBackend } from '../../../src/devices/scsi/file-backend.ts';
import { ScatterView } from '../../../src/memory/scatter-view.ts';

const folder = mkdtempSync(join(tmpdir(), 'vmbus-file-backend-'));
afterAll(() => rmSync(folder, { recursive: true }));
let files = 0;

function someFile(bytes: Uint8Array): string {
  const path = join(folder, `disk-${files++}`);
  writeFileSync(path, bytes);
  return path;
}

/** Bytes that differ from place to place. */
function somePattern(byteCount: number): Uint8Array {
  return Uint8Array.from({ length: byteCount }, (_, index) => (index * 31 + (index >>> 8) * 7) & 0xff);
}

async function someDisk(bytes: Uint8Array, options: FileBackendOptions = {}) {
  const path = someFile(bytes);
  return { path, disk: await openFileBackend(path, options) };
}

/** A view of pieces that do not touch each other, filled with 0xa5. */
function scattered(...pieceBytes: number[]): ScatterView {
  return ScatterView.over(pieceBytes.map((bytes) => new Uint8Array(bytes).fill(0xa5)));
}

describe('reading', () => {
  test('fills the pieces of a view in order', async () => {
    const pattern = somePattern(4096);
    const { disk } = await someDisk(pattern);
    const view = scattered(100, 512, 412);

    await disk.read(1024, view);

    expect(view.toBytes()).toEqual(pattern.subarray(1024, 2048));
    await disk.close();
  });

  test('fills shared memory as well', async () => {
    const pattern = somePattern(1024);
    const { disk } = await someDisk(pattern);
    const view = ScatterView.over([new Uint8Array(new SharedArrayBuffer(1024))]);

    await disk.read(0, view);

    expect(Buffer.compare(view.toBytes(), pattern)).toBe(0);
    await disk.close();
  });

  test('takes more pieces than one system call does', async () => {
    const pattern = somePattern(512 * 1500);
    const { disk } = await someDisk(pattern);
    const view = scattered(...new Array(1500).fill(512));

    await disk.read(0, view);

    expect(Buffer.compare(view.toBytes(), pattern)).toBe(0);
    await disk.close();
  });

  test('carries many transfers at once', async () => {
    const pattern = somePattern(64 * 1024);
    const { disk } = await someDisk(pattern);
    const views = Array.from({ length: 64 }, () => scattered(512, 512));

    await Promise.all(views.map((view, index) => disk.read(index * 1024, view)));

    expect(views.map((view) => view.toBytes())).toEqual(
      views.map((_, index) => pattern.subarray(index * 1024, (index + 1) * 1024)),
    );
    await disk.close();
  });
});

describe('a file that ends inside a block', () => {
  test('is shown with its last block padded by zeros, read-only', async () => {
    const pattern = somePattern(1000);
    const { disk } = await someDisk(pattern, { readOnly: true });
    const view = scattered(300, 724);

    await disk.read(0, view);

    expect([disk.sizeBytes, disk.fileBytes, disk.paddingBytes]).toEqual([1024, 1000, 24]);
    expect(view.toBytes()).toEqual(Uint8Array.from([...pattern, ...new Uint8Array(24)]));
    await disk.close();
  });

  test('cannot be opened for writing', async () => {
    await expect(someDisk(somePattern(1000))).rejects.toMatchObject({
      code: 'ERR_ARGUMENT',
      message: expect.stringContaining('1000 bytes, not a multiple of 512'),
    });
  });
});

describe('writing', () => {
  test('stores the pieces of a view in order and nothing beside them', async () => {
    const pattern = somePattern(4096);
    const { disk, path } = await someDisk(pattern);

    await disk.write(1024, ScatterView.over([new Uint8Array(500).fill(1), new Uint8Array(12).fill(2)]), false);

    const expected = pattern.slice();
    expected.fill(1, 1024, 1524);
    expected.fill(2, 1524, 1536);
    expect(new Uint8Array(readFileSync(path))).toEqual(expected);
    await disk.close();
  });

  test('with unit access, and a flush, end well on a real file', async () => {
    const { disk, path } = await someDisk(somePattern(1024));

    await disk.write(512, ScatterView.over([new Uint8Array(512).fill(9)]), true);
    await disk.flush();

    expect(readFileSync(path)[1023]).toBe(9);
    await disk.close();
  });

  test('to a read-only file is refused and changes nothing', async () => {
    const pattern = somePattern(1024);
    const { disk, path } = await someDisk(pattern, { readOnly: true });

    await expect(disk.write(0, scattered(512), false)).rejects.toMatchObject({ fault: BackendFault.ReadOnly });

    expect(new Uint8Array(readFileSync(path))).toEqual(pattern);
    await disk.close();
  });
});

test.each([
  [1024, 512],
  [512, 1024],
  [2 ** 40, 512],
  [-512, 512],
])('bytes from %i, %i of them, are outside a disk of 1024 and never touched', async (offset, byteCount) => {
  const { disk, path } = await someDisk(somePattern(1024));

  await expect(disk.read(offset, scattered(byteCount))).rejects.toMatchObject({ fault: BackendFault.OutOfRange });
  await expect(disk.write(offset, scattered(byteCount), false)).rejects.toMatchObject({
    fault: BackendFault.OutOfRange,
  });

  expect(readFileSync(path)).toHaveLength(1024);
  await disk.close();
});

test('a file that shrank under us is a read error, not an endless loop', async () => {
  const { disk, path } = await someDisk(somePattern(4096));
  truncateSync(path, 1000);

  await expect(disk.read(0, scattered(2048))).rejects.toMatchObject({ fault: BackendFault.Read, code: 'ERR_BACKEND' });

  await disk.close();
});

test('close waits for what is under way', async () => {
  const pattern = somePattern(1024 * 1024);
  const { disk } = await someDisk(pattern);
  const view = scattered(1024 * 1024);

  const reading = disk.read(0, view);
  await disk.close();
  await reading;

  expect(Buffer.compare(view.toBytes(), pattern)).toBe(0);
});

test('close waits between a write and the flush that its unit access asks for', async () => {
  const { disk, path } = await someDisk(somePattern(1024));

  const writing = disk.write(0, ScatterView.over([new Uint8Array(512).fill(9)]), true);
  await disk.close();
  await writing;

  expect(readFileSync(path)[0]).toBe(9);
});

test('reads and writes at random keep the file equal to a plain array', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(
        fc.record({
          isWrite: fc.boolean(),
          block: fc.nat(15),
          blocks: fc.integer({ min: 1, max: 4 }),
          fill: fc.nat(255),
        }),
        { maxLength: 20 },
      ),
      async (moves) => {
        const model = somePattern(16 * 512);
        const { disk, path } = await someDisk(model);

        for (const { isWrite, block, fill, blocks } of moves) {
          const count = Math.min(blocks, 16 - block);
          const view = scattered(count * 512 - 8, 8);
          if (isWrite) {
            view.fill(fill);
            await disk.write(block * 512, view, false);
            model.fill(fill, block * 512, (block + count) * 512);
          } else {
            await disk.read(block * 512, view);
            expect(view.toBytes()).toEqual(model.subarray(block * 512, (block + count) * 512));
          }
        }

        expect(new Uint8Array(readFileSync(path))).toEqual(model);
        await disk.close();
        rmSync(path);
      },
    ),
    { numRuns: 25 },
  );
});

describe('a path that is no disk image gets one clear line', () => {
  test.each([
    ['a missing file', () => join(folder, 'nowhere'), 'ERR_BACKEND', /cannot open .*nowhere: no such file/],
    ['a folder', () => folder, 'ERR_ARGUMENT', /is a folder, not a disk image/],
    ['an empty file', () => someFile(new Uint8Array(0)), 'ERR_ARGUMENT', /is empty/],
    ['a device', () => '/dev/null', 'ERR_ARGUMENT', /is not an ordinary file/],
    ['a file as a folder', () => join(someFile(somePattern(512)), 'x'), 'ERR_BACKEND', /not a folder/],
  ])('%s', async (_what, path, code, message) => {
    await expect(openFileBackend(path(), { readOnly: true })).rejects.toMatchObject({
      code,
      message: expect.stringMatching(message),
    });
  });

  test('a folder opened for writing', async () => {
    await expect(openFileBackend(folder)).rejects.toMatchObject({ message: expect.stringContaining('is a folder') });
  });

  test('a pipe, without waiting for its other end', async () => {
    const path = join(folder, 'pipe');
    execFileSync('mkfifo', [path]);

    await expect(openFileBackend(path, { readOnly: true })).rejects.toMatchObject({ code: 'ERR_ARGUMENT' });
  });

  test('a block size that guests do not know', async () => {
    await expect(openFileBackend(someFile(somePattern(1024)), { blockBytes: 256 })).rejects.toMatchObject({
      code: 'ERR_ARGUMENT',
    });
  });
});
