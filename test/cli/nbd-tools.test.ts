/** Tools that others wrote, on disks that a host serves in one process and a guest exports in another. */
import { execFile, spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, expect, onTestFinished, type TestContext, test } from 'vitest';
import { createVhdxImage } from '../../src/images/index.ts';
import { requireTool } from '../images/require-tool.ts';
import type { Compiled } from '../soak/compiled.ts';
import { until } from '../transports/until.ts';
import { LongCommand } from './long-command.ts';
import { cliPath, compileCli, runCli } from './run-cli.ts';

const run = promisify(execFile);
const MIB = 2 ** 20;

let compiled: Compiled;
let folder: string;
let names = 0;

beforeAll(() => {
  compiled = compileCli();
  folder = mkdtempSync(join(tmpdir(), 'vmbus-nbd-'));
}, 60_000);

afterAll(() => {
  compiled.remove();
  rmSync(folder, { recursive: true, force: true });
});

interface ExportedDisk {
  readonly host: LongCommand;
  readonly guest: LongCommand;
  readonly uri: string;
}

/** Serves an image and exports the disk at `place`; both end with the test. */
async function exported(disks: readonly string[], place = '0:0'): Promise<ExportedDisk> {
  const hostSocket = join(folder, `run-${names}`, 'host.sock');
  const nbdSocket = join(folder, `${names++}.nbd`);
  const host = new LongCommand(cliPath(compiled), ['serve', 'scsi', ...disks, '--listen', hostSocket, '--json']);
  onTestFinished(async () => void (await host.stop('SIGKILL')));
  await host.heard('listening');
  const guest = new LongCommand(cliPath(compiled), [
    ...['attach', hostSocket, '--disk', place, '--nbd', nbdSocket, '--json'],
  ]);
  onTestFinished(async () => void (await guest.stop('SIGKILL')));
  await guest.heard('exporting');
  return { host, guest, uri: `nbd+unix:///?socket=${nbdSocket}` };
}

/** Ends guest and host as a person does, and expects both to end well. */
async function stopped({ guest, host }: ExportedDisk): Promise<void> {
  expect(await guest.stop('SIGINT')).toBe(0);
  expect(guest.events.at(-1)).toEqual({ event: 'stopped' });
  expect(await host.stop('SIGINT')).toBe(0);
}

function someImage(byteCount: number): string {
  const path = join(folder, `${names++}.img`);
  writeFileSync(path, new Uint8Array(byteCount));
  return path;
}

/** Random, but for a part that is zeros, as disks are. */
function someBytes(byteCount: number): Buffer {
  const bytes = randomBytes(byteCount);
  bytes.fill(0, byteCount / 4, byteCount / 2);
  return bytes;
}

function qemuIo(uri: string, commands: readonly string[]): Promise<{ stdout: string; stderr: string }> {
  return run('qemu-io', ['-f', 'raw', ...commands.flatMap((one) => ['-c', one]), uri]);
}

/**
 * Runs `job` on the export as a file: mkfs and e2fsck know files and devices only. Where FUSE may not be used (most
 * containers) the file is a copy, which goes back through NBD afterwards.
 */
async function asFile<Result>(uri: string, job: (file: string) => Promise<Result>): Promise<Result> {
  const base = join(folder, `${names++}`);
  const socket = uri.split('=')[1] as string;
  mkdirSync(base);
  const mount = spawn('nbdfuse', ['--pidfile', `${base}.pid`, base, '--unix', socket], { stdio: 'ignore' });
  const ended = new Promise<void>((resolve) => mount.once('close', () => resolve()));
  if (await isThere(`${base}.pid`, ended)) {
    try {
      return await job(join(base, 'nbd'));
    } finally {
      mount.kill('SIGINT');
      await ended;
    }
  }
  await run('nbdcopy', [uri, `${base}.img`]);
  const result = await job(`${base}.img`);
  await run('nbdcopy', ['--flush', `${base}.img`, uri]);
  return result;
}

/** Resolves when the file is there, or, with false, when whoever would make it has ended. */
async function isThere(path: string, ended: Promise<void>): Promise<boolean> {
  let hasEnded = false;
  void ended.then(() => {
    hasEnded = true;
  });
  await until(() => hasEnded || existsSync(path));
  return !hasEnded;
}

