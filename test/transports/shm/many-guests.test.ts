/** One host and many guests: what one of them does concerns nobody else. */
import { fork } from 'node:child_process';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { PostStatus } from '../../../src/bus/control-port.ts';
import { connectShm, listenShm, type ShmGuest, type ShmListener } from '../../../src/transports/shm/index.ts';
import { compile } from '../../soak/compiled.ts';
import { until } from '../until.ts';
import { type SomeSocket, someSocket } from './some-socket.ts';

let socket: SomeSocket;
let listener: ShmListener;
let guests: ShmGuest[];

beforeEach(async () => {
  socket = someSocket();
  guests = [];
  listener = await listenShm(socket.url, { onGuest: (guest) => guests.push(guest) });
});
afterEach(async () => {
  await listener.close();
  socket.remove();
});

test('64 guests attach to one host, and each hears its own doorbell only', async () => {
  const connections = await Promise.all(
    Array.from({ length: 64 }, (_, index) => connectShm(socket.url, { pageCount: 1, firstPfn: index })),
  );
  const rung: [number, number][] = [];
  connections.forEach(({ environment }, index) => {
    environment.onInterrupt((eventFlag) => rung.push([index, eventFlag]));
  });
  for (const { environment } of guests) {
    const [region] = environment.memory.regions;
    environment.onSignal((connectionId) => environment.signal(connectionId + (region?.firstPfn ?? 0), 0));
  }

  for (const { environment } of connections) environment.signal(1000);
  await until(() => rung.length === 64);

  expect(listener.guestCount).toBe(64);
  expect(rung.sort(([a], [b]) => a - b)).toEqual(Array.from({ length: 64 }, (_, index) => [index, 1000 + index]));
  for (const connection of connections) connection.close();
  await until(() => listener.guestCount === 0);
});

test('a view of the memory of a guest that is gone reads zeros and may be written to', async () => {
  const connection = await connectShm(socket.url, { pageCount: 2 });
  const [guest] = guests as [ShmGuest];
  let isLost = false;
  guest.environment.onLost(() => {
    isLost = true;
  });
  connection.environment.memory.page(1).fill(7);
  const view = guest.environment.memory.page(1);
  expect(view[4095]).toBe(7);

  connection.close();
  await until(() => isLost && view[4095] === 0);
  view.fill(9);

  expect(guest.environment.memory.page(1)[0]).toBe(9);
});

test('a memory that a device still reads from is there while the loss is told', async () => {
  const connection = await connectShm(socket.url, { pageCount: 1 });
  const [guest] = guests as [ShmGuest];
  let atLoss: number | undefined;
  guest.environment.onLost(() => {
    atLoss = guest.environment.memory.page(0)[0];
  });

  connection.environment.memory.page(0)[0] = 5;
  connection.close();
  await until(() => atLoss !== undefined);

  expect(atLoss).toBe(5);
});

test('a guest that stopped dead costs its host bounded memory, and the other guests nothing', async () => {
  const peer = 'test/soak/peers/stopped-guest.ts';
  const compiled = compile([peer]);
  const child = fork(compiled.pathOf(peer), [socket.url]);
  await until(() => guests.length > 0);
  const [stopped] = guests as [ShmGuest];
  await new Promise<void>((resolve) => stopped.environment.onMessage(() => resolve()));
  const connection = await connectShm(socket.url, { pageCount: 1 });
  const echoed: number[] = [];
  connection.environment.onInterrupt((eventFlag) => echoed.push(eventFlag));
  guests[1]?.environment.onSignal((connectionId) => guests[1]?.environment.signal(connectionId, 0));

  let posted = 0;
  while (stopped.environment.control.post(0, new Uint8Array(240)) === PostStatus.Success) posted++;
  for (let id = 0; id < 5000; id++) stopped.environment.signal(id, 0);
  connection.environment.signal(3);
  await until(() => echoed.length > 0);

  expect(posted).toBeGreaterThan(1000);
  expect(posted).toBeLessThan(20_000);
  expect(echoed).toEqual([3]);
  let reason = '';
  stopped.environment.onLost((text) => {
    reason = text;
  });
  child.kill('SIGKILL');
  await until(() => reason !== '');
  connection.close();
  compiled.remove();
});

test('a host that turns one guest off keeps the other', async () => {
  const first = await connectShm(socket.url, { pageCount: 1 });
  const second = await connectShm(socket.url, { pageCount: 1 });
  const reasons: string[] = [];
  first.environment.onLost((reason) => reasons.push(reason));
  let echoes = 0;
  second.environment.onInterrupt(() => echoes++);

  guests[0]?.close();
  await until(() => reasons.length > 0);
  guests[1]?.environment.signal(1, 0);
  await until(() => echoes > 0);

  expect(reasons).toEqual([`the host (pid ${process.pid}) left: closed`]);
  expect(listener.guestCount).toBe(1);
  second.close();
});

test('a listener that closes lets its guests know, and its socket is gone', async () => {
  const connection = await connectShm(socket.url, { pageCount: 1 });
  const reasons: string[] = [];
  connection.environment.onLost((reason) => reasons.push(reason));

  await listener.close();
  await until(() => reasons.length > 0);

  expect(reasons).toEqual([`the host (pid ${process.pid}) left: the host was closed`]);
  await expect(connectShm(socket.url)).rejects.toThrow(/there is no socket/);
});
