/** An NBD client that sends what it is told, right or wrong, and takes replies apart byte by byte. */
import { connect, type Socket } from 'node:net';

export class RawClient {
  readonly #socket: Socket;
  #received = Buffer.alloc(0);
  #isEnded = false;
  #wake: (() => void) | undefined;

  private constructor(socket: Socket) {
    this.#socket = socket;
    socket.on('data', (piece: Buffer) => {
      this.#received = Buffer.concat([this.#received, piece]);
      this.#wake?.();
    });
    const ended = () => {
      this.#isEnded = true;
      this.#wake?.();
    };
    socket.on('end', ended);
    socket.on('error', ended);
    socket.on('close', ended);
  }

  static connect(path: string): Promise<RawClient> {
    return new Promise((done, fail) => {
      const socket = connect({ path, allowHalfOpen: true }, () => done(new RawClient(socket)));
      socket.on('error', fail);
    });
  }

  /** Connected, greeting taken, flags sent. */
  static async greeted(path: string, flags = 3): Promise<RawClient> {
    const client = await RawClient.connect(path);
    await client.take(18);
    client.send(u32(flags));
    return client;
  }

  /** Ready for requests on an export. */
  static async ready(path: string, options: { structured?: boolean; context?: boolean } = {}): Promise<RawClient> {
    const client = await RawClient.greeted(path);
    if (options.structured === true) await client.option(8, Buffer.alloc(0));
    if (options.context === true) await client.option(10, setContext('', 'base:allocation'));
    await client.option(7, goData(''));
    return client;
  }

  send(...bytes: Uint8Array[]): void {
    this.#socket.write(Buffer.concat(bytes));
  }

  /** Sends byte by byte, each in a system call of its own. */
  async trickle(bytes: Uint8Array): Promise<void> {
    for (const byte of bytes) {
      await new Promise<void>((sent) => this.#socket.write(Uint8Array.of(byte), () => sent()));
    }
  }

  /** @throws if the server ends the connection first */
  async take(byteCount: number): Promise<Buffer> {
    while (this.#received.length < byteCount) {
      if (this.#isEnded) throw new Error(`ended after ${this.#received.length} of ${byteCount} bytes`);
      await new Promise<void>((wake) => {
        this.#wake = wake;
      });
    }
    const taken = this.#received.subarray(0, byteCount);
    this.#received = this.#received.subarray(byteCount);
    return taken;
  }

  /** Waits for the end. @returns bytes that came before it */
  async ended(): Promise<Buffer> {
    while (!this.#isEnded) {
      await new Promise<void>((wake) => {
        this.#wake = wake;
      });
    }
    return this.#received;
  }

  /** Sends an option and takes all its replies: type and data of each. */
  async option(option: number, data: Uint8Array): Promise<{ type: number; data: Buffer }[]> {
    this.send(optionHeader(option, data.length), data);
    const replies: { type: number; data: Buffer }[] = [];
    for (;;) {
      const header = await this.take(20);
      const type = header.readUInt32BE(12);
      replies.push({ type, data: Buffer.from(await this.take(header.readUInt32BE(16))) });
      if (type === 1 || type >= 0x8000_0000) return replies;
    }
  }

  /** One simple reply: error and cookie, and so many bytes of data if there was no error. */
  async simple(byteCount = 0): Promise<{ errno: number; cookie: number; data: Buffer }> {
    const header = await this.take(16);
    if (header.readUInt32BE(0) !== 0x67446698) throw new Error(`no simple reply: ${header.toString('hex')}`);
    const errno = header.readUInt32BE(4);
    const cookie = Number(header.readBigUInt64BE(8));
    return { errno, cookie, data: errno === 0 ? Buffer.from(await this.take(byteCount)) : Buffer.alloc(0) };
  }

  /** One structured reply of one chunk. */
  async chunk(): Promise<{ flags: number; type: number; cookie: number; data: Buffer }> {
    const header = await this.take(20);
    if (header.readUInt32BE(0) !== 0x668e33ef) throw new Error(`no chunk: ${header.toString('hex')}`);
    return {
      flags: header.readUInt16BE(4),
      type: header.readUInt16BE(6),
      cookie: Number(header.readBigUInt64BE(8)),
      data: Buffer.from(await this.take(header.readUInt32BE(16))),
    };
  }

  /** Stops taking what the server sends. */
  pause(): void {
    this.#socket.pause();
  }

  resume(): void {
    this.#socket.resume();
  }

  /** Says that nothing more is to come. */
  end(): void {
    this.#socket.end();
  }

  destroy(): void {
    this.#socket.destroy();
  }
}

export function u32(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(value, 0);
  return bytes;
}

export function optionHeader(option: number, byteCount: number): Buffer {
  return Buffer.concat([Buffer.from('IHAVEOPT'), u32(option), u32(byteCount)]);
}

/** Data of GO and INFO. */
export function goData(name: string): Buffer {
  return Buffer.concat([u32(Buffer.byteLength(name)), Buffer.from(name), Buffer.from([0, 0])]);
}

/** Data of SET_META_CONTEXT and LIST_META_CONTEXT. */
export function setContext(name: string, ...queries: string[]): Buffer {
  const parts = queries.flatMap((query) => [u32(Buffer.byteLength(query)), Buffer.from(query)]);
  return Buffer.concat([u32(Buffer.byteLength(name)), Buffer.from(name), u32(queries.length), ...parts]);
}

/** Header of a request. */
export function request(
  command: number,
  cookie: number,
  offset: number | bigint,
  byteCount: number,
  flags = 0,
): Buffer {
  const header = Buffer.alloc(28);
  header.writeUInt32BE(0x25609513, 0);
  header.writeUInt16BE(flags, 4);
  header.writeUInt16BE(command, 6);
  header.writeBigUInt64BE(BigInt(cookie), 8);
  header.writeBigUInt64BE(BigInt(offset), 16);
  header.writeUInt32BE(byteCount, 24);
  return header;
}
