import { closeSync, openSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { describe, expect, test } from 'vitest';
import { Errno, errnoOf, Libc, loadKoffi } from '../../../src/transports/native/index.ts';

setFlagsFromString('--expose-gc');
const collectGarbage = runInNewContext('gc') as () => void;

/** A descriptor's page, shared, so that the kernel does not join it with its neighbours. @returns where it was */
function mapAndForget(libc: Libc): number {
  const fd = openSync(fileURLToPath(import.meta.url), 'r+');
  const mapping = libc.mapShared(fd, 4096);
  closeSync(fd);
  return mapping.address;
}

test('a missing koffi is an error that says how to install it', async () => {
  const missing = () =>
    Promise.reject(Object.assign(new Error("Cannot find package 'koffi'"), { code: 'ERR_MODULE_NOT_FOUND' }));

  await expect(loadKoffi(missing)).rejects.toThrow(
    expect.objectContaining({ code: 'ERR_TRANSPORT', message: expect.stringContaining('npm install koffi@3') }),
  );
});

test('a koffi without the functions that we use is refused', async () => {
  await expect(loadKoffi(async () => ({ default: { load() {} } }))).rejects.toThrow(
    expect.objectContaining({ code: 'ERR_TRANSPORT' }),
  );
});

describe('mapped memory', () => {
  test('is zero, and another view of its address sees the same bytes, atomically too', async () => {
    const libc = await Libc.load();
    const mapping = libc.mapAnonymous(8192);
    const words = new Int32Array(mapping.buffer);
    const other = new Int32Array(libc.view(mapping.address, 8192));

    expect(words.every((word) => word === 0)).toBe(true);
    Atomics.or(words, 2047, 5);
    Atomics.add(other, 2047, 1);
    expect(Atomics.load(words, 2047)).toBe(6);

    mapping.release();
  });

  test('stays readable, as zeros, after its release', async () => {
    const libc = await Libc.load();
    const mapping = libc.mapAnonymous(4096);
    const bytes = new Uint8Array(mapping.buffer).fill(7);

    mapping.release();
    mapping.release();

    expect(mapping.isReleased).toBe(true);
    expect(bytes[4095]).toBe(0);
  });

  test('gives its addresses back once no view of it is left', async () => {
    const libc = await Libc.load();
    const address = mapAndForget(libc);
    const isMapped = () => readFileSync('/proc/self/maps', 'utf8').includes(`${address.toString(16)}-`);
    expect(isMapped()).toBe(true);

    for (let turn = 0; turn < 100 && isMapped(); turn++) {
      collectGarbage();
      await new Promise(setImmediate);
    }

    expect(isMapped()).toBe(false);
  });

  test('is zero again once cleared, and goes on', async () => {
    const libc = await Libc.load();
    const mapping = libc.mapAnonymous(4096);
    const bytes = new Uint8Array(mapping.buffer).fill(7);

    mapping.clear();
    expect(bytes[0]).toBe(0);
    bytes[0] = 1;

    expect(new Uint8Array(libc.view(mapping.address, 1))[0]).toBe(1);
    mapping.release();
  });

  test.each([0, -1, 0.5, Number.NaN])('of %d bytes is refused', async (lengthBytes) => {
    const libc = await Libc.load();

    expect(() => libc.mapAnonymous(lengthBytes)).toThrow(expect.objectContaining({ code: 'ERR_ARGUMENT' }));
  });
});

describe('a system call that fails', () => {
  test('names itself and the reason', async () => {
    const libc = await Libc.load();

    const open = () => libc.open('/nonexistent/device');

    expect(open).toThrow(
      expect.objectContaining({ code: 'ERR_TRANSPORT', message: expect.stringContaining('ENOENT') }),
    );
    try {
      open();
    } catch (error) {
      expect(errnoOf(error)).toBe(Errno.ENOENT);
    }
  });

  test('as an ordinary answer leaves its reason in errno', async () => {
    const libc = await Libc.load();

    expect(libc.tryIoctl(-1, 0xae80, 0)).toBe(-1);
    expect(libc.errno).toBe(9);
  });
});

test('an eventfd is a descriptor; closing what is none is an error', async () => {
  const libc = await Libc.load();
  const fd = libc.eventfd();

  expect(fd).toBeGreaterThan(2);
  libc.close(fd);

  expect(() => libc.close(-1)).toThrow(expect.objectContaining({ message: expect.stringContaining('EBADF') }));
});
