/** Our images read, checked and written by QEMU, and QEMU's by us. */
import { execFile } from 'node:child_process';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, expect, test } from 'vitest';
import { openImage } from '../../src/images/open-image.ts';
import { createVhdImage } from '../../src/images/vhd/vhd-image.ts';
import { type CreateVhdxOptions, createVhdxImage, writeEmptyVhdx } from '../../src/images/vhdx/create.ts';
import { openVhdxFile, openVhdxImage } from '../../src/images/vhdx/open.ts';
import { pattern, readAll, scattered } from './disk-model.ts';
import { JournalFile } from './journal-file.ts';
import { everyCut } from './power-cut.ts';
import { requireTool } from './require-tool.ts';

const run = promisify(execFile);
const folder = await mkdtemp(join(tmpdir(), 'vmbus-image-tools-'));
afterAll(() => rm(folder, { recursive: true }));

const MIB = 2 ** 20;
let names = 0;
const fresh = (suffix: string) => join(folder, `${names++}.${suffix}`);

/** The disk in an image as QEMU reads it. */
async function asQemuReads(path: string, format: string): Promise<Buffer> {
  const raw = fresh('raw');
  // QEMU believes the size of a VHD only of makers that it knows; of others it takes the geometry, which is rounded.
  const size = format === 'vpc' ? ',force_size_calc=current_size' : '';
  await run('qemu-img', ['convert', '--image-opts', '-O', 'raw', `driver=${format},file.filename=${path}${size}`, raw]);
  const bytes = await readFile(raw);
  await rm(raw);
  return bytes;
}

const shapes: CreateVhdxOptions[] = [
  { diskBytes: 9 * MIB + 512, blockBytes: MIB },
  { diskBytes: 40 * MIB },
  { diskBytes: 9 * MIB + 512, blockBytes: 2 * MIB, fixed: true },
];

test.for(shapes)(
  'QEMU finds no fault with a VHDX that we made, wrote and discarded from (%o)',
  async (shape, context) => {
    requireTool(context, 'qemu-img');
    const path = fresh('vhdx');
    await createVhdxImage(path, shape);
    const disk = await openVhdxImage(path);
    const expected = Buffer.alloc(shape.diskBytes);
    const places: [at: number, byteCount: number][] = [
      [512, 1024],
      [3 * MIB - 4096, 8192],
      [5 * MIB, 2 * MIB],
      [shape.diskBytes - 512, 512],
    ];
    for (const [at, byteCount] of places) {
      expected.set(pattern(0x77, at, byteCount), at);
      await disk.write(at, scattered(pattern(0x77, at, byteCount)), false);
    }
    await disk.flush();
    expected.fill(0, 5 * MIB, 6 * MIB + 512);
    await disk.discard(5 * MIB, MIB + 512);
    await disk.close();

    const checked = await run('qemu-img', ['check', '-f', 'vhdx', path]);

    expect(checked.stdout).toContain('No errors were found');
    expect(Buffer.compare(await asQemuReads(path, 'vhdx'), expected)).toBe(0);
  },
);

test('QEMU goes on where we stopped, and we go on where QEMU stopped', async (context) => {
  requireTool(context, 'qemu-img', 'qemu-io');
  const path = fresh('vhdx');
  await createVhdxImage(path, { diskBytes: 8 * MIB, blockBytes: MIB });
  const first = await openVhdxImage(path);
  await first.write(0, scattered(pattern(1, 0, 4096)), false);
  await first.discard(0, MIB);
  await first.write(2 * MIB, scattered(pattern(2, 2 * MIB, 4096)), false);
  await first.close();

  await run('qemu-io', ['-f', 'vhdx', '-c', 'write -P 3 0 64k', '-c', 'write -P 4 7M 1M', path]);
  const second = await openVhdxImage(path);
  await second.write(MIB, scattered(pattern(5, MIB, 4096)), false);
  await second.close();

  const expected = Buffer.alloc(8 * MIB);
  expected.fill(3, 0, 65536);
  expected.fill(4, 7 * MIB);
  expected.set(pattern(2, 2 * MIB, 4096), 2 * MIB);
  expected.set(pattern(5, MIB, 4096), MIB);
  expect(Buffer.compare(await asQemuReads(path, 'vhdx'), expected)).toBe(0);
});

