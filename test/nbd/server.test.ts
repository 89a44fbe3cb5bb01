import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { readFile, stat, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, test } from 'vitest';
import { serveNbd } from '../../src/nbd/server.ts';
import { RawClient, request } from './raw-client.ts';
import { serving } from './serving.ts';
import { gate, someExport } from './some-export.ts';

const folder = mkdtempSync(join(tmpdir(), 'vmbus-nbd-server-'));
afterAll(() => rmSync(folder, { recursive: true }));

const MIB = 2 ** 20;
const [READ, WRITE, DISC] = [0, 1, 2] as const;

test('only this user may connect, unless told otherwise', async () => {
  const { path } = await serving(someExport());
  const open = await serving(someExport(), { mode: 0o666 });

  expect((await stat(path)).mode & 0o777).toBe(0o600);
  expect((await stat(open.path)).mode & 0o777).toBe(0o666);
});

test('a socket that nobody listens on is replaced; one that is in use is not', async () => {
  const path = join(folder, 'stale.sock');
  const left = createServer();
  await new Promise<void>((listening) => left.listen(path, () => listening()));

  await expect(serveNbd({ path, exports: { '': someExport() } })).rejects.toThrow(/another server does/);

  await new Promise<void>((closed) => left.close(() => closed()));
  await leaveStaleSocket(path);
  const server = await serveNbd({ path, exports: { '': someExport() } });
  await RawClient.ready(path);
  server.destroyConnections();
  await server.close();
  expect(existsSync(path)).toBe(false);
});

/** What a process that was killed leaves behind. */
async function leaveStaleSocket(path: string): Promise<void> {
  const { rename } = await import('node:fs/promises');
  const other = `${path}.other`;
  const server = createServer();
  await new Promise<void>((listening) => server.listen(other, () => listening()));
  await rename(other, path);
  await new Promise<void>((closed) => server.close(() => closed()));
}

test('a file that is no socket is left alone', async () => {
  const path = join(folder, 'precious');
  await writeFile(path, 'precious');

  await expect(serveNbd({ path, exports: { '': someExport() } })).rejects.toThrow(/it exists and is no socket/);

  expect(await readFile(path, 'utf8')).toBe('precious');
});

test('a folder that is not there is an error of one line', async () => {
  const path = join(folder, 'no', 'such', 'folder');

  await expect(serveNbd({ path, exports: { '': someExport() } })).rejects.toMatchObject({
    code: 'ERR_TRANSPORT',
    message: `cannot listen on ${path}: its folder does not exist`,
  });
});

test.each([
  ['blocks of 100 bytes', { blockBytes: 100 }],
  ['blocks of 1 MiB', { blockBytes: MIB }],
  ['half a block', { sizeBytes: 700 }],
  ['a size that is no number', { sizeBytes: Number.NaN }],
])('an export with %s is refused', async (_name, changes) => {
  const path = join(folder, 'refused.sock');

  await expect(serveNbd({ path, exports: { '': someExport(MIB, changes) } })).rejects.toMatchObject({
    code: 'ERR_ARGUMENT',
  });
});

test('several clients share an export', async () => {
  const { path, server } = await serving(someExport());
  const [first, second] = [await RawClient.ready(path), await RawClient.ready(path)];

  first.send(request(WRITE, 1, 0, 512), Buffer.alloc(512, 9));
  await first.simple();
  second.send(request(READ, 2, 0, 512));

  expect((await second.simple(512)).data).toEqual(Buffer.alloc(512, 9));
  expect(server.connectionCount).toBe(2);
});

test('more clients than allowed are turned away', async () => {
  const { path } = await serving(someExport(), { maxConnections: 1 });
  await RawClient.ready(path);

  const turnedAway = await RawClient.connect(path);

  expect((await turnedAway.ended()).length).toBe(0);
});

test('no more requests are begun at once than allowed, and all are answered', async () => {
  let running = 0;
  let most = 0;
  const { path } = await serving(
    someExport(MIB, {
      async read() {
        most = Math.max(most, ++running);
        await new Promise((resolve) => setImmediate(resolve));
        running--;
      },
    }),
    { maxRequests: 4 },
  );
  const client = await RawClient.ready(path);

  for (let cookie = 0; cookie < 200; cookie++) client.send(request(READ, cookie, 0, 512));
  const cookies = new Set<number>();
  for (let count = 0; count < 200; count++) cookies.add((await client.simple(512)).cookie);

  expect(cookies.size).toBe(200);
  expect(most).toBe(4);
});

