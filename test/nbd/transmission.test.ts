import fc from 'fast-check';
import { expect, test } from 'vitest';
import { UsageError } from '../../src/errors.ts';
import { RawClient, request } from './raw-client.ts';
import { serving } from './serving.ts';
import { gate, someExport } from './some-export.ts';

const MIB = 2 ** 20;
const [READ, WRITE, DISC, FLUSH, TRIM, CACHE, ZEROES, STATUS] = [0, 1, 2, 3, 4, 5, 6, 7] as const;
const [EPERM, EIO, EINVAL, ENOSPC, EOVERFLOW] = [1, 5, 22, 28, 75] as const;

test('what is written is read again', async () => {
  const store = someExport();
  const { path } = await serving(store);
  const client = await RawClient.ready(path);
  const bytes = Buffer.alloc(1024, 0x5a);

  client.send(request(WRITE, 1, 512, 1024), bytes, request(READ, 2, 512, 1024));

  expect(await client.simple()).toMatchObject({ errno: 0, cookie: 1 });
  expect(await client.simple(1024)).toMatchObject({ errno: 0, cookie: 2, data: bytes });
});

test('every command reaches the export with its flags', async () => {
  const store = someExport();
  const { path } = await serving(store);
  const client = await RawClient.ready(path);

  client.send(
    request(WRITE, 1, 0, 512, 1),
    Buffer.alloc(512),
    request(FLUSH, 2, 0, 0),
    request(TRIM, 3, 512, 1024),
    request(TRIM, 4, 512, 512, 1),
    request(ZEROES, 5, 0, 3 * 512, 1 | 2),
  );
  for (let count = 0; count < 5; count++) expect((await client.simple()).errno).toBe(0);

  expect(store.calls).toEqual(['write 0 512 fua', 'flush', 'trim 512 1024', 'trim 512 512 fua', 'write 0 1536 fua']);
});

test('zeros of any length are written in pieces, or by the export itself', async () => {
  const plain = someExport(4 * MIB);
  plain.bytes.fill(1);
  const zeroed: unknown[][] = [];
  const able = someExport(4 * MIB, {
    writeZeroes: async (...call) => {
      zeroed.push(call);
    },
  });
  const first = await RawClient.ready((await serving(plain)).path);
  const second = await RawClient.ready((await serving(able)).path);

  first.send(request(ZEROES, 1, 512, 3 * MIB));
  second.send(request(ZEROES, 1, 512, 3 * MIB), request(ZEROES, 2, 0, 512, 3));
  await first.simple();
  await second.simple();
  await second.simple();

  expect(plain.calls).toEqual([`write 512 ${MIB}`, `write ${512 + MIB} ${MIB}`, `write ${512 + 2 * MIB} ${MIB}`]);
  expect(plain.bytes.indexOf(0)).toBe(512);
  expect(plain.bytes.lastIndexOf(0)).toBe(511 + 3 * MIB);
  expect(zeroed).toEqual([
    [512, 3 * MIB, true, false],
    [0, 512, false, true],
  ]);
});

test('replies come as the work is done, not in the order of asking', async () => {
  const slow = gate();
  const store = someExport(MIB);
  const { path } = await serving({
    ...store,
    async read(offsetBytes, target) {
      if (offsetBytes === 0) await slow.opened;
      target.fill(offsetBytes / 512);
    },
  });
  const client = await RawClient.ready(path);

  client.send(request(READ, 100, 0, 512), request(READ, 101, 512, 512), request(READ, 102, 1024, 512));
  const early = [(await client.simple(512)).cookie, (await client.simple(512)).cookie];
  slow.open();
  const late = await client.simple(512);

  expect(early).toEqual([101, 102]);
  expect(late.cookie).toBe(100);
});

