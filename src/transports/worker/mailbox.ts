/**
 * Control messages in shared memory: a queue of fixed slots, one writer, one reader.
 *
 * The two indexes count messages since the start and run freely over 32 bits. The reader trusts neither the writer's
 * index nor a length: what cannot be is a `PeerError`, and the link ends.
 */
import { MAX_MESSAGE_BYTES, PostStatus } from '../../bus/control-port.ts';
import { hex, PeerError, UsageError } from '../../errors.ts';

/** Messages that wait in shared memory; a power of two. */
const SLOT_COUNT = 64;
/** Connection id, length, payload, padding to a quarter of a KiB as in the SynIC. */
const SLOT_BYTES = 256;
const PAYLOAD_AT = 8;

// Words of the header, each on a cache line of its own.
const IN = 0;
const OUT = 16;
const WRITER_WAITS = 32;
const HEADER_BYTES = 256;

/** Size of one direction. */
export const MAILBOX_BYTES = HEADER_BYTES + SLOT_COUNT * SLOT_BYTES;

/** Messages that the writer keeps for a reader that is behind: more than one of each kind for every channel. */
const BACKLOG_LIMIT = 8192;

interface Waiting {
  readonly connectionId: number;
  readonly message: Uint8Array;
}

export class MailboxWriter {
  readonly #words: Int32Array;
  readonly #bytes: Uint8Array;
  readonly #nudge: () => void;
  #backlog: Waiting[] = [];
  #in = 0;

  /**
   * @param bytes the direction's `MAILBOX_BYTES` bytes, zero when new, at a multiple of 4
   * @param nudge called after a message was published
   */
  constructor(bytes: Uint8Array, nudge: () => void) {
    this.#bytes = bytes;
    this.#words = new Int32Array(bytes.buffer, bytes.byteOffset, MAILBOX_BYTES / 4);
    this.#nudge = nudge;
  }

  /**
   * Copies the message into the queue, or behind it.
   * @throws UsageError `ERR_ARGUMENT` for more than 240 bytes
   */
  post(connectionId: number, message: Uint8Array): PostStatus {
    if (message.length > MAX_MESSAGE_BYTES) throw tooLong(message.length);
    if (this.#backlog.length > 0 || !this.#hasRoom()) {
      if (this.#backlog.length === BACKLOG_LIMIT) return PostStatus.InsufficientBuffers;
      this.#backlog.push({ connectionId, message: message.slice() });
      this.flush();
      return PostStatus.Success;
    }
    this.#put(connectionId, message);
    this.#publish();
    return PostStatus.Success;
  }

  /** True if a waiting message could go now. */
  get canFlush(): boolean {
    return this.#backlog.length > 0 && this.#hasRoom();
  }

  /** Moves waiting messages into the queue. @returns false if none could go */
  flush(): boolean {
    if (this.#backlog.length === 0) return false;
    let moved = 0;
    for (;;) {
      while (moved < this.#backlog.length && this.#hasRoom()) {
        const { connectionId, message } = this.#backlog[moved++] as Waiting;
        this.#put(connectionId, message);
      }
      if (moved === this.#backlog.length) break;
      // Pairs with the exchange in MailboxReader.read: either it sees that we wait and nudges, or we see its room.
      Atomics.store(this.#words, WRITER_WAITS, 1);
      if (!this.#hasRoom()) break;
      Atomics.store(this.#words, WRITER_WAITS, 0);
    }
    this.#backlog = this.#backlog.slice(moved);
    if (moved > 0) this.#publish();
    return moved > 0;
  }

  #hasRoom(): boolean {
    // A reader's index that cannot be looks like no room: it harms the reader alone.
    return (this.#in - Atomics.load(this.#words, OUT)) >>> 0 < SLOT_COUNT;
  }

  #put(connectionId: number, message: Uint8Array): void {
    const at = HEADER_BYTES + (this.#in & (SLOT_COUNT - 1)) * SLOT_BYTES;
    this.#words[at / 4] = connectionId;
    this.#words[at / 4 + 1] = message.length;
    this.#bytes.set(message, at + PAYLOAD_AT);
    this.#in = (this.#in + 1) | 0;
  }

  #publish(): void {
    // Pairs with the load in MailboxReader.read: the slot must be visible before the index.
    Atomics.store(this.#words, IN, this.#in);
    this.#nudge();
  }
}

export class MailboxReader {
  readonly #words: Int32Array;
  readonly #bytes: Uint8Array;
  readonly #nudge: () => void;
  // Messages are handed out from here: the writer cannot change one that its sink is reading.
  readonly #scratch = new Uint8Array(MAX_MESSAGE_BYTES);
  #out = 0;

  /** @param nudge called when a waiting writer has room */
  constructor(bytes: Uint8Array, nudge: () => void) {
    this.#bytes = bytes;
    this.#words = new Int32Array(bytes.buffer, bytes.byteOffset, MAILBOX_BYTES / 4);
    this.#nudge = nudge;
  }

  get isPending(): boolean {
    return Atomics.load(this.#words, IN) !== this.#out;
  }

  /**
   * Hands out the messages that are there now, in order; a message is valid during its call only.
   * @returns how many
   * @throws PeerError `ERR_TRANSPORT` if the writer's index or a length cannot be
   */
  read(sink: (message: Uint8Array, connectionId: number) => void): number {
    const count = (Atomics.load(this.#words, IN) - this.#out) >>> 0;
    if (count === 0) return 0;
    if (count > SLOT_COUNT) {
      throw new PeerError(
        'ERR_TRANSPORT',
        `the mailbox claims ${hex(count)} messages in ${SLOT_COUNT} slots; link ends`,
      );
    }
    try {
      for (let index = 0; index < count; index++) this.#readOne(sink);
    } finally {
      // Also when a sink threw. Pairs with the store in MailboxWriter.flush.
      if (Atomics.exchange(this.#words, WRITER_WAITS, 0) === 1) this.#nudge();
    }
    return count;
  }

  #readOne(sink: (message: Uint8Array, connectionId: number) => void): void {
    const at = HEADER_BYTES + (this.#out & (SLOT_COUNT - 1)) * SLOT_BYTES;
    const connectionId = (this.#words[at / 4] as number) >>> 0;
    const lengthBytes = (this.#words[at / 4 + 1] as number) >>> 0; // Read once: from here on the copy counts.
    if (lengthBytes > MAX_MESSAGE_BYTES) {
      throw new PeerError('ERR_TRANSPORT', `a mailbox slot claims ${hex(lengthBytes)} bytes, at most 0xf0; link ends`);
    }
    const message = this.#scratch.subarray(0, lengthBytes);
    message.set(this.#bytes.subarray(at + PAYLOAD_AT, at + PAYLOAD_AT + lengthBytes));
    this.#out = (this.#out + 1) | 0;
    // Pairs with the load in MailboxWriter.#hasRoom: the copy is complete before the slot is free again.
    Atomics.store(this.#words, OUT, this.#out);
    sink(message, connectionId);
  }
}

function tooLong(lengthBytes: number): UsageError {
  return new UsageError(
    'ERR_ARGUMENT',
    `a control message of ${lengthBytes} bytes is longer than ${MAX_MESSAGE_BYTES}; send less in one message`,
  );
}
