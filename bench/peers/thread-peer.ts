/** The other thread of the thread suite: does what it is told, one job at a time. */
import { type MessagePort, parentPort, workerData } from 'node:worker_threads';
import { RingBuffer } from 'ringbuf.js';
import { openWorkerGuest, type WorkerEnd } from '../../src/transports/worker/index.ts';
import { Arena, type Patience, Word } from './arena.ts';

export interface ThreadPeerData {
  readonly arena: SharedArrayBuffer;
  readonly ringbuf: SharedArrayBuffer;
  readonly data: MessagePort;
  readonly end: WorkerEnd;
}

export type ThreadJob =
  | { readonly job: 'receive'; readonly count: number; readonly batch: number }
  | { readonly job: 'ringbuf'; readonly count: number; readonly packetBytes: number }
  | { readonly job: 'echo'; readonly count: number; readonly payloadBytes: number; readonly patience: Patience }
  | { readonly job: 'count messages'; readonly count: number }
  | { readonly job: 'echo messages' };

const { arena: memory, ringbuf, data, end } = workerData as ThreadPeerData;
const arena = new Arena(new Uint8Array(memory), 'peer');
const byteRing = new RingBuffer(ringbuf, Uint8Array);
const link = openWorkerGuest(end);
// A doorbell is answered with a doorbell, on the event loop.
link.environment.onInterrupt((id) => link.environment.signal(id));

let expected = 0;
let isEchoing = false;
data.on('message', (message: Uint8Array) => {
  if (isEchoing) data.postMessage(message);
  else if (--expected === 0) data.postMessage('done');
});

parentPort?.on('message', (job: ThreadJob) => {
  isEchoing = job.job === 'echo messages';
  if (job.job === 'count messages') expected = job.count;
  Atomics.store(arena.words, Word.Ready, 1);
  if (job.job === 'receive') arena.words[Word.Bad] = arena.receiveAll(job.count, job.batch);
  if (job.job === 'ringbuf') arena.words[Word.Bad] = receiveBytes(job.count, job.packetBytes);
  if (job.job === 'echo') arena.echoAll(job.count, job.payloadBytes, job.patience);
  Atomics.store(arena.words, Word.Done, 1);
});

function receiveBytes(count: number, packetBytes: number): number {
  const packet = new Uint8Array(packetBytes);
  const words = new Int32Array(packet.buffer);
  let bad = 0;
  for (let want = 0; want < count; want++) {
    while (byteRing.availableRead() < packetBytes);
    byteRing.pop(packet, packetBytes);
    if (words[2] !== want) bad++;
  }
  return bad;
}
