/**
 * The first half of an NBD connection: fixed newstyle negotiation, from the greeting to the choice of an export.
 *
 * A pure state machine: bytes in, bytes out, and at the end the export. Everything a client may send has its answer
 * here: an option that we do not know an error, one that is malformed an error, one that makes no sense of the stream
 * (wrong magic, a length that nobody needs) the end of the connection.
 *
 * Source: NetworkBlockDevice/nbd, `doc/proto.md`, "Fixed newstyle negotiation" and "Option types".
 */
import { PeerError } from '../errors.ts';
import type { ByteQueue } from './byte-queue.ts';
import type { NbdExport } from './nbd-export.ts';
import {
  BASE_ALLOCATION,
  HandshakeFlag,
  InfoType,
  MAX_PAYLOAD_BYTES,
  MAX_STRING_BYTES,
  NBD_MAGIC,
  OPTION_HEADER_BYTES,
  OPTION_MAGIC,
  OPTION_REPLY_MAGIC,
  Option,
  OptionReply,
  TransmissionFlag,
} from './protocol.ts';

/** Options longer than this end the connection: the longest that make sense have two names and a few numbers. */
const MAX_OPTION_BYTES = 64 * 1024;
/** More options than this before a choice end the connection. */
const MAX_OPTIONS = 1000;
/** Zeros at the end of the old way to choose an export. */
const EXPORT_NAME_PADDING = 124;
/** The one metadata context that we have. */
export const ALLOCATION_CONTEXT_ID = 1;

/** What the two sides agreed on. */
export interface Agreement {
  readonly store: NbdExport;
  readonly structuredReplies: boolean;
  /** BLOCK_STATUS may be asked. */
  readonly allocationContext: boolean;
}

export type HandshakeStep =
  /** More bytes are needed. */
  | { readonly is: 'waiting' }
  /** The transmission begins. */
  | { readonly is: 'agreed'; readonly agreement: Agreement }
  /** The client ended it, as it may; nothing more is to come. */
  | { readonly is: 'ended' };

export class Handshake {
  readonly #exports: ReadonlyMap<string, NbdExport>;
  readonly #send: (bytes: Buffer) => void;
  #hasClientFlags = false;
  #noZeroes = false;
  #optionCount = 0;
  /** Header of an option whose data are on their way. */
  #option: { option: number; byteCount: number } | undefined;
  #structuredReplies = false;
  /** Export for which the allocation context was chosen. */
  #contextOf: string | undefined;

  /**
   * Sends the greeting.
   * @param exports by name; the empty name is the default one
   */
  constructor(exports: ReadonlyMap<string, NbdExport>, send: (bytes: Buffer) => void) {
    this.#exports = exports;
    this.#send = send;
    const greeting = Buffer.alloc(18);
    greeting.writeBigUInt64BE(NBD_MAGIC, 0);
    greeting.writeBigUInt64BE(OPTION_MAGIC, 8);
    greeting.writeUInt16BE(HandshakeFlag.FixedNewstyle | HandshakeFlag.NoZeroes, 16);
    send(greeting);
  }

  /**
   * Goes as far as the bytes allow.
   * @throws PeerError `ERR_MESSAGE` for bytes that no client sends; the connection is to end without an answer
   */
  receive(input: ByteQueue): HandshakeStep {
    if (!this.#hasClientFlags) {
      if (input.byteLength < 4) return { is: 'waiting' };
      this.#takeClientFlags(input.take(4).readUInt32BE(0));
    }
    for (;;) {
      if (this.#option === undefined) {
        if (input.byteLength < OPTION_HEADER_BYTES) return { is: 'waiting' };
        this.#option = this.#takeOptionHeader(input.take(OPTION_HEADER_BYTES));
      }
      if (input.byteLength < this.#option.byteCount) return { is: 'waiting' };
      const { option, byteCount } = this.#option;
      this.#option = undefined;
      const step = this.#answer(option, input.take(byteCount));
      if (step !== undefined) return step;
    }
  }

  #takeClientFlags(flags: number): void {
    const known = HandshakeFlag.FixedNewstyle | HandshakeFlag.NoZeroes;
    if ((flags & ~known) !== 0) throw garbage(`client flags 0x${flags.toString(16)} are not defined`);
    this.#hasClientFlags = true;
    this.#noZeroes = (flags & HandshakeFlag.NoZeroes) !== 0;
  }

