import { execFileSync } from 'node:child_process';
import { mkdtemp, readFile, rm, stat, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, test } from 'vitest';
import { detectFormat } from '../../src/images/detect-format.ts';
import { openImage } from '../../src/images/open-image.ts';
import { createOverlay } from '../../src/images/overlay/create.ts';
import { createVhdImage } from '../../src/images/vhd/vhd-image.ts';
import { createVhdxImage } from '../../src/images/vhdx/create.ts';
import { pattern, readAll, scattered } from './disk-model.ts';
import { someBase } from './some-base.ts';

const folder = await mkdtemp(join(tmpdir(), 'vmbus-open-'));
afterAll(() => rm(folder, { recursive: true }));

const MIB = 2 ** 20;
let names = 0;

async function someRaw(start: Uint8Array = new Uint8Array(0), at = 0): Promise<string> {
  const path = join(folder, `raw-${names++}.img`);
  const bytes = new Uint8Array(MIB);
  bytes.set(start, at);
  await writeFile(path, bytes);
  return path;
}

async function someVhdx(): Promise<string> {
  const path = join(folder, `disk-${names++}.vhdx`);
  await createVhdxImage(path, { diskBytes: 8 * MIB, blockBytes: MIB });
  return path;
}

const text = (value: string) => new TextEncoder().encode(value);

test('each kind of image is told from the others by its bytes', async () => {
  const vhd = join(folder, 'disk.vhd');
  await createVhdImage(vhd, MIB, 0);
  const delta = join(folder, 'disk.delta');
  await createOverlay(delta, someBase(100));
  const paths = [
    await someRaw(),
    await someVhdx(),
    vhd,
    delta,
    await someRaw(text('conectix')),
    await someRaw(Uint8Array.of(0x51, 0x46, 0x49, 0xfb)),
    await someRaw(text('KDMV')),
    await someRaw(Uint8Array.of(0x7f, 0x10, 0xda, 0xbe), 64),
  ];

  const formats = await Promise.all(paths.map((path) => detectFormat(path)));

  expect(formats).toEqual(['raw', 'vhdx', 'vhd', 'overlay', 'vhd', 'foreign:qcow', 'foreign:vmdk', 'foreign:vdi']);
});

test('a file of a few bytes is raw', async () => {
  const path = join(folder, 'tiny');
  await writeFile(path, 'vhdx');

  expect(await detectFormat(path)).toBe('raw');
});

test.each([
  ['vhdx', () => someVhdx()],
  ['raw', () => someRaw()],
])('an overlay over a %s image is made at first, and found again', async (_name, make) => {
  const path = await make();
  const overlay = `${path}.delta`;
  const before = await readFile(path);
  const disk = await openImage({ path, overlay });
  await disk.write(4096, scattered(pattern(5, 4096, 512)), true);
  await disk.close();

  const again = await openImage({ path, overlay, readOnly: true });

  expect((await readAll(again)).slice(4096, 4608)).toEqual(pattern(5, 4096, 512));
  expect(again.readOnly).toBe(true);
  expect(again.identity).toMatch(/^overlay:/);
  await again.close();
  expect(Buffer.compare(await readFile(path), before)).toBe(0);
});

test('an overlay is not made for a read-only disk', async () => {
  const path = await someRaw();

  await expect(openImage({ path, overlay: `${path}.delta`, readOnly: true })).rejects.toThrow(/no such file/);
});

test('a file that is no overlay is not taken for one, nor made into one', async () => {
  const [path, other] = [await someRaw(), await someRaw(text('precious'))];

  await expect(openImage({ path, overlay: other })).rejects.toThrow(/is no overlay/);

  expect((await readFile(other)).subarray(0, 8).toString()).toBe('precious');
});

test.each([
  ['an image as its own overlay', async () => ({ path: '/tmp/x', overlay: '/tmp/../tmp/x' }), /its own overlay/],
  ['a qcow image', async () => ({ path: await someRaw(Uint8Array.of(0x51, 0x46, 0x49, 0xfb)) }), /is a qcow image/],
  ['blocks for a VHDX', async () => ({ path: await someVhdx(), blockBytes: 4096 }), /has its own block size/],
  ['an overlay alone', async () => ({ path: join(folder, 'disk.delta') }), /is an overlay: name the image under it/],
  ['a raw file as VHDX', async () => ({ path: await someRaw(), format: 'vhdx' as const }), /is no VHDX/],
  ['a block size that is none', async () => ({ path: await someRaw(), blockBytes: 513 }), /block size 513/],
])('%s is refused', async (_name, spec, why) => {
  await expect(openImage(await spec())).rejects.toThrow(why);
});

test('a format that is named is not guessed', async () => {
  const path = await someRaw(text('vhdxfile'));

  const disk = await openImage({ path, format: 'raw', blockBytes: 4096, identity: 'mine' });

  expect(disk).toMatchObject({ sizeBytes: MIB, blockBytes: 4096, identity: 'mine' });
  await disk.close();
});

test('the space of a discarded overlay cluster goes back to the file system', async () => {
  const path = join(folder, 'big.img');
  await writeFile(path, '');
  await truncate(path, 16 * MIB);
  const overlay = `${path}.delta`;
  const punchHole = (_fd: number, offset: number, length: number) => {
    execFileSync('fallocate', ['--punch-hole', '--offset', String(offset), '--length', String(length), overlay]);
  };
  const disk = await openImage({ path, overlay, punchHole });
  await disk.write(0, scattered(new Uint8Array(4 * MIB).fill(6)), true);
  const full = (await stat(overlay)).blocks;

  await disk.discard(0, 4 * MIB);
  await disk.close();

  expect((await stat(overlay)).blocks).toBeLessThan(full - 4096);
});