test('structured replies carry the offset of a read, and say what an error is', async () => {
  const { path } = await serving(
    someExport(MIB, {
      write: () => Promise.reject(new UsageError('ERR_STATE', 'the disk is on fire')),
    }),
  );
  const client = await RawClient.ready(path, { structured: true });

  client.send(request(READ, 1, 1024, 512, 4));
  const read = await client.chunk();
  client.send(request(WRITE, 2, 0, 512), Buffer.alloc(512));
  const failed = await client.chunk();
  client.send(request(FLUSH, 3, 0, 0));
  const flushed = await client.simple();

  expect(read).toMatchObject({ flags: 1, type: 1, cookie: 1 });
  expect(read.data.readBigUInt64BE(0)).toBe(1024n);
  expect(read.data.length).toBe(8 + 512);
  expect(failed).toMatchObject({ flags: 1, type: 0x8001, cookie: 2 });
  expect(failed.data.readUInt32BE(0)).toBe(EIO);
  expect(failed.data.subarray(6).toString()).toBe('the disk is on fire');
  expect(flushed).toMatchObject({ errno: 0, cookie: 3 });
});

test('block status tells holes and zeros', async () => {
  const asked: number[][] = [];
  const { path } = await serving(
    someExport(MIB, {
      extents: async (...call) => {
        asked.push(call);
        return [
          { byteCount: 4096, isHole: false, isZero: false },
          { byteCount: 8192, isHole: true, isZero: true },
          { byteCount: 512, isHole: false, isZero: true },
        ];
      },
    }),
  );
  const client = await RawClient.ready(path, { structured: true, context: true });

  client.send(request(STATUS, 1, 0, 12800));
  const all = await client.chunk();
  client.send(request(STATUS, 2, 0, 12800, 8));
  const one = await client.chunk();

  expect(all).toMatchObject({ flags: 1, type: 5, cookie: 1 });
  expect(all.data.toString('hex')).toBe('00000001' + '0000100000000000' + '0000200000000003' + '0000020000000002');
  expect(one.data.toString('hex')).toBe('00000001' + '0000100000000000');
  expect(asked).toEqual([
    [0, 12800, 4096],
    [0, 12800, 1],
  ]);
});

test.each<[name: string, header: Buffer, errno: number]>([
  ['an unknown command', request(99, 7, 0, 0), EINVAL],
  ['CACHE', request(CACHE, 7, 0, 512), EINVAL],
  ['BLOCK_STATUS without a context', request(STATUS, 7, 0, 512), EINVAL],
  ['a flag that is not defined', request(READ, 7, 0, 512, 0x8000), EINVAL],
  ['NO_HOLE on a trim', request(TRIM, 7, 0, 512, 2), EINVAL],
  ['FAST_ZERO, which was not offered', request(ZEROES, 7, 0, 512, 16), EINVAL],
  ['a read of nothing', request(READ, 7, 0, 0), EINVAL],
  ['a read of half a block', request(READ, 7, 0, 100), EINVAL],
  ['a read between blocks', request(READ, 7, 100, 512), EINVAL],
  ['a read past the end', request(READ, 7, MIB - 512, 1024), EINVAL],
  ['a read behind the end', request(READ, 7, MIB, 512), EINVAL],
  ['a read at the end of the world', request(READ, 7, 2n ** 64n - 512n, 512), EINVAL],
  ['a read of more than is allowed', request(READ, 7, 0, 32 * MIB + 512), EOVERFLOW],
  ['zeros past the end', request(ZEROES, 7, 512, MIB), ENOSPC],
  ['a trim past the end', request(TRIM, 7, 512, MIB), EINVAL],
  ['a trim of 4 GiB', request(TRIM, 7, 0, 0xffff_fe00), EINVAL],
  ['a flush with a length', request(FLUSH, 7, 0, 512), EINVAL],
  ['a flush with an offset', request(FLUSH, 7, 512, 0), EINVAL],
])('%s gets its error, and the next request its answer', async (_name, header, errno) => {
  const store = someExport(MIB);
  const { path } = await serving(store);
  const client = await RawClient.ready(path);

  client.send(header, request(READ, 8, 0, 512));

  expect(await client.simple()).toMatchObject({ errno, cookie: 7 });
  expect(await client.simple(512)).toMatchObject({ errno: 0, cookie: 8 });
  expect(store.calls).toEqual(['read 0 512']);
});