  #takeOptionHeader(header: Buffer): { option: number; byteCount: number } {
    if (header.readBigUInt64BE(0) !== OPTION_MAGIC) throw garbage('an option does not begin as one');
    const option = header.readUInt32BE(8);
    const byteCount = header.readUInt32BE(12);
    if (byteCount > MAX_OPTION_BYTES) throw garbage(`option ${option} has ${byteCount} bytes`);
    if (++this.#optionCount > MAX_OPTIONS) throw garbage(`more than ${MAX_OPTIONS} options`);
    return { option, byteCount };
  }

  /** @returns undefined if the negotiation goes on */
  #answer(option: number, data: Buffer): HandshakeStep | undefined {
    switch (option) {
      case Option.ExportName:
        return this.#exportName(data);
      case Option.Abort:
        this.#reply(option, OptionReply.Ack);
        return { is: 'ended' };
      case Option.List:
        if (data.length > 0) this.#refuse(option, OptionReply.ErrInvalid, 'a list needs no data');
        else this.#list(option);
        return undefined;
      case Option.Info:
      case Option.Go:
        return this.#infoOrGo(option, data);
      case Option.StructuredReply:
        if (data.length > 0) {
          this.#refuse(option, OptionReply.ErrInvalid, 'structured replies need no data');
        } else {
          this.#structuredReplies = true;
          this.#reply(option, OptionReply.Ack);
        }
        return undefined;
      case Option.ListMetaContext:
      case Option.SetMetaContext:
        this.#metaContext(option, data);
        return undefined;
      default:
        this.#refuse(option, OptionReply.ErrUnsupported, `option ${option} is not known`);
        return undefined;
    }
  }

  /** The old way, which knows no error: a wrong name ends the connection. */
  #exportName(data: Buffer): HandshakeStep {
    const name = data.toString('utf8');
    const store = this.#exports.get(name);
    if (store === undefined) throw garbage(`there is no export ${JSON.stringify(name.slice(0, 80))}`);
    const answer = Buffer.alloc(this.#noZeroes ? 10 : 10 + EXPORT_NAME_PADDING);
    answer.writeBigUInt64BE(BigInt(store.sizeBytes), 0);
    answer.writeUInt16BE(transmissionFlags(store, this.#structuredReplies), 8);
    this.#send(answer);
    return { is: 'agreed', agreement: this.#agreement(name, store) };
  }

  #list(option: number): void {
    for (const name of this.#exports.keys()) {
      const bytes = Buffer.from(name);
      const length = Buffer.alloc(4);
      length.writeUInt32BE(bytes.length, 0);
      this.#reply(option, OptionReply.Server, Buffer.concat([length, bytes]));
    }
    this.#reply(option, OptionReply.Ack);
  }

  /** GO chooses, INFO only asks. The block size is always told: unaligned requests are refused later. */
  #infoOrGo(option: number, data: Buffer): HandshakeStep | undefined {
    const reader = new FieldReader(data);
    const name = reader.string();
    const wanted = reader.u16();
    for (let index = 0; index < wanted; index++) reader.u16();
    if (!reader.isExact) {
      this.#refuse(option, OptionReply.ErrInvalid, 'the lengths in the option do not fit together');
      return undefined;
    }
    const store = this.#exports.get(name);
    if (store === undefined) {
      this.#refuse(option, OptionReply.ErrUnknown, `there is no export ${JSON.stringify(name.slice(0, 80))}`);
      return undefined;
    }
    const size = Buffer.alloc(12);
    size.writeUInt16BE(InfoType.Export, 0);
    size.writeBigUInt64BE(BigInt(store.sizeBytes), 2);
    size.writeUInt16BE(transmissionFlags(store, this.#structuredReplies), 10);
    this.#reply(option, OptionReply.Info, size);
    const blocks = Buffer.alloc(14);
    blocks.writeUInt16BE(InfoType.BlockSize, 0);
    blocks.writeUInt32BE(store.blockBytes, 2);
    blocks.writeUInt32BE(Math.max(store.preferredBytes ?? 4096, store.blockBytes), 6);
    blocks.writeUInt32BE(MAX_PAYLOAD_BYTES, 10);
    this.#reply(option, OptionReply.Info, blocks);
    if (store.description !== undefined) {
      const text = Buffer.from(store.description).subarray(0, MAX_STRING_BYTES);
      this.#reply(option, OptionReply.Info, Buffer.concat([Buffer.from([0, InfoType.Description]), text]));
    }
    this.#reply(option, OptionReply.Ack);
    return option === Option.Go ? { is: 'agreed', agreement: this.#agreement(name, store) } : undefined;
  }

  #metaContext(option: number, data: Buffer): void {
    const reader = new FieldReader(data);
    const name = reader.string();
    const queryCount = reader.u32();
    const queries: string[] = [];
    // Each query has a length of four bytes, so a lying count runs out of data soon.
    for (let index = 0; index < queryCount && reader.isInside; index++) queries.push(reader.string());
    if (!reader.isExact || queries.length !== queryCount) {
      this.#refuse(option, OptionReply.ErrInvalid, 'the lengths in the option do not fit together');
      return;
    }
    if (!this.#structuredReplies) {
      this.#refuse(option, OptionReply.ErrInvalid, 'metadata contexts need structured replies');
      return;
    }
    const store = this.#exports.get(name);
    if (store === undefined) {
      this.#refuse(option, OptionReply.ErrUnknown, `there is no export ${JSON.stringify(name.slice(0, 80))}`);
      return;
    }
    const isList = option === Option.ListMetaContext;
    const asksForIt =
      (isList && queryCount === 0) ||
      queries.some((query) => query === BASE_ALLOCATION || (isList && query === 'base:'));
    const has = store.extents !== undefined && asksForIt;
    if (!isList) this.#contextOf = has ? name : undefined;
    if (has) {
      const id = Buffer.alloc(4);
      id.writeUInt32BE(isList ? 0 : ALLOCATION_CONTEXT_ID, 0);
      this.#reply(option, OptionReply.MetaContext, Buffer.concat([id, Buffer.from(BASE_ALLOCATION)]));
    }
    this.#reply(option, OptionReply.Ack);
  }

  #agreement(name: string, store: NbdExport): Agreement {
    return { store, structuredReplies: this.#structuredReplies, allocationContext: this.#contextOf === name };
  }

  #refuse(option: number, type: number, why: string): void {
    this.#reply(option, type, Buffer.from(why));
  }

  #reply(option: number, type: number, data: Buffer = Buffer.alloc(0)): void {
    const header = Buffer.alloc(20);
    header.writeBigUInt64BE(OPTION_REPLY_MAGIC, 0);
    header.writeUInt32BE(option, 8);
    header.writeUInt32BE(type, 12);
    header.writeUInt32BE(data.length, 16);
    this.#send(Buffer.concat([header, data]));
  }
}

