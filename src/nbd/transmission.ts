/**
 * The second half of an NBD connection: requests in, replies out, each when it is done.
 *
 * Pure but for the calls of the export: bytes come by `receive`, replies leave by `send`. Each request is judged from
 * its header alone; a bad one gets its error, and the payload of a bad write is passed over without being kept.
 *
 * Source: NetworkBlockDevice/nbd, `doc/proto.md`, "Transmission" and "Request types".
 */
import type { ByteQueue } from './byte-queue.ts';
import { type Agreement, ALLOCATION_CONTEXT_ID, garbage } from './handshake.ts';
import { errnoOf, type NbdExport } from './nbd-export.ts';
import {
  AllocationFlag,
  ChunkFlag,
  ChunkType,
  Command,
  CommandFlag,
  MAX_PAYLOAD_BYTES,
  NbdErrno,
  REQUEST_BYTES,
  REQUEST_MAGIC,
  SIMPLE_REPLY_MAGIC,
  STRUCTURED_REPLY_MAGIC,
} from './protocol.ts';

const SIMPLE_BYTES = 16;
const CHUNK_BYTES = 20;
/** Zeros are written in pieces of this, where the export cannot make them itself. */
const ZERO_PIECE = Buffer.alloc(1024 * 1024);
/** Extents of one answer. */
const MAX_EXTENTS = 4096;

/** A request as its header has it; cookie and offset are looked at only as far as they are checked. */
interface Request {
  readonly flags: number;
  readonly command: number;
  /** Eight bytes that the reply repeats. */
  readonly cookie: Buffer;
  /** `Number.POSITIVE_INFINITY` if it is outside every disk. */
  readonly offsetBytes: number;
  readonly byteCount: number;
}

/** A write whose payload is on its way. */
interface Arriving {
  readonly request: Request;
  readonly payload: Buffer;
  arrivedBytes: number;
}

export interface TransmissionLimits {
  /** Requests under way at once on one connection; more are left in the socket. */
  readonly maxRequests: number;
  /** Bytes of reads and writes under way at once on one connection. */
  readonly maxBytes: number;
}

export class Transmission {
  readonly #store: NbdExport;
  readonly #agreement: Agreement;
  readonly #limits: TransmissionLimits;
  readonly #send: (bytes: Buffer) => void;
  readonly #changed: () => void;
  #arriving: Arriving | undefined;
  /** Payload of a refused write that is still to come. */
  #skipBytes = 0;
  #inFlight = 0;
  #inFlightBytes = 0;
  #isEnding = false;

  /**
   * @param send takes a whole reply
   * @param changed is called when a request ended: `isFull` and `isDone` may have changed
   */
  constructor(agreement: Agreement, limits: TransmissionLimits, send: (bytes: Buffer) => void, changed: () => void) {
    this.#agreement = agreement;
    this.#store = agreement.store;
    this.#limits = limits;
    this.#send = send;
    this.#changed = changed;
  }

  /** True if no further request is begun until one ends. */
  get isFull(): boolean {
    return this.#inFlight >= this.#limits.maxRequests || this.#inFlightBytes >= this.#limits.maxBytes;
  }

  /** True if the client said goodbye, or `end` was called, and nothing is under way. */
  get isDone(): boolean {
    return this.#isEnding && this.#inFlight === 0;
  }

  get inFlight(): number {
    return this.#inFlight;
  }

  /** Begins no further request. */
  end(): void {
    this.#isEnding = true;
  }

  /**
   * Goes as far as bytes and limits allow.
   * @throws PeerError `ERR_MESSAGE` for bytes that are no request; the connection is to end
   */
  receive(input: ByteQueue): void {
    while (!this.#isEnding) {
      if (this.#skipBytes > 0) {
        this.#skipBytes -= input.skip(this.#skipBytes);
        if (this.#skipBytes > 0) return;
      }
      if (this.#arriving !== undefined) {
        const { payload, request } = this.#arriving;
        this.#arriving.arrivedBytes += input.takeInto(payload, this.#arriving.arrivedBytes);
        if (this.#arriving.arrivedBytes < payload.length) return;
        this.#arriving = undefined;
        this.#run(request, payload.length, this.#write(request, payload));
      }
      if (this.isFull || input.byteLength < REQUEST_BYTES) return;
      this.#begin(this.#parse(input.take(REQUEST_BYTES)), input);
    }
  }

  #parse(header: Buffer): Request {
    const magic = header.readUInt32BE(0);
    if (magic !== REQUEST_MAGIC) throw garbage(`a request begins with 0x${magic.toString(16)}`);
    const offset = header.readBigUInt64BE(16);
    return {
      flags: header.readUInt16BE(4),
      command: header.readUInt16BE(6),
      cookie: Buffer.from(header.subarray(8, 16)),
      offsetBytes: offset > BigInt(Number.MAX_SAFE_INTEGER) ? Number.POSITIVE_INFINITY : Number(offset),
      byteCount: header.readUInt32BE(24),
    };
  }

  #begin(request: Request, input: ByteQueue): void {
    if (request.command === Command.Disconnect) {
      this.#isEnding = true;
      this.#changed();
      return;
    }
    const fault = this.#judge(request);
    if (fault !== undefined) {
      if (request.command === Command.Write) this.#skipBytes = request.byteCount;
      this.#fail(request, fault.errno, fault.why);
      return;
    }
    if (request.command === Command.Write) {
      this.#beginWrite(request, input);
      return;
    }
    const heldBytes = request.command === Command.Read ? request.byteCount : 0;
    this.#run(request, heldBytes, this.#carryOut(request));
  }

