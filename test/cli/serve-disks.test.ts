/** What `vmbus serve scsi` takes for disks: formats, overlays, LUNs, locks, faults; and how it ends. */
import { randomBytes } from 'node:crypto';
import { existsSync, mkdtempSync, readFileSync, rmSync, statSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from 'vitest';
import { createVhdImage, createVhdxImage, openImage } from '../../src/images/index.ts';
import { readAll } from '../images/disk-model.ts';
import type { Compiled } from '../soak/compiled.ts';
import { until } from '../transports/until.ts';
import { LongCommand } from './long-command.ts';
import { type CliRun, cliPath, compileCli, runCli } from './run-cli.ts';

const MIB = 2 ** 20;

let compiled: Compiled;
let folder: string;
let socket: string;
let commands: LongCommand[];

beforeAll(() => {
  compiled = compileCli();
}, 60_000);

afterAll(() => compiled.remove());

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'vmbus-disks-test-'));
  socket = join(folder, 'run', 'host.sock');
  commands = [];
});

afterEach(async () => {
  for (const command of commands) await command.stop('SIGKILL');
  rmSync(folder, { recursive: true, force: true });
});

async function serve(...disks: string[]): Promise<LongCommand> {
  const host = new LongCommand(cliPath(compiled), ['serve', 'scsi', ...disks, '--listen', socket, '--json']);
  commands.push(host);
  await host.heard('listening');
  return host;
}

function attach(...words: string[]): Promise<CliRun> {
  return runCli(compiled, ['attach', socket, ...words]);
}

/** A guest that is stopped with the test, if not before. */
function guest(...words: string[]): LongCommand {
  const command = new LongCommand(cliPath(compiled), ['attach', socket, ...words]);
  commands.push(command);
  return command;
}

function image(name: string, bytes: Uint8Array): string {
  const path = join(folder, name);
  writeFileSync(path, bytes);
  return path;
}

test('disks are where they were put, whatever their format, and say so when they are served', async () => {
  const raw = image('raw.img', randomBytes(MIB));
  const [vhdx, vhd] = [join(folder, 'a.vhdx'), join(folder, 'a.vhd')];
  await createVhdxImage(vhdx, { diskBytes: 3 * MIB, blockBytes: MIB });
  await createVhdImage(vhd, 2 * MIB, 0);

  const host = await serve(`${raw},ro`, `${vhdx},lun=2`, vhd);
  const sizes: number[] = [];
  for (const place of ['0', '0:2', '1']) {
    const to = join(folder, `copy-${sizes.length}`);
    expect(await attach('copy', '--to', to, '--disk', place)).toMatchObject({ exitCode: 0 });
    sizes.push(readFileSync(to).length);
  }

  expect(sizes).toEqual([MIB, 3 * MIB, 2 * MIB]);
  expect(host.events.filter(({ event }) => event === 'disk')).toMatchObject([
    { place: '0:0', path: raw, sizeBytes: MIB, readOnly: true },
    { place: '0:2', path: vhdx, sizeBytes: 3 * MIB, readOnly: false },
    { place: '1:0', path: vhd, sizeBytes: 2 * MIB, readOnly: false },
  ]);
});

test('a CD is a drive for guests that know drives, and no disk for those that want one', async () => {
  const host = await serve(
    `${image('a.iso', randomBytes(10 * 2048 + 100))},cd`,
    `${image('a.img', randomBytes(MIB))},lun=1`,
  );

  const asDisk = await attach('read', '0', '1', '--disk', '0:0');
  const beside = await attach('read', '0', '1', '--disk', '0:1');

  expect(await host.heard('disk')).toMatchObject({ sizeBytes: 11 * 2048, blockBytes: 2048, readOnly: true });
  expect(asDisk).toMatchObject({ exitCode: 3, stdout: '', stderr: expect.stringMatching(/no disk at 0:0:0 .*byte 5/) });
  expect(beside.exitCode).toBe(0);
});

test('an overlay takes all writes, is found again, and leaves the image as it was', async () => {
  const before = randomBytes(MIB);
  const base = image('base.img', before);
  const delta = join(folder, 'delta');
  const written = image('new', randomBytes(128 * 1024));

  const first = await serve(`${base},overlay=${delta}`);
  expect(await attach('copy', '--from', written)).toMatchObject({ exitCode: 0 });
  expect(await first.stop('SIGINT')).toBe(0);
  await serve(`${base},overlay=${delta}`);
  expect(await attach('copy', '--to', join(folder, 'copy'))).toMatchObject({ exitCode: 0 });

  const expected = Buffer.concat([readFileSync(written), before.subarray(128 * 1024)]);
  expect(readFileSync(join(folder, 'copy')).equals(expected)).toBe(true);
  expect(readFileSync(base).equals(before)).toBe(true);
});

test('Ctrl-C under a load of writes ends guest and host well, with an image that needs no repair', async () => {
  const path = join(folder, 'a.vhdx');
  await createVhdxImage(path, { diskBytes: 16 * MIB, blockBytes: MIB });
  const host = await serve(path);
  const emptyBytes = statSync(path).size;
  const bench = guest('bench', '--rw', 'randwrite', '--time', '60s');
  await host.heard('connected');
  // Blocks of the image are made as they are written: the load is there.
  await until(() => statSync(path).size > emptyBytes);

  const ended = await host.stop('SIGINT');

  expect(ended).toBe(0);
  expect(host.events.at(-1)).toEqual({ event: 'stopped' });
  expect(await bench.ended).toBe(1);
  expect(bench.stderr.trimEnd().split('\n')).toHaveLength(1);
  // Read-only: it opens only if no log is owed.
  const disk = await openImage({ path, readOnly: true });
  expect(await readAll(disk)).toHaveLength(16 * MIB);
  await disk.close();
});