/** What a client may do with an export. */
export function transmissionFlags(store: NbdExport, structuredReplies: boolean): number {
  // A flush is one for the whole export, whoever asks: clients may share their work out among connections.
  let flags = TransmissionFlag.HasFlags | TransmissionFlag.CanMultiConn;
  if (store.readOnly) flags |= TransmissionFlag.ReadOnly;
  if (store.canFlush) flags |= TransmissionFlag.SendFlush | TransmissionFlag.SendFua;
  if (!store.readOnly) flags |= TransmissionFlag.SendWriteZeroes;
  if (!store.readOnly && store.trim !== undefined) flags |= TransmissionFlag.SendTrim;
  // Reads are always answered in one piece.
  if (structuredReplies) flags |= TransmissionFlag.SendDf;
  return flags;
}

/** Reads the fields of an option; past its end it gives zeros and remembers. */
class FieldReader {
  readonly #data: Buffer;
  #at = 0;
  #isInside = true;

  constructor(data: Buffer) {
    this.#data = data;
  }

  get isInside(): boolean {
    return this.#isInside;
  }

  /** True if the fields read are the whole of the data. */
  get isExact(): boolean {
    return this.#isInside && this.#at === this.#data.length;
  }

  u16(): number {
    return this.#has(2) ? this.#data.readUInt16BE(this.#at - 2) : 0;
  }

  u32(): number {
    return this.#has(4) ? this.#data.readUInt32BE(this.#at - 4) : 0;
  }

  /** A length and so many bytes of UTF-8. */
  string(): string {
    const byteCount = this.u32();
    if (byteCount > MAX_STRING_BYTES) this.#isInside = false;
    return this.#has(byteCount) ? this.#data.toString('utf8', this.#at - byteCount, this.#at) : '';
  }

  /** Moves past so many bytes if they are there. */
  #has(byteCount: number): boolean {
    if (!this.#isInside || byteCount > this.#data.length - this.#at) {
      this.#isInside = false;
      return false;
    }
    this.#at += byteCount;
    return true;
  }
}

/** Bytes that end a connection. */
export function garbage(why: string): PeerError {
  return new PeerError('ERR_MESSAGE', `NBD: ${why}; connection closed`);
}
