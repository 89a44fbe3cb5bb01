import { expect, test } from 'vitest';
import { PeerError, UsageError } from '../../src/errors.ts';
import { GuestMemory } from '../../src/memory/guest-memory.ts';
import { PAGE_BYTES } from '../../src/memory/page.ts';
import { PacketBuffer } from '../../src/ring/packet-buffer.ts';
import { MAX_RING_DATA_BYTES, RingMemory } from '../../src/ring/ring-memory.ts';
import { countingBytes } from './some-ring.ts';

test('a ring is contiguous if its data pages are adjacent, wherever its control page is', () => {
  const memory = GuestMemory.allocate(6);

  expect(RingMemory.overPages(memory, [5, 1, 2, 3])).toMatchObject({ dataBytes: 3 * PAGE_BYTES, isContiguous: true });
  expect(RingMemory.overPages(memory, [0, 4])).toMatchObject({ dataBytes: PAGE_BYTES, isContiguous: true });
  expect(RingMemory.overPages(memory, [0, 1, 3])).toMatchObject({ dataBytes: 2 * PAGE_BYTES, isContiguous: false });
});

test('pages with neighbouring numbers in two buffers are scattered', () => {
  const memory = new GuestMemory([
    { firstPfn: 0, bytes: new Uint8Array(2 * PAGE_BYTES) },
    { firstPfn: 2, bytes: new Uint8Array(2 * PAGE_BYTES) },
  ]);

  expect(RingMemory.overPages(memory, [0, 1, 2]).isContiguous).toBe(false);
  expect(RingMemory.overPages(memory, [1, 2, 3]).isContiguous).toBe(true);
});

test.each([[[]], [[0]], [[0, 6]], [[6, 0]], [[0, 1, -1]], [[0, 1, 3, 9]], [[0, Number.NaN]], [[0, 2 ** 52]]])(
  'pages %j of six make no ring',
  (pfns) => {
    const broken = expect.objectContaining({ code: 'ERR_RING_MEMORY' });

    expect(() => RingMemory.overPages(GuestMemory.allocate(6), pfns)).toThrow(PeerError);
    expect(() => RingMemory.overPages(GuestMemory.allocate(6), pfns)).toThrow(broken);
  },
);

test('a list of more pages than any ring has is refused before it is looked at', () => {
  const endless = { length: MAX_RING_DATA_BYTES / PAGE_BYTES + 2 };

  expect(() => RingMemory.overPages(GuestMemory.allocate(1), endless)).toThrow('make no ring');
});

test.each([
  [0, 0],
  [PAGE_BYTES, 0],
  [2 * PAGE_BYTES + 8, 0],
  [2 * PAGE_BYTES, 4],
])('%i bytes at offset %i make no ring', (lengthBytes, offset) => {
  const bytes = new Uint8Array(new ArrayBuffer(lengthBytes + offset), offset, lengthBytes);

  expect(() => RingMemory.over(bytes)).toThrow(UsageError);
});

test('bytes at hand make a ring, and clearing it leaves its data alone', () => {
  const bytes = new Uint8Array(3 * PAGE_BYTES).fill(0xa5);

  const ring = RingMemory.over(bytes);
  ring.clearControlPage();

  expect(ring).toMatchObject({ dataBytes: 2 * PAGE_BYTES, isContiguous: true });
  expect(bytes.subarray(0, PAGE_BYTES).every((byte) => byte === 0)).toBe(true);
  expect(bytes.subarray(PAGE_BYTES).every((byte) => byte === 0xa5)).toBe(true);
});

test('a packet buffer grows for what does not fit and keeps its views otherwise', () => {
  const buffer = new PacketBuffer(20);
  const { bytes } = buffer;

  buffer.ensure(24);
  expect([buffer.capacity, buffer.bytes]).toEqual([24, bytes]);
  expect(buffer.exactly(8)).toBe(buffer.exactly(8));
  buffer.ensure(25);

  expect(buffer.capacity).toBe(48);
  buffer.bytes.set(countingBytes(8));
  expect(buffer.words[1]).toBe(0x07060504);
  expect(buffer.exactly(8)).toEqual(countingBytes(8));
});

test.each([-1, 0.5, Number.NaN])('a packet buffer of %d bytes is refused', (byteCount) => {
  expect(() => new PacketBuffer(byteCount)).toThrow(UsageError);
  expect(() => new PacketBuffer(8).exactly(9)).toThrow(UsageError);
  expect(() => new PacketBuffer(8).exactly(byteCount)).toThrow(UsageError);
});
