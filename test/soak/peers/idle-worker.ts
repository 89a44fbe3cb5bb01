/** A guest's thread that attaches, says so, and then waits for its end. */
import { workerData } from 'node:worker_threads';
import { openWorkerGuest, type WorkerEnd } from '../../../src/transports/worker/index.ts';

const { end, isDedicated } = workerData as { end: WorkerEnd; isDedicated: boolean };
const guest = openWorkerGuest(end);
guest.environment.onMessage(() => process.exit(7));
guest.environment.control.post(1, Uint8Array.of(1));
if (isDedicated) await guest.runUntilClosed();
