import { createHash, randomBytes } from 'node:crypto';
import {
  chmodSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmdirSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test, vi } from 'vitest';
import { run } from '../../src/cli/program.ts';
import type { Compiled } from '../soak/compiled.ts';
import { compileCli, runCli } from './run-cli.ts';

/** A disk of 12 transfers of 64 pages, the last of them short and ending inside a block. */
const FILE_BYTES = 11 * 64 * 4096 + 5 * 4096 + 100;
const bytes = randomBytes(FILE_BYTES);
const sha256 = createHash('sha256').update(bytes).digest('hex');

let compiled: Compiled;
let folder: string;
let file: string;

beforeAll(() => {
  compiled = compileCli();
  folder = mkdtempSync(join(tmpdir(), 'vmbus-cli-test-'));
  file = join(folder, 'disk.img');
  writeFileSync(file, bytes);
}, 60_000);

afterAll(() => {
  compiled.remove();
  rmSync(folder, { recursive: true, force: true });
});

test('the demo reads every block, shows what travelled, and ends with the hash of the file', async () => {
  const { exitCode, stdout, stderr } = await runCli(compiled, ['demo', file, '--pfns', '64', '--depth', '4']);

  expect(exitCode).toBe(0);
  expect(stdout).toContain('VMBus 6.0');
  expect(stdout).toMatch(/1 +│ Scsi +│ [0-9a-f-]{36}/);
  expect(stdout).toContain('GpaRange  262144 bytes from offset 0, 64 pages');
  expect(stdout).toContain('CompleteIo');
  expect(stdout).toMatch(/packets +12 sent, 12 completed/);
  expect(stdout).toContain(`SHA-256 of file and disk: ${sha256}, the same`);
  expect(stderr).toBe(`vmbus: note: ${file} ends inside a block; the disk shows 412 zero bytes behind it\n`);
});

test('--json prints one object with every figure, the raw packets and the hashes', async () => {
  const { exitCode, stdout } = await runCli(compiled, ['demo', file, '--json', '--pfns', '64']);

  const report = JSON.parse(stdout);
  expect(exitCode).toBe(0);
  expect(report).toMatchObject({
    schema: 'vmbus.demo/1',
    fileBytes: FILE_BYTES,
    paddingBytes: 412,
    version: '6.0',
    storageVersion: '6.2',
    disk: { blockBytes: 512, blockCount: Math.ceil(FILE_BYTES / 512) },
    totals: { packets: 12, completions: 12 },
    sha256: { file: sha256, disk: sha256 },
    hashMatches: true,
  });
  // The bytes went by page frame number: whole pages for all but the last transfer, and little else through the ring.
  expect(report.totals.bytesByPfn).toBe(11 * 64 * 4096 + 6 * 4096);
  expect(report.ringBytesPerDiskByte).toBeLessThan(0.01);
  // Type 9, payload behind 4 + 64 words, WAIT_FOR_COMPLETION; one range of 64 whole pages.
  expect(report.transaction.request).toMatch(/^09004400.{4}0100.{16}0000000001000000/);
  expect(report.transaction.completion).toMatch(/^0b0002000a000000/);
});

test('--write fills a scratch copy with a pattern, reads it back, and leaves the file and the temporary folder alone', async () => {
  // A temporary folder of its own: other tests run demos, too.
  const temporary = mkdtempSync(join(tmpdir(), 'vmbus-test-'));

  const { exitCode, stdout } = await runCli(compiled, ['demo', file, '--write', '--json'], { TMPDIR: temporary });

  expect(exitCode).toBe(0);
  expect(JSON.parse(stdout).write).toMatchObject({ bytesWritten: FILE_BYTES + 412, matches: true });
  expect(readFileSync(file).equals(bytes)).toBe(true);
  expect(readdirSync(temporary)).toEqual([]);
  rmdirSync(temporary);
});

test.each([
  ['a missing file', () => join(folder, 'nothing-here'), 1, /cannot open .*: no such file/],
  ['a folder', () => folder, 2, /is a folder, not a disk image/],
  [
    'an empty file',
    () => {
      const path = join(folder, 'empty');
      writeFileSync(path, '');
      return path;
    },
    2,
    /is empty/,
  ],
  ['a device', () => '/dev/null', 2, /is not an ordinary file/],
])('%s is one clear line and an exit code, and nothing is printed', async (_, path, expectedCode, message) => {
  const { exitCode, stdout, stderr } = await runCli(compiled, ['demo', path()]);

  expect(exitCode).toBe(expectedCode);
  expect(stdout).toBe('');
  expect(stderr).toMatch(message);
  expect(stderr.trimEnd().split('\n')).toHaveLength(1);
});

test('a file that may not be read is one clear line and exit code 1', async () => {
  const path = join(folder, 'secret');
  mkdirSync(folder, { recursive: true });
  writeFileSync(path, 'x');
  chmodSync(path, 0);
  chmodSync(folder, 0o755);
  const said: string[] = [];
  const stderr = vi.spyOn(process.stderr, 'write').mockImplementation((text) => said.push(String(text)) > 0);
  // Root may read anything: look at the file as nobody does.
  const isRoot = process.geteuid?.() === 0;
  if (isRoot) process.seteuid?.(65_534);

  const exitCode = await run(['demo', path]).finally(() => {
    if (isRoot) process.seteuid?.(0);
    stderr.mockRestore();
  });

  expect(exitCode).toBe(1);
  expect(said.join('')).toMatch(/^vmbus: cannot open .*secret: permission denied\n$/);
});

test.each([
  [['demo', '--depth', '0'], /"0" is not a whole number from 1 to 256/],
  [['demo', '--pfns', '257'], /"257" is not a whole number from 1 to 256/],
  [['demo', '--nonsense'], /unknown option '--nonsense'/],
  [['demo', 'a', 'b'], /too many arguments/],
  [['dmo'], /unknown command 'dmo'/],
])('wrong usage %j is told, with exit code 2', async (args, message) => {
  const { exitCode, stdout, stderr } = await runCli(compiled, args);

  expect(exitCode).toBe(2);
  expect(stdout).toBe('');
  expect(stderr).toMatch(message);
});

test('help begins with an example, and --version is the version of the package', async () => {
  const help = await runCli(compiled, ['demo', '--help']);
  const version = await runCli(compiled, ['--version']);

  expect(help.exitCode).toBe(0);
  expect(help.stdout).toMatch(/^Example: vmbus demo /);
  expect(version).toMatchObject({ exitCode: 0, stdout: expect.stringMatching(/^\d+\.\d+\.\d+\n$/) });
});
