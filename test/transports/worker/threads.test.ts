/** Two real threads. Slower than the other tests; the long runs are in `npm run soak`. */
import { Worker } from 'node:worker_threads';
import { afterAll, beforeAll, expect, test, vi } from 'vitest';
import { GuestMemory } from '../../../src/memory/index.ts';
import { createWorkerLink, openWorkerHost } from '../../../src/transports/worker/index.ts';
import { exchangeAcrossWorkers } from '../../soak/across-workers.ts';
import { type Compiled, compile } from '../../soak/compiled.ts';
import { startHostLoad } from '../../soak/load.ts';

// Processes and threads start slowly on a busy machine; a hang still fails.
vi.setConfig({ testTimeout: 120_000, hookTimeout: 60_000 });

const EXCHANGE_WORKER = 'test/soak/peers/exchange-worker.ts';
const LOAD_WORKER = 'test/soak/peers/load-worker.ts';
const IDLE_WORKER = 'test/soak/peers/idle-worker.ts';

let compiled: Compiled;
beforeAll(() => {
  compiled = compile([EXCHANGE_WORKER, IDLE_WORKER, LOAD_WORKER]);
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

async function someGuestThread(isDedicated: boolean) {
  const link = createWorkerLink({ memory: GuestMemory.allocate(1, { shared: true }) });
  const host = openWorkerHost(link.host);
  const attached = new Promise<void>((resolve) => host.environment.onMessage(() => resolve()));
  const lost = new Promise<string>((resolve) => host.environment.onLost(resolve));
  const worker = new Worker(compiled.urlOf(IDLE_WORKER), {
    workerData: { end: link.guest, isDedicated },
    transferList: [link.guest.port],
  });
  await attached;
  return { host, lost, worker };
}

test.each([false, true])('a guest thread that is terminated is lost to the host (blocked: %s)', async (isDedicated) => {
  const { lost, worker } = await someGuestThread(isDedicated);

  await worker.terminate();

  expect(await lost).toMatch(/thread/);
});

test.each([false, true])(
  'a guest thread that exits on its own is lost to the host (blocked: %s)',
  async (isDedicated) => {
    const { host, lost, worker } = await someGuestThread(isDedicated);
    const exitCode = new Promise<number>((resolve) => worker.once('exit', resolve));

    host.environment.control.post(0, Uint8Array.of(1));

    expect(await lost).toMatch(/thread/);
    expect(await exitCode).toBe(7);
  },
);

test.each([false, true])('a guest thread whose host closes ends by itself (blocked: %s)', async (isDedicated) => {
  const { host, worker } = await someGuestThread(isDedicated);
  const exitCode = new Promise<number>((resolve) => worker.once('exit', resolve));

  host.close();

  expect(await exitCode).toBe(0);
});

test('one host thread serves eight guest threads', async () => {
  const shape = { packetCount: 5_000, dataPages: 2, isScattered: false, maxPayloadBytes: 256, seed: 3 };
  const workerUrl = compiled.urlOf(EXCHANGE_WORKER);

  const results = await Promise.all(
    Array.from({ length: 8 }, (_, guest) =>
      exchangeAcrossWorkers({ shape: { ...shape, seed: guest + 1 }, isDedicated: guest % 2 === 0, workerUrl }),
    ),
  );

  expect(results.map(({ host }) => host.received)).toEqual(new Array(8).fill(5_000));
});

test.each([false, true])(
  'a guest thread that is terminated under load leaves every transaction ended once (blocked: %s)',
  async (isDedicated) => {
    const link = createWorkerLink({ memory: GuestMemory.allocate(1024, { shared: true }) });
    const host = openWorkerHost(link.host);
    let worker: Worker | undefined;
    let left = 2000;
    const load = startHostLoad(host.environment, {
      onProgress: () => {
        if (left-- === 0) void worker?.terminate();
      },
    });
    worker = new Worker(compiled.urlOf(LOAD_WORKER), {
      workerData: { end: link.guest, isDedicated },
      transferList: [link.guest.port],
    });

    await load.lost;
    await load.stop();

    expect(load.received).toBeGreaterThan(0);
    expect(load.ledger.succeeded).toBeGreaterThan(0);
    expect(load.ledger).toMatchObject({ underWay: 0, doubled: 0 });
  },
);
