/** Two real processes. Slower than the other tests; the long runs are in `npm run soak`. */
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from 'vitest';
import { exchangeAcrossProcesses } from '../../soak/across-processes.ts';
import { type Compiled, compile } from '../../soak/compiled.ts';
import { type SomeSocket, someSocket } from './some-socket.ts';

const EXCHANGE_PROCESS = 'test/soak/peers/exchange-process.ts';

let compiled: Compiled;
let socket: SomeSocket;
beforeAll(() => {
  compiled = compile([EXCHANGE_PROCESS]);
});
afterAll(() => compiled.remove());
beforeEach(() => {
  socket = someSocket();
});
afterEach(() => socket.remove());

test.each([false, true])(
  'packets cross two small rings both ways at once, whole and in order (scattered pages: %s)',
  async (isScattered) => {
    const shape = { packetCount: 100_000, dataPages: 4, isScattered, maxPayloadBytes: 512, seed: 11 };

    const [result] = await exchangeAcrossProcesses({
      shape,
      url: socket.url,
      guestPath: compiled.pathOf(EXCHANGE_PROCESS),
    });

    expect([result?.guest.sent, result?.guest.received]).toEqual([100_000, 100_000]);
    expect([result?.host.sent, result?.host.received]).toEqual([100_000, 100_000]);
  },
);

test('one host process serves several guest processes at once', async () => {
  const shape = { packetCount: 5_000, dataPages: 2, isScattered: false, maxPayloadBytes: 256, seed: 5 };

  const results = await exchangeAcrossProcesses({
    shape,
    url: socket.url,
    guestPath: compiled.pathOf(EXCHANGE_PROCESS),
    guestCount: 4,
  });

  expect(results.map(({ host }) => host.received)).toEqual([5_000, 5_000, 5_000, 5_000]);
});
