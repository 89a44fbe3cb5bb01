import { expect, test } from 'vitest';
import { releaseGuest } from '../../../src/transports/kvm/release-guest.ts';

/** A bus whose devices let go after it was looked at so many times. */
function someBus(looks: number) {
  const bus = {
    resets: 0,
    looks: 0,
    reset() {
      bus.resets++;
    },
    get state() {
      return bus.resets > 0 && bus.looks++ >= looks ? 'disconnected' : 'disconnecting';
    },
  };
  return bus;
}

test('a bus is reset once, and the wait ends when its devices have let go', async () => {
  const bus = someBus(3);

  expect(await releaseGuest(bus, () => false)).toBe(true);

  expect([bus.resets, bus.looks]).toEqual([1, 4]);
});

test('a bus whose devices hold nothing is not waited for', async () => {
  expect(await releaseGuest(someBus(0), () => true)).toBe(true);
});

test('the wait for a device that never lets go can be given up', async () => {
  let asked = 0;

  expect(await releaseGuest(someBus(Number.POSITIVE_INFINITY), () => ++asked === 3)).toBe(false);
});
