import { describe, expect, test } from 'vitest';
import { UsageError } from '../../src/errors.ts';
import { PacketBuffer } from '../../src/ring/packet-buffer.ts';
import { RingRead, RingReader } from '../../src/ring/ring-reader.ts';
import { RingWrite } from '../../src/ring/ring-writer.ts';
import { countingBytes, FEATURES, hexBytes, IN, MASK, OUT, PENDING, type SomeRing, someRing } from './some-ring.ts';

/** A ring in which the peer wrote `bytes` at `start` and says that `readable` of them are there. */
function ringWith(bytes: Uint8Array, readable = bytes.length, options: Parameters<typeof someRing>[0] = {}): SomeRing {
  const ring = someRing({ start: 0x140, ...options });
  ring.poke(0x140, bytes);
  ring.control[IN] = (0x140 + readable) % (options.dataBytes ?? 4096);
  return ring;
}

const code = (name: string): unknown => expect.objectContaining({ name: 'PeerError', code: name });

test('peek shows the descriptor, copyPacket the packet, and advance and release go past it', () => {
  const { reader, writer, control } = someRing({ start: 4072 });
  const packet = new PacketBuffer(0);
  writer.stage(1, 0x1234_5678, -2, countingBytes(20));
  writer.publish();

  expect(reader.peek()).toBe(RingRead.Packet);
  expect(reader).toMatchObject({ packetType: 6, dataOffset8: 2, length8: 5, flags: 1, idLo: 0x1234_5678, idHi: -2 });
  expect(reader).toMatchObject({ packetBytes: 40, rangeCount: 0 });
  reader.copyPacket(packet);
  reader.advance();

  expect(packet.packetBytes).toBe(40);
  expect(packet.bytes.subarray(0, 40)).toEqual(
    hexBytes(`
      06 00  02 00  05 00  01 00   78 56 34 12  fe ff ff ff
      00 01 02 03 04 05 06 07 08 09 0a 0b 0c 0d 0e 0f 10 11 12 13   00 00 00 00
    `),
  );
  expect(control[OUT]).toBe(4072);
  expect(reader.peek()).toBe(RingRead.Empty);
  expect(reader.unreleasedBytes).toBe(48);
  reader.release();
  expect(control[OUT]).toBe(24);
  expect(reader.unreleasedBytes).toBe(0);
});

test.each([
  [0, undefined],
  [8, undefined],
  [3000, undefined],
  [368, 384],
  [376, 384],
  [3000, 384],
])('a payload of %d bytes comes out as it went in (views above %s)', (payloadBytes, viewCopyBytes) => {
  const { reader, writer } = someRing({
    dataBytes: 8192,
    ...(viewCopyBytes === undefined ? {} : { reader: { viewCopyBytes } }),
  });
  const packet = new PacketBuffer(0);
  const payload = countingBytes(payloadBytes, 1);
  writer.stage(0, 1, 0, payload);
  writer.publish();

  reader.peek();
  reader.copyPacket(packet);

  expect(packet.exactly(16 + payloadBytes).subarray(16)).toEqual(payload);
});

test('the trailer is skipped whatever is in it', () => {
  const { reader, poke } = ringWith(
    hexBytes('06 00 02 00 02 00 00 00  01 00 00 00 00 00 00 00  ff ff ff ff ff ff ff ff'),
  );
  poke(0x158, new Uint8Array(24));

  expect(reader.peek()).toBe(RingRead.Packet);
  reader.advance();

  expect(reader.peek()).toBe(RingRead.Empty);
});

test('a packet may be as long as the ring less one slot', () => {
  const { reader, poke, control } = someRing({ start: 8 });
  poke(8, hexBytes('06 00 02 00 fe 01 00 00  01 00 00 00 00 00 00 00'));
  control[IN] = 0;

  expect(reader.peek()).toBe(RingRead.Packet);
  expect(reader.packetBytes).toBe(4080);
  reader.advance();
  expect(reader.peek()).toBe(RingRead.Empty);
});

