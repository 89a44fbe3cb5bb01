/** The guest's thread of an exchange across workers. */
import { parentPort, workerData } from 'node:worker_threads';
import { openWorkerGuest, type WorkerEnd } from '../../../src/transports/worker/index.ts';
import type { ExchangeShape } from '../exchange.ts';
import { exchangeAsGuest } from './exchange-over.ts';

const { end, shape, isDedicated } = workerData as { end: WorkerEnd; shape: ExchangeShape; isDedicated: boolean };
const guest = openWorkerGuest(end);
const result = exchangeAsGuest(guest.environment, shape);
if (isDedicated) void guest.runUntilClosed();
parentPort?.postMessage(await result);
guest.close();
