import fc from 'fast-check';
import { expect, test } from 'vitest';
import { ChunkReader, ChunkWriter, type SavedChunk } from '../../../src/wire/saved/index.ts';
import { hex } from '../../kmcl/two-endpoints.ts';

function chain(...payloads: readonly Uint8Array[]): Uint8Array[] {
  const writer = new ChunkWriter();
  return payloads.map((payload, index) => writer.next({ kind: 7, payload, isLast: index === payloads.length - 1 }));
}

const refused = expect.objectContaining({ code: 'ERR_SAVED_STATE' });

test('the first chunk of a save, byte by byte', () => {
  const [chunk] = chain(Uint8Array.of(0x31, 0x32, 0x33), new Uint8Array(0));

  // The checksum is CRC-32C of the 20 bytes before it and the payload.
  expect(chunk).toEqual(hex('564d4273 0100 0700 03000000 00000000 00000000 d89c193a 313233'));
});

test('what was written is read again, in one piece or many', () => {
  const chunks = chain(Uint8Array.of(1), new Uint8Array(0), Uint8Array.of(2, 3));

  const whole = new ChunkReader().read(new Uint8Array(Buffer.concat(chunks)));
  const reader = new ChunkReader();
  const pieces = chunks.flatMap((chunk) => reader.read(chunk));

  expect(whole.map(({ payload, isLast }: SavedChunk) => [...payload, isLast])).toEqual([
    [1, false],
    [false],
    [2, 3, true],
  ]);
  expect(pieces).toEqual(whole);
  expect(reader.isOver).toBe(true);
});

test('a chunk that is missing, moved, repeated or of another save is refused', () => {
  const [a, b, c] = chain(Uint8Array.of(1), Uint8Array.of(2), Uint8Array.of(3)) as [Uint8Array, Uint8Array, Uint8Array];
  const [, other] = chain(Uint8Array.of(9), Uint8Array.of(2), Uint8Array.of(3)) as [Uint8Array, Uint8Array];

  for (const order of [[b], [a, c], [a, a], [a, other], [a, b, c, a], [a, b, c, c]]) {
    expect(() => new ChunkReader().read(new Uint8Array(Buffer.concat(order)))).toThrow(refused);
  }
});

test('a chunk of another version is refused, although its checksum is right', () => {
  const [chunk] = chain(Uint8Array.of(1)) as [Uint8Array];
  const later = chunk.slice();
  later[4] = 2;

  expect(() => new ChunkReader().read(later)).toThrow(refused);
});

test('every truncation and every flipped bit is refused', () => {
  const bytes = new Uint8Array(Buffer.concat(chain(Uint8Array.of(1, 2, 3, 4), Uint8Array.of(5))));

  for (let length = 1; length < bytes.length; length++) {
    const reader = new ChunkReader();
    const read = (): boolean => {
      reader.read(bytes.subarray(0, length));
      return reader.isOver;
    };
    // A whole first chunk is fine by itself, and known not to be the end.
    if (length === 28) expect(read()).toBe(false);
    else expect(read).toThrow(refused);
  }
  for (let bit = 0; bit < bytes.length * 8; bit++) {
    const flipped = bytes.slice();
    flipped[bit >> 3] = (flipped[bit >> 3] as number) ^ (1 << (bit & 7));
    expect(() => new ChunkReader().read(flipped)).toThrow(refused);
  }
});

test('random bytes are refused', () => {
  fc.assert(
    fc.property(fc.uint8Array({ minLength: 1, maxLength: 200 }), (bytes) => {
      expect(() => new ChunkReader().read(bytes)).toThrow(refused);
    }),
  );
});
