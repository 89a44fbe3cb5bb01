/** An NBD server on a Unix socket. */
import { chmod, lstat, stat, unlink } from 'node:fs/promises';
import { connect, createServer, type Server, type Socket } from 'node:net';
import { dirname } from 'node:path';
import { SystemError, UsageError } from '../errors.ts';
import { Connection } from './connection.ts';
import type { NbdExport } from './nbd-export.ts';
import { MAX_PAYLOAD_BYTES, MAX_STRING_BYTES } from './protocol.ts';

export interface NbdServerOptions {
  /** Where the socket is made. One that nobody listens on any more is replaced. */
  readonly path: string;
  /** By name; clients that name none get the empty one. */
  readonly exports: Readonly<Record<string, NbdExport>>;
  /** Access mode of the socket. Default 0o600: this user only. */
  readonly mode?: number;
  /** More are turned away. Default 64. */
  readonly maxConnections?: number;
  /** Requests under way at once on each. Default 1024. */
  readonly maxRequests?: number;
  /** Bytes of reads and writes under way at once on each. Default 64 MiB. */
  readonly maxBytes?: number;
  /** A client that chose no export by then is cut off. Default 10000. */
  readonly handshakeTimeoutMs?: number;
  /** After `close`, clients that do not take their answers are cut off by then. Default 5000. */
  readonly closeTimeoutMs?: number;
  /** Is told of each client that comes, */
  readonly onConnected?: (clientCount: number) => void;
  /** and of each that goes; with the error if it was cut off or broke off. */
  readonly onDisconnected?: (clientCount: number, error: Error | undefined) => void;
}

/**
 * Starts a server. Resolves when clients can connect.
 * @throws UsageError `ERR_ARGUMENT` for exports that cannot be served
 * @throws SystemError `ERR_TRANSPORT` if the socket cannot be made
 */
export async function serveNbd(options: NbdServerOptions): Promise<NbdServer> {
  const exports = new Map(Object.entries(options.exports));
  for (const [name, store] of exports) checkExport(name, store);
  await removeStaleSocket(options.path);
  const server = new NbdServer(options, exports);
  await server.listen();
  return server;
}

export class NbdServer {
  readonly path: string;
  readonly #options: NbdServerOptions;
  readonly #exports: ReadonlyMap<string, NbdExport>;
  readonly #server: Server;
  readonly #connections = new Set<Connection>();
  #idle: (() => void) | undefined;

  /** Use `serveNbd`. */
  constructor(options: NbdServerOptions, exports: ReadonlyMap<string, NbdExport>) {
    this.path = options.path;
    this.#options = options;
    this.#exports = exports;
    this.#server = createServer({ allowHalfOpen: true }, (socket) => this.#accept(socket));
    this.#server.maxConnections = options.maxConnections ?? 64;
  }

  get connectionCount(): number {
    return this.#connections.size;
  }

  /** @internal */
  async listen(): Promise<void> {
    try {
      await new Promise<void>((listening, failed) => {
        this.#server.once('error', failed);
        this.#server.listen(this.path, () => {
          this.#server.off('error', failed);
          listening();
        });
      });
      await chmod(this.path, this.#options.mode ?? 0o600);
    } catch (error) {
      const code = (error as NodeJS.ErrnoException).code ?? 'unknown error';
      this.#server.close();
      // libuv turns the ENOENT of bind(2) into EACCES.
      const hasFolder = (await stat(dirname(this.path)).catch(() => undefined)) !== undefined;
      const why = hasFolder ? code : 'its folder does not exist';
      throw new SystemError('ERR_TRANSPORT', `cannot listen on ${this.path}: ${why}`, { cause: error });
    }
  }

  /**
   * Takes no further client and no further request, answers what is under way, ends all connections, removes the
   * socket. What the exports still hold is flushed, so that nothing that was answered is lost with a clean end.
   * @throws (rejects) what a flush threw; the server is closed nevertheless
   */
  async close(): Promise<void> {
    const closed = new Promise<void>((done) => {
      this.#server.close(() => done());
    });
    for (const connection of this.#connections) connection.close();
    if (this.#connections.size > 0) {
      const timer = setTimeout(() => this.destroyConnections(), this.#options.closeTimeoutMs ?? 5000);
      await new Promise<void>((idle) => {
        this.#idle = idle;
      });
      clearTimeout(timer);
    }
    await closed;
    for (const store of this.#exports.values()) {
      if (store.canFlush && !store.readOnly) await store.flush();
    }
  }

  /** Ends all connections now; `close` is still to be called. */
  destroyConnections(): void {
    for (const connection of this.#connections) connection.destroy();
  }

  #accept(socket: Socket): void {
    const limits = {
      maxRequests: this.#options.maxRequests ?? 1024,
      maxBytes: Math.max(this.#options.maxBytes ?? 64 * 1024 * 1024, MAX_PAYLOAD_BYTES),
    };
    const timeoutMs = this.#options.handshakeTimeoutMs ?? 10_000;
    const connection: Connection = new Connection(socket, this.#exports, limits, timeoutMs, (error) => {
      this.#connections.delete(connection);
      this.#options.onDisconnected?.(this.#connections.size, error);
      if (this.#connections.size === 0) this.#idle?.();
    });
    this.#connections.add(connection);
    this.#options.onConnected?.(this.#connections.size);
  }
}

function checkExport(name: string, store: NbdExport): void {
  const { blockBytes, sizeBytes } = store;
  const isBlock = blockBytes >= 1 && blockBytes <= 65536 && Number.isInteger(Math.log2(blockBytes));
  if (!isBlock) throw new UsageError('ERR_ARGUMENT', `export "${name}": NBD knows no block of ${blockBytes} bytes`);
  if (!Number.isSafeInteger(sizeBytes) || sizeBytes < 0 || sizeBytes % blockBytes !== 0) {
    throw new UsageError('ERR_ARGUMENT', `export "${name}": ${sizeBytes} bytes are not whole blocks of ${blockBytes}`);
  }
  if (Buffer.byteLength(name) > MAX_STRING_BYTES) {
    throw new UsageError('ERR_ARGUMENT', `the name of an export is longer than ${MAX_STRING_BYTES} bytes`);
  }
}

/** A socket file outlives the process that made it. @throws SystemError `ERR_TRANSPORT` if somebody listens there */
async function removeStaleSocket(path: string): Promise<void> {
  const found = await lstat(path).catch(() => undefined);
  if (found === undefined) return;
  if (!found.isSocket()) throw new SystemError('ERR_TRANSPORT', `cannot listen on ${path}: it exists and is no socket`);
  const isAlive = await new Promise<boolean>((answer) => {
    const probe = connect(path, () => {
      probe.destroy();
      answer(true);
    });
    probe.on('error', (error: NodeJS.ErrnoException) => answer(error.code !== 'ECONNREFUSED'));
  });
  if (isAlive) throw new SystemError('ERR_TRANSPORT', `cannot listen on ${path}: another server does`);
  await unlink(path);
}
