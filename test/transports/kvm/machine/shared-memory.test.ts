import { expect, test } from 'vitest';
import { SharedBell } from '../../../../src/transports/kvm/machine/bell.ts';
import { ByteQueue } from '../../../../src/transports/kvm/machine/byte-queue.ts';
import { MachineControl } from '../../../../src/transports/kvm/machine/machine-control.ts';
import { SharedLock } from '../../../../src/transports/kvm/machine/shared-lock.ts';

test('a bell that has rung is silent until it is lowered', () => {
  let wakes = 0;
  const bell = new SharedBell(new SharedArrayBuffer(4), () => wakes++);

  bell.ring();
  bell.ring();
  expect(wakes).toBe(1);

  bell.lower();
  bell.ring();
  expect(wakes).toBe(2);
});

test('a byte queue keeps the order over many rounds, and says when it is full', () => {
  const queue = new ByteQueue(ByteQueue.allocate(8));
  const taken: number[] = [];
  let next = 0;
  for (let round = 0; round < 100; round++) {
    while (queue.put(next & 0xff)) next++;
    taken.push(queue.takeByte(), ...queue.take());
  }

  expect(taken).toEqual(Array.from({ length: 800 }, (_, index) => index & 0xff));
  expect(queue.isEmpty).toBe(true);
  expect(queue.takeByte()).toBe(-1);
});

test('waiting for room returns at once when there is some', () => {
  const queue = new ByteQueue(ByteQueue.allocate(8));
  queue.put(1);

  queue.awaitRoom(Number.POSITIVE_INFINITY);

  expect([...queue.take()]).toEqual([1]);
});

test('a lock is free again after its release, and wakes who waited', () => {
  const words = new Int32Array(new SharedArrayBuffer(4));
  const lock = new SharedLock(words, 0);

  lock.acquire();
  expect(words[0]).toBe(1);
  words[0] = 2; // Somebody else waits.
  lock.release();

  expect(words[0]).toBe(0);
  lock.acquire();
  expect(words[0]).toBe(1);
});

test('the control words tell every thread to stop, and who the threads are', () => {
  const control = MachineControl.allocate(2);
  const other = new MachineControl(control.buffer);

  other.started(1, 4711);
  expect([control.threadId(0), control.threadId(1), other.isStopped]).toEqual([0, 4711, false]);

  control.stop();
  expect(other.isStopped).toBe(true);
});
