import { expect, test } from 'vitest';
import { DueScheduler } from '../../../src/transports/doorbell/index.ts';

test('a thread that wants to block learns when the next timer is due', async () => {
  const scheduler = new DueScheduler();
  expect(scheduler.nextDueMs).toBe(Number.POSITIVE_INFINITY);

  const late = scheduler.timer(10_000, () => {});
  const lateMs = scheduler.nextDueMs;
  const soon = scheduler.timer(5_000, () => {});
  expect(scheduler.nextDueMs).toBeLessThan(lateMs);
  soon.cancel();
  expect(scheduler.nextDueMs).toBe(lateMs);
  await new Promise<void>((resolve) => scheduler.timer(0, resolve));
  expect(scheduler.nextDueMs).toBe(lateMs);
  late.cancel();

  expect(scheduler.nextDueMs).toBe(Number.POSITIVE_INFINITY);
});