describe.each([false, true])('what a peer can break (scattered pages: %s)', (isScattered) => {
  const options = { dataBytes: 8192, isScattered };

  test.each([0x2000, 4, 0xffff_fff8, 0x8000_0000, 0x7fff_fff8])('a write index of %i', (index) => {
    const { reader, ring, control } = someRing(options);
    reader.unmask();
    control[IN] = index;

    expect(() => reader.peek()).toThrow(code('ERR_RING_INDEX'));
    expect(() => reader.unmask()).toThrow(code('ERR_RING_INDEX'));
    expect(() => reader.loadIsEmpty()).toThrow(code('ERR_RING_INDEX'));
    expect(() => new RingReader(ring)).toThrow(code('ERR_RING_INDEX'));
  });

  test('a write index outside, met while room is released', () => {
    const { reader, writer, control } = someRing(options);
    writer.stage(0, 1, 0, new Uint8Array(0));
    writer.publish();
    reader.peek();
    reader.advance();
    control[PENDING] = 8;
    control[IN] = 0x2000;

    expect(() => reader.release()).toThrow(code('ERR_RING_INDEX'));
    expect(control[OUT]).toBe(24);
  });

  test('fewer bytes than a descriptor', () => {
    expect(() => ringWith(new Uint8Array(8), 8, options).reader.peek()).toThrow(code('ERR_RING_AVAILABLE'));
  });

  test.each([0, 1])('data that begins at %i times 8', (dataOffset8) => {
    const packet = hexBytes('06 00 02 00 02 00 00 00  01 00 00 00 00 00 00 00  00 00 00 00 00 00 00 00');
    packet[2] = dataOffset8;

    expect(() => ringWith(packet, 24, options).reader.peek()).toThrow(code('ERR_RING_LENGTHS'));
  });

  test.each([0, 1, 2])('a length of %i times 8 with data at 3 times 8', (length8) => {
    const packet = hexBytes('06 00 03 00 02 00 00 00  01 00 00 00 00 00 00 00  00 00 00 00 00 00 00 00');
    packet[4] = length8;

    expect(() => ringWith(packet, 24, options).reader.peek()).toThrow(code('ERR_RING_LENGTHS'));
  });

  test.each([
    ['a packet longer than what is there', 16],
    ['a packet without its trailer', 24],
  ])('%s', (_, readable) => {
    const packet = hexBytes('06 00 02 00 03 00 00 00  01 00 00 00 00 00 00 00  00 00 00 00 00 00 00 00');

    expect(() => ringWith(packet, readable, options).reader.peek()).toThrow(code('ERR_RING_LENGTHS'));
  });

  test('the longest length that there is', () => {
    const packet = hexBytes('06 00 02 00 ff ff 00 00  01 00 00 00 00 00 00 00');

    expect(() => ringWith(packet, 8184, options).reader.peek()).toThrow(code('ERR_RING_LENGTHS'));
  });

  test.each([0, 1, 2, 3, 4, 5, 8, 10, 12, 13, 0xffff])('type %i', (type) => {
    const packet = hexBytes('00 00 02 00 02 00 00 00  01 00 00 00 00 00 00 00  00 00 00 00 00 00 00 00');
    packet[0] = type;
    packet[1] = type >>> 8;

    expect(() => ringWith(packet, 24, options).reader.peek()).toThrow(code('ERR_RING_TYPE'));

    const { reader } = ringWith(packet, 24, { ...options, reader: { passUnknownTypes: true } });
    expect(reader.peek()).toBe(RingRead.Packet);
    expect(reader.packetType).toBe(type);
    reader.advance();
    expect(reader.peek()).toBe(RingRead.Empty);
  });

  test.each([2, 3, 0x8000])('flags %i', (flags) => {
    const packet = hexBytes('06 00 02 00 02 00 00 00  01 00 00 00 00 00 00 00  00 00 00 00 00 00 00 00');
    packet[6] = flags;
    packet[7] = flags >>> 8;

    expect(() => ringWith(packet, 24, options).reader.peek()).toThrow(code('ERR_RING_FLAGS'));
  });

  test('a GPA-direct packet without a range', () => {
    const packet = hexBytes(`
      09 00 03 00 03 00 01 00  01 00 00 00 00 00 00 00
      ff ff ff ff  00 00 00 00   00 00 00 00 00 00 00 00
    `);

    expect(() => ringWith(packet, 32, options).reader.peek()).toThrow(code('ERR_RING_RANGES'));
  });

  test.each([7, 9])('type %i with data where its header should be', (type) => {
    const packet = hexBytes(
      '09 00 02 00 03 00 01 00  01 00 00 00 00 00 00 00  00 00 00 00  01 00 00 00  00 00 00 00 00 00 00 00',
    );
    packet[0] = type;

    expect(() => ringWith(packet, 32, options).reader.peek()).toThrow(code('ERR_RING_LENGTHS'));
  });

  test('more ranges than there is room for are not judged here, but shown as they were announced', () => {
    const packet = hexBytes(`
      09 00 03 00 03 00 01 00  01 00 00 00 00 00 00 00
      00 00 00 00  ff ff ff ff   00 00 00 00 00 00 00 00
    `);
    const { reader } = ringWith(packet, 32, options);

    expect(reader.peek()).toBe(RingRead.Packet);
    expect(reader.rangeCount).toBe(0xffff_ffff);
  });

  test('a packet longer than the reader accepts', () => {
    const packet = hexBytes(
      '06 00 02 00 03 00 00 00  01 00 00 00 00 00 00 00  00 00 00 00 00 00 00 00  00 00 00 00 00 00 00 00',
    );
    const { reader } = ringWith(packet, 32, { ...options, reader: { maxPacketBytes: 16 } });

    expect(() => reader.peek()).toThrow(code('ERR_RING_LENGTHS'));
  });
});

