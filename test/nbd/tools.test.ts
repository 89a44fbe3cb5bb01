/** The server against clients that others wrote: libnbd, QEMU, fio. */
import { execFile } from 'node:child_process';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, expect, type TestContext, test } from 'vitest';
import type { DiscardingBackend } from '../../src/devices/scsi/block-backend.ts';
import { openRawImage } from '../../src/images/raw-image.ts';
import { createVhdxImage } from '../../src/images/vhdx/create.ts';
import { openVhdxImage } from '../../src/images/vhdx/open.ts';
import { ScatterView } from '../../src/memory/scatter-view.ts';
import type { NbdExport } from '../../src/nbd/nbd-export.ts';
import { serveNbd } from '../../src/nbd/server.ts';
import { pattern, readAll } from '../images/disk-model.ts';
import { requireTool } from '../images/require-tool.ts';
import { someExport } from './some-export.ts';

const run = promisify(execFile);
const folder = await mkdtemp(join(tmpdir(), 'vmbus-nbd-tools-'));
afterAll(() => rm(folder, { recursive: true }));

const MIB = 2 ** 20;
let names = 0;

/** Starts a server for the length of a test. @returns the address that tools take */
async function served(context: TestContext, store: NbdExport): Promise<string> {
  const path = join(folder, `${names++}.sock`);
  const server = await serveNbd({ path, exports: { '': store, named: store } });
  context.onTestFinished(() => server.close());
  return `nbd+unix:///?socket=${path}`;
}

/** A disk image as an export, as the command line puts a disk behind one. */
function exportOf(disk: DiscardingBackend): NbdExport {
  return {
    sizeBytes: disk.sizeBytes,
    blockBytes: disk.blockBytes,
    readOnly: disk.readOnly,
    canFlush: disk.hasVolatileCache,
    read: (at, target) => disk.read(at, ScatterView.over([target])),
    write: (at, source, fua) => disk.write(at, ScatterView.over([source]), fua),
    flush: () => disk.flush(),
    async trim(at, byteCount, fua) {
      await disk.discard(at, byteCount);
      if (fua) await disk.flush();
    },
    writeZeroes: (at, byteCount, mayDeallocate, fua) => disk.writeZeroes(at, byteCount, mayDeallocate, fua),
    async extents(at, byteCount, maxExtents) {
      const extents = await disk.extents(at, byteCount, maxExtents);
      return extents.map((extent) => ({
        byteCount: extent.byteCount,
        isHole: !extent.isAllocated,
        isZero: extent.isZero,
      }));
    },
  };
}

async function someVhdx(context: TestContext, diskBytes = 16 * MIB): Promise<DiscardingBackend> {
  const path = join(folder, `${names++}.vhdx`);
  await createVhdxImage(path, { diskBytes, blockBytes: MIB });
  const disk = await openVhdxImage(path);
  context.onTestFinished(() => disk.close());
  return disk;
}

test('nbdinfo shows size, flags and exports', async (context) => {
  requireTool(context, 'nbdinfo');
  const uri = await served(context, someExport(8 * MIB, { description: 'a disk for tests' }));

  const one = JSON.parse((await run('nbdinfo', ['--json', uri])).stdout);
  const all = JSON.parse((await run('nbdinfo', ['--json', '--list', uri])).stdout);

  expect(one).toMatchObject({ protocol: 'newstyle-fixed' });
  expect(one.exports[0]).toMatchObject({
    'export-size': 8 * MIB,
    is_read_only: false,
    can_flush: true,
    can_fua: true,
    can_trim: true,
    can_zero: true,
    can_multi_conn: true,
    block_size_minimum: 512,
    block_size_maximum: 32 * MIB,
    description: 'a disk for tests',
  });
  expect(all.exports.map((found: { 'export-name': string }) => found['export-name'])).toEqual(['', 'named']);
});

test('nbdinfo shows which parts of a VHDX are allocated', async (context) => {
  requireTool(context, 'nbdinfo');
  const disk = await someVhdx(context);
  await disk.write(3 * MIB, ScatterView.over([new Uint8Array(4096).fill(1)]), false);
  const uri = await served(context, exportOf(disk));

  const map = JSON.parse((await run('nbdinfo', ['--json', '--map', uri])).stdout);

  expect(map.map(({ offset, length, type }: Record<string, number>) => [offset, length, type])).toEqual([
    [0, 3 * MIB, 3],
    [3 * MIB, MIB, 0],
    [4 * MIB, 12 * MIB, 3],
  ]);
});

