import { expect, test } from 'vitest';
import { PostStatus } from '../../../src/bus/control-port.ts';
import { GuestMemory } from '../../../src/memory/guest-memory.ts';
import { createLoopback } from '../../../src/transports/loopback/index.ts';
import { StepScheduler } from '../../peers/step-scheduler.ts';

function someLoopback(options: { hasMulticlientPort?: boolean } = {}) {
  const scheduler = new StepScheduler();
  const loopback = createLoopback({ scheduler, memory: GuestMemory.allocate(4), ...options });
  return { scheduler, ...loopback };
}

test('a control message arrives later, once, with the bytes that it had when it was posted', () => {
  const { guest, host, scheduler } = someLoopback();
  const received: [number[], number][] = [];
  host.onMessage((message, connectionId) => received.push([[...message], connectionId]));
  const message = Uint8Array.of(3, 0, 0, 0, 0, 0, 0, 0);

  expect(guest.control.post(4, message)).toBe(PostStatus.Success);
  message.fill(0xff);
  expect(received).toEqual([]);
  scheduler.run();

  expect(received).toEqual([[[3, 0, 0, 0, 0, 0, 0, 0], 4]]);
});

test('messages of one side stay in order, whichever sink reads them', () => {
  const { guest, host, scheduler } = someLoopback();
  const atGuest: number[] = [];
  guest.onMessage((message) => atGuest.push(message[0] as number));

  for (let value = 0; value < 5; value++) host.control.post(0, Uint8Array.of(value));
  scheduler.run();

  expect(atGuest).toEqual([0, 1, 2, 3, 4]);
});

test('a message over 240 bytes is refused at once', () => {
  const { guest } = someLoopback();

  expect(() => guest.control.post(1, new Uint8Array(241))).toThrow(expect.objectContaining({ code: 'ERR_ARGUMENT' }));
});

test('a host older than 5.0 has no message connection 4', () => {
  const { guest, host, scheduler } = someLoopback({ hasMulticlientPort: false });
  let arrived = 0;
  host.onMessage(() => arrived++);

  expect(guest.control.post(4, new Uint8Array(8))).toBe(PostStatus.InvalidConnectionId);
  expect(guest.control.post(1, new Uint8Array(8))).toBe(PostStatus.Success);
  scheduler.run();

  expect(arrived).toBe(1);
});

test('signals of one id merge until they are delivered, and a signal from the sink is a new edge', () => {
  const { guest, host, scheduler } = someLoopback();
  const seen: number[] = [];
  host.onSignal((connectionId) => {
    seen.push(connectionId);
    if (seen.length === 1) guest.signal(0x2005);
  });

  for (let i = 0; i < 10; i++) guest.signal(0x2005);
  guest.signal(0x2006);
  scheduler.run();

  expect(seen).toEqual([0x2005, 0x2006, 0x2005]);
});

test('a lost guest is told to the host once, and nothing that was under way arrives', () => {
  const { guest, host, scheduler, loseGuest } = someLoopback();
  const events: string[] = [];
  host.onMessage(() => events.push('message'));
  host.onSignal(() => events.push('signal'));
  host.onLost((reason) => events.push(reason));
  guest.onLost((reason) => events.push(`guest ${reason}`));

  guest.control.post(1, new Uint8Array(8));
  guest.signal(1);
  loseGuest('killed');
  loseGuest('again');
  scheduler.run();

  expect(events).toEqual(['killed']);
});
