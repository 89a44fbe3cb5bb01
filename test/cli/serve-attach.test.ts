/** A host process and guest processes, as people run them. */
import { type ChildProcess, spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface, type Interface } from 'node:readline';
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from 'vitest';
import type { Compiled } from '../soak/compiled.ts';
import { cliPath, compileCli, runCli } from './run-cli.ts';

const BLOCKS = 5000;

let compiled: Compiled;
let folder: string;
let socket: string;
let host: ChildProcess;
let events: Record<string, unknown>[];
let lines: Interface;
let bytes: Buffer;

beforeAll(() => {
  compiled = compileCli();
}, 60_000);

afterAll(() => compiled.remove());

beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), 'vmbus-serve-test-'));
  socket = join(folder, 'run', 'host.sock');
  bytes = randomBytes(BLOCKS * 512);
  writeFileSync(join(folder, 'a.img'), bytes);
  writeFileSync(join(folder, 'b.img'), bytes);
  events = [];
  await startHost();
});

afterEach(async () => {
  if (host.exitCode === null && host.signalCode === null) await stopHost('SIGKILL');
  rmSync(folder, { recursive: true, force: true });
});

async function startHost(): Promise<void> {
  const args = ['serve', 'scsi', join(folder, 'a.img'), `${join(folder, 'b.img')},ro`, '--listen', socket, '--json'];
  host = spawn(process.execPath, [cliPath(compiled), ...args], { stdio: ['ignore', 'pipe', 'inherit'] });
  lines = createInterface({ input: host.stdout as NodeJS.ReadableStream });
  lines.on('line', (line) => events.push(JSON.parse(line)));
  await heard('listening');
}

async function stopHost(signal: NodeJS.Signals): Promise<number | null> {
  const ended = new Promise<number | null>((resolve) => host.once('close', resolve));
  host.kill(signal);
  return await ended;
}

function heard(event: string): Promise<void> {
  return new Promise((resolve) => {
    const look = () => {
      if (!events.some((entry) => entry['event'] === event)) return;
      lines.off('line', look);
      resolve();
    };
    lines.on('line', look);
    look();
  });
}

function runWithInput(
  args: readonly string[],
  input: Uint8Array,
): Promise<{ exitCode: number | null; stderr: string }> {
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, [cliPath(compiled), ...args], { stdio: ['pipe', 'ignore', 'pipe'] });
    let stderr = '';
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      stderr += text;
    });
    child.on('error', reject);
    child.on('close', (exitCode) => resolve({ exitCode, stderr }));
    child.stdin.end(input);
  });
}

test('ls shows each disk as a SCSI controller, and the same for machines', async () => {
  const text = await runCli(compiled, ['ls', socket]);
  const json = await runCli(compiled, ['attach', socket, 'ls', '--json']);

  expect(text).toMatchObject({ exitCode: 0, stderr: '' });
  expect(text.stdout).toMatch(/^VMBus 6\.0\n/);
  expect(text.stdout.match(/Scsi/g)).toHaveLength(2);
  expect(JSON.parse(json.stdout)).toMatchObject({
    schema: 'vmbus.ls/1',
    offers: [
      { relid: 1, class: 'Scsi', subchannelIndex: 0 },
      { relid: 2, class: 'Scsi', subchannelIndex: 0 },
    ],
  });
});

test('what is written through one guest is read through the next and is in the file when the host has stopped', async () => {
  const block = randomBytes(3 * 512);

  const written = await runWithInput(['attach', socket, 'write', '4000'], block);
  const copied = await runCli(compiled, ['attach', socket, 'copy', '--to', join(folder, 'copy.img')]);

  block.copy(bytes, 4000 * 512);
  expect(written).toMatchObject({
    exitCode: 0,
    stderr: expect.stringContaining('wrote 1536 bytes from block 4000 on'),
  });
  expect(copied.exitCode).toBe(0);
  expect(readFileSync(join(folder, 'copy.img')).equals(bytes)).toBe(true);
  expect(await stopHost('SIGINT')).toBe(0);
  expect(readFileSync(join(folder, 'a.img')).equals(bytes)).toBe(true);
  expect(events.at(-1)).toEqual({ event: 'stopped' });
  expect(existsSync(join(folder, 'run'))).toBe(false);
});