  /** A payload that is all there is used where it lies. */
  #beginWrite(request: Request, input: ByteQueue): void {
    if (input.byteLength >= request.byteCount) {
      const payload = input.take(request.byteCount);
      this.#run(request, payload.length, this.#write(request, payload));
    } else {
      this.#arriving = { request, payload: Buffer.allocUnsafe(request.byteCount), arrivedBytes: 0 };
    }
  }

  /** What is wrong with a request, if anything. */
  #judge({ command, flags, offsetBytes, byteCount }: Request): { errno: NbdErrno; why: string } | undefined {
    const allowed = ALLOWED_FLAGS[command];
    const invalid = (why: string) => ({ errno: NbdErrno.Invalid, why });
    if (allowed === undefined) return invalid(`command ${command} is not known`);
    if ((flags & ~allowed) !== 0) return invalid(`flags 0x${flags.toString(16)} do not go with command ${command}`);
    if (command === Command.Flush) {
      return offsetBytes === 0 && byteCount === 0 ? undefined : invalid('a flush has neither offset nor length');
    }
    const changes = command === Command.Write || command === Command.Trim || command === Command.WriteZeroes;
    if (changes && this.#store.readOnly) return { errno: NbdErrno.NotPermitted, why: 'the export is read-only' };
    if (command === Command.Trim && this.#store.trim === undefined) return invalid('trim is not offered');
    if (command === Command.BlockStatus && !this.#agreement.allocationContext) {
      return invalid('no metadata context was agreed on');
    }
    if (byteCount === 0) return invalid('the length is 0');
    const isPayload = command === Command.Read || command === Command.Write;
    if (isPayload && byteCount > MAX_PAYLOAD_BYTES) {
      return { errno: NbdErrno.Overflow, why: `${byteCount} bytes are more than ${MAX_PAYLOAD_BYTES}` };
    }
    const { blockBytes, sizeBytes } = this.#store;
    if (byteCount > sizeBytes || offsetBytes > sizeBytes - byteCount) {
      const errno = command === Command.Write || command === Command.WriteZeroes ? NbdErrno.NoSpace : NbdErrno.Invalid;
      return { errno, why: `the range ends behind the export of ${sizeBytes} bytes` };
    }
    if (offsetBytes % blockBytes !== 0 || byteCount % blockBytes !== 0) {
      return invalid(`the range is not made of blocks of ${blockBytes} bytes`);
    }
    return undefined;
  }

  /** Counts a request until its reply is out. @param work resolves to the reply */
  #run(request: Request, heldBytes: number, work: Promise<Buffer>): void {
    this.#inFlight++;
    this.#inFlightBytes += heldBytes;
    work
      .then(
        (reply) => this.#send(reply),
        (error: unknown) => this.#fail(request, errnoOf(this.#store, error), messageOf(error)),
      )
      .finally(() => {
        this.#inFlight--;
        this.#inFlightBytes -= heldBytes;
        this.#changed();
      });
  }

  #carryOut(request: Request): Promise<Buffer> {
    switch (request.command) {
      case Command.Read:
        return this.#read(request);
      case Command.Flush:
        return this.#flush(request);
      case Command.Trim:
        return this.#trim(request);
      case Command.WriteZeroes:
        return this.#writeZeroes(request);
      default:
        return this.#blockStatus(request);
    }
  }

  async #read(request: Request): Promise<Buffer> {
    const { byteCount, cookie, offsetBytes } = request;
    const isStructured = this.#agreement.structuredReplies;
    // One buffer for header and data: one write to the socket, no copy.
    const headBytes = isStructured ? CHUNK_BYTES + 8 : SIMPLE_BYTES;
    const reply = Buffer.allocUnsafe(headBytes + byteCount);
    if (isStructured) {
      putChunkHeader(reply, ChunkType.OffsetData, cookie, 8 + byteCount);
      reply.writeBigUInt64BE(BigInt(offsetBytes), CHUNK_BYTES);
    } else {
      putSimpleHeader(reply, NbdErrno.Ok, cookie);
    }
    await this.#store.read(offsetBytes, reply.subarray(headBytes));
    return reply;
  }

  async #write(request: Request, payload: Buffer): Promise<Buffer> {
    await this.#store.write(request.offsetBytes, payload, hasFua(request));
    return simpleReply(request.cookie);
  }

  async #flush(request: Request): Promise<Buffer> {
    await this.#store.flush();
    return simpleReply(request.cookie);
  }

  async #trim(request: Request): Promise<Buffer> {
    await this.#store.trim?.(request.offsetBytes, request.byteCount, hasFua(request));
    return simpleReply(request.cookie);
  }

  async #writeZeroes(request: Request): Promise<Buffer> {
    const { byteCount, cookie, flags, offsetBytes } = request;
    if (this.#store.writeZeroes !== undefined) {
      const mayDeallocate = (flags & CommandFlag.NoHole) === 0;
      await this.#store.writeZeroes(offsetBytes, byteCount, mayDeallocate, hasFua(request));
    } else {
      for (let done = 0; done < byteCount; done += ZERO_PIECE.length) {
        const piece = ZERO_PIECE.subarray(0, Math.min(ZERO_PIECE.length, byteCount - done));
        await this.#store.write(offsetBytes + done, piece, hasFua(request));
      }
    }
    return simpleReply(cookie);
  }

  async #blockStatus(request: Request): Promise<Buffer> {
    const { byteCount, cookie, flags, offsetBytes } = request;
    const wanted = (flags & CommandFlag.ReqOne) !== 0 ? 1 : MAX_EXTENTS;
    const found = (await this.#store.extents?.(offsetBytes, byteCount, wanted)) ?? [];
    const extents = found.slice(0, wanted);
    const reply = Buffer.alloc(CHUNK_BYTES + 4 + extents.length * 8);
    putChunkHeader(reply, ChunkType.BlockStatus, cookie, 4 + extents.length * 8);
    reply.writeUInt32BE(ALLOCATION_CONTEXT_ID, CHUNK_BYTES);
    for (const [index, extent] of extents.entries()) {
      const at = CHUNK_BYTES + 4 + index * 8;
      reply.writeUInt32BE(extent.byteCount, at);
      reply.writeUInt32BE(
        (extent.isHole ? AllocationFlag.Hole : 0) | (extent.isZero ? AllocationFlag.Zero : 0),
        at + 4,
      );
    }
    return reply;
  }

  #fail(request: Request, errno: NbdErrno, why: string): void {
    if (!this.#agreement.structuredReplies) {
      const reply = Buffer.alloc(SIMPLE_BYTES);
      putSimpleHeader(reply, errno, request.cookie);
      this.#send(reply);
      return;
    }
    const text = Buffer.from(why).subarray(0, 1024);
    const reply = Buffer.alloc(CHUNK_BYTES + 6 + text.length);
    putChunkHeader(reply, ChunkType.Error, request.cookie, 6 + text.length);
    reply.writeUInt32BE(errno, CHUNK_BYTES);
    reply.writeUInt16BE(text.length, CHUNK_BYTES + 4);
    text.copy(reply, CHUNK_BYTES + 6);
    this.#send(reply);
  }
}