test('nbdinfo shows the disk: its size, its blocks, what it can do', async (context: TestContext) => {
  requireTool(context, 'nbdinfo');
  const disk = await exported([someImage(8 * MIB)]);

  const info = JSON.parse((await run('nbdinfo', ['--json', disk.uri])).stdout);

  expect(info.exports[0]).toMatchObject({
    'export-size': 8 * MIB,
    is_read_only: false,
    can_flush: true,
    can_fua: true,
    can_trim: true,
    can_zero: true,
    can_multi_conn: true,
    block_size_minimum: 512,
  });
  await stopped(disk);
});

test('qemu-img and nbdcopy copy an image in and out, and all bytes are equal', async (context: TestContext) => {
  requireTool(context, 'qemu-img', 'nbdcopy');
  const image = someImage(48 * MIB);
  const bytes = someBytes(48 * MIB);
  const other = someBytes(48 * MIB);
  const [source, first, second] = ['source', 'first', 'second'].map((name) => join(folder, `${name}-${names}.img`));
  const disk = await exported([image]);

  writeFileSync(source as string, bytes);
  await run('qemu-img', ['convert', '-n', '-f', 'raw', '-O', 'raw', source as string, disk.uri]);
  await run('nbdcopy', [disk.uri, first as string]);
  writeFileSync(source as string, other);
  await run('nbdcopy', ['--flush', source as string, disk.uri]);
  await run('qemu-img', ['convert', '-f', 'raw', '-O', 'raw', disk.uri, second as string]);

  expect(readFileSync(first as string).equals(bytes)).toBe(true);
  expect(readFileSync(second as string).equals(other)).toBe(true);
  await stopped(disk);
  expect(readFileSync(image).equals(other)).toBe(true);
});

test('a file system that mkfs.ext4 makes on the disk is clean, through VMBus and on the image', async (context) => {
  requireTool(context, 'mkfs.ext4', 'e2fsck', 'nbdfuse', 'nbdcopy');
  const image = someImage(64 * MIB);
  const disk = await exported([image]);

  const overBus = await asFile(disk.uri, async (file) => {
    await run('mkfs.ext4', ['-q', '-F', '-d', import.meta.dirname, file]);
    return await run('e2fsck', ['-f', '-n', file]);
  });
  await stopped(disk);
  const onImage = await run('e2fsck', ['-f', '-n', image]);

  for (const { stdout } of [overBus, onImage]) {
    expect(stdout).toMatch(/non-contiguous/);
    expect(stdout).not.toMatch(/error|corrupt|not clean/i);
  }
});

test('fio writes at random, 16 at a time, and verifies every block', async (context: TestContext) => {
  requireTool(context, 'fio');
  const disk = await exported([someImage(16 * MIB)]);
  const job = ['--rw=randwrite', '--bs=4k', '--size=16m', '--iodepth=16', '--fsync=64', '--verify=crc32c'];

  const { stdout } = await run(
    'fio',
    ['--name=verify', '--ioengine=nbd', `--uri=${disk.uri}`, '--output-format=json', '--verify_fatal=1', ...job],
    { cwd: folder },
  );

  const [result] = JSON.parse(stdout.slice(stdout.indexOf('{'))).jobs;
  expect(result).toMatchObject({ error: 0, write: { total_ios: 4096 }, read: { total_ios: 4096 } });
  await stopped(disk);
});

