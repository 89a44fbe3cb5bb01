import { closeSync, fstatSync, ftruncateSync, mkdtempSync, openSync, rmSync, writeSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { ShmCalls } from '../../../src/transports/native/shm-calls.ts';
import { settle, until } from '../until.ts';

const calls = await ShmCalls.load();

test('a sealed memory file has the size asked for, and keeps it against everybody', () => {
  const fd = calls.createSealedMemory('test', 3 * 4096);

  expect(fstatSync(fd).size).toBe(3 * 4096);
  expect(calls.hasFixedSize(fd)).toBe(true);
  for (const bytes of [0, 4096, 4 * 4096]) expect(() => ftruncateSync(fd, bytes)).toThrow(/EPERM/);

  closeSync(fd);
});

test('a file on a disk has no fixed size', () => {
  const directory = mkdtempSync(join(tmpdir(), 'vmbus-test-'));
  const fd = openSync(join(directory, 'file'), 'w+');

  expect(calls.hasFixedSize(fd)).toBe(false);

  closeSync(fd);
  rmSync(directory, { recursive: true });
});

test('memory that cannot be had is an error that names the call', () => {
  expect(() => calls.createSealedMemory('x'.repeat(300), 4096)).toThrow(/memfd_create failed: EINVAL/);
});

test('a pipe wakes its watcher once for any number of wakes, and no more after the watch ended', async () => {
  const pipe = calls.pipe();
  let wakes = 0;
  const watch = calls.watch(pipe.readFd, () => {
    wakes++;
    calls.drain(pipe.readFd);
  });

  for (let round = 0; round < 10; round++) calls.wake(pipe.writeFd);
  await until(() => wakes > 0);
  await settle();
  expect(wakes).toBe(1);
  watch.close();
  watch.close();
  calls.wake(pipe.writeFd);
  await settle();

  expect(wakes).toBe(1);
  closeSync(pipe.readFd);
  closeSync(pipe.writeFd);
});

test('a watch lives on although nobody holds it', async () => {
  const pipe = calls.pipe();
  let wakes = 0;
  const start = (): { close(): void } =>
    calls.watch(pipe.readFd, () => {
      wakes++;
      calls.drain(pipe.readFd);
    });
  const ends = [start()].map((watch) => watch.close);

  // Enough garbage for several collections.
  for (let round = 0; round < 200; round++) new Array(100_000).fill(round);
  await settle();
  calls.wake(pipe.writeFd);
  await until(() => wakes > 0);

  expect(wakes).toBe(1);
  for (const end of ends) end();
  closeSync(pipe.readFd);
  closeSync(pipe.writeFd);
});

test('a full pipe, and one without a reader, swallow a wake', () => {
  const pipe = calls.pipe();
  let written = 0;
  expect(() => {
    for (;;) written += writeSync(pipe.writeFd, new Uint8Array(65_536));
  }).toThrow(/EAGAIN/);

  calls.wake(pipe.writeFd);
  closeSync(pipe.readFd);
  calls.wake(pipe.writeFd);

  expect(written).toBeGreaterThan(0);
  closeSync(pipe.writeFd);
});

test('asking who is at the other end of something that is no socket is an error', () => {
  const pipe = calls.pipe();

  expect(() => calls.peerOf(pipe.readFd)).toThrow(/SO_PEERCRED failed: ENOTSOCK/);

  closeSync(pipe.readFd);
  closeSync(pipe.writeFd);
});
