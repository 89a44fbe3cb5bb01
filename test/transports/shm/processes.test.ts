/** Two real processes. Slower than the other tests; the long runs are in `npm run soak`. */
import { readdirSync, readFileSync } from 'node:fs';
import { afterAll, afterEach, beforeAll, beforeEach, expect, test, vi } from 'vitest';
import { exchangeAcrossProcesses } from '../../soak/across-processes.ts';
import { type Compiled, compile } from '../../soak/compiled.ts';
import { type KillRound, killGuests, killHosts } from '../../soak/kill-rounds.ts';
import { until } from '../until.ts';
import { type SomeSocket, someSocket } from './some-socket.ts';

// Processes and threads start slowly on a busy machine; a hang still fails.
vi.setConfig({ testTimeout: 120_000, hookTimeout: 60_000 });

const EXCHANGE_PROCESS = 'test/soak/peers/exchange-process.ts';
const KILL_GUEST = 'test/soak/peers/kill-guest.ts';
const KILL_HOST = 'test/soak/peers/kill-host.ts';

let compiled: Compiled;
let socket: SomeSocket;
beforeAll(() => {
  compiled = compile([EXCHANGE_PROCESS, KILL_GUEST, KILL_HOST]);
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

/** Mappings of guest memory that this process has. */
function mappedGuests(): string[] {
  return readFileSync('/proc/self/maps', 'utf8')
    .split('\n')
    .filter((line) => line.includes('memfd:vmbus-guest'));
}

/** Descriptors that this process has open, but for those that looking needs. */
function openDescriptors(): string[] {
  return readdirSync('/proc/self/fd');
}

function expectEveryTransactionEndedOnce(rounds: readonly KillRound[]): void {
  for (const { underWayAtTheEnd, doubled } of rounds) {
    expect({ underWayAtTheEnd, doubled }).toEqual({ underWayAtTheEnd: 0, doubled: 0 });
  }
  expect(rounds.reduce((sum, { failed }) => sum + failed, 0)).toBeGreaterThan(0);
}

test('guests killed under load leave their host with every transaction ended once and nothing else', async () => {
  const before = openDescriptors().length;

  const { rounds, steadyCompletions } = await killGuests({
    url: socket.url,
    victimPath: compiled.pathOf(KILL_GUEST),
    rounds: 6,
    seed: 1,
  });

  expectEveryTransactionEndedOnce(rounds);
  expect(steadyCompletions).toBeGreaterThan(100);
  expect(mappedGuests()).toEqual([]);
  // Sockets close in a turn of their own; one that leaks for each kill never gets there.
  await until(() => openDescriptors().length <= before);
  expect(readdirSync(socket.directory)).toEqual([]);
});

test('hosts killed under load leave their guest with every transaction ended once, and the path free', async () => {
  const before = openDescriptors().length;

  const rounds = await killHosts({ url: socket.url, victimPath: compiled.pathOf(KILL_HOST), rounds: 6, seed: 2 });

  expectEveryTransactionEndedOnce(rounds);
  expect(mappedGuests()).toEqual([]);
  // Sockets close in a turn of their own; one that leaks for each kill never gets there.
  await until(() => openDescriptors().length <= before);
  await until(() => readdirSync(socket.directory).length === 0);
});
