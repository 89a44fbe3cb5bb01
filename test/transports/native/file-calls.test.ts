import { closeSync, fstatSync, mkdtempSync, openSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, test } from 'vitest';
import { FileCalls } from '../../../src/transports/native/index.ts';

const folder = mkdtempSync(join(tmpdir(), 'vmbus-file-calls-'));
afterAll(() => rmSync(folder, { recursive: true }));

const calls = await FileCalls.load();

test('a hole gives space back, reads as zeros and leaves the length and the rest alone', async () => {
  const path = join(folder, 'hole.img');
  writeFileSync(path, new Uint8Array(256 * 1024).fill(7));
  const fd = openSync(path, 'r+');
  const blocksBefore = fstatSync(fd).blocks;

  await calls.punchHole(fd, 64 * 1024, 128 * 1024);

  const bytes = readFileSync(path);
  expect(fstatSync(fd).blocks).toBeLessThan(blocksBefore);
  expect(bytes).toHaveLength(256 * 1024);
  expect(bytes.indexOf(0)).toBe(64 * 1024);
  expect(bytes.indexOf(7, 64 * 1024)).toBe(192 * 1024);
  closeSync(fd);
});

test('a hole that cannot be made says why', async () => {
  const path = join(folder, 'read-only.img');
  writeFileSync(path, new Uint8Array(4096));
  const fd = openSync(path, 'r');

  await expect(calls.punchHole(fd, 0, 4096)).rejects.toMatchObject({ cause: { code: 'EBADF' } });

  closeSync(fd);
});

test('bytes in memory are read at once, into buffers that lie apart; bytes that the file does not have are not', () => {
  const path = join(folder, 'cached.img');
  const bytes = Uint8Array.from({ length: 8192 }, (_, index) => index % 251);
  writeFileSync(path, bytes);
  const fd = openSync(path, 'r');
  const memory = new Uint8Array(3 * 4096);
  const parts = [memory.subarray(8192, 8192 + 512), memory.subarray(0, 1024)];

  const whole = calls.readNow(fd, parts, 4096);
  const behindTheEnd = calls.readNow(fd, [memory.subarray(4096, 8192)], 6144);

  expect(whole).toBe(true);
  expect(parts[0]).toEqual(bytes.subarray(4096, 4608));
  expect(parts[1]).toEqual(bytes.subarray(4608, 5632));
  expect(memory.subarray(1024, 4096).every((byte) => byte === 0)).toBe(true);
  expect(behindTheEnd).toBe(false);
  closeSync(fd);
});

test('a descriptor that cannot be read so is an error', () => {
  expect(() => calls.readNow(987_654, [new Uint8Array(512)], 0)).toThrow(/preadv2 failed: EBADF/);
});

test('an exclusive lock keeps everybody out until its descriptor is closed, shared ones only exclusive ones', () => {
  const path = join(folder, 'locked.img');
  writeFileSync(path, 'x');
  const [first, second, third] = [openSync(path, 'r+'), openSync(path, 'r+'), openSync(path, 'r')];

  const taken = calls.tryLock(first, true);
  const whileExclusive = [calls.tryLock(second, true), calls.tryLock(third, false)];
  closeSync(first);
  const afterwards = [calls.tryLock(second, false), calls.tryLock(third, false), calls.tryLock(third, true)];

  expect(taken).toBe(true);
  expect(whileExclusive).toEqual([false, false]);
  expect(afterwards).toEqual([true, true, false]);
  closeSync(second);
  closeSync(third);
});

test('what cannot be locked is an error, not a refusal', () => {
  expect(() => calls.tryLock(987_654, true)).toThrow(/flock failed: EBADF/);
});
