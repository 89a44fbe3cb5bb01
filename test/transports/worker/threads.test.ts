/** Two real threads. Slower than the other tests; the long runs are in `npm run soak`. */
import { afterAll, beforeAll, expect, test } from 'vitest';
import { exchangeAcrossWorkers } from '../../soak/across-workers.ts';
import { type Compiled, compile } from '../../soak/compiled.ts';

const EXCHANGE_WORKER = 'test/soak/peers/exchange-worker.ts';

let compiled: Compiled;
beforeAll(() => {
  compiled = compile([EXCHANGE_WORKER]);
});
afterAll(() => compiled.remove());

test.each([
  { isScattered: false, isDedicated: false },
  { isScattered: true, isDedicated: false },
  { isScattered: false, isDedicated: true },
  { isScattered: true, isDedicated: true },
])('packets cross two small rings both ways at once, whole and in order: %o', async ({ isScattered, isDedicated }) => {
  const shape = { packetCount: 100_000, dataPages: 4, isScattered, maxPayloadBytes: 512, seed: 7 };

  const { guest, host } = await exchangeAcrossWorkers({
    shape,
    isDedicated,
    workerUrl: compiled.urlOf(EXCHANGE_WORKER),
  });

  expect([guest.sent, guest.received]).toEqual([100_000, 100_000]);
  expect([host.sent, host.received]).toEqual([100_000, 100_000]);
  expect(host.payloadBytes).toBeGreaterThan(100_000 * 8);
});
