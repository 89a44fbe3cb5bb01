import { expect, test } from 'vitest';
import { SpinWindow } from '../../../src/transports/doorbell/index.ts';

test('short gaps widen the window up to its limit', () => {
  const window = new SpinWindow({ maxUs: 50 });

  expect(window.us).toBe(20);
  for (const expected of [40, 50, 50]) {
    window.wokenAfter(60);
    expect(window.us).toBe(expected);
  }
});

test('long gaps narrow the window until nothing is left, and a short one brings it back', () => {
  const window = new SpinWindow({ maxUs: 50 });

  const widths = [1, 2, 3].map(() => {
    window.wokenAfter(10_000);
    return window.us;
  });
  expect(widths).toEqual([10, 5, 0]);
  window.wokenAfter(100);

  expect(window.us).toBe(5);
});

test('looking in vain eight times pauses it for 64 sleeps, whatever the gaps', () => {
  const window = new SpinWindow({ maxUs: 50 });

  const widths = Array.from({ length: 8 + 64 + 1 }, () => {
    window.wokenAfter(60);
    return window.us;
  });

  expect(widths.slice(0, 7)).toEqual([40, 50, 50, 50, 50, 50, 50]);
  expect(new Set(widths.slice(7, 7 + 65))).toEqual(new Set([0]));
  expect(widths.at(-1)).toBe(5);
});

test('one look that found something forgives those before it', () => {
  const window = new SpinWindow({ maxUs: 50 });

  for (let sleep = 0; sleep < 100; sleep++) {
    window.wokenAfter(60);
    if (sleep % 7 === 0) window.found();
  }

  expect(window.us).toBe(50);
});

test('a limit of 0 never looks', () => {
  const window = new SpinWindow({ maxUs: 0 });

  window.wokenAfter(1);

  expect(window.us).toBe(0);
});
