import { execFileSync } from 'node:child_process';
import { mkdir, mkdtemp, open, readFile, rm, stat, symlink, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterAll, expect, test } from 'vitest';
import { blockDeviceFacts, deviceName } from '../../src/images/block-device.ts';
import { FlatImage } from '../../src/images/flat-image.ts';
import { NodeFile } from '../../src/images/node-file.ts';
import { openRawImage } from '../../src/images/raw-image.ts';
import { ScatterView } from '../../src/memory/scatter-view.ts';
import { diskCommands, pattern, readAll, runAgainstModel, scattered } from './disk-model.ts';
import { JournalFile } from './journal-file.ts';

const folder = await mkdtemp(join(tmpdir(), 'vmbus-raw-'));
afterAll(() => rm(folder, { recursive: true }));

const BLOCKS = 200;

async function someFile(name: string, bytes: Uint8Array | number): Promise<string> {
  const path = join(folder, name);
  await writeFile(path, typeof bytes === 'number' ? '' : bytes);
  if (typeof bytes === 'number') await truncate(path, bytes);
  return path;
}

test.each([true, false])('a raw disk holds what an array of bytes would hold (holes: %s)', async (canPunch) => {
  await fc.assert(
    fc.asyncProperty(diskCommands(BLOCKS, 8), async (commands) => {
      let file = new JournalFile(new Uint8Array(BLOCKS * 512), { canPunch });
      const open = async () => {
        file = file.reopened();
        return new FlatImage(file, { dataBytes: BLOCKS * 512, blockBytes: 512, identity: 'x' });
      };

      await runAgainstModel(commands, open, new Uint8Array(BLOCKS * 512));
    }),
    { numRuns: 30 },
  );
});

test('a raw file is read and written through the system', async () => {
  const path = await someFile('plain.img', 64 * 1024);
  const disk = await openRawImage(path);

  await Promise.all([
    disk.write(0, scattered(pattern(1, 0, 8192)), true),
    disk.write(32768, scattered(pattern(2, 32768, 16384)), false),
  ]);
  await disk.writeZeroes(512, 512, true, true);
  await disk.flush();

  const expected = new Uint8Array(65536);
  expected.set(pattern(1, 0, 8192));
  expected.set(pattern(2, 32768, 16384), 32768);
  expected.fill(0, 512, 1024);
  expect(Buffer.compare(await readAll(disk), expected)).toBe(0);
  await disk.close();
  expect(Buffer.compare(await readFile(path), expected)).toBe(0);
  await expect(disk.flush()).rejects.toThrow('the image is closed');
});

test('more pieces than one system call takes are all moved', async () => {
  const path = await someFile('pieces.img', 2048 * 512);
  const disk = await openRawImage(path);
  const pieces = Array.from({ length: 2048 }, (_, block) => pattern(block & 255, block * 512, 512));

  await disk.write(0, ScatterView.over(pieces), false);

  expect(Buffer.compare(await readAll(disk), Buffer.concat(pieces))).toBe(0);
  await disk.close();
});

test('without a way to make holes a discard does nothing, and says so', async () => {
  const path = await someFile('keep.img', new Uint8Array(4096).fill(7));
  const disk = await openRawImage(path);

  await disk.discard(0, 4096);

  expect(disk).toMatchObject({ discardGranularityBytes: 0, discardReadsZeros: false });
  expect((await readAll(disk)).every((byte) => byte === 7)).toBe(true);
  await disk.close();
});

test('with a way to make holes a discard frees the space', async () => {
  const path = await someFile('holes.img', new Uint8Array(2 ** 20).fill(7));
  const punchHole = (_fd: number, offsetBytes: number, byteCount: number) => {
    execFileSync('fallocate', ['--punch-hole', '--offset', String(offsetBytes), '--length', String(byteCount), path]);
  };
  const before = (await stat(path)).blocks;
  const disk = await openRawImage(path, { punchHole });

  await disk.discard(65536, 2 ** 19);
  await disk.flush();

  expect(disk).toMatchObject({ discardGranularityBytes: 4096, discardReadsZeros: true });
  const bytes = await readAll(disk);
  expect(bytes.subarray(65536, 65536 + 2 ** 19).every((byte) => byte === 0)).toBe(true);
  expect(bytes.subarray(65536 + 2 ** 19).every((byte) => byte === 7)).toBe(true);
  await disk.close();
  expect((await stat(path)).blocks).toBeLessThanOrEqual(before - 1024);
});

test('a file system that knows no holes gets zeros written', async () => {
  const path = await someFile('noholes.img', new Uint8Array(8192).fill(7));
  let calls = 0;
  const punchHole = () => {
    calls++;
    throw Object.assign(new Error('no'), { code: 'EOPNOTSUPP' });
  };
  const disk = await openRawImage(path, { punchHole });

  await disk.discard(0, 4096);
  await disk.discard(4096, 512);

  expect((await readAll(disk)).indexOf(7)).toBe(4608);
  expect(calls).toBe(1);
  await disk.close();
});

test('a hole that fails for another reason is an error', async () => {
  const path = await someFile('badholes.img', new Uint8Array(8192).fill(7));
  const punchHole = () => Promise.reject(Object.assign(new Error('no'), { cause: { code: 'ENOSPC' } }));
  const disk = await openRawImage(path, { punchHole });

  await expect(disk.discard(0, 4096)).rejects.toMatchObject({ fault: 'no space' });
  await disk.close();
});

