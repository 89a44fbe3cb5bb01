/**
 * What two threads share: guest memory, and one block of control words.
 *
 * `createWorkerLink` makes both ends' handles. A handle is plain data that `workerData` or `postMessage` carries (its
 * port goes into the transfer list); the thread that gets it opens it with `openWorkerGuest` or `openWorkerHost`.
 */
import { MessageChannel, type MessagePort } from 'node:worker_threads';
import { UsageError } from '../../errors.ts';
import { GuestMemory, type MemoryRegion } from '../../memory/guest-memory.ts';
import { EVENT_WORDS } from '../doorbell/index.ts';
import { MAILBOX_BYTES } from './mailbox.ts';

/** One end of a link, before it is opened. Hand it to one thread, with `port` in the transfer list. */
export interface WorkerEnd {
  readonly side: 'guest' | 'host';
  /** In SharedArrayBuffers. */
  readonly regions: readonly MemoryRegion[];
  readonly control: SharedArrayBuffer;
  /** Carries nothing: it closes when the thread at its other side ends, however it ends. */
  readonly port: MessagePort;
}

export interface WorkerLinkOptions {
  /** The guest's memory, in SharedArrayBuffers; by default 4096 pages (16 MiB). */
  readonly memory?: GuestMemory;
}

/** @throws UsageError `ERR_ARGUMENT` if the memory given is not shared between threads */
export function createWorkerLink(options: WorkerLinkOptions = {}): { guest: WorkerEnd; host: WorkerEnd } {
  const memory = options.memory ?? GuestMemory.allocate(4096, { shared: true });
  for (const { firstPfn, bytes } of memory.regions) {
    if (!(bytes.buffer instanceof SharedArrayBuffer)) {
      // It would be copied when it is posted, silently, and the two ends would talk into different memory.
      throw new UsageError('ERR_ARGUMENT', `the region at page ${firstPfn} is not in a SharedArrayBuffer`);
    }
  }
  const regions = memory.regions.map(({ firstPfn, bytes }) => ({ firstPfn, bytes }));
  const control = new SharedArrayBuffer(CONTROL_BYTES);
  const { port1, port2 } = new MessageChannel();
  return {
    guest: { side: 'guest', regions, control, port: port1 },
    host: { side: 'host', regions, control, port: port2 },
  };
}

const EVENT_BYTES = EVENT_WORDS * 4;
const CONTROL_BYTES = 2 * EVENT_BYTES + 2 * MAILBOX_BYTES;

/** One end's view of the control block: what it sends and what it receives. */
export interface ControlBlock {
  readonly sentEvents: Int32Array;
  readonly receivedEvents: Int32Array;
  readonly sentMessages: Uint8Array;
  readonly receivedMessages: Uint8Array;
}

export function controlBlockOf({ side, control }: WorkerEnd): ControlBlock {
  const events = (index: number): Int32Array => new Int32Array(control, index * EVENT_BYTES, EVENT_WORDS);
  const messages = (index: number): Uint8Array =>
    new Uint8Array(control, 2 * EVENT_BYTES + index * MAILBOX_BYTES, MAILBOX_BYTES);
  // Index 0 is what the guest sends.
  const sent = side === 'guest' ? 0 : 1;
  return {
    sentEvents: events(sent),
    receivedEvents: events(1 - sent),
    sentMessages: messages(sent),
    receivedMessages: messages(1 - sent),
  };
}
