/**
 * What one virtual processor tells the device thread: control messages that the guest posted and events that it
 * signalled, in order. One writer (the vCPU's thread), one reader.
 *
 * A slot is 256 bytes: kind, connection id, payload bytes, then the payload. A full mailbox is an answer: a post is
 * refused with the status that makes the guest retry, a signal waits, so that no doorbell is lost and no memory grows.
 */
import { MAX_MESSAGE_BYTES } from '../../../bus/control-port.ts';

const SLOT_BYTES = 256;
const SLOT_COUNT = 64;
const SLOT_WORDS = SLOT_BYTES / 4;

/** Words before the slots. */
const WRITTEN = 0;
const READ = 1;
const HEADER_WORDS = 4;

const Kind = { Message: 1, Signal: 2 } as const;

export interface MailboxSink {
  /** @param message a private copy, valid during the call */
  message(connectionId: number, message: Uint8Array): void;
  signalled(connectionId: number): void;
}

export class ExitMailbox {
  static readonly BYTES = 4 * HEADER_WORDS + SLOT_BYTES * SLOT_COUNT;

  readonly #words: Int32Array;
  readonly #bytes: Uint8Array;
  readonly #message = new Uint8Array(MAX_MESSAGE_BYTES);

  /** @param buffer `BYTES` long and zero at first, shared by both threads */
  constructor(buffer: SharedArrayBuffer) {
    this.#words = new Int32Array(buffer);
    this.#bytes = new Uint8Array(buffer);
  }

  static allocate(): SharedArrayBuffer {
    return new SharedArrayBuffer(ExitMailbox.BYTES);
  }

  /** @param source at most `MAX_MESSAGE_BYTES` bytes of guest memory, read once @returns false if there is no room */
  putMessage(connectionId: number, source: Uint8Array): boolean {
    const written = this.#words[WRITTEN] ?? 0;
    if (this.#isFull(written)) return false;
    const at = slotWord(written);
    this.#words[at] = Kind.Message;
    this.#words[at + 1] = connectionId;
    this.#words[at + 2] = source.length;
    this.#bytes.set(source, 4 * at + 16);
    this.#publish(written);
    return true;
  }

  /**
   * Waits while there is no room; merges with the signal before it if nobody has taken that yet.
   * @param isStopped looked at while waiting
   * @returns false if it was stopped
   */
  putSignal(connectionId: number, isStopped: () => boolean): boolean {
    const written = this.#words[WRITTEN] ?? 0;
    if (this.#isLastUnread(written, connectionId)) return true;
    while (this.#isFull(written)) {
      if (isStopped()) return false;
      // Pairs with the notify in `drain`. The time-out only bounds how late a stop is seen.
      Atomics.wait(this.#words, READ, (written - SLOT_COUNT) | 0, 50);
    }
    const at = slotWord(written);
    this.#words[at] = Kind.Signal;
    this.#words[at + 1] = connectionId;
    this.#publish(written);
    return true;
  }

  /**
   * Hands over what has arrived.
   * @param mayTakeMessage asked before each message; false leaves it, and what follows it, for later
   * @returns items handed over, at most one mailbox full: a guest that never stops does not keep the thread
   */
  drain(sink: MailboxSink, mayTakeMessage: () => boolean): number {
    let read = this.#words[READ] ?? 0;
    // Pairs with the store in `#publish`: the slot is visible before the count.
    const written = Atomics.load(this.#words, WRITTEN);
    let taken = 0;
    while (read !== written) {
      const at = slotWord(read);
      const isMessage = this.#words[at] === Kind.Message;
      if (isMessage && !mayTakeMessage()) break;
      const connectionId = this.#words[at + 1] ?? 0;
      const byteCount = isMessage ? (this.#words[at + 2] ?? 0) : 0;
      if (isMessage) this.#message.set(this.#bytes.subarray(4 * at + 16, 4 * at + 16 + byteCount));
      read = (read + 1) | 0;
      // Pairs with the load in `#isFull`: the slot was copied before it is free.
      Atomics.store(this.#words, READ, read);
      Atomics.notify(this.#words, READ);
      taken++;
      if (isMessage) sink.message(connectionId, this.#message.subarray(0, byteCount));
      else sink.signalled(connectionId);
    }
    return taken;
  }

  get isEmpty(): boolean {
    return Atomics.load(this.#words, WRITTEN) === this.#words[READ];
  }

  /**
   * The reader stores its count before it acts on a slot: if that store is not here yet, acting on it comes after
   * whatever the guest wrote before this signal.
   */
  #isLastUnread(written: number, connectionId: number): boolean {
    const at = slotWord((written - 1) | 0);
    if (this.#words[at] !== Kind.Signal || this.#words[at + 1] !== connectionId) return false;
    return Atomics.load(this.#words, READ) !== written;
  }

  #isFull(written: number): boolean {
    return ((written - Atomics.load(this.#words, READ)) | 0) >= SLOT_COUNT;
  }

  #publish(written: number): void {
    Atomics.store(this.#words, WRITTEN, (written + 1) | 0);
  }
}

/** Counts run through all 32 bits; the slot is their remainder. */
function slotWord(count: number): number {
  return HEADER_WORDS + (count & (SLOT_COUNT - 1)) * SLOT_WORDS;
}
