/** One open end of a link between two threads: drain, keep looking for a moment, sleep. */
import { setImmediate as nextLoopTurn } from 'node:timers/promises';
import { type ControlPort, PostStatus } from '../../bus/control-port.ts';
import { PeerError, UsageError } from '../../errors.ts';
import {
  type DueScheduler,
  EventReceiver,
  EventSender,
  type Poller,
  type PollHandle,
  type PollSource,
} from '../doorbell/index.ts';
import { controlBlockOf, type WorkerEnd } from './link.ts';
import { MailboxReader, MailboxWriter } from './mailbox.ts';

/** Longest uninterrupted sleep of a dedicated thread: what its event loop knows (a lost peer, a file) waits this long. */
const BLOCK_MS = 100;
/** Longest work of a dedicated thread before its event loop gets a turn, milliseconds. */
const BUSY_MS = 1;
const LOOKS_PER_CLOCK = 32;

export type MessageSink = (message: Uint8Array, connectionId: number) => void;

/** The part that is the same for both sides; `guest.ts` and `host.ts` give it its environment's shape. */
export class WorkerEndpoint implements PollSource {
  readonly scheduler: DueScheduler;
  readonly control: ControlPort;
  messageSink: MessageSink | undefined;
  eventSink: ((id: number) => void) | undefined;
  lostSink: ((reason: string) => void) | undefined;
  readonly #end: WorkerEnd;
  readonly #receivedEvents: Int32Array;
  readonly #sender: EventSender;
  readonly #receiver: EventReceiver;
  readonly #writer: MailboxWriter;
  readonly #reader: MailboxReader;
  readonly #handle: PollHandle;
  readonly #hasMore = (): boolean => this.#reader.isPending || this.#writer.canFlush;
  readonly #onMessage: MessageSink = (message, connectionId) => {
    if (!this.#isClosed) this.messageSink?.(message, connectionId);
  };
  readonly #onEvent = (id: number): void => {
    if (!this.#isClosed) this.eventSink?.(id);
  };
  #isWaiting = false;
  #isClosed = false;

  constructor(end: WorkerEnd, poller: Poller) {
    const block = controlBlockOf(end);
    this.#end = end;
    this.scheduler = poller.scheduler;
    this.#receivedEvents = block.receivedEvents;
    this.#receiver = new EventReceiver(block.receivedEvents);
    this.#sender = new EventSender(block.sentEvents, () => {
      Atomics.notify(block.sentEvents, EventReceiver.AWAKE_WORD);
    });
    const nudge = (): void => this.#sender.nudge();
    this.#writer = new MailboxWriter(block.sentMessages, nudge);
    this.#reader = new MailboxReader(block.receivedMessages, nudge);
    this.control = {
      post: (connectionId, message) => {
        if (this.#isClosed) return PostStatus.Success; // Into the void, as to a machine that was just turned off.
        const status = this.#writer.post(connectionId, message);
        this.#handle.touch();
        return status;
      },
    };
    // Ref'd on purpose: a pending `Atomics.waitAsync` alone does not keep a thread alive.
    end.port.ref();
    end.port.once('close', () => this.#lose('the thread at the other end of the link ended'));
    this.#handle = poller.attach(this);
  }

  get isClosed(): boolean {
    return this.#isClosed;
  }

  signal(id: number): void {
    if (this.#isClosed) return;
    this.#sender.raise(id);
    this.#handle.touch();
  }

  get isPending(): boolean {
    return !this.#isClosed && (this.#receiver.isPending || this.#reader.isPending || this.#writer.canFlush);
  }

  poll(): boolean {
    if (this.#isClosed) return false;
    let count = 0;
    try {
      count += this.#reader.read(this.#onMessage);
    } catch (error) {
      if (!(error instanceof PeerError)) throw error;
      this.#lose(error.message);
      return true;
    }
    if (this.#writer.flush()) count++;
    return this.#receiver.take(this.#onEvent) + count > 0;
  }

  sleep(): boolean {
    if (!this.#receiver.sleep(this.#hasMore)) return false;
    // A waiter of an earlier sleep that we ended ourselves is still there, and one is enough.
    if (this.#isWaiting) return true;
    const wait = Atomics.waitAsync(this.#receivedEvents, EventReceiver.AWAKE_WORD, 0);
    if (!wait.async) return false; // Woken between the two lines.
    this.#isWaiting = true;
    void wait.value.then(() => {
      this.#isWaiting = false;
      this.#handle.rung();
    });
    return true;
  }

  wakeUp(): void {
    this.#receiver.wakeUp();
  }

  /**
   * Gives this thread to the link: instead of waiting on the event loop it blocks in `Atomics.wait`, which wakes sooner
   * and cheaper. The event loop turns after each sleep and each millisecond of work. The scheduler's timers are kept, but
   * files, sockets and other timers come up to 100 ms late: for a thread with nothing else to do.
   * @returns when the link is closed or lost
   */
  async runUntilClosed(): Promise<void> {
    const window = this.#handle.window;
    this.#handle.close();
    this.#receiver.wakeUp();
    let busySinceMs = performance.now();
    let lastWorkMs = busySinceMs;
    while (!this.#isClosed) {
      if (this.poll()) {
        await undefined; // What the sinks dispatched, and their promises.
        lastWorkMs = performance.now();
        if (lastWorkMs - busySinceMs < BUSY_MS) continue;
      } else if (this.#look(window.us / 1000)) {
        window.found();
        continue;
      } else {
        await nextLoopTurn();
        if (this.#isClosed || !this.#receiver.sleep(this.#hasMore)) continue;
        const untilDueMs = Math.max(0, this.scheduler.nextDueMs - performance.now());
        const outcome = Atomics.wait(
          this.#receivedEvents,
          EventReceiver.AWAKE_WORD,
          0,
          Math.min(BLOCK_MS, Math.ceil(untilDueMs)),
        );
        this.#receiver.wakeUp();
        if (outcome !== 'timed-out') window.wokenAfter((performance.now() - lastWorkMs) * 1000);
      }
      await nextLoopTurn();
      busySinceMs = performance.now();
    }
  }

  /** Ends the link: the other side is told that it lost us. Nothing is delivered any more. */
  close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#handle.close();
    // Ends a wait that is still under way.
    this.#receiver.wakeUp();
    Atomics.notify(this.#receivedEvents, EventReceiver.AWAKE_WORD);
    this.#end.port.close();
  }

  #look(windowMs: number): boolean {
    if (windowMs === 0) return this.isPending;
    const untilMs = performance.now() + windowMs;
    do {
      for (let look = 0; look < LOOKS_PER_CLOCK; look++) if (this.isPending) return true;
    } while (performance.now() < untilMs);
    return false;
  }

  #lose(reason: string): void {
    if (this.#isClosed) return;
    // What it said before it went still counts: a goodbye should not look like a crash.
    if (this.#reader.isPending) this.#readLastWords();
    this.close();
    this.scheduler.dispatch(() => this.lostSink?.(reason));
  }

  #readLastWords(): void {
    try {
      this.#reader.read(this.#onMessage);
    } catch (error) {
      // It is lost already, and what it left is malformed: there is nothing more to end.
      if (!(error instanceof PeerError)) throw error;
    }
  }
}

/** @throws UsageError `ERR_ARGUMENT` if the handle is for the other side */
export function checkSide(end: WorkerEnd, side: 'guest' | 'host'): void {
  if (end.side !== side)
    throw new UsageError('ERR_ARGUMENT', `this is the ${end.side}'s end of the link, not the ${side}'s`);
}
