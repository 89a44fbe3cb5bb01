/** The guest's end: makes its memory, connects to a host's socket, attaches. */
import { closeSync, fstatSync } from 'node:fs';
import { createConnection, type Socket } from 'node:net';
import type { GuestEnvironment } from '../../channel/environment.ts';
import { PeerError, SystemError, UsageError } from '../../errors.ts';
import { type Poller, threadPoller } from '../doorbell/index.ts';
import type { Pipe } from '../native/shm-calls.ts';
import { verifierMaker } from '../verifier-maker.ts';
import { type FirstFrame, readFirstFrame } from './first-frame.ts';
import { encodeFrame, FrameType, Hello, parseText, SHM_VERSION, WELCOME_OWNS_DIRECTORY, Welcome } from './frames.ts';
import { fileBytesOf, mapSharedFile, openWakePipe } from './shared-file.ts';
import { loadShmCalls } from './shm-calls.ts';
import { ShmEndpoint } from './shm-endpoint.ts';
import { parseShmUrl, removeAbandoned, statOf } from './socket-path.ts';

export interface ConnectShmOptions {
  /** Pages of guest memory; default 16384 (64 MiB). They take memory only once they are touched. */
  readonly pageCount?: number;
  /** Page frame number of the first one; default 0. */
  readonly firstPfn?: number;
  /** How long the host may take to answer, milliseconds; default 5000. */
  readonly timeoutMs?: number;
  readonly poller?: Poller;
}

/** A guest that is attached. Set the sinks of `environment` in the turn in which it arrives. */
export interface ShmConnection {
  readonly environment: GuestEnvironment;
  readonly hostPid: number;
  /** Leaves: the host is told. The memory is given back, so every use of it must have ended. */
  close(): void;
}

/**
 * Attaches to the host that listens on `url` (`shm:/path.sock`).
 * @throws UsageError `ERR_ARGUMENT` for a url or memory size that cannot be
 * @throws SystemError `ERR_TRANSPORT` if nobody listens there, we may not, or koffi is missing
 * @throws PeerError `ERR_REFUSED` with the host's reason; `ERR_TRANSPORT` if it is silent or no host of ours
 */
export async function connectShm(url: string, options: ConnectShmOptions = {}): Promise<ShmConnection> {
  const path = parseShmUrl(url);
  const pageCount = options.pageCount ?? 16_384;
  const firstPfn = options.firstPfn ?? 0;
  const timeoutMs = options.timeoutMs ?? 5000;
  if (!Number.isInteger(pageCount) || pageCount < 1 || pageCount > 2 ** 31) {
    throw new UsageError('ERR_ARGUMENT', `a guest has 1 to 2^31 pages, not ${pageCount}`);
  }
  if (!Number.isInteger(firstPfn) || firstPfn < 0 || firstPfn > 2 ** 40) {
    throw new UsageError('ERR_ARGUMENT', `the first page of a guest is 0 to 2^40, not ${firstPfn}`);
  }
  const calls = await loadShmCalls();
  const seen = statOf(path);
  const memoryFd = calls.createSealedMemory('vmbus-guest', fileBytesOf(pageCount));
  const ownPipe = calls.pipe();
  const undo: (() => void)[] = [() => closePipe(ownPipe)];
  try {
    // Mapped before we connect: what fails here is nobody's business.
    const file = mapSharedFile(calls, memoryFd, pageCount, 'guest');
    undo.push(() => file.mapping.release());
    const socket = await dial(path);
    undo.push(() => socket.destroy());
    socket.write(encodeHello({ memoryFd, ownPipe, firstPfn, pageCount }));
    const answer = await readFirstFrame(socket, timeoutMs, `the host at ${path}`);
    const { wakeFd, wakeInode, pid, flags } = parseAnswer(answer, path);
    const peerWakeFd = openWakePipe({ pid, fd: wakeFd, inode: wakeInode });
    const endpoint = new ShmEndpoint({
      calls,
      socket,
      file,
      firstPfn,
      ownPipe,
      peerWakeFd,
      poller: options.poller ?? threadPoller(),
      frameTimeoutMs: timeoutMs,
      peer: `the host (pid ${pid})`,
    });
    const ownsDirectory = (flags & WELCOME_OWNS_DIRECTORY) !== 0;
    endpoint.onEnded = (isOrderly) => {
      if (isOrderly || seen === undefined) return;
      // A leftover that we may not remove stays for the next host, which replaces stale sockets.
      removeAbandoned(path, seen, ownsDirectory).catch(() => undefined);
    };
    endpoint.receiveEarly(answer.rest);
    return { environment: environmentOf(endpoint), hostPid: pid, close: () => endpoint.close() };
  } catch (error) {
    for (const step of undo.reverse()) step();
    throw error;
  } finally {
    // The host has it open by now, or never will.
    closeSync(memoryFd);
  }
}

function environmentOf(endpoint: ShmEndpoint): GuestEnvironment {
  return {
    memory: endpoint.memory,
    scheduler: endpoint.scheduler,
    verifier: verifierMaker(endpoint.scheduler),
    control: endpoint.control,
    signal: (connectionId) => endpoint.signal(connectionId),
    onMessage: (sink) => {
      endpoint.messageSink = sink;
    },
    onInterrupt: (sink) => {
      endpoint.eventSink = sink;
    },
    onLost: (sink) => {
      endpoint.lostSink = sink;
    },
  };
}

interface OurSide {
  readonly memoryFd: number;
  readonly ownPipe: Pipe;
  readonly firstPfn: number;
  readonly pageCount: number;
}

function encodeHello({ memoryFd, ownPipe, firstPfn, pageCount }: OurSide): Uint8Array {
  return encodeFrame(
    FrameType.Hello,
    Hello.encode({
      version: SHM_VERSION,
      pid: process.pid,
      memoryFd,
      memoryInode: fstatSync(memoryFd, { bigint: true }).ino,
      firstPfn,
      pageCount,
      wakeFd: ownPipe.writeFd,
      wakeInode: fstatSync(ownPipe.writeFd, { bigint: true }).ino,
    }),
  );
}

function dial(path: string): Promise<Socket> {
  return new Promise((resolve, reject) => {
    const socket = createConnection(path);
    socket.once('connect', () => {
      socket.removeAllListeners('error');
      resolve(socket);
    });
    socket.once('error', (cause: NodeJS.ErrnoException) => {
      const reasons: Record<string, string> = {
        ENOENT: 'there is no socket: is the host running?',
        ECONNREFUSED: 'the socket is stale: its host is gone, start a new one',
        EACCES: 'no permission',
        ENOTSOCK: 'it is not a socket',
      };
      const reason = reasons[cause.code ?? ''] ?? cause.code ?? cause.message;
      reject(new SystemError('ERR_TRANSPORT', `cannot attach to ${path}: ${reason}`, { cause }));
    });
  });
}

type WelcomeValues = ReturnType<typeof Welcome.parse>;

/** @throws PeerError `ERR_REFUSED` with the host's reason, `ERR_TRANSPORT` for any other answer */
function parseAnswer({ frameType, body }: FirstFrame, path: string): WelcomeValues {
  if (frameType === FrameType.Refusal) {
    throw new PeerError('ERR_REFUSED', `the host at ${path} refused: ${parseText(body)}`);
  }
  if (frameType !== FrameType.Welcome) {
    throw new PeerError('ERR_TRANSPORT', `the host at ${path} answered with a frame of type ${frameType}`);
  }
  return Welcome.parse(body);
}

function closePipe(pipe: Pipe): void {
  closeSync(pipe.readFd);
  closeSync(pipe.writeFd);
}