test.each<[name: string, header: Buffer, payloadBytes: number, errno: number]>([
  ['past the end', request(WRITE, 7, MIB - 512, 1024), 1024, ENOSPC],
  ['of half a block', request(WRITE, 7, 0, 513), 513, EINVAL],
  ['with a flag that is not defined', request(WRITE, 7, 0, 512, 0x40), 512, EINVAL],
  ['of more than is allowed', request(WRITE, 7, 0, 33 * MIB), 33 * MIB, EOVERFLOW],
])('the payload of a write %s is passed over', async (_name, header, payloadBytes, errno) => {
  const store = someExport(MIB);
  const { path } = await serving(store);
  const client = await RawClient.ready(path);

  client.send(header, Buffer.alloc(payloadBytes, 0x25), request(READ, 8, 0, 512));

  expect(await client.simple()).toMatchObject({ errno, cookie: 7 });
  expect(await client.simple(512)).toMatchObject({ errno: 0, cookie: 8, data: Buffer.alloc(512) });
  expect(store.calls).toEqual(['read 0 512']);
});

test('a read-only export refuses every change, payload and all', async () => {
  const store = someExport(MIB, { readOnly: true });
  const { path } = await serving(store);
  const client = await RawClient.ready(path);

  client.send(request(WRITE, 1, 0, 512), Buffer.alloc(512), request(TRIM, 2, 0, 512), request(ZEROES, 3, 0, 512));
  const errors = [await client.simple(), await client.simple(), await client.simple()];

  expect(errors.map(({ errno }) => errno)).toEqual([EPERM, EPERM, EPERM]);
  expect(store.calls).toEqual([]);
});

test('an export without trim does not offer it, and refuses it', async () => {
  const { trim: _, ...store } = someExport(MIB);
  const { path } = await serving(store);
  const client = await RawClient.greeted(path);
  const [info] = await client.option(7, Buffer.alloc(6));

  client.send(request(TRIM, 1, 0, 512));

  expect((info?.data.readUInt16BE(10) ?? 0) & 0x20).toBe(0);
  expect((await client.simple()).errno).toBe(EINVAL);
});

test('an export may name its errors', async () => {
  const { path } = await serving(
    someExport(MIB, { write: () => Promise.reject(new Error('full')), errnoOf: () => ENOSPC }),
  );
  const client = await RawClient.ready(path);

  client.send(request(WRITE, 1, 0, 512), Buffer.alloc(512));

  expect((await client.simple()).errno).toBe(ENOSPC);
});

test('bytes that are no request end the connection; what was asked before is not carried over', async () => {
  const { path, ended, endedCount } = await serving(someExport());
  const client = await RawClient.ready(path);

  client.send(Buffer.from('GET /index.html HTTP/1.1\r\nHost: x\r\n\r\n'));
  await client.ended();
  await endedCount(1);

  expect(ended[0]).toMatchObject({
    code: 'ERR_MESSAGE',
    message: 'NBD: a request begins with 0x47455420; connection closed',
  });
});

test('a client that leaves in the middle of a payload has written nothing', async () => {
  const store = someExport();
  const { path, endedCount } = await serving(store);
  const client = await RawClient.ready(path);

  client.send(request(WRITE, 1, 0, 4096), Buffer.alloc(4095, 1));
  client.destroy();
  await endedCount(1);

  expect(store.calls).toEqual([]);
});

test('DISC ends the connection when what was asked before is answered', async () => {
  const slow = gate();
  const { path, ended, endedCount } = await serving(someExport(MIB, { read: () => slow.opened }));
  const client = await RawClient.ready(path);

  client.send(request(READ, 1, 0, 512), request(DISC, 2, 0, 0), request(READ, 3, 0, 512));
  client.send(Buffer.alloc(100_000));
  slow.open();
  const first = await client.simple(512);
  const rest = await client.ended();
  await endedCount(1);

  expect(first.cookie).toBe(1);
  expect(rest.length).toBe(0);
  expect(ended).toEqual([undefined]);
});