test('a read-only file may end inside a block, which is padded with zeros', async () => {
  const path = await someFile('short.iso', new Uint8Array(3000).fill(9));
  const disk = await openRawImage(path, { readOnly: true, blockBytes: 2048 });

  const bytes = await readAll(disk);

  expect(disk).toMatchObject({ sizeBytes: 4096, paddingBytes: 1096, readOnly: true });
  expect(bytes.indexOf(0)).toBe(3000);
  await expect(disk.write(0, ScatterView.over([new Uint8Array(2048)]), false)).rejects.toMatchObject({
    fault: 'read only',
  });
  await expect(disk.discard(0, 2048)).rejects.toMatchObject({ fault: 'read only' });
  await disk.close();
});

test.each<[name: string, make: () => Promise<string>, why: RegExp]>([
  ['an empty file', () => someFile('empty', 0), /is empty/],
  ['a folder', async () => folder, /it is a folder/],
  ['nothing', async () => join(folder, 'nothing'), /no such file/],
  ['half a block', () => someFile('half', 700), /has 700 bytes, not a multiple of 512/],
  ['a terminal', async () => '/dev/null', /is not an ordinary file/],
  [
    'a link to nothing',
    async () => {
      await symlink('/nowhere/at/all', join(folder, 'link'));
      return join(folder, 'link');
    },
    /no such file/,
  ],
])('%s is refused with one line', async (_name, make, why) => {
  const error = await openRawImage(await make()).catch((reason: unknown) => reason);

  expect(error).toMatchObject({ code: 'ERR_BACKEND', message: expect.stringMatching(why) });
  expect((error as Error).message).not.toContain('\n');
});

test('a pipe is refused at once', async () => {
  const path = join(folder, 'pipe');
  execFileSync('mkfifo', [path]);

  await expect(openRawImage(path)).rejects.toThrow(/is not an ordinary file/);
  await expect(openRawImage(path, { readOnly: true })).rejects.toThrow(/is not an ordinary file/);
});

test('ranges outside the disk are refused before anything is touched', async () => {
  const path = await someFile('range.img', 4096);
  const disk = await openRawImage(path);
  const block = () => ScatterView.over([new Uint8Array(512)]);

  for (const at of [-512, 4096, 4096 + 512, 2 ** 60]) {
    await expect(disk.read(at, block())).rejects.toMatchObject({ fault: 'out of range' });
    await expect(disk.write(at, block(), false)).rejects.toMatchObject({ fault: 'out of range' });
    await expect(disk.discard(at, 512)).rejects.toMatchObject({ fault: 'out of range' });
    await expect(disk.writeZeroes(at, 512, true, false)).rejects.toMatchObject({ fault: 'out of range' });
  }
  await disk.close();
  expect((await stat(path)).size).toBe(4096);
});

test('a file that shrinks while it is open fails reads, and nothing else', async () => {
  const path = await someFile('shrink.img', 8192);
  const disk = await openRawImage(path);
  await truncate(path, 4096);

  await expect(readAll(disk)).rejects.toMatchObject({
    fault: 'read',
    message: expect.stringContaining('ends at 4096'),
  });

  await disk.read(0, ScatterView.over([new Uint8Array(4096)]));
  await disk.close();
});

test('after a flush that failed no flush succeeds: the system has forgotten what it lost', async () => {
  // fdatasync fails on such a device, as it would on a broken disk.
  const file = new NodeFile(await open('/dev/null', 'r+'), 'lost.img', false, undefined, undefined);
  const first = await file.sync().catch((error: unknown) => error);

  expect(first).toMatchObject({ code: 'ERR_BACKEND' });
  await expect(file.sync()).rejects.toBe(first);
  await file.close();
});

test('the kernel tells the size and the block of a device, and of a partition', async () => {
  const disk = join(folder, 'sys', '254:0');
  await mkdir(join(disk, 'queue'), { recursive: true });
  await writeFile(join(disk, 'size'), '2048\n');
  await writeFile(join(disk, 'ro'), '1\n');
  await writeFile(join(disk, 'queue', 'logical_block_size'), '4096\n');
  const partition = join(disk, 'vda1');
  await mkdir(partition);
  await writeFile(join(partition, 'size'), '100\n');
  await symlink(partition, join(folder, 'sys', '254:1'));

  const sysfs = join(folder, 'sys');

  expect(await blockDeviceFacts('/dev/vda', 254 * 256, sysfs)).toEqual({
    sizeBytes: 2 ** 20,
    logicalBlockBytes: 4096,
    isReadOnly: true,
  });
  expect(await blockDeviceFacts('/dev/vda1', 254 * 256 + 1, sysfs)).toMatchObject({
    sizeBytes: 51200,
    logicalBlockBytes: 4096,
    isReadOnly: false,
  });
  await expect(blockDeviceFacts('/dev/x', 9 * 256, sysfs)).rejects.toThrow(/device of unknown size/);
});

test.each([
  [0xfe00, '254:0'],
  [0x0801, '8:1'],
  [0x10300100, '1:66304'],
  [2 ** 44 + 0x0801, '4104:1'],
])('device number %i is %s', (number, name) => {
  expect(deviceName(number)).toBe(name);
});
