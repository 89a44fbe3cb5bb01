import type { Socket } from 'node:net';
import { PeerError } from '../../errors.ts';
import { FrameReader } from './frames.ts';

export interface FirstFrame {
  readonly frameType: number;
  readonly body: Uint8Array;
  /** What came right behind it. */
  readonly rest: Uint8Array;
}

/**
 * Waits for the first frame of a connection. The socket is paused when it arrives: nothing behind it gets lost before
 * somebody listens.
 * @param peer for messages: "the host at /path"
 * @throws PeerError `ERR_TRANSPORT` for a peer that is silent, closes, or sends something else
 */
export function readFirstFrame(socket: Socket, timeoutMs: number, peer: string): Promise<FirstFrame> {
  return new Promise((resolve, reject) => {
    const frames = new FrameReader();
    const settle = (outcome: () => void): void => {
      clearTimeout(timer);
      socket.pause();
      socket.off('data', onData);
      socket.off('close', onClose);
      outcome();
    };
    const fail = (what: string): void => {
      settle(() => reject(new PeerError('ERR_TRANSPORT', `${peer} ${what}`)));
    };
    const onData = (chunk: Uint8Array): void => {
      try {
        const usedBytes = frames.read(chunk, (frameType, body) => {
          first = { frameType, body: body.slice() };
          return false;
        });
        const found = first;
        if (found !== undefined) settle(() => resolve({ ...found, rest: chunk.slice(usedBytes) }));
      } catch (error) {
        if (!(error instanceof PeerError)) throw error;
        fail(`does not speak our protocol: ${error.message}`);
      }
    };
    const onClose = (): void =>
      fail(`closed the connection ${frames.isPartial ? 'in the middle of' : 'before'} its first frame`);
    let first: { frameType: number; body: Uint8Array } | undefined;
    const timer = setTimeout(() => {
      fail(`sent ${frames.isPartial ? 'half a frame' : 'nothing'} for ${timeoutMs} ms`);
    }, timeoutMs);
    socket.on('error', () => {}); // `close` follows, and is what we act on.
    socket.on('close', onClose);
    socket.on('data', onData);
  });
}
