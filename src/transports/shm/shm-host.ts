/** The host's end: listens on a socket path, attaches each guest that connects, outlives all of them. */
import { closeSync, fstatSync, rmSync } from 'node:fs';
import { createServer, type Server, type Socket } from 'node:net';
import type { HostEnvironment } from '../../channel/environment.ts';
import { PeerError, SystemError, VmbusError } from '../../errors.ts';
import { type Poller, threadPoller } from '../doorbell/index.ts';
import type { Pipe, ShmCalls } from '../native/shm-calls.ts';
import { verifierMaker } from '../verifier-maker.ts';
import { type FirstFrame, readFirstFrame } from './first-frame.ts';
import {
  encodeFrame,
  encodeText,
  FrameType,
  parseHello,
  SHM_VERSION,
  WELCOME_OWNS_DIRECTORY,
  Welcome,
} from './frames.ts';
import { mapSharedFile, openGuestMemory, openWakePipe } from './shared-file.ts';
import { loadShmCalls } from './shm-calls.ts';
import { ShmEndpoint } from './shm-endpoint.ts';
import {
  makePrivate,
  parseShmUrl,
  preparePrivateDirectory,
  removeDirectory,
  removeStaleSocket,
} from './socket-path.ts';

export interface ListenShmOptions {
  /** Called for each guest that attached. Set the sinks of its environment before you return. */
  readonly onGuest: (guest: ShmGuest) => void;
  /** Called for each connection that did not become a guest, with the reason that it was given. For a log. */
  readonly onRefused?: (reason: string) => void;
  /** Guests at a time; default 256. */
  readonly maxGuests?: number;
  /** Largest guest, pages; default 2^20 (4 GiB). They take address space at once, memory when they are touched. */
  readonly maxGuestPages?: number;
  /** How long a connection may take to say who it is, and half a frame to become whole, milliseconds; default 5000. */
  readonly timeoutMs?: number;
  readonly poller?: Poller;
}

/** A guest that is attached. */
export interface ShmGuest {
  readonly pid: number;
  readonly environment: HostEnvironment;
  /** Turns this guest off: it is told, its memory is given back, so every use of it must have ended. */
  close(): void;
}

export interface ShmListener {
  /** The socket's path. */
  readonly path: string;
  /** Guests that are attached now. */
  readonly guestCount: number;
  /** Turns all guests off and removes the socket. */
  close(): Promise<void>;
}

/**
 * Listens on `url` (`shm:/path.sock`), in a directory that is closed to others.
 * @throws UsageError `ERR_ARGUMENT` for a url that names no path
 * @throws SystemError `ERR_TRANSPORT` if the path is in use or not ours to use, or koffi is missing
 */
export async function listenShm(url: string, options: ListenShmOptions): Promise<ShmListener> {
  const path = parseShmUrl(url);
  const calls = await loadShmCalls();
  let ownsDirectory = false;
  const attachments = new Attachments(calls, options, () => ownsDirectory);
  const server = createServer((socket) => void attachments.admit(socket));
  const leaveNothing = (): void => {
    rmSync(path, { force: true });
    if (ownsDirectory) removeDirectory(path);
  };
  for (let attempt = 1; ; attempt++) {
    ownsDirectory = preparePrivateDirectory(path) || ownsDirectory;
    try {
      await removeStaleSocket(path);
      await listen(server, path);
      break;
    } catch (error) {
      // The last guests of a host that was killed remove its directory, perhaps just now.
      if (attempt === 1 && errnoCodeOf(error) === 'ENOENT') continue;
      if (ownsDirectory) removeDirectory(path);
      throw error;
    }
  }
  makePrivate(path);
  process.on('exit', leaveNothing);
  return {
    path,
    get guestCount() {
      return attachments.guestCount;
    },
    close: () => {
      attachments.close();
      process.off('exit', leaveNothing);
      return new Promise((resolve) => {
        // Node removes the socket's file here.
        server.close(() => {
          if (ownsDirectory) removeDirectory(path);
          resolve();
        });
      });
    },
  };
}