test.each([
  [0, 1],
  [1, 0],
  [0, 2],
])('a mask that we left at %i and find at %i is corruption', (ours, found) => {
  const { reader, control } = someRing();
  if (ours === 0) reader.unmask();
  control[MASK] = found;

  expect(() => (found === 0 ? reader.unmask() : reader.mask())).toThrow(code('ERR_RING_MASK'));
});

test('a fault says what was found, what was allowed and where', () => {
  const packet = hexBytes('06 00 02 00 05 00 00 00  01 00 00 00 00 00 00 00  00 00 00 00 00 00 00 00');
  const { reader } = ringWith(packet, 24, { reader: { where: 'channel 7, guest to host' } });

  expect(() => reader.peek()).toThrow(
    'the packet at 0x140 is 40 + 8 bytes long, 24 are there to read (channel 7, guest to host)',
  );
});

test('a reader takes its own index as found once, and never looks at it again', () => {
  const { ring, control, writer } = someRing({ start: 64 });
  control[OUT] = 4;
  expect(() => new RingReader(ring)).toThrow(code('ERR_RING_INDEX'));

  control[OUT] = 64;
  const reader = new RingReader(ring);
  writer.stage(0, 1, 0, new Uint8Array(0));
  writer.publish();
  control[OUT] = 1024;
  expect(reader.peek()).toBe(RingRead.Packet);
  reader.advance();
  reader.release();

  expect(control[OUT]).toBe(88);
});

test('looking twice gives the same packet, whatever happened to it between', () => {
  const { reader, writer, poke } = someRing();
  writer.stage(1, 1, 0, countingBytes(8));
  writer.publish();
  reader.peek();
  poke(0, new Uint8Array(24).fill(0xff));

  expect(reader.peek()).toBe(RingRead.Packet);

  expect(reader).toMatchObject({ packetType: 6, length8: 3, flags: 1, idLo: 1, idHi: 0 });
});

test.each([
  ['in place', 0, false],
  ['around the end', 4088, false],
  ['in scattered pages', 4072, true],
])('bytes flipped between check and copy do not change what was checked (%s)', (_, start, isScattered) => {
  const { reader, writer, poke } = someRing({ dataBytes: isScattered ? 8192 : 4096, start, isScattered });
  const packet = new PacketBuffer(0);
  writer.stagePfns(5, 6, [0x77], 1, countingBytes(8));
  writer.publish();
  reader.peek();
  poke(start, new Uint8Array(24).fill(0xff));

  reader.copyPacket(packet);
  const copied = packet.bytes.slice(0, 48);
  poke(start, new Uint8Array(56).fill(0xee));

  expect(packet.bytes.subarray(0, 48)).toEqual(copied);
  expect(copied).toEqual(
    hexBytes(`
      09 00 05 00 06 00 01 00  05 00 00 00 06 00 00 00
      00 00 00 00 01 00 00 00  00 10 00 00 00 00 00 00
      77 00 00 00 00 00 00 00  00 01 02 03 04 05 06 07
    `),
  );
});

test('a packet that does not wrap is read where it lies, one that does from a copy', () => {
  const { reader, writer, ring } = someRing({ start: 4032 });
  for (const first of [1, 2]) writer.stage(0, first, 0, countingBytes(16, first * 16));
  writer.publish();

  reader.peek();
  expect(reader.locatePacket()).toBe(4032);
  expect(reader.areaBytes).toBe(ring.bytes);
  expect(reader.areaWords[(4032 + 16) / 4]).toBe(0x13121110);
  reader.advance();
  reader.peek();
  expect(reader.locatePacket()).toBe(0);

  expect(reader.areaBytes.subarray(16, 32)).toEqual(countingBytes(16, 32));
  expect(reader.areaWords[2]).toBe(2);
});