test('requests byte by byte, and cut anywhere, are requests', async () => {
  const store = someExport(64 * 1024);
  const { path } = await serving(store);
  const stream = Buffer.concat([
    request(WRITE, 1, 512, 1024),
    Buffer.alloc(1024, 0x33),
    request(READ, 2, 512, 1024),
    request(WRITE, 3, 0, 100),
    Buffer.alloc(100),
    request(FLUSH, 4, 0, 0),
  ]);
  await fc.assert(
    fc.asyncProperty(fc.array(fc.nat(stream.length), { maxLength: 6 }), async (cuts) => {
      const client = await RawClient.ready(path);
      const places = [0, ...cuts.sort((a, b) => a - b), stream.length];

      for (const [index, place] of places.slice(1).entries()) {
        client.send(stream.subarray(places[index], place));
        await new Promise((resolve) => setImmediate(resolve));
      }

      const replies = [];
      for (let count = 0; count < 4; count++) {
        const header = await client.take(16);
        const cookie = Number(header.readBigUInt64BE(8));
        replies.push([cookie, header.readUInt32BE(4)]);
        if (cookie === 2) expect((await client.take(1024)).every((byte) => byte === 0x33)).toBe(true);
      }
      expect(replies.sort()).toEqual([
        [1, 0],
        [2, 0],
        [3, EINVAL],
        [4, 0],
      ]);
      client.destroy();
    }),
    { numRuns: 30 },
  );
});

test('random bytes after the handshake end that connection and touch nothing else', async () => {
  const store = someExport(MIB);
  const { path } = await serving(store);
  const witness = await RawClient.ready(path);
  await fc.assert(
    fc.asyncProperty(fc.uint8Array({ minLength: 28, maxLength: 2000 }), async (bytes) => {
      bytes[0] = 0xff;
      const client = await RawClient.ready(path);

      client.send(bytes);
      await client.ended();

      witness.send(request(READ, 1, 0, 512));
      expect((await witness.simple(512)).errno).toBe(0);
    }),
    { numRuns: 30 },
  );
  expect(new Set(store.calls)).toEqual(new Set(['read 0 512']));
});

test('any mix of good and bad requests gets exactly one reply each', async () => {
  const store = someExport(64 * 1024);
  const { path } = await serving(store, { maxRequests: 3 });
  const oneRequest = fc.record({
    command: fc.constantFrom(READ, WRITE, FLUSH, TRIM, CACHE, ZEROES, STATUS, 77),
    flags: fc.constantFrom(0, 0, 0, 1, 2, 0x100),
    offset: fc.oneof(
      fc.nat(130).map((block) => block * 512),
      fc.nat(70_000),
    ),
    byteCount: fc.oneof(
      fc.nat(8).map((block) => block * 512),
      fc.nat(5000),
    ),
  });
  await fc.assert(
    fc.asyncProperty(fc.array(oneRequest, { minLength: 1, maxLength: 40 }), async (requests) => {
      const client = await RawClient.ready(path, { structured: true });
      for (const [cookie, { command, flags, offset, byteCount }] of requests.entries()) {
        client.send(request(command, cookie, offset, byteCount, flags));
        if (command === WRITE) client.send(Buffer.alloc(byteCount, 0x25));
      }

      const cookies: number[] = [];
      for (let count = 0; count < requests.length; count++) {
        const magic = (await client.take(4)).readUInt32BE(0);
        const rest = await client.take(magic === 0x67446698 ? 12 : 16);
        cookies.push(Number(rest.readBigUInt64BE(4)));
        if (magic !== 0x67446698) await client.take(rest.readUInt32BE(12));
      }

      expect(cookies.sort((a, b) => a - b)).toEqual(requests.map((_, index) => index));
      client.send(request(DISC, 0, 0, 0));
      expect((await client.ended()).length).toBe(0);
    }),
    { numRuns: 40 },
  );
});