test('copy --from puts a file over the disk, and refuses one that is larger before it writes a byte', async () => {
  const image = randomBytes(1000 * 512);
  writeFileSync(join(folder, 'new.img'), image);
  writeFileSync(join(folder, 'large.img'), new Uint8Array((BLOCKS + 1) * 512));

  const refused = await runCli(compiled, ['attach', socket, 'copy', '--from', join(folder, 'large.img')]);
  const unchanged = readFileSync(join(folder, 'a.img')).equals(bytes);
  const copied = await runCli(compiled, ['attach', socket, 'copy', '--from', join(folder, 'new.img')]);

  expect(refused).toMatchObject({ exitCode: 1, stderr: expect.stringContaining('nothing was written') });
  expect(unchanged).toBe(true);
  expect(copied.exitCode).toBe(0);
  image.copy(bytes, 0);
  expect(readFileSync(join(folder, 'a.img')).equals(bytes)).toBe(true);
});

test('bench counts its requests and says so in JSON', async () => {
  const { exitCode, stdout } = await runCli(compiled, [
    ...['attach', socket, 'bench', '--rw', 'read', '--bs', '16k', '--depth', '4', '--time', '100ms', '--json'],
  ]);

  const report = JSON.parse(stdout);
  expect(exitCode).toBe(0);
  expect(report).toMatchObject({ schema: 'vmbus.bench/1', rw: 'read', blockBytes: 16_384, depth: 4 });
  expect(report.bytes).toBe(report.requests * 16_384);
  expect(report.latencyUs.percentiles['50']).toBeGreaterThanOrEqual(report.latencyUs.min);
});

test.each([
  [['read', '4990', '20'], 1, /blocks 4990 to 5009 are not all on the disk, which has 5000/],
  [['read', '0', '1', '--disk', '7'], 1, /offers no disk 7:0/],
  [['read', 'x', '1'], 2, /"x" is not a whole number/],
  [['copy'], 2, /give either --to FILE or --from FILE/],
  [['bench', '--bs', '2M'], 2, /more than one transfer holds/],
  [['bench', '--rw', 'write', '--disk', '1'], 1, /the disk is read-only/],
])('attach %j ends with one clear line', async (words, exitCode, message) => {
  const [action, ...rest] = words;

  const run = await runCli(compiled, ['attach', socket, action as string, ...rest]);

  expect(run.exitCode).toBe(exitCode);
  expect(run.stdout).toBe('');
  expect(run.stderr).toMatch(message);
  expect(run.stderr.trimEnd().split('\n')).toHaveLength(1);
});

test('a host that is not there, and a path that is in use, are one clear line each', async () => {
  const nobody = await runCli(compiled, ['ls', join(folder, 'nobody.sock')]);
  const second = await runCli(compiled, ['serve', 'scsi', `${join(folder, 'b.img')},ro`, '--listen', socket]);

  expect(nobody).toMatchObject({
    exitCode: 1,
    stdout: '',
    stderr: expect.stringMatching(/cannot attach .*: there is no socket/),
  });
  expect(second).toMatchObject({ exitCode: 1, stdout: '', stderr: expect.stringMatching(/in use/) });
});

test('a host that is killed under a guest ends the guest with one clear line', async () => {
  const guest = runCli(compiled, ['attach', socket, 'bench', '--time', '60s']);
  await heard('connected');

  await stopHost('SIGKILL');

  const { exitCode, stdout, stderr } = await guest;
  expect(exitCode).toBe(1);
  expect(stdout).toBe('');
  expect(stderr).toMatch(/the host is gone/);
});

test.each(['worker', 'loopback', 'shm'])('the demo says the same over %s', async (transport) => {
  const run = await runCli(compiled, [
    'demo',
    join(folder, 'b.img'),
    '--transport',
    transport,
    '--json',
    '--pfns',
    '16',
  ]);

  expect(run).toMatchObject({ exitCode: 0, stderr: '' });
  expect(JSON.parse(run.stdout)).toMatchObject({ transport, hashMatches: true, totals: { packets: 40 } });
});