test('there is nothing to copy, locate or pass before a packet was peeked', () => {
  const { reader } = someRing();

  expect(() => reader.copyPacket(new PacketBuffer(0))).toThrow(UsageError);
  expect(() => reader.locatePacket()).toThrow(UsageError);
  expect(() => reader.advance()).toThrow(UsageError);
});

/** A ring of 4096 with the writer stopped by it: packets of 1016 + 8 ring bytes. */
function fullRing(): SomeRing {
  const ring = someRing();
  while (ring.writer.stage(0, 1, 0, countingBytes(1000)) === RingWrite.Staged);
  ring.writer.publish();
  return ring;
}

function readOne(reader: RingReader): void {
  reader.peek();
  reader.advance();
}

test('a writer is signalled once, when the room that it waits for is made', () => {
  const { reader, writer } = fullRing();
  writer.awaitRoom(2040);

  readOne(reader);
  expect(reader.release()).toBe(false); // 1016 + 1024 - 8 are less than 2048
  readOne(reader);
  expect(reader.release()).toBe(true);
  readOne(reader);
  expect(reader.release()).toBe(false);
  expect(reader.release()).toBe(false);
});

test('a writer that does not wait is not signalled', () => {
  const { reader } = fullRing();

  readOne(reader);

  expect(reader.release()).toBe(false);
});

test('a writer without the feature bit is not signalled whatever its pending size says', () => {
  const { reader, control } = fullRing();
  control[PENDING] = 1024;
  expect(reader.loadPeerSignalsRoom()).toBe(true);
  control[FEATURES] = -2;
  expect(reader.loadPeerSignalsRoom()).toBe(false);

  for (let packets = 0; packets < 3; packets++) readOne(reader);

  expect(reader.release()).toBe(false);
});

test.each([
  ['the size of the ring less 1 asks for an empty ring', 4095, [false, false, true]],
  ['so does its largest multiple of 8', 4088, [false, false, true]],
  ['the size of the ring is never reached', 4096, [false, false, false]],
  ['nor is the largest number', -1, [false, false, false]],
  ['the low bits do not count', 2047, [true, false, false]],
  ['less than a slot is no wish', 7, [false, false, false]],
])('%s', (_, pending, signals) => {
  const { reader, control } = fullRing();
  control[PENDING] = pending;

  const seen = signals.map(() => {
    readOne(reader);
    return reader.release();
  });

  expect(seen).toEqual(signals);
});

test('a reader that goes to sleep finds what came just before', () => {
  const { reader, writer, control } = someRing();
  writer.stage(0, 1, 0, countingBytes(8));
  writer.publish();

  expect(reader.unmask()).toBe(true);
  expect(control[MASK]).toBe(1);
  readOne(reader);
  reader.release();
  expect(reader.unmask()).toBe(false);
  expect([control[MASK], reader.isMasked]).toEqual([0, false]);
  reader.mask();
  expect([control[MASK], reader.isMasked]).toEqual([1, true]);
});

test('a reader that has not released what it read may not go to sleep', () => {
  // The writer would see a ring that is not empty and never signal: both wait for ever.
  const { reader, writer } = someRing();
  writer.stage(0, 1, 0, countingBytes(8));
  writer.publish();
  readOne(reader);

  expect(() => reader.unmask()).toThrow(expect.objectContaining({ code: 'ERR_STATE' }));
});

test('a new reader masks signals, so that it looks before it sleeps', () => {
  const { ring, control } = someRing();
  control[MASK] = 0;

  const reader = new RingReader(ring);

  expect([control[MASK], reader.isMasked]).toEqual([1, true]);
});

test('inspecting a reader shows where it stands', () => {
  const { reader, writer } = someRing({ start: 8 });
  writer.stage(0, 1, 0, countingBytes(8));
  writer.publish();
  expect(reader.loadIsEmpty()).toBe(false);
  reader.peek();

  expect(reader.inspect()).toEqual({
    dataBytes: 4096,
    isContiguous: true,
    out: 8,
    releasedOut: 8,
    readableBytes: 32,
    isMasked: true,
    peekedBytes: 24,
  });
});
