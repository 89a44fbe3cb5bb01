import { spawnSync } from 'node:child_process';
import { chmodSync, existsSync, mkdirSync, readdirSync, statSync, writeFileSync } from 'node:fs';
import { createServer, type Server } from 'node:net';
import { dirname } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { encodeFrame, encodeText, FrameType } from '../../../src/transports/shm/frames.ts';
import { connectShm, listenShm, parseShmUrl } from '../../../src/transports/shm/index.ts';
import { compile } from '../../soak/compiled.ts';
import { type SomeSocket, someSocket } from './some-socket.ts';

let socket: SomeSocket;
beforeEach(() => {
  socket = someSocket();
});
afterEach(() => socket.remove());

const listen = () => listenShm(socket.url, { onGuest: () => {} });

/** Runs as a user without rights: as the superuser nothing is forbidden. */
async function asNobody<T>(work: () => Promise<T>): Promise<T> {
  if (process.getuid?.() !== 0) return work();
  process.seteuid?.(65_534);
  try {
    return await work();
  } finally {
    process.seteuid?.(0);
  }
}

test('a url is a scheme and an absolute path, or the path alone', () => {
  expect(parseShmUrl('shm:/run/vmbus/a.sock')).toBe('/run/vmbus/a.sock');
  expect(parseShmUrl('/run/vmbus/a.sock')).toBe('/run/vmbus/a.sock');
  expect(() => parseShmUrl('shm:a.sock')).toThrow(/absolute path/);
  expect(() => parseShmUrl('kvm:')).toThrow(/absolute path/);
  expect(() => parseShmUrl(`shm:/${'x'.repeat(107)}`)).toThrow(/at most 107 bytes/);
});

test('the directory is made private, the socket too, and both go with the host', async () => {
  const listener = await listen();

  expect(statSync(dirname(socket.path)).mode & 0o777).toBe(0o700);
  expect(statSync(socket.path).mode & 0o777).toBe(0o600);
  await listener.close();

  expect(readdirSync(socket.directory)).toEqual([]);
});

test('a directory that was there before stays', async () => {
  mkdirSync(dirname(socket.path), { mode: 0o700 });

  const listener = await listen();
  await listener.close();

  expect(readdirSync(dirname(socket.path))).toEqual([]);
});

test('a directory that others can enter is refused', async () => {
  mkdirSync(dirname(socket.path));
  chmodSync(dirname(socket.path), 0o755);

  await expect(listen()).rejects.toThrow(/has mode 0755: others could attach/);
});

test('a path where a host listens is refused, and that host goes on', async () => {
  const listener = await listen();

  await expect(listen()).rejects.toThrow(/is in use: a host listens there/);

  const guest = await connectShm(socket.url, { pageCount: 1 });
  guest.close();
  await listener.close();
});

test('a path that is an ordinary file is refused and the file kept', async () => {
  mkdirSync(dirname(socket.path), { mode: 0o700 });
  writeFileSync(socket.path, 'precious');

  await expect(listen()).rejects.toThrow(/is not a socket; it is left alone/);

  expect(statSync(socket.path).size).toBe(8);
});

test('a directory whose parent does not exist is named in the error', async () => {
  await expect(listenShm(`shm:${socket.directory}/a/b/c.sock`, { onGuest: () => {} })).rejects.toThrow(
    /a\/b cannot be made: ENOENT/,
  );
});

test('without permission host and guest say so', async () => {
  const listener = await listen();
  chmodSync(socket.directory, 0o000);

  await expect(asNobody(() => connectShm(socket.url, { pageCount: 1 }))).rejects.toThrow(/no permission/);
  await expect(asNobody(() => listenShm(`${socket.url}.d/x.sock`, { onGuest: () => {} }))).rejects.toThrow(
    /cannot be made: EACCES/,
  );

  chmodSync(socket.directory, 0o700);
  await listener.close();
});

test('a guest is told that there is no socket, or that it is no socket', async () => {
  await expect(connectShm(socket.url)).rejects.toThrow(/there is no socket: is the host running/);
  writeFileSync(`${socket.directory}/file`, '');

  await expect(connectShm(`shm:${socket.directory}/file`)).rejects.toThrow(/is stale|not a socket/);
});

test('a socket that a killed host left is stale to a guest and free to the next host', async () => {
  const dying = 'test/soak/peers/dying-host.ts';
  const compiled = compile([dying]);
  spawnSync(process.execPath, [compiled.pathOf(dying), socket.url]);
  compiled.remove();
  expect(existsSync(socket.path)).toBe(true);

  await expect(connectShm(socket.url)).rejects.toThrow(/the socket is stale/);
  const listener = await listen();
  const guest = await connectShm(socket.url, { pageCount: 1 });
  guest.close();
  await listener.close();

  expect(existsSync(socket.path)).toBe(false);
});

test.each<[string, (server: Server) => void, RegExp]>([
  ['is silent', () => {}, /sent nothing for 100 ms/],
  ['closes at once', (server) => server.on('connection', (peer) => peer.destroy()), /closed the connection before/],
  ['babbles', (server) => server.on('connection', (peer) => peer.write('220 mail\r\n')), /does not speak our protocol/],
  [
    'refuses',
    (server) => server.on('connection', (peer) => peer.write(encodeText(FrameType.Refusal, 'not\u001b[2J today'))),
    /refused: not\?\[2J today/,
  ],
  [
    'answers with something else',
    (server) => server.on('connection', (peer) => peer.write(encodeFrame(FrameType.Goodbye, new Uint8Array(0)))),
    /answered with a frame of type 5/,
  ],
  [
    'names a doorbell that is none of its',
    (server) => server.on('connection', (peer) => peer.write(encodeFrame(FrameType.Welcome, new Uint8Array(32)))),
    /doorbell at \/proc\/0\/fd\/0 cannot be opened/,
  ],
])('a guest gives up on a host that %s', async (_what, behave, reason) => {
  mkdirSync(dirname(socket.path), { mode: 0o700 });
  const server = createServer();
  behave(server);
  server.on('connection', (peer) => peer.on('error', () => {}));
  await new Promise<void>((resolve) => server.listen(socket.path, resolve));

  await expect(connectShm(socket.url, { timeoutMs: 100 })).rejects.toThrow(reason);

  server.close();
});