/** Everybody who is connected to one listener. */
class Attachments {
  readonly #calls: ShmCalls;
  readonly #options: ListenShmOptions;
  readonly #timeoutMs: number;
  readonly #ownsDirectory: () => boolean;
  readonly #guests = new Set<ShmEndpoint>();
  /** Connected, but not attached yet. */
  readonly #strangers = new Set<Socket>();
  #isClosed = false;

  constructor(calls: ShmCalls, options: ListenShmOptions, ownsDirectory: () => boolean) {
    this.#calls = calls;
    this.#options = options;
    this.#timeoutMs = options.timeoutMs ?? 5000;
    this.#ownsDirectory = ownsDirectory;
  }

  get guestCount(): number {
    return this.#guests.size;
  }

  /** Never rejects: whatever a connection does ends that connection at worst. */
  async admit(socket: Socket): Promise<void> {
    this.#strangers.add(socket);
    try {
      const maxGuests = this.#options.maxGuests ?? 256;
      // Strangers count too: a process that connects and says nothing must not use up our descriptors.
      if (this.#guests.size + this.#strangers.size > maxGuests) {
        throw new PeerError('ERR_RESOURCES', `this host serves at most ${maxGuests} guests`);
      }
      const first = await readFirstFrame(socket, this.#timeoutMs, 'the connection');
      if (!this.#isClosed) this.#attach(socket, first);
    } catch (error) {
      this.#refuse(socket, error);
    } finally {
      this.#strangers.delete(socket);
    }
  }

  close(): void {
    this.#isClosed = true;
    for (const socket of this.#strangers) socket.destroy();
    for (const guest of [...this.#guests]) guest.close('the host was closed');
  }

  #attach(socket: Socket, first: FirstFrame): void {
    const { pid, firstPfn, pageCount, memory, wake } = this.#checkHello(socket, first);
    const undo: (() => void)[] = [];
    try {
      const memoryFd = openGuestMemory(this.#calls, { pid, ...memory }, pageCount);
      undo.push(() => closeSync(memoryFd));
      const peerWakeFd = openWakePipe({ pid, ...wake });
      undo.push(() => closeSync(peerWakeFd));
      const ownPipe = this.#calls.pipe();
      undo.push(() => closePipe(ownPipe));
      const file = mapSharedFile(this.#calls, memoryFd, pageCount, 'host');
      closeSync(memoryFd); // The mapping keeps it.
      undo.shift();
      const endpoint = new ShmEndpoint({
        calls: this.#calls,
        socket,
        file,
        firstPfn,
        ownPipe,
        peerWakeFd,
        poller: this.#options.poller ?? threadPoller(),
        frameTimeoutMs: this.#timeoutMs,
        peer: `the guest (pid ${pid})`,
      });
      undo.length = 0;
      this.#guests.add(endpoint);
      endpoint.onEnded = () => this.#guests.delete(endpoint);
      socket.write(this.#encodeWelcome(ownPipe));
      this.#options.onGuest({ pid, environment: environmentOf(endpoint), close: () => endpoint.close() });
      endpoint.receiveEarly(first.rest);
    } catch (error) {
      for (const step of undo.reverse()) step();
      throw error;
    }
  }

  #checkHello(socket: Socket, { frameType, body }: FirstFrame) {
    if (frameType !== FrameType.Hello)
      throw new PeerError('ERR_TRANSPORT', `a frame of type ${frameType} before a hello`);
    const hello = parseHello(body);
    if (hello.version !== SHM_VERSION) {
      throw new PeerError('ERR_TRANSPORT', `protocol version ${hello.version} is not spoken here, ${SHM_VERSION} is`);
    }
    const maxPages = this.#options.maxGuestPages ?? 2 ** 20;
    if (hello.pageCount < 1 || hello.pageCount > maxPages) {
      throw new PeerError('ERR_RESOURCES', `a guest of ${hello.pageCount} pages: this host takes 1 to ${maxPages}`);
    }
    if (hello.firstPfn > 2n ** 40n) throw new PeerError('ERR_TRANSPORT', `a first page at ${hello.firstPfn}`);
    return {
      pid: this.#checkPid(socket, hello.pid),
      firstPfn: Number(hello.firstPfn),
      pageCount: hello.pageCount,
      memory: { fd: hello.memoryFd, inode: hello.memoryInode },
      wake: { fd: hello.wakeFd, inode: hello.wakeInode },
    };
  }

  /** What the kernel says of the peer counts more than what it says of itself. */
  #checkPid(socket: Socket, claimedPid: number): number {
    const fd = descriptorOf(socket);
    if (fd === undefined) return claimedPid;
    const { pid, uid } = this.#calls.peerOf(fd);
    const ownUid = process.getuid?.();
    if (uid !== ownUid && uid !== 0 && ownUid !== 0) {
      throw new PeerError('ERR_TRANSPORT', `user ${uid} may not attach to a host of user ${ownUid}`);
    }
    if (pid === 0) {
      throw new PeerError(
        'ERR_TRANSPORT',
        'the guest runs in another pid namespace, where its memory cannot be opened',
      );
    }
    if (pid !== claimedPid) {
      throw new PeerError(
        'ERR_TRANSPORT',
        `the guest says that it is process ${claimedPid}, and is process ${pid} here`,
      );
    }
    return pid;
  }

  #encodeWelcome(ownPipe: Pipe): Uint8Array {
    return encodeFrame(
      FrameType.Welcome,
      Welcome.encode({
        version: SHM_VERSION,
        pid: process.pid,
        wakeFd: ownPipe.writeFd,
        wakeInode: fstatSync(ownPipe.writeFd, { bigint: true }).ino,
        flags: this.#ownsDirectory() ? WELCOME_OWNS_DIRECTORY : 0,
      }),
    );
  }

  #refuse(socket: Socket, error: unknown): void {
    if (!(error instanceof VmbusError)) {
      socket.destroy();
      throw error;
    }
    socket.resume(); // Whatever else it says is dropped, so that its end is seen.
    socket.end(encodeText(FrameType.Refusal, error.message));
    // A peer that does not read its refusal must not hold on to us.
    const patience = setTimeout(() => socket.destroy(), REFUSAL_MS);
    socket.once('close', () => clearTimeout(patience));
    this.#options.onRefused?.(error.message);
  }
}

/** How long a refusal may take to leave, milliseconds. */
const REFUSAL_MS = 1000;

function environmentOf(endpoint: ShmEndpoint): HostEnvironment {
  return {
    memory: endpoint.memory,
    scheduler: endpoint.scheduler,
    verifier: verifierMaker(endpoint.scheduler),
    control: endpoint.control,
    // There is one guest process: whichever processor was meant, it is the one that looks.
    signal: (eventFlag) => endpoint.signal(eventFlag),
    onMessage: (sink) => {
      endpoint.messageSink = sink;
    },
    onSignal: (sink) => {
      endpoint.eventSink = sink;
    },
    onLost: (sink) => {
      endpoint.lostSink = sink;
    },
  };
}

/** Node does not document how to get at it; without, the guest's own word has to do. */
function descriptorOf(socket: Socket): number | undefined {
  const fd = (socket as { _handle?: { fd?: unknown } | null })._handle?.fd;
  return typeof fd === 'number' && fd >= 0 ? fd : undefined;
}

/** The system's code behind a `SystemError`. */
function errnoCodeOf(error: unknown): string | undefined {
  return error instanceof SystemError ? (error.cause as NodeJS.ErrnoException | undefined)?.code : undefined;
}

function closePipe(pipe: Pipe): void {
  closeSync(pipe.readFd);
  closeSync(pipe.writeFd);
}

function listen(server: Server, path: string): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', (cause: NodeJS.ErrnoException) => {
      const reasons: Record<string, string> = {
        EADDRINUSE: 'it is in use: a host listens there',
        EACCES: 'no permission to make a socket there',
      };
      const reason = reasons[cause.code ?? ''] ?? cause.code ?? cause.message;
      reject(new SystemError('ERR_TRANSPORT', `cannot listen on ${path}: ${reason}`, { cause }));
    });
    server.listen(path, resolve);
  });
}
