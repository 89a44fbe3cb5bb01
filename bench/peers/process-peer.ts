/** The other process of the process suite: attaches over shm, connects a plain Unix socket, does what it is told. */
import { createConnection } from 'node:net';
import { connectShm } from '../../src/transports/shm/index.ts';
import { ARENA_PAGES, Arena, type Patience, Word } from './arena.ts';

export type ProcessJob =
  | { readonly job: 'receive'; readonly count: number; readonly batch: number }
  | { readonly job: 'echo'; readonly count: number; readonly payloadBytes: number; readonly patience: Patience }
  | { readonly job: 'count bytes'; readonly byteCount: number }
  | { readonly job: 'echo bytes' }
  | { readonly job: 'count messages'; readonly count: number }
  | { readonly job: 'stop' };

const [, , shmUrl, socketPath] = process.argv;
if (shmUrl === undefined || socketPath === undefined) throw new TypeError('usage: process-peer SHM-URL SOCKET');

const connection = await connectShm(shmUrl, { pageCount: ARENA_PAGES });
const { environment } = connection;
// A doorbell is answered with a doorbell, on the event loop.
environment.onInterrupt((id) => environment.signal(id));
const arena = new Arena(environment.memory.bytes(0, ARENA_PAGES * 4096), 'peer');

let bytesLeft = 0;
let isEchoing = false;
const socket = createConnection(socketPath);
socket.on('data', (chunk) => {
  if (isEchoing) {
    socket.write(chunk);
    return;
  }
  bytesLeft -= chunk.length;
  if (bytesLeft === 0) socket.write('.');
});

let messagesLeft = 0;
process.on('message', (message: ProcessJob | Uint8Array) => {
  if (message instanceof Uint8Array) {
    if (messagesLeft === 0) process.send?.(message);
    else if (--messagesLeft === 0) process.send?.('done');
    return;
  }
  run(message);
});
process.on('disconnect', stop);
process.send?.('attached');

function run(job: ProcessJob): void {
  isEchoing = job.job === 'echo bytes';
  if (job.job === 'count bytes') bytesLeft = job.byteCount;
  if (job.job === 'count messages') messagesLeft = job.count;
  if (job.job === 'stop') {
    stop();
    return;
  }
  Atomics.store(arena.words, Word.Ready, 1);
  if (job.job === 'receive') arena.words[Word.Bad] = arena.receiveAll(job.count, job.batch);
  if (job.job === 'echo') arena.echoAll(job.count, job.payloadBytes, job.patience);
  Atomics.store(arena.words, Word.Done, 1);
}

function stop(): void {
  socket.destroy();
  connection.close();
  if (process.connected) process.disconnect();
}