test.for([
  ['vhdx', 'subformat=dynamic,block_size=1M'],
  ['vhdx', 'subformat=dynamic'],
  ['vhdx', 'subformat=fixed,block_size=2M'],
  ['vpc', 'subformat=fixed,force_size'],
] as const)('we read and write what QEMU made: %s %s', async ([format, options], context) => {
  requireTool(context, 'qemu-img');
  const [raw, path] = [fresh('raw'), fresh(format)];
  const bytes = pattern(0x42, 0, 10 * MIB);
  bytes.fill(0, 4 * MIB, 8 * MIB);
  await writeFile(raw, bytes);
  await run('qemu-img', ['convert', '-f', 'raw', '-O', format, '-o', options, raw, path]);

  const disk = await openImage({ path });
  const before = await readAll(disk);
  await disk.write(6 * MIB, scattered(pattern(9, 6 * MIB, 8192)), true);
  await disk.close();

  expect(Buffer.compare(before, bytes)).toBe(0);
  bytes.set(pattern(9, 6 * MIB, 8192), 6 * MIB);
  expect(Buffer.compare(await asQemuReads(path, format), bytes)).toBe(0);
});

test('we open what a QEMU left that did not end well', async (context) => {
  requireTool(context, 'qemu-img', 'qemu-io');
  const path = fresh('vhdx');
  await run('qemu-img', ['create', '-f', 'vhdx', '-o', 'block_size=1M', path, '8M']);
  // "abort" ends the process at once, with the image open.
  const commands = ['write -P 7 0 64k', 'write -P 8 3M 64k', 'flush', 'abort'];
  const ended = await run('qemu-io', ['-f', 'vhdx', ...commands.flatMap((one) => ['-c', one]), path]).catch((e) => e);
  expect(ended).toMatchObject({ signal: 'SIGABRT' });

  const disk = await openVhdxImage(path);

  const expected = Buffer.alloc(8 * MIB);
  expected.fill(7, 0, 65536);
  expected.fill(8, 3 * MIB, 3 * MIB + 65536);
  expect(Buffer.compare(await readAll(disk), expected)).toBe(0);
  await disk.close();
  expect((await run('qemu-img', ['check', '-f', 'vhdx', path])).stdout).toContain('No errors were found');
});

test('QEMU replays the log that we left at a cut', async (context) => {
  requireTool(context, 'qemu-img');
  const file = new JournalFile();
  await writeEmptyVhdx(file, { diskBytes: 4 * MIB, blockBytes: MIB });
  const recorded = new JournalFile(file.now);
  const disk = await openVhdxFile(recorded);
  await disk.write(MIB, scattered(pattern(7, MIB, 4096)), false);
  await disk.flush();
  const flushedAt = recorded.changeCount;
  await disk.write(2 * MIB, scattered(pattern(8, 2 * MIB, 4096)), false);
  await disk.flush();
  const cuts = [...everyCut(recorded)].filter(({ where, name }) => where >= flushedAt && name.length > 0);
  // The first and the last subset of each place: nothing that is at stake survives, or all of it.
  const some = cuts.filter(
    (cut, index) => cuts[index - 1]?.where !== cut.where || cuts[index + 1]?.where !== cut.where,
  );

  for (const { name, left } of some) {
    const path = fresh('vhdx');
    await writeFile(path, left.toBytes());
    await run('qemu-img', ['check', '-r', 'all', '-f', 'vhdx', path]);

    const bytes = await asQemuReads(path, 'vhdx');
    expect(bytes.subarray(MIB, MIB + 4096).equals(pattern(7, MIB, 4096)), name).toBe(true);
    await rm(path);
  }

  expect(some.length).toBeGreaterThan(5);
});

test('QEMU reads a VHD that we made', async (context) => {
  requireTool(context, 'qemu-img');
  const path = fresh('vhd');
  await createVhdImage(path, 10 * MIB, 1_700_000_000);
  const disk = await openImage({ path });
  await disk.write(MIB, scattered(pattern(6, MIB, 8192)), true);
  await disk.close();

  const bytes = await asQemuReads(path, 'vpc');

  const expected = Buffer.alloc(10 * MIB);
  expected.set(pattern(6, MIB, 8192), MIB);
  expect(Buffer.compare(bytes, expected)).toBe(0);
});
