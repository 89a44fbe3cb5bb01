/** The ways in which the demo's host and guest can be apart: a guest's environment, and the host wherever it runs. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { Worker } from 'node:worker_threads';
import type { GuestEnvironment } from '../../channel/index.ts';
import { GuestMemory } from '../../memory/index.ts';
import { createLoopback } from '../../transports/loopback/index.ts';
import { connectShm } from '../../transports/shm/index.ts';
import { createWorkerLink, openWorkerGuest } from '../../transports/worker/index.ts';
import { type DiskSpec, formatDiskSpec } from '../disk-spec.ts';
import { CommandError, ExitCode } from '../exit.ts';
import { ServedDisks } from '../served-disks.ts';

export const DEMO_TRANSPORTS = ['shm', 'worker', 'loopback'] as const;
export type DemoTransport = (typeof DEMO_TRANSPORTS)[number];

/** Two processes where the shared mapping is to be had, two threads elsewhere. */
export const DEFAULT_TRANSPORT: DemoTransport = process.platform === 'linux' ? 'shm' : 'worker';

/** Runs `job` in a guest of `pageCount` pages whose host serves `disk`; host and guest are gone afterwards. */
export async function overTransport<Result>(
  transport: DemoTransport,
  disk: DiskSpec,
  pageCount: number,
  job: (environment: GuestEnvironment) => Promise<Result>,
): Promise<Result> {
  const run = { shm: overShm, worker: overWorker, loopback: overLoopback }[transport];
  return await run(disk, pageCount, job);
}

type Job<Result> = (environment: GuestEnvironment) => Promise<Result>;

async function overLoopback<Result>(disk: DiskSpec, pageCount: number, job: Job<Result>): Promise<Result> {
  const disks = await ServedDisks.open([disk]);
  const loopback = createLoopback({ memory: GuestMemory.allocate(pageCount) });
  disks.offerTo(loopback.host);
  try {
    return await job(loopback.guest);
  } finally {
    await disks.close();
  }
}

async function overWorker<Result>(disk: DiskSpec, pageCount: number, job: Job<Result>): Promise<Result> {
  const link = createWorkerLink({ memory: GuestMemory.allocate(pageCount, { shared: true }) });
  const worker = new Worker(new URL('./host-worker.js', import.meta.url), {
    workerData: { end: link.host, disk },
    transferList: [link.host.port],
  });
  const ended = once(worker, 'exit');
  const failed = new Promise<never>((_, reject) => worker.once('error', reject));
  failed.catch(() => {});
  const guest = openWorkerGuest(link.guest);
  try {
    return await Promise.race([job(guest.environment), failed]);
  } finally {
    guest.close();
    await ended;
  }
}

async function overShm<Result>(disk: DiskSpec, pageCount: number, job: Job<Result>): Promise<Result> {
  const folder = await mkdtemp(join(tmpdir(), 'vmbus-demo-'));
  const socket = join(folder, 'host.sock');
  const host = spawn(
    process.execPath,
    [
      fileURLToPath(new URL('../main.js', import.meta.url)),
      'serve',
      'scsi',
      formatDiskSpec(disk),
      '--listen',
      socket,
      '--json',
    ],
    { stdio: ['ignore', 'pipe', 'inherit'] },
  );
  const ended = once(host, 'exit');
  try {
    await listening(host.stdout, ended);
    const connection = await connectShm(`shm:${socket}`, { pageCount });
    try {
      return await job(connection.environment);
    } finally {
      connection.close();
    }
  } finally {
    host.kill('SIGTERM');
    await ended;
    await rm(folder, { recursive: true, force: true });
  }
}

/** Resolves once the host says that it listens. @throws CommandError if it ends before; it has said why itself */
async function listening(stdout: NodeJS.ReadableStream, ended: Promise<unknown[]>): Promise<void> {
  const lines = createInterface({ input: stdout });
  const said = new Promise<void>((resolve) => {
    lines.on('line', (line) => {
      if ((JSON.parse(line) as { event: string }).event === 'listening') resolve();
    });
  });
  const died = ended.then(([code]) => {
    throw new CommandError(ExitCode.Failed, `the host process ended with code ${code} before a guest could attach`);
  });
  died.catch(() => {});
  await Promise.race([said, died]);
}
