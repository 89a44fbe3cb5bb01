/**
 * Reads from an NBD server over a Unix socket: what a Node program would do for the same job. Reads only, no options
 * but the export's name, simple replies.
 *
 * Source: NBD `doc/proto.md`, "Newstyle negotiation" and "Transmission phase".
 */
import { once } from 'node:events';
import { createConnection, type Socket } from 'node:net';

const INIT_MAGIC = 0x4e42444d41474943n; // "NBDMAGIC"
const OPTION_MAGIC = 0x49484156454f5054n; // "IHAVEOPT"
const FLAGS = 0x3; // fixed newstyle, no zeros behind the export's size
const OPT_EXPORT_NAME = 1;
const REQUEST_MAGIC = 0x25609513;
const REPLY_MAGIC = 0x67446698;
const REQUEST_BYTES = 28;
const REPLY_BYTES = 16;

/** One read under way: its answer is copied to `target`. */
interface Slot {
  target: Uint8Array;
  done: () => void;
}

export class NbdClient {
  readonly sizeBytes: number;
  readonly #socket: Socket;
  readonly #slots: (Slot | undefined)[];
  readonly #request: Buffer;
  readonly #header = Buffer.alloc(REPLY_BYTES);
  #headerBytes = 0;
  #slot = 0;
  #dataBytes = 0;

  /** @param depth reads that may be under way at once */
  static async connect(path: string, depth: number): Promise<NbdClient> {
    const socket = createConnection(path);
    await once(socket, 'connect');
    const greeting = await readBytes(socket, 18);
    if (greeting.readBigUInt64BE(0) !== INIT_MAGIC || greeting.readBigUInt64BE(8) !== OPTION_MAGIC) {
      throw new Error(`${path} is no NBD server of the newstyle`);
    }
    const choice = Buffer.alloc(20);
    choice.writeUInt32BE(FLAGS, 0);
    choice.writeBigUInt64BE(OPTION_MAGIC, 4);
    choice.writeUInt32BE(OPT_EXPORT_NAME, 12); // the default export: a name of no bytes
    socket.write(choice);
    const answer = await readBytes(socket, 10);
    return new NbdClient(socket, Number(answer.readBigUInt64BE(0)), depth);
  }

  private constructor(socket: Socket, sizeBytes: number, depth: number) {
    this.#socket = socket;
    this.sizeBytes = sizeBytes;
    this.#slots = new Array<Slot | undefined>(depth).fill(undefined);
    this.#request = Buffer.alloc(REQUEST_BYTES * depth);
    socket.on('data', (chunk) => this.#receive(chunk));
  }

  /** Asks for bytes; one read for each `slot` at a time. */
  read(slot: number, offsetBytes: number, target: Uint8Array, done: () => void): void {
    this.#slots[slot] = { target, done };
    // The request's place is free again: its slot was answered.
    const request = this.#request.subarray(slot * REQUEST_BYTES, (slot + 1) * REQUEST_BYTES);
    request.writeUInt32BE(REQUEST_MAGIC, 0);
    request.writeUInt32BE(0, 4); // flags, then type 0: read
    request.writeUInt32BE(0, 8);
    request.writeUInt32BE(slot, 12);
    request.writeUInt32BE(Math.floor(offsetBytes / 2 ** 32), 16);
    request.writeUInt32BE(offsetBytes >>> 0, 20);
    request.writeUInt32BE(target.length, 24);
    this.#socket.write(request);
  }

  /** Requests until `uncork` leave in one write. */
  cork(): void {
    this.#socket.cork();
  }

  uncork(): void {
    this.#socket.uncork();
  }

  close(): void {
    this.#socket.destroy();
  }

  #receive(chunk: Buffer): void {
    // What is asked for because of what this chunk answers leaves in one write.
    this.cork();
    let at = 0;
    while (at < chunk.length) {
      if (this.#headerBytes < REPLY_BYTES) {
        const count = Math.min(REPLY_BYTES - this.#headerBytes, chunk.length - at);
        chunk.copy(this.#header, this.#headerBytes, at, at + count);
        this.#headerBytes += count;
        at += count;
        if (this.#headerBytes < REPLY_BYTES) break;
        this.#begin();
      }
      const { target, done } = this.#slots[this.#slot] as Slot;
      const count = Math.min(target.length - this.#dataBytes, chunk.length - at);
      target.set(chunk.subarray(at, at + count), this.#dataBytes);
      this.#dataBytes += count;
      at += count;
      if (this.#dataBytes < target.length) break;
      this.#headerBytes = 0;
      this.#slots[this.#slot] = undefined;
      done();
    }
    this.uncork();
  }

  #begin(): void {
    const error = this.#header.readUInt32BE(4);
    this.#slot = this.#header.readUInt32BE(12);
    this.#dataBytes = 0;
    const isReply = this.#header.readUInt32BE(0) === REPLY_MAGIC && this.#slots[this.#slot] !== undefined;
    if (!isReply || error !== 0) throw new Error(`the NBD server answered with error ${error}`);
  }
}

async function readBytes(socket: Socket, byteCount: number): Promise<Buffer> {
  for (;;) {
    const bytes = socket.read(byteCount) as Buffer | null;
    if (bytes !== null) return bytes;
    await once(socket, 'readable');
  }
}