test('a client that takes no answers is given no more than a bounded number of bytes', async () => {
  let readBytes = 0;
  const { path } = await serving(
    someExport(32 * MIB, {
      read: async (_at, target) => {
        readBytes += target.length;
      },
    }),
  );
  const client = await RawClient.ready(path);
  client.pause();

  for (let cookie = 0; cookie < 100; cookie++) client.send(request(READ, cookie, 0, 16 * MIB));
  // Everything that can happen without the client has happened when nothing new is read for many turns.
  let before = -1;
  for (let quietTurns = 0; quietTurns < 200; quietTurns = readBytes === before ? quietTurns + 1 : 0) {
    before = readBytes;
    await new Promise((resolve) => setImmediate(resolve));
  }

  expect(readBytes).toBeGreaterThan(0);
  expect(readBytes).toBeLessThanOrEqual(64 * MIB * 2 + 16 * MIB);
  client.destroy();
});

test('closing answers what is under way, flushes, and removes the socket', async () => {
  const slow = gate();
  const store = someExport();
  const begun = gate();
  const { path, server, ended } = await serving({
    ...store,
    async write(...call) {
      begun.open();
      await slow.opened;
      await store.write(...call);
    },
  });
  const client = await RawClient.ready(path);
  const idle = await RawClient.ready(path);
  const negotiating = await RawClient.greeted(path);
  client.send(request(WRITE, 1, 0, 512), Buffer.alloc(512, 4));
  await begun.opened;

  const closing = server.close();
  await Promise.all([idle.ended(), negotiating.ended()]);
  slow.open();
  const answer = await client.simple();
  await closing;

  expect(answer).toMatchObject({ errno: 0, cookie: 1 });
  expect(store.calls).toEqual(['write 0 512', 'flush']);
  expect(existsSync(path)).toBe(false);
  expect(ended).toEqual([undefined, undefined, undefined]);
  await expect(RawClient.connect(path)).rejects.toThrow();
});

test('closing waits for work whose client is gone', async () => {
  const slow = gate();
  const begun = gate();
  const order: string[] = [];
  const { path, server } = await serving(
    someExport(MIB, {
      async write() {
        begun.open();
        await slow.opened;
        order.push('written');
      },
      flush: async () => {
        order.push('flushed');
      },
    }),
  );
  const client = await RawClient.ready(path);
  client.send(request(WRITE, 1, 0, 512), Buffer.alloc(512));
  await begun.opened;
  client.destroy();

  const closing = server.close().then(() => order.push('closed'));
  await new Promise((resolve) => setImmediate(resolve));
  slow.open();
  await closing;

  expect(order).toEqual(['written', 'flushed', 'closed']);
});

test('a client that never takes its answers does not hold up the closing', async () => {
  const { path, server, ended } = await serving(someExport(32 * MIB), { closeTimeoutMs: 1 });
  const client = await RawClient.ready(path);
  client.pause();
  client.send(request(READ, 1, 0, 32 * MIB));
  while (server.connectionCount === 0) await new Promise((resolve) => setImmediate(resolve));

  await server.close();

  expect(ended).toHaveLength(1);
  client.destroy();
});

test('a flush that fails at the end is told, and the server is closed nevertheless', async () => {
  const path = join(folder, 'unflushed.sock');
  const store = someExport(MIB, { flush: () => Promise.reject(new Error('no flush')) });
  const server = await serveNbd({ path, exports: { '': store } });

  await expect(server.close()).rejects.toThrow('no flush');

  expect(existsSync(path)).toBe(false);
});

test('a client that says goodbye and keeps its socket open is let go', async () => {
  const { path, server, endedCount } = await serving(someExport());
  const client = await RawClient.ready(path);

  client.send(request(DISC, 1, 0, 0));
  await endedCount(1);

  expect(server.connectionCount).toBe(0);
});
