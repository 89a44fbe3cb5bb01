import fc from 'fast-check';
import { expect, test } from 'vitest';
import { PeerError } from '../../../src/errors.ts';
import {
  encodeFrame,
  encodeText,
  FrameReader,
  FrameType,
  Hello,
  MAX_BODY_BYTES,
  parseText,
  Welcome,
} from '../../../src/transports/shm/frames.ts';

/** Feeds `stream` in pieces cut at `cuts` and gives back what came out. */
function readInPieces(stream: Uint8Array, cuts: readonly number[]): { type: number; body: number[] }[] {
  const reader = new FrameReader();
  const frames: { type: number; body: number[] }[] = [];
  const borders = [0, ...[...cuts].sort((a, b) => a - b), stream.length];
  for (let index = 1; index < borders.length; index++) {
    reader.read(stream.subarray(borders[index - 1], borders[index]), (type, body) => {
      frames.push({ type, body: [...body] });
      return true;
    });
  }
  return frames;
}

test('a frame is its length, its type, a zero, and its body', () => {
  expect([...encodeFrame(FrameType.Message, Uint8Array.of(0xaa, 0xbb, 0xcc))]).toEqual([
    3, 0, 0, 0, 4, 0, 0, 0, 0xaa, 0xbb, 0xcc,
  ]);
});

test('a hello has its fields where the other side looks for them', () => {
  const hello = Hello.encode({
    version: 1,
    pid: 0x11223344,
    memoryFd: 5,
    memoryInode: 0x0102030405060708n,
    firstPfn: 0x100,
    pageCount: 16,
    wakeFd: 7,
    wakeInode: 9,
  });

  expect([...hello]).toEqual([
    ...[0x56, 0x4d, 0x42, 0x53, 1, 0, 0, 0, 0x44, 0x33, 0x22, 0x11, 5, 0, 0, 0],
    ...[8, 7, 6, 5, 4, 3, 2, 1, 0, 1, 0, 0, 0, 0, 0, 0, 16, 0, 0, 0, 7, 0, 0, 0],
    ...[9, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
  ]);
});

test('a welcome comes back as it was written', () => {
  const values = { version: 1, pid: 42, wakeInode: 77n, wakeFd: 9, flags: 1 };

  expect(Welcome.parse(Welcome.encode(values))).toEqual(values);
});

test('frames come out whole and in order however the stream is cut', () => {
  const body = fc.uint8Array({ maxLength: MAX_BODY_BYTES });
  const frame = fc.record({ type: fc.integer({ min: 1, max: 5 }), body });
  fc.assert(
    fc.property(fc.array(frame, { maxLength: 8 }), fc.array(fc.nat(3000), { maxLength: 20 }), (frames, cuts) => {
      const stream = Buffer.concat(frames.map(({ type, body: bytes }) => encodeFrame(type as FrameType, bytes)));

      const read = readInPieces(
        stream,
        cuts.map((cut) => Math.min(cut, stream.length)),
      );

      expect(read).toEqual(frames.map(({ type, body: bytes }) => ({ type, body: [...bytes] })));
    }),
  );
});

test('any bytes at all are frames or a PeerError', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 600 }), fc.array(fc.nat(600), { maxLength: 5 }), (bytes, cuts) => {
      try {
        for (const { type, body } of readInPieces(
          bytes,
          cuts.map((cut) => Math.min(cut, bytes.length)),
        )) {
          expect(type).toBeGreaterThanOrEqual(1);
          expect(type).toBeLessThanOrEqual(5);
          expect(body.length).toBeLessThanOrEqual(MAX_BODY_BYTES);
        }
      } catch (error) {
        expect(error).toBeInstanceOf(PeerError);
      }
    }),
  );
});

test('a sink that stops leaves the rest of the chunk to its caller', () => {
  const reader = new FrameReader();
  const stream = Buffer.concat([encodeFrame(2, new Uint8Array(4)), encodeFrame(4, new Uint8Array(8))]);

  expect(reader.read(stream, () => false)).toBe(12);
  expect(reader.isPartial).toBe(false);
});

test('a text is cut to one frame, and read without what could play with a terminal', () => {
  expect(encodeText(FrameType.Goodbye, 'x'.repeat(1000))).toHaveLength(8 + MAX_BODY_BYTES);
  expect(parseText(new TextEncoder().encode('red\u001b[31m\nü'))).toBe('red?[31m??');
});
