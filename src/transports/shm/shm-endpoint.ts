/**
 * One attached end: messages as frames on the socket, doorbells in the shared file, a pipe to wake the other end.
 *
 * Owns everything that came with the connection and gives all of it back in one place (`#end`). The mapping goes last:
 * after the owner heard that the link is lost, its pages become zeros, so that a view that somebody still holds reads
 * zeros instead of ending the process.
 */
import { closeSync } from 'node:fs';
import type { Socket } from 'node:net';
import { type ControlPort, MAX_MESSAGE_BYTES, PostStatus } from '../../bus/control-port.ts';
import type { Scheduler } from '../../channel/scheduler.ts';
import { PeerError, UsageError } from '../../errors.ts';
import { GuestMemory } from '../../memory/guest-memory.ts';
import { EventReceiver, EventSender, type Poller, type PollHandle, type PollSource } from '../doorbell/index.ts';
import type { Pipe, ShmCalls, Watch } from '../native/shm-calls.ts';
import { encodeFrame, encodeText, FrameReader, FrameType, MessageBody, parseText } from './frames.ts';
import type { SharedFile } from './shared-file.ts';

/** Control messages that wait in this process for a peer that does not read, bytes: some thousands. */
const MAX_UNSENT_BYTES = 2 ** 20;
/** How long a goodbye may take to leave, milliseconds. */
const GOODBYE_MS = 1000;

export interface Attachment {
  readonly calls: ShmCalls;
  readonly socket: Socket;
  readonly file: SharedFile;
  readonly firstPfn: number;
  /** Where we are woken; both ends stay open, so that the pipe never reports a hang-up. */
  readonly ownPipe: Pipe;
  /** Where we wake the other end. */
  readonly peerWakeFd: number;
  readonly poller: Poller;
  /** How long half a frame may wait for its other half, milliseconds. */
  readonly frameTimeoutMs: number;
  /** For messages: "the guest (pid 17)". */
  readonly peer: string;
}

export type MessageSink = (message: Uint8Array, connectionId: number) => void;

