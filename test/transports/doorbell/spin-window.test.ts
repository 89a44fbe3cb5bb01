import { expect, test } from 'vitest';
import { SpinWindow } from '../../../src/transports/doorbell/index.ts';

test('short sleeps widen the window up to its limit', () => {
  const window = new SpinWindow({ maxUs: 50 });

  expect(window.us).toBe(20);
  for (const expected of [40, 50, 50]) {
    window.wokenAfter(60);
    expect(window.us).toBe(expected);
  }
});

test('long sleeps narrow the window until nothing is left, and a short one brings it back', () => {
  const window = new SpinWindow({ maxUs: 50 });

  const widths = [1, 2, 3].map(() => {
    window.wokenAfter(10_000);
    return window.us;
  });
  expect(widths).toEqual([10, 5, 0]);
  window.wokenAfter(100);

  expect(window.us).toBe(5);
});

test('a limit of 0 never looks', () => {
  const window = new SpinWindow({ maxUs: 0 });

  window.wokenAfter(1);

  expect(window.us).toBe(0);
});
