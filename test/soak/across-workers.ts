/** An exchange between this thread (the host) and another (the guest). */
import { Worker } from 'node:worker_threads';
import { GuestMemory } from '../../src/memory/index.ts';
import { createWorkerLink, openWorkerHost } from '../../src/transports/worker/index.ts';
import { type ExchangeResult, type ExchangeShape, pagesOf } from './exchange.ts';
import { exchangeAsHost } from './peers/exchange-over.ts';

export interface AcrossWorkers {
  readonly shape: ExchangeShape;
  /** The compiled `peers/exchange-worker.ts`. */
  readonly workerUrl: URL;
  /** The guest's thread blocks in `Atomics.wait` instead of waiting on its event loop. */
  readonly isDedicated: boolean;
}

export async function exchangeAcrossWorkers(
  options: AcrossWorkers,
): Promise<{ guest: ExchangeResult; host: ExchangeResult }> {
  const memory = GuestMemory.allocate(pagesOf(options.shape), { shared: true });
  const link = createWorkerLink({ memory });
  const host = openWorkerHost(link.host);
  const hostResult = exchangeAsHost(host.environment, options.shape);
  const worker = new Worker(options.workerUrl, {
    workerData: { end: link.guest, shape: options.shape, isDedicated: options.isDedicated },
    transferList: [link.guest.port],
  });
  const guestResult = new Promise<ExchangeResult>((resolve, reject) => {
    worker.once('message', resolve);
    worker.once('error', reject);
  });
  try {
    const [atHost, atGuest] = await Promise.all([hostResult, guestResult]);
    return { guest: atGuest, host: atHost };
  } finally {
    host.close();
    await worker.terminate();
  }
}
