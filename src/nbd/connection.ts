/** One client: its socket, and whichever half of the protocol it is in. */
import type { Socket } from 'node:net';
import { ByteQueue } from './byte-queue.ts';
import { garbage, Handshake } from './handshake.ts';
import type { NbdExport } from './nbd-export.ts';
import { Transmission, type TransmissionLimits } from './transmission.ts';

/** With more unsent replies than this nothing more is begun: a client that does not take them gets no more. */
const MAX_UNSENT_BYTES = 64 * 1024 * 1024;

export class Connection {
  readonly #socket: Socket;
  readonly #ended: (error: Error | undefined) => void;
  readonly #limits: TransmissionLimits;
  readonly #input = new ByteQueue();
  readonly #handshake: Handshake;
  readonly #handshakeTimer: NodeJS.Timeout;
  #transmission: Transmission | undefined;
  #isCorked = false;
  #isClosing = false;
  #isSocketClosed = false;
  #error: Error | undefined;

  /**
   * @param ended is called once, when the socket is closed and no request is under way any more: with what the client did
   *   wrong or what the socket said, or with undefined if it ended as it should
   */
  constructor(
    socket: Socket,
    exports: ReadonlyMap<string, NbdExport>,
    limits: TransmissionLimits,
    handshakeTimeoutMs: number,
    ended: (error: Error | undefined) => void,
  ) {
    this.#socket = socket;
    this.#ended = ended;
    this.#limits = limits;
    socket.on('data', (piece: Buffer) => {
      this.#input.push(piece);
      this.#proceed();
    });
    socket.on('drain', () => this.#proceed());
    socket.on('end', () => this.close());
    socket.on('error', (error) => this.#abort(error));
    socket.on('close', () => {
      clearTimeout(this.#handshakeTimer);
      this.#isSocketClosed = true;
      this.#transmission?.end();
      this.#checkEnded();
    });
    this.#handshakeTimer = setTimeout(() => {
      this.#abort(garbage('the client chose no export in time'));
    }, handshakeTimeoutMs);
    this.#handshake = new Handshake(exports, (bytes) => this.#send(bytes));
  }

  /** Begins nothing further; ends the connection when what is under way has been answered. */
  close(): void {
    this.#isClosing = true;
    this.#transmission?.end();
    this.#input.clear();
    this.#proceed();
  }

  /** Ends the connection now; answers to what is under way are lost. */
  destroy(): void {
    this.#socket.destroy();
  }

  /** Works on what has arrived, as far as that goes. */
  #proceed(): void {
    if (this.#socket.destroyed) return;
    try {
      if (this.#transmission === undefined && !this.#isClosing) this.#negotiate();
      if (!this.#hasManyUnsent) this.#transmission?.receive(this.#input);
    } catch (error) {
      this.#abort(error as Error);
      return;
    }
    if (this.#transmission === undefined ? this.#isClosing : this.#transmission.isDone) {
      this.#finish();
      return;
    }
    const isStuck = this.#transmission?.isFull === true || this.#hasManyUnsent;
    if (isStuck && !this.#socket.isPaused()) this.#socket.pause();
    else if (!isStuck && this.#socket.isPaused()) this.#socket.resume();
  }

  get #hasManyUnsent(): boolean {
    return this.#socket.writableLength > MAX_UNSENT_BYTES;
  }

  #negotiate(): void {
    const step = this.#handshake.receive(this.#input);
    if (step.is === 'ended') this.#isClosing = true;
    if (step.is !== 'agreed') return;
    clearTimeout(this.#handshakeTimer);
    this.#transmission = new Transmission(
      step.agreement,
      this.#limits,
      (bytes) => this.#send(bytes),
      () => {
        this.#proceed();
        this.#checkEnded();
      },
    );
  }

  /** Sends what is left to send, then closes both directions, whatever the client does with its own. */
  #finish(): void {
    if (!this.#socket.writableEnded) this.#socket.end(() => this.#socket.destroy());
  }

  #abort(error: Error): void {
    this.#error ??= error;
    this.#transmission?.end();
    this.#input.clear();
    this.#socket.destroy();
  }

  #checkEnded(): void {
    if (this.#isSocketClosed && (this.#transmission === undefined || this.#transmission.isDone))
      this.#ended(this.#error);
  }

  /** Replies of one turn of the event loop leave in one system call. */
  #send(bytes: Buffer): void {
    if (this.#socket.destroyed || this.#socket.writableEnded) return;
    if (!this.#isCorked) {
      this.#isCorked = true;
      this.#socket.cork();
      process.nextTick(() => {
        this.#isCorked = false;
        this.#socket.uncork();
      });
    }
    this.#socket.write(bytes);
  }
}
