/**
 * Host and guest in two threads of one process, over SharedArrayBuffers.
 *
 * ```ts
 * const link = createWorkerLink();
 * new Worker(url, { workerData: link.guest, transferList: [link.guest.port] });
 * const host = openWorkerHost(link.host);              // here
 * const guest = openWorkerGuest(workerData);           // there
 * ```
 *
 * Set the sinks in the same turn as the end is opened: the first delivery comes in a later one.
 */
import type { GuestEnvironment, HostEnvironment } from '../../channel/environment.ts';
import { GuestMemory } from '../../memory/guest-memory.ts';
import { type Poller, threadPoller } from '../doorbell/index.ts';
import { verifierMaker } from '../verifier-maker.ts';
import type { WorkerEnd } from './link.ts';
import { checkSide, WorkerEndpoint } from './worker-endpoint.ts';

export interface WorkerOptions {
  /** Serves the links of this thread; by default the one that they all share. */
  readonly poller?: Poller;
}

/** An open end. */
export interface OpenEnd<Environment> {
  readonly environment: Environment;
  /** See `WorkerEndpoint.runUntilClosed`: gives the thread to this link. */
  runUntilClosed(): Promise<void>;
  /** The other end is told that it lost this one. */
  close(): void;
}

/** @throws UsageError `ERR_ARGUMENT` if this is the host's handle */
export function openWorkerGuest(end: WorkerEnd, options: WorkerOptions = {}): OpenEnd<GuestEnvironment> {
  checkSide(end, 'guest');
  const endpoint = new WorkerEndpoint(end, options.poller ?? threadPoller());
  return openEnd(endpoint, {
    ...shared(end, endpoint),
    signal: (connectionId) => endpoint.signal(connectionId),
    onInterrupt: (sink) => {
      endpoint.eventSink = sink;
    },
  });
}

/** @throws UsageError `ERR_ARGUMENT` if this is the guest's handle */
export function openWorkerHost(end: WorkerEnd, options: WorkerOptions = {}): OpenEnd<HostEnvironment> {
  checkSide(end, 'host');
  const endpoint = new WorkerEndpoint(end, options.poller ?? threadPoller());
  return openEnd(endpoint, {
    ...shared(end, endpoint),
    // There is one guest thread: whichever processor was meant, it is the one that looks.
    signal: (eventFlag) => endpoint.signal(eventFlag),
    onSignal: (sink) => {
      endpoint.eventSink = sink;
    },
  });
}

type SharedPart = Pick<HostEnvironment, 'memory' | 'scheduler' | 'verifier' | 'control' | 'onMessage' | 'onLost'>;

function shared(end: WorkerEnd, endpoint: WorkerEndpoint): SharedPart {
  return {
    memory: new GuestMemory(end.regions),
    scheduler: endpoint.scheduler,
    verifier: verifierMaker(endpoint.scheduler),
    control: endpoint.control,
    onMessage: (sink) => {
      endpoint.messageSink = sink;
    },
    onLost: (sink) => {
      endpoint.lostSink = sink;
    },
  };
}

function openEnd<Environment>(endpoint: WorkerEndpoint, environment: Environment): OpenEnd<Environment> {
  return {
    environment,
    runUntilClosed: () => endpoint.runUntilClosed(),
    close: () => endpoint.close(),
  };
}
