import fc from 'fast-check';
import { expect, test } from 'vitest';
import { writeZeros, zeroBuffers } from '../../src/images/backing-file.ts';
import { CallCount, settle } from '../../src/images/call-count.ts';
import { crc32c, crc32cWithout } from '../../src/images/crc32c.ts';
import { GroupCommit } from '../../src/images/group-commit.ts';
import { RangeLocks } from '../../src/images/range-locks.ts';
import { FreeSpace } from '../../src/images/vhdx/free-space.ts';
import { JournalFile } from './journal-file.ts';

const MIB = 2 ** 20;

/** Lets everything that can go on go on. */
const turn = () => new Promise((resolve) => setImmediate(resolve));

test.each([
  // Source: RFC 3720, appendix B.4.
  ['32 zeros', new Uint8Array(32), 0x8a9136aa],
  ['32 ones', new Uint8Array(32).fill(0xff), 0x62a8ab43],
  ['0 to 31', Uint8Array.from({ length: 32 }, (_, index) => index), 0x46dd794e],
  ['31 to 0', Uint8Array.from({ length: 32 }, (_, index) => 31 - index), 0x113fdb5c],
])('CRC-32C of %s', (_name, bytes, sum) => {
  expect(crc32c(bytes)).toBe(sum);
});

test('a checksum may be summed in pieces, and leave out its own field', () => {
  fc.assert(
    fc.property(fc.uint8Array({ minLength: 4, maxLength: 99 }), fc.nat(), (bytes, split) => {
      const at = split % (bytes.length - 3);
      const zeroed = bytes.slice().fill(0, at, at + 4);

      expect(crc32c(bytes.subarray(at), crc32c(bytes.subarray(0, at)))).toBe(crc32c(bytes));
      expect(crc32cWithout(bytes, at)).toBe(crc32c(zeroed));
    }),
  );
});

test.each([0, 1, 262_143, 262_144, 262_145, 5_000_000])('%i zeros are so many and all zero', (count) => {
  const buffers = zeroBuffers(count);

  expect(buffers.reduce((sum, buffer) => sum + buffer.length, 0)).toBe(count);
  expect(buffers.every((buffer) => buffer.every((byte) => byte === 0))).toBe(true);
});

test('zeros are written in pieces, exactly where they belong', async () => {
  const file = new JournalFile(new Uint8Array(40 * MIB).fill(1));

  await writeZeros(file, 5, 33 * MIB);

  const bytes = file.now.toBytes();
  expect([bytes[4], bytes[5], bytes[5 + 33 * MIB - 1], bytes[5 + 33 * MIB]]).toEqual([1, 0, 0, 1]);
  expect(bytes.indexOf(1, 5)).toBe(5 + 33 * MIB);
  expect(file.changeCount).toBe(3);
});

test('shared holders come in together, an exclusive one waits for all before it and holds up all behind', async () => {
  const locks = new RangeLocks();
  const order: string[] = [];
  const enter = async (name: string, first: number, last: number, isExclusive: boolean) => {
    const release = await locks.acquire(first, last, isExclusive);
    order.push(name);
    return release;
  };
  const first = await enter('shared 0-5', 0, 5, false);
  const second = await enter('shared 3-9', 3, 9, false);
  const third = enter('exclusive 4', 4, 4, true);
  const fourth = enter('shared 4', 4, 4, false);
  const fifth = enter('exclusive 20', 20, 30, true);
  await turn();
  expect(order).toEqual(['shared 0-5', 'shared 3-9', 'exclusive 20']);

  first();
  await turn();
  expect(order).toHaveLength(3);
  second();
  const endThird = await third;
  await turn();
  expect(order).toEqual(['shared 0-5', 'shared 3-9', 'exclusive 20', 'exclusive 4']);
  endThird();
  (await fourth)();
  (await fifth)();

  expect(order.at(-1)).toBe('shared 4');
});