export class ShmEndpoint implements PollSource {
  readonly memory: GuestMemory;
  readonly scheduler: Scheduler;
  readonly control: ControlPort = { post: (connectionId, message) => this.#post(connectionId, message) };
  messageSink: MessageSink | undefined;
  eventSink: ((id: number) => void) | undefined;
  lostSink: ((reason: string) => void) | undefined;
  /** Called once, when everything is given back; `isOrderly` is false for a peer that vanished. */
  onEnded: ((isOrderly: boolean) => void) | undefined;
  readonly #attachment: Attachment;
  readonly #sender: EventSender;
  readonly #receiver: EventReceiver;
  readonly #handle: PollHandle;
  readonly #watch: Watch;
  readonly #frames = new FrameReader();
  readonly #onFrame = (frameType: number, body: Uint8Array): boolean => this.#receiveFrame(frameType, body);
  readonly #onEvent = (id: number): void => {
    if (!this.#isClosed) this.eventSink?.(id);
  };
  // Messages wake us through the socket; only doorbells need a look before a sleep.
  readonly #hasNoMore = (): boolean => false;
  readonly #rung = (): void => this.#handle.rung();
  #halfFrameTimer: NodeJS.Timeout | undefined;
  /** Nothing is sent or polled any more. */
  #isClosed = false;
  /** Nothing is delivered any more; later than closed, since what came before the end still counts. */
  #isSilent = false;

  constructor(attachment: Attachment) {
    const { calls, file, ownPipe, peerWakeFd, poller, socket } = attachment;
    this.#attachment = attachment;
    this.memory = new GuestMemory([{ firstPfn: attachment.firstPfn, bytes: file.pages }]);
    this.scheduler = poller.scheduler;
    this.#sender = new EventSender(file.sentEvents, () => calls.wake(peerWakeFd));
    this.#receiver = new EventReceiver(file.receivedEvents);
    this.#watch = calls.watch(ownPipe.readFd, () => {
      calls.drain(ownPipe.readFd);
      // The call comes from outside of Node's callbacks, where promises would not run after the sinks.
      setImmediate(this.#rung);
    });
    socket.on('data', (chunk) => this.#receive(chunk));
    socket.on('error', () => {}); // `close` follows, and is what we act on.
    socket.on('close', () =>
      this.#lose(`${attachment.peer} closed its socket${this.#frames.isPartial ? ' in the middle of a frame' : ''}`),
    );
    this.#handle = poller.attach(this);
    socket.resume();
    if (socket.destroyed) this.#lose(`${attachment.peer} closed its socket`);
  }

  get isClosed(): boolean {
    return this.#isClosed;
  }

  signal(id: number): void {
    if (this.#isClosed) return;
    this.#sender.raise(id);
    this.#handle.touch();
  }

  /** Bytes that the socket delivered before this end existed. */
  receiveEarly(bytes: Uint8Array): void {
    if (bytes.length > 0) this.#receive(bytes);
  }

  get isPending(): boolean {
    return !this.#isClosed && this.#receiver.isPending;
  }

  poll(): boolean {
    return !this.#isClosed && this.#receiver.take(this.#onEvent) > 0;
  }

  sleep(): boolean {
    return this.#receiver.sleep(this.#hasNoMore);
  }

  wakeUp(): void {
    this.#receiver.wakeUp();
  }

  /** Leaves on purpose: the other end is told so. Nothing is delivered any more; views of the memory read zeros. */
  close(reason = 'closed'): void {
    if (this.#isClosed) return;
    const { socket, file } = this.#attachment;
    this.#isSilent = true;
    socket.end(encodeText(FrameType.Goodbye, reason));
    // A peer that does not read would keep the socket, and with it this process, for ever.
    const patience = setTimeout(() => socket.destroy(), GOODBYE_MS);
    socket.once('close', () => clearTimeout(patience));
    this.#end(true);
    file.mapping.release();
  }

  #post(connectionId: number, message: Uint8Array): PostStatus {
    if (message.length > MAX_MESSAGE_BYTES) {
      throw new UsageError(
        'ERR_ARGUMENT',
        `a control message of ${message.length} bytes is longer than ${MAX_MESSAGE_BYTES}; send less in one message`,
      );
    }
    if (this.#isClosed) return PostStatus.Success; // Into the void, as to a machine that was just turned off.
    const { socket } = this.#attachment;
    if (socket.writableLength > MAX_UNSENT_BYTES) return PostStatus.InsufficientBuffers;
    const body = new Uint8Array(MessageBody.size + message.length);
    MessageBody.write(body, 0, { connectionId });
    body.set(message, MessageBody.size);
    socket.write(encodeFrame(FrameType.Message, body));
    return PostStatus.Success;
  }

  #receive(chunk: Uint8Array): void {
    if (this.#isClosed) return;
    clearTimeout(this.#halfFrameTimer);
    try {
      this.#frames.read(chunk, this.#onFrame);
    } catch (error) {
      if (!(error instanceof PeerError)) throw error;
      this.#lose(`${this.#attachment.peer} broke the protocol: ${error.message}`);
      return;
    }
    if (!this.#frames.isPartial || this.#isClosed) return;
    const { frameTimeoutMs, peer } = this.#attachment;
    this.#halfFrameTimer = setTimeout(() => {
      this.#lose(`${peer} sent half a frame and nothing for ${frameTimeoutMs} ms`);
    }, frameTimeoutMs);
  }

  #receiveFrame(frameType: number, body: Uint8Array): boolean {
    if (frameType === FrameType.Goodbye) {
      this.#lose(`${this.#attachment.peer} left: ${parseText(body)}`, true);
    } else if (frameType !== FrameType.Message) {
      throw new PeerError('ERR_TRANSPORT', `a frame of type ${frameType} after the handshake`);
    } else {
      const { connectionId } = MessageBody.parse(body);
      if (body.length - MessageBody.size > MAX_MESSAGE_BYTES) {
        throw new PeerError('ERR_TRANSPORT', `a control message of ${body.length - MessageBody.size} bytes`);
      }
      // A copy, and its own piece of work: a fault in one message's sink must not swallow the frames behind it.
      const message = body.slice(MessageBody.size);
      this.scheduler.dispatch(() => {
        if (!this.#isSilent) this.messageSink?.(message, connectionId);
      });
    }
    return !this.#isClosed;
  }

  #lose(reason: string, isOrderly = false): void {
    if (this.#isClosed) return;
    this.#attachment.socket.destroy();
    this.#end(isOrderly);
    this.scheduler.dispatch(() => {
      this.#isSilent = true;
      try {
        this.lostSink?.(reason);
      } finally {
        this.#attachment.file.mapping.release();
      }
    });
  }

  #end(isOrderly: boolean): void {
    const { ownPipe, peerWakeFd } = this.#attachment;
    this.#isClosed = true;
    clearTimeout(this.#halfFrameTimer);
    this.#handle.close();
    this.#watch.close();
    for (const fd of [ownPipe.readFd, ownPipe.writeFd, peerWakeFd]) closeSync(fd);
    this.onEnded?.(isOrderly);
  }
}
