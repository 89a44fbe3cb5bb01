import { expect, test } from 'vitest';
import { EventLoopScheduler } from '../../src/transports/event-loop-scheduler.ts';

const turn = () => new Promise<void>((resolve) => setImmediate(resolve));

test('dispatch work runs before passive work, each in the order asked, never inside the call', async () => {
  const scheduler = new EventLoopScheduler();
  const order: string[] = [];

  scheduler.passive(() => order.push('passive 1'));
  scheduler.dispatch(() => {
    order.push('dispatch 1');
    scheduler.dispatch(() => order.push('dispatch 3'));
  });
  scheduler.dispatch(() => order.push('dispatch 2'));
  scheduler.passive(() => order.push('passive 2'));
  expect(order).toEqual([]);
  await turn();

  expect(order).toEqual(['dispatch 1', 'dispatch 2', 'dispatch 3', 'passive 1', 'passive 2']);
});

test('two ends that keep each other busy do not starve the event loop', async () => {
  const scheduler = new EventLoopScheduler();
  let runs = 0;
  let isStopped = false;
  const ping = () => {
    runs++;
    if (!isStopped) scheduler.dispatch(ping);
  };

  ping();
  await turn();
  await turn();
  isStopped = true;

  expect(runs).toBeGreaterThan(500);
});

test('more work than the queue was made for comes out whole and in order', async () => {
  const scheduler = new EventLoopScheduler();
  const seen: number[] = [];

  for (let value = 0; value < 1000; value++) scheduler.dispatch(() => seen.push(value));
  while (seen.length < 1000) await turn();

  expect(seen).toEqual(Array.from({ length: 1000 }, (_, value) => value));
});

test('an exception in one piece of work does not lose the pieces behind it', async () => {
  const drains: (() => void)[] = [];
  const scheduler = new EventLoopScheduler((drain) => drains.push(drain));
  let ran = false;

  scheduler.dispatch(() => {
    throw new Error('a bug in a driver');
  });
  scheduler.dispatch(() => {
    ran = true;
  });

  expect(drains[0]).toThrow('a bug in a driver');
  await turn();
  expect(ran).toBe(true);
});

test('a timer runs as passive work and not after it was cancelled', async () => {
  const scheduler = new EventLoopScheduler();
  const fired: string[] = [];
  const started = scheduler.now();

  const cancelled = scheduler.timer(0, () => fired.push('cancelled'));
  cancelled.cancel();
  await new Promise<void>((resolve) => {
    scheduler.timer(1, () => {
      fired.push('kept');
      resolve();
    });
  });

  expect(fired).toEqual(['kept']);
  expect(scheduler.now()).toBeGreaterThanOrEqual(started);
});