test('no two holders of one thing overlap unless both share it, and all are served', async () => {
  const request = fc.record({ first: fc.nat(9), more: fc.nat(4), isExclusive: fc.boolean() });
  await fc.assert(
    fc.asyncProperty(fc.array(request, { maxLength: 20 }), fc.scheduler(), async (requests, scheduler) => {
      const locks = new RangeLocks();
      const inside = new Set<{ first: number; more: number; isExclusive: boolean }>();
      let served = 0;
      const all = requests.map(async (one) => {
        const release = await locks.acquire(one.first, one.first + one.more, one.isExclusive);
        for (const other of inside) {
          const overlaps = other.first <= one.first + one.more && one.first <= other.first + other.more;
          expect(overlaps && (one.isExclusive || other.isExclusive)).toBe(false);
        }
        inside.add(one);
        await scheduler.schedule(Promise.resolve());
        inside.delete(one);
        served++;
        release();
      });

      await scheduler.waitFor(Promise.all(all));

      expect(served).toBe(requests.length);
    }),
  );
});

test('commits never overlap, and each request is served by one that began after it', async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(fc.nat(3), { minLength: 1, maxLength: 20 }), async (waits) => {
      let begun = 0;
      let running = 0;
      const commits = new GroupCommit(async () => {
        begun++;
        expect(++running).toBe(1);
        const mine = begun;
        await turn();
        running--;
        if (mine % 3 === 0) throw new Error('commit fails');
      });
      const requests: Promise<void>[] = [];
      for (const wait of waits) {
        for (let turns = 0; turns < wait; turns++) await (turns % 2 === 0 ? turn() : Promise.resolve());
        const before = begun;
        requests.push(
          commits
            .request()
            .catch(() => undefined)
            .then(() => {
              expect(begun).toBeGreaterThan(before);
            }),
        );
      }

      await Promise.all(requests);

      expect(begun).toBeLessThanOrEqual(waits.length);
    }),
  );
});

test('requests during a commit share the next one', async () => {
  let begun = 0;
  const commits = new GroupCommit(async () => {
    begun++;
    await turn();
  });

  await Promise.all([commits.request(), commits.request(), commits.request(), commits.request()]);

  expect(begun).toBe(2);
});

test('closing waits for calls under way and lets none begin', async () => {
  const calls = new CallCount();
  const order: string[] = [];
  const call = calls.run(async () => {
    await turn();
    order.push('call');
  });

  const closing = calls.close().then(() => order.push('closed'));
  await expect(calls.run(async () => {})).rejects.toThrow('the image is closed');
  await Promise.all([call, closing]);

  expect(order).toEqual(['call', 'closed']);
  expect(await calls.close()).toBe(false);
});

test('settle waits for the slow ones before it says what failed', async () => {
  let isDone = false;
  const slow = turn().then(() => {
    isDone = true;
  });

  await expect(settle([Promise.reject(new Error('first')), slow])).rejects.toThrow('first');

  expect(isDone).toBe(true);
});

test('free space is taken from gaps first and never twice', () => {
  const space = new FreeSpace(2 * MIB, Float64Array.of(0, MIB, 5 * MIB, 6 * MIB), 8.5 * MIB);

  const taken = Array.from({ length: 5 }, () => space.take());

  const fresh = taken.filter(({ isFresh }) => isFresh).map(({ at }) => at / MIB);
  const used = taken.filter(({ isFresh }) => !isFresh).map(({ at }) => at / MIB);
  expect(used.sort((a, b) => a - b)).toEqual([1, 3, 6]);
  expect(fresh).toEqual([9, 11]);
  expect(space.endBytes).toBe(13 * MIB);
  space.give(3 * MIB);
  expect(space.take()).toEqual({ at: 3 * MIB, isFresh: false });
});

test('the recording file keeps what was synced and may lose the rest', async () => {
  const file = new JournalFile();
  await file.write(0, [new Uint8Array(1024).fill(1)]);
  await file.sync();
  await file.write(512, [new Uint8Array(1024).fill(2)]);

  expect(file.cut(file.changeCount, () => false).toBytes()).toEqual(new Uint8Array(1024).fill(1));
  expect(file.cut(file.changeCount, () => true).toBytes()).toEqual(new Uint8Array(1536).fill(1).fill(2, 512));
  expect(file.cut(1, () => false).toBytes()).toEqual(new Uint8Array(0));
});