test('Ctrl-C on a copy ends it with one clear line', async () => {
  await serve(`${image('a.img', new Uint8Array(64 * MIB))},fault=delay:delayMs=500`);
  const to = join(folder, 'copy');
  const copy = guest('copy', '--to', to);
  await until(() => existsSync(to) && statSync(to).size > 0);

  const ended = await copy.stop('SIGINT');

  expect(ended).toBe(1);
  expect(copy.stderr).toBe('vmbus: interrupted; what was under way has ended, the rest was not begun\n');
  expect(statSync(to).size).toBeLessThan(64 * MIB);
});

test('Ctrl-C on a bench ends it with the figures so far', async () => {
  const path = image('a.img', new Uint8Array(0));
  truncateSync(path, MIB);
  await serve(path);
  const bench = guest('bench', '--rw', 'randwrite', '--time', '60s', '--json');
  await until(() => statSync(path).blocks > 0);

  const ended = await bench.stop('SIGINT');

  expect(ended).toBe(0);
  expect(JSON.parse(bench.stdout).requests).toBeGreaterThan(0);
});

test.each([
  ['writes', '', 1],
  ['reads', ',ro', 1],
])('an image that a host writes is locked against another host that %s it', async (_, words, exitCode) => {
  const path = image('a.img', randomBytes(MIB));
  await serve(path);

  const second = await runCli(compiled, ['serve', 'scsi', `${path}${words}`, '--listen', join(folder, 'other', 's')]);

  expect(second).toMatchObject({
    exitCode,
    stdout: '',
    stderr: expect.stringMatching(/a\.img is locked: another host/),
  });
  expect(second.stderr.trimEnd().split('\n')).toHaveLength(1);
});

test('an overlay and its base are locked as well: the one for itself, the other against being written', async () => {
  const base = image('base.img', randomBytes(MIB));
  await serve(`${base},overlay=${join(folder, 'delta')}`);
  const other = ['--listen', join(folder, 'other', 's')];

  const runs = [
    await runCli(compiled, ['serve', 'scsi', base, ...other]),
    await runCli(compiled, ['serve', 'scsi', `${base},overlay=${join(folder, 'delta')}`, ...other]),
  ];
  const reader = new LongCommand(cliPath(compiled), ['serve', 'scsi', `${base},ro`, ...other, '--json']);
  commands.push(reader);

  expect(runs.map(({ exitCode }) => exitCode)).toEqual([1, 1]);
  expect(runs.map(({ stderr }) => stderr)).toEqual([
    expect.stringMatching(/base\.img is locked/),
    expect.stringMatching(/delta is locked/),
  ]);
  expect(await reader.heard('listening')).toMatchObject({ disks: 1 });
});

test('the lock of a host that was killed is gone with it', async () => {
  const path = image('a.img', randomBytes(MIB));
  const first = await serve(path);

  await first.stop('SIGKILL');

  expect((await serve(path)).isRunning).toBe(true);
});

test('a store that fails is told to guest and host, at a limited rate', async () => {
  const host = await serve(`${image('a.img', randomBytes(MIB))},fault=error:on=read`);

  const read = await attach('read', '0', '8');

  expect(read).toMatchObject({ exitCode: 1, stderr: expect.stringMatching(/unrecovered read error/) });
  expect(await host.heard('fault')).toMatchObject({ place: '0:0', reason: expect.stringMatching(/by rule/) });
});

test.each([
  [['missing.img'], 1, /cannot open .*missing\.img: no such file/],
  [['.'], 2, /is a folder, not a disk image/],
  [['odd.img'], 2, /has 1000 bytes, not a multiple of 512/],
  [['foreign.img'], 2, /is a qcow image, which is not supported/],
  [['cut.vhdx'], 2, /cut\.vhdx .*(truncated|header|no VHDX)/],
  [['good.img,overlay=odd.img'], 2, /is no overlay/],
  [['good.img', 'good.img'], 1, /good\.img is locked: .* or it is named twice/],
  [['good.img,lun=1', 'odd.img,lun=1'], 2, /are both LUN 1 of controller 0/],
  [['good.img,wat'], 2, /"wat" is none of ro, cd, lun=N/],
])('serving %j ends with one clear line, and nothing is printed', async (names, exitCode, message) => {
  image('good.img', new Uint8Array(MIB));
  image('odd.img', new Uint8Array(1000));
  image('foreign.img', Buffer.concat([Buffer.from([0x51, 0x46, 0x49, 0xfb, 0, 0, 0, 3]), Buffer.alloc(1016)]));
  image('cut.vhdx', Buffer.concat([Buffer.from('vhdxfile'), Buffer.alloc(70_000)]));

  const disks = names.map((name) => join(folder, name.replace('overlay=', `overlay=${folder}/`)));
  const run = await runCli(compiled, ['serve', 'scsi', ...disks, '--listen', socket]);

  expect(run).toMatchObject({ exitCode, stdout: '', stderr: expect.stringMatching(message) });
  expect(run.stderr.trimEnd().split('\n')).toHaveLength(1);
});
