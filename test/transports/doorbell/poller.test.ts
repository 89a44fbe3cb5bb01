import { expect, test } from 'vitest';
import { Poller, type PollerLoop, type PollSource } from '../../../src/transports/doorbell/index.ts';

/** An event loop that turns when the test says so, with a clock that moves 1 us per reading. */
class StepLoop implements PollerLoop {
  readonly work: { is: 'soon' | 'nextTurn'; run: () => void }[] = [];
  now = 0;

  nowMs(): number {
    this.now += 0.001;
    return this.now;
  }
  soon(run: () => void): void {
    this.work.push({ is: 'soon', run });
  }
  nextTurn(run: () => void): void {
    this.work.push({ is: 'nextTurn', run });
  }
  step(): 'soon' | 'nextTurn' | 'nothing' {
    const next = this.work.shift();
    next?.run();
    return next?.is ?? 'nothing';
  }
  /** Steps until nothing is left to do; a poller that never rests fails here. */
  rest(): void {
    for (let steps = 0; this.work.length > 0; steps++) {
      if (steps > 10_000) throw new Error('the poller never rests');
      this.step();
    }
  }
}

class SomeSource implements PollSource {
  pending = 0;
  delivered = 0;
  awake = true;
  onDeliver: (() => void) | undefined;

  get isPending(): boolean {
    return this.pending > 0;
  }
  poll(): boolean {
    if (this.pending === 0) return false;
    this.pending--;
    this.delivered++;
    this.onDeliver?.();
    return true;
  }
  sleep(): boolean {
    if (this.pending > 0) return false;
    this.awake = false;
    return true;
  }
  wakeUp(): void {
    this.awake = true;
  }
}

function somePoller() {
  const loop = new StepLoop();
  const poller = new Poller({ loop, spin: { maxUs: 50 } });
  const source = new SomeSource();
  const handle = poller.attach(source);
  return { loop, poller, source, handle };
}

test('a link is awake at first, falls asleep when its window is over, and then costs nothing', () => {
  const { loop, poller, source } = somePoller();
  expect(source.awake).toBe(true);

  loop.rest();

  expect(source.awake).toBe(false);
  expect(poller.awakeCount).toBe(0);
  expect(loop.work).toEqual([]);
});

test('a link that is rung is served before the call returns, and looked at for a while after', () => {
  const { loop, source, handle } = somePoller();
  loop.rest();

  source.pending = 1;
  handle.rung();

  expect(source.delivered).toBe(1);
  expect(source.awake).toBe(true);
  loop.step();
  expect(source.awake).toBe(true);
  loop.rest();
  expect(source.awake).toBe(false);
});

test('work that arrives while the poller looks is delivered without a turn of the loop', () => {
  const { loop, source } = somePoller();
  let looks = 0;
  Object.defineProperty(source, 'isPending', { get: () => ++looks > 5 });
  source.pending = 1;
  const deliver = source.poll.bind(source);
  source.poll = () => looks > 5 && deliver();

  loop.step();

  expect(source.delivered).toBe(1);
});

test('something that comes at the moment of falling asleep keeps the link awake', () => {
  const { loop, source } = somePoller();
  let isFirst = true;
  source.sleep = () => {
    if (!isFirst) return true;
    isFirst = false;
    source.pending = 1;
    return false;
  };

  loop.rest();

  expect(source.delivered).toBe(1);
});

test('after work the promises run before the next look, and the loop turns at least each 100 us', () => {
  const { loop, source } = somePoller();
  source.pending = 1_000_000;
  loop.step();
  while (loop.work[0]?.is === 'nextTurn') loop.step();

  let soon = 0;
  while (loop.step() === 'soon') soon++;

  expect(soon).toBeGreaterThan(1);
  expect(soon).toBeLessThan(100);
});

test('sending wakes a sleeping link, since an answer may come soon', () => {
  const { loop, source, handle } = somePoller();
  loop.rest();

  handle.touch();

  expect(source.awake).toBe(true);
  expect(loop.work).toHaveLength(1);
});

test('one busy link does not keep the others awake, and is served beside them', () => {
  const { loop, poller, source } = somePoller();
  const busy = new SomeSource();
  poller.attach(busy);
  busy.onDeliver = () => {
    if (busy.delivered < 500) busy.pending++;
  };
  busy.pending = 1;

  while (busy.delivered < 400) loop.step();

  expect(source.awake).toBe(false);
  expect(busy.awake).toBe(true);
});

test('a closed link is never polled again, and ringing it has no effect', () => {
  const { loop, source, handle } = somePoller();

  handle.close();
  source.pending = 1;
  handle.rung();
  handle.touch();
  loop.rest();

  expect(source.delivered).toBe(0);
});

test('a sink that throws does not stop the other links', () => {
  const { loop, poller, source } = somePoller();
  const other = new SomeSource();
  poller.attach(other);
  source.pending = 1;
  other.pending = 1;
  source.onDeliver = () => {
    throw new Error('a bug in a driver');
  };

  expect(() => loop.step()).toThrow('a bug in a driver');
  loop.rest();

  expect(other.delivered).toBe(1);
});

test('what a delivery dispatches runs in the same turn', () => {
  const { loop, poller, source } = somePoller();
  const order: string[] = [];
  source.pending = 1;
  source.onDeliver = () => {
    poller.scheduler.dispatch(() => order.push('dispatched'));
    order.push('delivered');
  };

  loop.step();

  expect(order).toEqual(['delivered', 'dispatched']);
});
