/**
 * What goes over the socket: frames with a header of 8 bytes and a body of at most 256.
 *
 * The format is our own, between two processes of this package; integers are little-endian. A frame that is longer than
 * it may be, of a type that does not exist or with anything in its reserved field is a `PeerError`: the connection ends.
 */
import { hex, PeerError } from '../../errors.ts';
import { pad, struct, tag, u16, u32, u64 } from '../../wire/struct.ts';

/** The protocol version that we speak. Peers of another one are refused with a frame that says so. */
export const SHM_VERSION = 1;

export const FrameHeader = struct('FrameHeader', 8, {
  bodyBytes: u32(0),
  frameType: u16(4),
  reserved: u16(6),
});

export const FrameType = {
  /** Guest to host, first: who I am and where my memory is. */
  Hello: 1,
  /** Host to guest: attached. */
  Welcome: 2,
  /** Host to guest: not attached, with the reason as text; the connection closes. */
  Refusal: 3,
  /** One control message: its connection (u32), then its bytes. */
  Message: 4,
  /** I am going, on purpose; the reason as text. */
  Goodbye: 5,
} as const;
export type FrameType = (typeof FrameType)[keyof typeof FrameType];

/** Longest body: a control message of 240 bytes with its connection, or a text. */
export const MAX_BODY_BYTES = 256;

/** "VMBS" in memory: whoever connects by mistake is told from a guest. */
const MAGIC = 0x53424d56;

/** Where a guest's memory and doorbell are. Inode numbers name files for as long as they are open; the host compares. */
export const Hello = struct('Hello', 56, {
  magic: tag(0, MAGIC),
  version: u32(4),
  pid: u32(8),
  memoryFd: u32(12),
  memoryInode: u64(16),
  firstPfn: u64(24),
  pageCount: u32(32),
  wakeFd: u32(36),
  wakeInode: u64(40),
  reserved: pad(48, 8),
});

/** Where the host's doorbell for this guest is. */
export const Welcome = struct('Welcome', 32, {
  version: u32(0),
  pid: u32(4),
  wakeInode: u64(8),
  wakeFd: u32(16),
  /** Bit 0: the host made the socket's directory, and whoever goes last removes it. */
  flags: u32(20),
  reserved: pad(24, 8),
});

export const WELCOME_OWNS_DIRECTORY = 1;

/** Connection of a message frame. */
export const MessageBody = struct('MessageBody', 4, { connectionId: u32(0) });

/** A whole frame, header and body. */
export function encodeFrame(frameType: FrameType, body: Uint8Array): Uint8Array {
  const frame = new Uint8Array(FrameHeader.size + body.length);
  FrameHeader.write(frame, 0, { bodyBytes: body.length, frameType, reserved: 0 });
  frame.set(body, FrameHeader.size);
  return frame;
}

/** A frame of text, cut to what fits. */
export function encodeText(frameType: FrameType, text: string): Uint8Array {
  return encodeFrame(frameType, new TextEncoder().encode(text).subarray(0, MAX_BODY_BYTES));
}

/** A peer's text, without what could play with a terminal. */
export function parseText(body: Uint8Array): string {
  return new TextDecoder().decode(body).replace(/[^\x20-\x7e]/g, '?');
}

/** Checks the magic number too, which `Hello.parse` does not look at. @throws PeerError `ERR_TRANSPORT`, `ERR_SHORT` */
export function parseHello(body: Uint8Array): ReturnType<typeof Hello.parse> {
  const hello = Hello.parse(body);
  const view = new DataView(body.buffer, body.byteOffset, body.byteLength);
  const magic = view.getUint32(Hello.offsets.magic, true);
  if (magic !== MAGIC) throw new PeerError('ERR_TRANSPORT', `the peer is no vmbus guest: it began with ${hex(magic)}`);
  return hello;
}

/** Puts frames together from whatever pieces a socket delivers. Keeps at most one frame. */
export class FrameReader {
  readonly #frame = new Uint8Array(FrameHeader.size + MAX_BODY_BYTES);
  readonly #view = new DataView(this.#frame.buffer);
  readonly #header = FrameHeader.cursor();
  #haveBytes = 0;

  /** True in the middle of a frame. */
  get isPartial(): boolean {
    return this.#haveBytes > 0;
  }

  /**
   * @param sink called for each whole frame, with a body that is valid during the call only; returns false to stop
   * @returns bytes of the chunk that were used: all of them, unless the sink stopped
   * @throws PeerError `ERR_TRANSPORT` for a header that cannot be
   */
  read(chunk: Uint8Array, sink: (frameType: number, body: Uint8Array) => boolean): number {
    let at = 0;
    while (at < chunk.length) {
      const wantBytes = this.#haveBytes < FrameHeader.size ? FrameHeader.size : this.#frameBytes();
      const takeBytes = Math.min(wantBytes - this.#haveBytes, chunk.length - at);
      this.#frame.set(chunk.subarray(at, at + takeBytes), this.#haveBytes);
      this.#haveBytes += takeBytes;
      at += takeBytes;
      if (this.#haveBytes < FrameHeader.size) break;
      const frameBytes = this.#checkHeader();
      if (this.#haveBytes < frameBytes) continue;
      this.#haveBytes = 0;
      if (!sink(this.#header.frameType, this.#frame.subarray(FrameHeader.size, frameBytes))) break;
    }
    return at;
  }

  #frameBytes(): number {
    return FrameHeader.size + this.#header.at(this.#view, 0).bodyBytes;
  }

  #checkHeader(): number {
    const { bodyBytes, frameType, reserved } = this.#header.at(this.#view, 0);
    if (bodyBytes > MAX_BODY_BYTES) {
      throw new PeerError('ERR_TRANSPORT', `a frame claims ${hex(bodyBytes)} bytes, at most ${hex(MAX_BODY_BYTES)}`);
    }
    if (frameType < FrameType.Hello || frameType > FrameType.Goodbye || reserved !== 0) {
      throw new PeerError(
        'ERR_TRANSPORT',
        `a frame of type ${hex(frameType)}, reserved ${hex(reserved)}, does not exist`,
      );
    }
    return FrameHeader.size + bodyBytes;
  }
}
