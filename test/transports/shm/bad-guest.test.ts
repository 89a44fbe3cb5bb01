/** Guests that lie, babble or say nothing: each ends alone, with a reason, and the guest beside it goes on. */
import { closeSync, ftruncateSync, openSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { encodeFrame, FrameType } from '../../../src/transports/shm/frames.ts';
import {
  connectShm,
  listenShm,
  type ShmConnection,
  type ShmGuest,
  type ShmListener,
} from '../../../src/transports/shm/index.ts';
import { fileBytesOf } from '../../../src/transports/shm/shared-file.ts';
import { until } from '../until.ts';
import { type HelloValues, inodeOf, RAW_PAGES, RawGuest } from './raw-peer.ts';
import { type SomeSocket, someSocket } from './some-socket.ts';

let socket: SomeSocket;
let listener: ShmListener;
let survivor: ShmConnection;
let raw: RawGuest;
let refusals: string[];
let losses: string[];

beforeEach(async () => {
  socket = someSocket();
  refusals = [];
  losses = [];
  const onGuest = ({ environment }: ShmGuest): void => {
    environment.onSignal((connectionId) => environment.signal(connectionId, 0));
    environment.onLost((reason) => losses.push(reason));
  };
  listener = await listenShm(socket.url, { onGuest, onRefused: (reason) => refusals.push(reason), timeoutMs: 200 });
  survivor = await connectShm(socket.url, { pageCount: 1 });
  raw = await RawGuest.connect(socket.path);
});

afterEach(async () => {
  // Whatever the bad guest did, the good one is still served.
  let echo = 0;
  survivor.environment.onInterrupt((eventFlag) => {
    echo = eventFlag;
  });
  survivor.environment.signal(77);
  await until(() => echo === 77);
  expect(listener.guestCount).toBe(1);
  survivor.close();
  raw.close();
  await listener.close();
  socket.remove();
});

test('an honest guest that speaks by hand is welcome', async () => {
  raw.sayHello();
  await until(() => raw.frameTypes.length > 0);

  expect(raw.frameTypes).toEqual([FrameType.Welcome]);
  expect(listener.guestCount).toBe(2);
  raw.socket.destroy();
  await until(() => losses.length > 0);
});

test.each<[string, (guest: RawGuest) => Partial<HelloValues>, RegExp]>([
  ['another version', () => ({ version: 2 }), /version 2 is not spoken here/],
  ['no memory at all', () => ({ pageCount: 0 }), /a guest of 0 pages/],
  ['more memory than the host takes', () => ({ pageCount: 2 ** 31 }), /a guest of 2147483648 pages/],
  ['more memory than its file has', () => ({ pageCount: RAW_PAGES + 1 }), /the guest's memory file has \d+ bytes/],
  ['less memory than its file has', () => ({ pageCount: 1 }), /the guest's memory file has \d+ bytes/],
  ['a descriptor that is not open', () => ({ memoryFd: 99_999 }), /cannot be opened: ENOENT/],
  ['another file than it means', () => ({ memoryInode: 1 }), /is not the memory that the peer meant/],
  ['a pipe for memory', (guest) => ({ memoryFd: guest.pipe.writeFd, memoryInode: inodeOf(guest.pipe.writeFd) }), /./],
  ['a doorbell that is something else', (guest) => ({ wakeFd: guest.memoryFd }), /is not the doorbell/],
  ['another process than it is', () => ({ pid: 1 }), /says that it is process 1/],
  ['pages beyond what a page number can name', () => ({ firstPfn: 2n ** 60n }), /a first page at/],
])('a guest that claims %s is refused with a reason', async (_what, lie, reason) => {
  raw.sayHello(lie(raw));

  const refusal = await raw.closed;

  expect(refusal).toMatch(reason);
  expect(refusals).toEqual([refusal]);
});

test('a guest whose memory is a file on a disk, which could shrink, is refused', async () => {
  const path = join(socket.directory, 'memory');
  writeFileSync(path, new Uint8Array(fileBytesOf(RAW_PAGES)));
  const fd = openSync(path, 'r+');

  raw.sayHello({ memoryFd: fd, memoryInode: inodeOf(fd) });

  expect(await raw.closed).toMatch(/not sealed against shrinking/);
  closeSync(fd);
});

test.each([0, 1000 * 4096])('a guest cannot make its mapped file %i bytes long', async (bytes) => {
  raw.sayHello();
  await until(() => listener.guestCount === 2);

  expect(() => ftruncateSync(raw.memoryFd, bytes)).toThrow(/EPERM/);

  raw.socket.destroy();
  await until(() => losses.length > 0);
});

test('garbage instead of a hello is refused', async () => {
  raw.socket.write('GET / HTTP/1.1\r\n\r\n');

  expect(await raw.closed).toMatch(/does not speak our protocol: a frame claims 0x/);
});

test('a hello without the magic number is refused', async () => {
  const hello = raw.hello();
  hello[0] = 0;

  raw.socket.write(encodeFrame(FrameType.Hello, hello));

  expect(await raw.closed).toMatch(/the peer is no vmbus guest/);
});

test('a message before the hello is refused', async () => {
  raw.socket.write(encodeFrame(FrameType.Message, new Uint8Array(12)));

  expect(await raw.closed).toMatch(/a frame of type 4 before a hello/);
});

test('a connection that says nothing is given up', async () => {
  expect(await raw.closed).toMatch(/sent nothing for 200 ms/);
});

test('a connection that says half a hello is given up', async () => {
  raw.socket.write(encodeFrame(FrameType.Hello, raw.hello()).subarray(0, 20));

  expect(await raw.closed).toMatch(/sent half a frame for 200 ms/);
});

test('a connection that closes in the middle of its hello is no guest', async () => {
  raw.socket.end(encodeFrame(FrameType.Hello, raw.hello()).subarray(0, 20));
  await until(() => refusals.length > 0);

  expect(refusals).toEqual([expect.stringContaining('in the middle of its first frame')]);
});

test.each<[string, Uint8Array, RegExp]>([
  ['an endless frame', Uint8Array.of(0xff, 0xff, 0xff, 0x7f, 4, 0, 0, 0), /claims 0x7fffffff bytes/],
  ['a frame of no type', Uint8Array.of(0, 0, 0, 0, 9, 0, 0, 0), /a frame of type 0x9/],
  ['a second hello', encodeFrame(FrameType.Hello, new Uint8Array(56)), /a frame of type 1 after the handshake/],
  ['a message without a connection', encodeFrame(FrameType.Message, new Uint8Array(3)), /MessageBody needs 4/],
  ['a message that is too long', encodeFrame(FrameType.Message, new Uint8Array(4 + 241)), /a control message of 241/],
  ['half a frame and then nothing', encodeFrame(FrameType.Message, new Uint8Array(8)).subarray(0, 9), /half a frame/],
])('a guest that sends %s is lost to the host', async (_what, bytes, reason) => {
  raw.sayHello();
  await until(() => listener.guestCount === 2);

  raw.socket.write(bytes);
  await until(() => losses.length > 0);

  expect(losses).toEqual([expect.stringMatching(reason)]);
  await raw.closed;
});

test('a guest that scribbles over all it shares rings doorbells at worst', async () => {
  raw.sayHello();
  await until(() => listener.guestCount === 2);
  const mapping = raw.calls.libc.mapShared(raw.memoryFd, fileBytesOf(RAW_PAGES));

  new Uint8Array(mapping.buffer).fill(0xff);
  raw.calls.wake(raw.pipe.writeFd);
  raw.socket.destroy();
  await until(() => losses.length > 0);

  expect(losses).toEqual([expect.stringContaining('closed its socket')]);
  mapping.release();
});

test('a host that serves all the guests it may refuses one more', async () => {
  const other = someSocket();
  const small = await listenShm(other.url, { onGuest: () => {}, maxGuests: 1 });
  const first = await connectShm(other.url, { pageCount: 1 });

  await expect(connectShm(other.url, { pageCount: 1 })).rejects.toThrow(/serves at most 1 guests/);

  first.close();
  await until(() => small.guestCount === 0);
  const next = await connectShm(other.url, { pageCount: 1 });
  next.close();
  await small.close();
  other.remove();
});