test.for(['raw', 'vhdx', 'overlay'])('qemu-io writes, reads, discards and flushes on %s', async (kind, context) => {
  requireTool(context, 'qemu-io');
  const image = kind === 'vhdx' ? join(folder, `${names++}.vhdx`) : someImage(16 * MIB);
  if (kind === 'vhdx') await createVhdxImage(image, { diskBytes: 16 * MIB, blockBytes: MIB });
  const disk = await exported([kind === 'overlay' ? `${image},overlay=${image}.delta` : image]);
  const commands = [
    'write -P 0x5a 1M 192k',
    'read -P 0x5a 1M 192k',
    'write -f -P 0x6b 512 512',
    'read -P 0x6b 512 512',
    'discard 1M 1M',
    'read -P 0 1M 1M',
    'write -P 1 4M 4M',
    'read -P 1 4M 4M',
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

  const { stdout, stderr } = await qemuIo(disk.uri, commands);

  expect(stderr).toBe('');
  expect(stdout).not.toMatch(/failed|error/i);
  expect(stdout.match(/^(?:read|wrote|discard) \d+/gm)).toHaveLength(commands.length - 2);
  await stopped(disk);
  if (kind === 'overlay') expect(readFileSync(image).every((byte) => byte === 0)).toBe(true);
});

test('what is discarded takes no space in the image any more', async (context: TestContext) => {
  requireTool(context, 'qemu-io');
  const image = someImage(16 * MIB);
  const disk = await exported([image]);

  await qemuIo(disk.uri, ['write -P 7 0 16M', 'flush']);
  const fullBlocks = statSync(image).blocks;
  await qemuIo(disk.uri, ['discard 0 8M', 'flush']);

  expect(statSync(image).blocks).toBeLessThanOrEqual(fullBlocks / 2 + 64);
  await stopped(disk);
});

test('a LUN of its own is exported by its place, and a read-only one takes no writes', async (context: TestContext) => {
  requireTool(context, 'qemu-io', 'nbdinfo');
  const [one, two] = [someImage(MIB), someImage(2 * MIB)];
  const disk = await exported([one, `${two},lun=4,ro`], '0:4');

  const info = JSON.parse((await run('nbdinfo', ['--json', disk.uri])).stdout);
  const written = await qemuIo(disk.uri, ['write 0 512']).catch((error: Error) => error);

  expect(info.exports[0]).toMatchObject({ 'export-size': 2 * MIB, is_read_only: true });
  expect(written).toMatchObject({ message: expect.stringMatching(/read-only|denied/i) });
  await stopped(disk);
});

test('a store that fails is an I/O error for the client, and the rest of the disk works on', async (context) => {
  requireTool(context, 'qemu-io');
  const disk = await exported([`${someImage(MIB)},fault=error:on=read,fromBytes=65536,toBytes=131072`]);

  const { stdout } = await qemuIo(disk.uri, ['read 0 64k', 'read 64k 64k', 'read 128k 64k']).catch((error) => error);

  expect(stdout.match(/^read \d+\/\d+ bytes/gm)).toHaveLength(2);
  expect(stdout).toMatch(/read failed: Input\/output error/);
  await disk.host.heard('fault');
  await stopped(disk);
});

test('when the host is killed, clients hear of an I/O error and the guest ends with one clear line', async (context) => {
  requireTool(context, 'fio');
  const image = join(folder, `${names++}.img`);
  writeFileSync(image, '');
  truncateSync(image, 16 * MIB);
  const disk = await exported([image]);
  const client = spawn(
    'fio',
    [
      ...['--name=load', '--ioengine=nbd', `--uri=${disk.uri}`, '--rw=randwrite', '--bs=4k', '--size=16m'],
      ...['--iodepth=16', '--time_based', '--runtime=60'],
    ],
    { cwd: folder, stdio: ['ignore', 'pipe', 'pipe'] },
  );
  let said = '';
  for (const stream of [client.stdout, client.stderr]) {
    stream.setEncoding('utf8').on('data', (text: string) => {
      said += text;
    });
  }
  const clientEnded = new Promise<number | null>((resolve) => client.once('close', resolve));
  await until(() => statSync(image).blocks > 0);

  await disk.host.stop('SIGKILL');

  expect(await disk.guest.ended).toBe(1);
  expect(disk.guest.stderr).toMatch(/^vmbus: the host is gone: [^\n]*\n$/);
  expect(await clientEnded).not.toBe(0);
  // What was under way gets an error; whoever had nothing under way finds the connection closed.
  expect(said).toMatch(/Input\/output error|not connected|disconnect|shut ?down|closed/i);
});

test('a socket that cannot be made, and a disk that is not there, are one clear line each', async () => {
  const disk = await exported([someImage(MIB)]);
  const hostSocket = disk.host.events.find(({ event }) => event === 'listening')?.['path'] as string;
  const inUse = disk.uri.split('=')[1] as string;

  const runs = [
    await runCli(compiled, ['attach', hostSocket, '--nbd', inUse]),
    await runCli(compiled, ['attach', hostSocket, `--nbd=${join(folder, 'no', 'such', 'folder')}`]),
    await runCli(compiled, ['attach', hostSocket, 'nbd', join(folder, 'x.nbd'), '--disk', '0:9']),
    await runCli(compiled, ['attach', hostSocket, '--nbd']),
  ];

  expect(runs.map(({ exitCode }) => exitCode)).toEqual([1, 1, 1, 2]);
  expect(runs.map(({ stderr }) => stderr.trimEnd())).toEqual([
    expect.stringMatching(/another server does/),
    expect.stringMatching(/its folder does not exist/),
    expect.stringMatching(/offers no disk 0:9/),
    expect.stringMatching(/missing required argument 'socket'/),
  ]);
  for (const { stderr } of runs) expect(stderr.trimEnd().split('\n')).toHaveLength(1);
});
