/** A peer that speaks the socket's frames by hand, so that it can say anything. */
import { closeSync, fstatSync } from 'node:fs';
import { createConnection, type Socket } from 'node:net';
import type { Pipe, ShmCalls } from '../../../src/transports/native/shm-calls.ts';
import {
  encodeFrame,
  FrameReader,
  FrameType,
  Hello,
  parseText,
  SHM_VERSION,
} from '../../../src/transports/shm/frames.ts';
import { fileBytesOf } from '../../../src/transports/shm/shared-file.ts';
import { loadShmCalls } from '../../../src/transports/shm/shm-calls.ts';

export const RAW_PAGES = 2;

export type HelloValues = Parameters<typeof Hello.encode>[0];

export class RawGuest {
  readonly calls: ShmCalls;
  readonly socket: Socket;
  readonly memoryFd: number;
  readonly pipe: Pipe;
  /** Resolves when the host closed the connection, with the text of its refusal or an empty one. */
  readonly closed: Promise<string>;
  /** Types of the frames that the host sent. */
  readonly frameTypes: number[] = [];

  static async connect(path: string): Promise<RawGuest> {
    const calls = await loadShmCalls();
    const socket = createConnection(path);
    await new Promise<void>((resolve) => socket.once('connect', resolve));
    return new RawGuest(calls, socket);
  }

  private constructor(calls: ShmCalls, socket: Socket) {
    this.calls = calls;
    this.socket = socket;
    this.memoryFd = calls.createSealedMemory('raw-guest', fileBytesOf(RAW_PAGES));
    this.pipe = calls.pipe();
    let refusal = '';
    const frames = new FrameReader();
    socket.on('error', () => {});
    socket.on('data', (chunk) =>
      frames.read(chunk, (frameType, body) => {
        this.frameTypes.push(frameType);
        if (frameType === FrameType.Refusal) refusal = parseText(body);
        return true;
      }),
    );
    this.closed = new Promise((resolve) => socket.once('close', () => resolve(refusal)));
  }

  /** What an honest guest would say, except for `changes`. */
  hello(changes: Partial<HelloValues> = {}): Uint8Array {
    return Hello.encode({
      version: SHM_VERSION,
      pid: process.pid,
      memoryFd: this.memoryFd,
      memoryInode: inodeOf(this.memoryFd),
      firstPfn: 0,
      pageCount: RAW_PAGES,
      wakeFd: this.pipe.writeFd,
      wakeInode: inodeOf(this.pipe.writeFd),
      ...changes,
    });
  }

  sayHello(changes: Partial<HelloValues> = {}): void {
    this.socket.write(encodeFrame(FrameType.Hello, this.hello(changes)));
  }

  close(): void {
    this.socket.destroy();
    for (const fd of [this.memoryFd, this.pipe.readFd, this.pipe.writeFd]) closeSync(fd);
  }
}

export function inodeOf(fd: number): bigint {
  return fstatSync(fd, { bigint: true }).ino;
}
