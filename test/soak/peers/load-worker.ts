/** A guest's thread under load, until it is terminated. */
import { workerData } from 'node:worker_threads';
import { openWorkerGuest, type WorkerEnd } from '../../../src/transports/worker/index.ts';
import { startGuestLoad } from '../load.ts';

const { end, isDedicated } = workerData as { end: WorkerEnd; isDedicated: boolean };
const guest = openWorkerGuest(end);
const load = startGuestLoad(guest.environment);
if (isDedicated) void guest.runUntilClosed();
await load;