/** Flags that go with each command. FUA means nothing on those that write nothing, and does no harm. */
const ALLOWED_FLAGS: Readonly<Record<number, number>> = {
  [Command.Read]: CommandFlag.Fua | CommandFlag.Df,
  [Command.Write]: CommandFlag.Fua,
  [Command.Flush]: CommandFlag.Fua,
  [Command.Trim]: CommandFlag.Fua,
  [Command.WriteZeroes]: CommandFlag.Fua | CommandFlag.NoHole,
  [Command.BlockStatus]: CommandFlag.Fua | CommandFlag.ReqOne,
};

function hasFua(request: Request): boolean {
  return (request.flags & CommandFlag.Fua) !== 0;
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

function simpleReply(cookie: Buffer): Buffer {
  const reply = Buffer.allocUnsafe(SIMPLE_BYTES);
  putSimpleHeader(reply, NbdErrno.Ok, cookie);
  return reply;
}

function putSimpleHeader(reply: Buffer, errno: NbdErrno, cookie: Buffer): void {
  reply.writeUInt32BE(SIMPLE_REPLY_MAGIC, 0);
  reply.writeUInt32BE(errno, 4);
  cookie.copy(reply, 8);
}

/** Of a reply that is one chunk. */
function putChunkHeader(reply: Buffer, type: number, cookie: Buffer, byteCount: number): void {
  reply.writeUInt32BE(STRUCTURED_REPLY_MAGIC, 0);
  reply.writeUInt16BE(ChunkFlag.Done, 4);
  reply.writeUInt16BE(type, 6);
  cookie.copy(reply, 8);
  reply.writeUInt32BE(byteCount, 16);
}