test('nbdcopy brings an image in and out again, over several connections', async (context) => {
  requireTool(context, 'nbdcopy');
  const [original, copy] = [join(folder, 'in.img'), join(folder, 'out.img')];
  await writeFile(original, pattern(0xab, 0, 16 * MIB));
  const disk = await someVhdx(context);
  const uri = await served(context, exportOf(disk));

  await run('nbdcopy', ['--flush', original, uri]);
  await run('nbdcopy', [uri, copy]);

  expect(Buffer.compare(await readFile(copy), await readFile(original))).toBe(0);
});

test('qemu-img converts an image in and out again', async (context) => {
  requireTool(context, 'qemu-img');
  const [original, copy] = [join(folder, 'q-in.img'), join(folder, 'q-out.img')];
  const bytes = pattern(0xcd, 0, 16 * MIB);
  bytes.fill(0, 5 * MIB, 9 * MIB);
  await writeFile(original, bytes);
  const disk = await someVhdx(context);
  const uri = await served(context, exportOf(disk));

  await run('qemu-img', ['convert', '-n', '-f', 'raw', '-O', 'raw', original, uri]);
  await run('qemu-img', ['convert', '-f', 'raw', '-O', 'raw', uri, copy]);
  const compared = await run('qemu-img', ['compare', '-f', 'raw', '-F', 'raw', original, uri]);

  expect(Buffer.compare(await readFile(copy), bytes)).toBe(0);
  expect(compared.stdout).toContain('Images are identical');
});

test('qemu-io writes, reads back, discards, writes zeros and flushes', async (context) => {
  requireTool(context, 'qemu-io');
  const disk = await someVhdx(context);
  const uri = await served(context, exportOf(disk));
  const commands = [
    'write -P 0x5a 1M 192k',
    'read -P 0x5a 1M 192k',
    'write -f -P 0x6b 512 512',
    'read -P 0x6b 512 512',
    'discard 1M 1M',
    'read -P 0 1M 1M',
    'write -P 1 4M 1M',
    'write -z 4M 64k',
    'write -z -u 4160k 64k',
    'read -P 0 4M 128k',
    'read -P 1 4224k 64k',
    'aio_write -P 9 8M 64k',
    'aio_write -P 10 8256k 64k',
    'aio_flush',
    'read -P 9 8M 64k',
    'read -P 10 8256k 64k',
    'flush',
  ];

  const { stdout, stderr } = await run('qemu-io', ['-f', 'raw', ...commands.flatMap((one) => ['-c', one]), uri]);

  expect(stderr).toBe('');
  expect(stdout).not.toMatch(/failed|error/i);
  expect(stdout.match(/^(?:read|wrote|discard) \d+/gm)).toHaveLength(commands.length - 2);
});

test('fio writes at random, 16 at a time, and verifies every block', async (context) => {
  requireTool(context, 'fio');
  const path = join(folder, 'fio.img');
  await writeFile(path, new Uint8Array(8 * MIB));
  const disk = await openRawImage(path);
  context.onTestFinished(() => disk.close());
  const uri = await served(context, exportOf(disk));
  const job = ['--rw=randwrite', '--bs=4k', '--size=8m', '--iodepth=16', '--verify=crc32c', '--verify_fatal=1'];

  const { stdout } = await run(
    'fio',
    ['--name=verify', '--ioengine=nbd', `--uri=${uri}`, '--output-format=json', ...job],
    {
      cwd: folder,
    },
  );

  const [result] = JSON.parse(stdout.slice(stdout.indexOf('{'))).jobs;
  expect(result).toMatchObject({ error: 0 });
  expect(result.write.total_ios).toBe(2048);
  expect(result.read.total_ios).toBe(2048);
  expect((await readAll(disk)).some((byte) => byte !== 0)).toBe(true);
});

test('a read-only export is one for QEMU too', async (context) => {
  requireTool(context, 'qemu-io');
  const uri = await served(context, someExport(MIB, { readOnly: true }));

  const { stdout } = await run('qemu-io', ['-r', '-f', 'raw', '-c', 'read -P 0 0 1M', uri]);
  const refused = await run('qemu-io', ['-f', 'raw', '-c', 'write 0 512', uri]).catch((error: Error) => error);

  expect(stdout).toContain('read 1048576/1048576');
  expect(refused).toMatchObject({ message: expect.stringMatching(/read-only|denied/i) });
});
