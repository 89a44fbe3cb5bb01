/** An exchange between this process (the host) and another (the guest) over shm. */
import { fork } from 'node:child_process';
import { listenShm } from '../../src/transports/shm/index.ts';
import type { ExchangeResult, ExchangeShape } from './exchange.ts';
import { exchangeAsHost } from './peers/exchange-over.ts';

export interface AcrossProcesses {
  readonly shape: ExchangeShape;
  readonly url: string;
  /** The compiled `peers/exchange-process.ts`. */
  readonly guestPath: string;
  /** Guests at once, each in a process of its own; default 1. */
  readonly guestCount?: number;
}

export async function exchangeAcrossProcesses(
  options: AcrossProcesses,
): Promise<{ guest: ExchangeResult; host: ExchangeResult }[]> {
  const hostResults: Promise<ExchangeResult>[] = [];
  const listener = await listenShm(options.url, {
    onGuest: (guest) => hostResults.push(exchangeAsHost(guest.environment, options.shape)),
  });
  try {
    const guestCount = options.guestCount ?? 1;
    const guests = await Promise.all(Array.from({ length: guestCount }, () => runGuest(options)));
    const hosts = await Promise.all(hostResults);
    return guests.map((guest, index) => ({ guest, host: hosts[index] as ExchangeResult }));
  } finally {
    await listener.close();
  }
}

function runGuest({ url, shape, guestPath }: AcrossProcesses): Promise<ExchangeResult> {
  const child = fork(guestPath, [url, JSON.stringify(shape)]);
  return new Promise((resolve, reject) => {
    let result: ExchangeResult | undefined;
    child.once('message', (message) => {
      result = message as ExchangeResult;
    });
    child.once('exit', (code, signal) => {
      if (code === 0 && result !== undefined) resolve(result);
      else reject(new Error(`the guest's process ended with ${code ?? signal}`));
    });
  });
}
