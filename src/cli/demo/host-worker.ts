/** The demo's host in a thread of its own: serves one disk until the guest is gone. */
import { workerData } from 'node:worker_threads';
import { openWorkerHost, type WorkerEnd } from '../../transports/worker/index.ts';
import type { DiskSpec } from '../disk-spec.ts';
import { ServedDisks } from '../served-disks.ts';

const { end, disk } = workerData as { end: WorkerEnd; disk: DiskSpec };

const disks = await ServedDisks.open([disk]);
const host = openWorkerHost(end);
const lost = new Promise<void>((resolve) => {
  disks.offerTo(host.environment, { events: { lost: () => resolve() } });
});
await lost;
await disks.close();
host.close();
