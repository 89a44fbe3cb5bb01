import fc from 'fast-check';
import { expect, test } from 'vitest';
import { EVENT_WORDS, EventReceiver, EventSender } from '../../../src/transports/doorbell/index.ts';

function someDoorbell() {
  const words = new Int32Array(EVENT_WORDS);
  let wakes = 0;
  const receiver = new EventReceiver(words);
  const sender = new EventSender(words, () => wakes++);
  const taken = () => {
    const ids: number[] = [];
    receiver.take((id) => ids.push(id));
    return ids;
  };
  return { words, sender, receiver, taken, wakes: () => wakes };
}

const never = () => false;

test('rings of one id merge until they are taken, and each id is taken once', () => {
  const { sender, receiver, taken } = someDoorbell();

  for (let round = 0; round < 3; round++) {
    sender.raise(0x2005);
    sender.raise(0xffff_ffff);
  }
  expect(receiver.isPending).toBe(true);

  expect(taken()).toEqual([0x2005, 0xffff_ffff]);
  expect(taken()).toEqual([]);
  expect(receiver.isPending).toBe(false);
});

test('an awake receiver costs no wake-up, a sleeping one costs exactly one', () => {
  const { sender, receiver, taken, wakes } = someDoorbell();

  sender.raise(1);
  taken();
  expect(wakes()).toBe(0);
  expect(receiver.sleep(never)).toBe(true);
  sender.raise(1);
  sender.raise(2);
  sender.nudge();

  expect(wakes()).toBe(1);
});

test('a receiver that would fall asleep over a ring stays awake', () => {
  const { sender, receiver, wakes } = someDoorbell();

  sender.raise(7);

  expect(receiver.sleep(never)).toBe(false);
  sender.raise(8);
  expect(wakes()).toBe(0);
});

test('a receiver that has something else to do stays awake', () => {
  const { sender, receiver, wakes } = someDoorbell();

  expect(receiver.sleep(() => true)).toBe(false);
  sender.raise(8);

  expect(wakes()).toBe(0);
});

test('a ring from inside the sink is taken the next time', () => {
  const { sender, receiver, taken } = someDoorbell();
  sender.raise(5);

  receiver.take(() => sender.raise(5));

  expect(taken()).toEqual([5]);
});

test('a sink that throws loses its own ring only', () => {
  const { sender, receiver, taken } = someDoorbell();
  for (let id = 0; id < 200; id++) sender.raise(id);

  expect(() =>
    receiver.take((id) => {
      if (id === 3) throw new Error('a bug in a driver');
    }),
  ).toThrow('a bug in a driver');

  expect(receiver.isPending).toBe(true);
  expect(taken()).toEqual(Array.from({ length: 196 }, (_, index) => index + 4));
});

test('the 4097th id is refused and the others still ring', () => {
  const { sender, taken } = someDoorbell();
  for (let id = 0; id < 4096; id++) expect(sender.raise(id * 77)).toBe(true);
  expect(taken()).toHaveLength(4096);

  expect(sender.raise(1)).toBe(false);
  expect(sender.raise(77)).toBe(true);

  expect(taken()).toEqual([77]);
});

test('words full of garbage ring at most 4096 doorbells per look and break nothing', () => {
  const { words, sender, taken } = someDoorbell();
  words.fill(-1);

  expect(taken()).toHaveLength(4096);
  expect(taken()).toEqual([]);
  sender.raise(0x2001);

  expect(taken()).toEqual([0x2001]);
});

test('under any sequence of rings, looks and sleeps, no ring is lost and none is invented', () => {
  const step = fc.oneof(
    { weight: 4, arbitrary: fc.record({ do: fc.constant('raise' as const), id: fc.integer({ min: 0, max: 40 }) }) },
    fc.record({ do: fc.constant('take' as const) }),
    fc.record({ do: fc.constant('sleep' as const) }),
  );
  fc.assert(
    fc.property(fc.array(step, { maxLength: 200 }), (steps) => {
      const { sender, receiver, taken, wakes } = someDoorbell();
      const pending = new Set<number>();
      let isAsleep = false;
      let expectedWakes = 0;
      for (const action of steps) {
        if (action.do === 'raise') {
          // A ring that merges into an earlier one needs no wake-up: the earlier one gave it.
          if (isAsleep && !pending.has(action.id)) {
            expectedWakes++;
            isAsleep = false;
          }
          sender.raise(action.id);
          pending.add(action.id);
        } else if (action.do === 'take') {
          receiver.wakeUp();
          isAsleep = false;
          expect(new Set(taken())).toEqual(pending);
          pending.clear();
        } else {
          const slept = receiver.sleep(never);
          expect(slept).toBe(pending.size === 0);
          isAsleep = slept;
        }
        expect(wakes()).toBe(expectedWakes);
      }
    }),
  );
});
