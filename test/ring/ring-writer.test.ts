import { expect, test } from 'vitest';
import { PeerError, UsageError } from '../../src/errors.ts';
import { PacketBuffer } from '../../src/ring/packet-buffer.ts';
import { RingRead } from '../../src/ring/ring-reader.ts';
import { RingWrite, RingWriter } from '../../src/ring/ring-writer.ts';
import { countingBytes, FEATURES, hexBytes, IN, MASK, OUT, PENDING, someRing } from './some-ring.ts';

/** Computed from the struct layouts in Linux `include/linux/hyperv.h`, as the next two. */
const IN_BAND_AT_140 = hexBytes(`
  06 00  02 00  05 00  01 00   01 00 00 00 00 00 00 00
  00 01 02 03 04 05 06 07 08 09 0a 0b 0c 0d 0e 0f 10 11 12 13   00 00 00 00
  00 00 00 00 40 01 00 00
`);
const GPA_DIRECT_AT_170 = hexBytes(`
  09 00  07 00  0a 00  01 00   02 00 00 00 00 00 00 00
  00 00 00 00   01 00 00 00
  00 21 00 00   00 02 00 00
  b0 a2 01 00 00 00 00 00   b1 a2 01 00 00 00 00 00   d5 c4 03 00 00 00 00 00
  a0 a1 a2 a3 a4 a5 a6 a7 a8 a9 aa ab ac ad ae af b0 b1 b2 b3 b4 b5 b6 b7
  00 00 00 00 70 01 00 00
`);
const COMPLETION_AT_0 = hexBytes(`
  0b 00  02 00  03 00  00 00   02 00 00 00 00 00 00 00
  01 00 00 00   00 00 00 00
  00 00 00 00 00 00 00 00
`);
const PIPE_HELLO_AT_0 = hexBytes(`
  06 00  02 00  04 00  00 00   00 00 00 00 00 00 00 00
  01 00 00 00   05 00 00 00
  68 65 6c 6c 6f 00 00 00
  00 00 00 00 00 00 00 00
`);
const RANGE = { byteCount: 0x2100, byteOffset: 0x200, pfns: [0x1a2b0, 0x1a2b1, 0x3c4d5] };

test.each([false, true])(
  'an in-band and a GPA-direct packet have the bytes that Linux gives them (scattered: %s)',
  (isScattered) => {
    const { writer, data, control } = someRing({ dataBytes: 8192, start: 0x140, isScattered });

    expect(writer.stage(1, 1, 0, countingBytes(20))).toBe(RingWrite.Staged);
    expect(writer.stageRanges(1, 2, 0, [RANGE], countingBytes(24, 0xa0))).toBe(RingWrite.Staged);
    writer.publish();

    expect(data().subarray(0x140, 0x170)).toEqual(IN_BAND_AT_140);
    expect(data().subarray(0x170, 0x1c8)).toEqual(GPA_DIRECT_AT_170);
    expect(
      data()
        .subarray(0x1c8)
        .every((byte) => byte === 0xa5),
    ).toBe(true);
    expect(control[IN]).toBe(0x1c8);
  },
);

test('a completion has the bytes that Linux gives it', () => {
  const { writer, data } = someRing();

  writer.stageCompletion(2, 0, hexBytes('01 00 00 00'));

  expect(data().subarray(0, 32)).toEqual(COMPLETION_AT_0);
});

test('a packet encoded earlier goes in as it is', () => {
  const { writer, data } = someRing();
  const queued = Uint8Array.of(...PIPE_HELLO_AT_0.subarray(0, 32), 0xee, 0xee);

  expect(writer.stagePacket(queued, 32)).toBe(RingWrite.Staged);

  expect(data().subarray(0, 40)).toEqual(PIPE_HELLO_AT_0);
  expect(data()[40]).toBe(0xa5);
});

test('a packet written in place is one that was staged', () => {
  const { writer, data } = someRing();

  expect(writer.reserve(32)).toBe(RingWrite.Staged);
  writer.areaBytes.set(PIPE_HELLO_AT_0.subarray(0, 32), writer.areaAt);
  writer.commit();

  expect(data().subarray(0, 40)).toEqual(PIPE_HELLO_AT_0);
});

test('whole pages by number make one range from offset 0, completion requested', () => {
  const { writer, data } = someRing();

  writer.stagePfns(7, 0, Float64Array.of(0x5, 2 ** 40 + 3, 0xffff_ffff, 99), 3, hexBytes('11 22'));

  expect(data().subarray(0, 72)).toEqual(
    hexBytes(`
      09 00  07 00  08 00  01 00   07 00 00 00 00 00 00 00
      00 00 00 00   01 00 00 00
      00 30 00 00   00 00 00 00
      05 00 00 00 00 00 00 00   03 00 00 00 00 01 00 00   ff ff ff ff 00 00 00 00
      11 22 00 00 00 00 00 00
      00 00 00 00 00 00 00 00
    `),
  );
});

test('a transfer-pages packet names its set and its ranges', () => {
  const { writer, data } = someRing();

  writer.stageTransferPages(1, 3, 0, 0xcafe, [{ byteCount: 0x600, byteOffset: 0x1800 }], hexBytes('11'));

  expect(data().subarray(0, 48)).toEqual(
    hexBytes(`
      07 00  04 00  05 00  01 00   03 00 00 00 00 00 00 00
      fe ca 00 00   01 00 00 00
      00 06 00 00   00 18 00 00
      11 00 00 00 00 00 00 00
      00 00 00 00 00 00 00 00
    `),
  );
});

test.each([0, 1, 7, 8, 20, 63, 64, 127, 128, 129, 500])(
  '%d bytes from an aligned buffer are those from plain bytes',
  (payloadBytes) => {
    const [plain, buffered] = [someRing(), someRing()];
    const buffer = new PacketBuffer(512);
    buffer.bytes.set(countingBytes(512, 1));

    plain.writer.stage(1, 5, 6, countingBytes(payloadBytes, 1));
    buffered.writer.stageBuffer(1, 5, 6, buffer, payloadBytes);

    expect(buffered.data()).toEqual(plain.data());
  },
);

test('the first payloadBytes of a longer payload are taken', () => {
  const [exact, longer] = [someRing(), someRing()];

  for (const payloadBytes of [0, 3, 300, 1500]) {
    exact.writer.stage(0, 1, 2, countingBytes(payloadBytes));
    longer.writer.stage(0, 1, 2, countingBytes(2000), payloadBytes);
  }

  expect(longer.data()).toEqual(exact.data());
});

test('nothing is visible before it is published, and a batch is published once', () => {
  const { writer, reader, control } = someRing();
  reader.unmask();

  writer.stage(0, 1, 0, countingBytes(8));
  writer.stage(0, 2, 0, countingBytes(8));

  expect(control[IN]).toBe(0);
  expect(reader.peek()).toBe(RingRead.Empty);
  expect(writer.publish()).toBe(true);
  expect(control[IN]).toBe(64);
  expect(writer.publish()).toBe(false);
});

test('a batch is signalled if the reader wants signals and had read everything', () => {
  const { writer, reader, control } = someRing();
  reader.unmask();
  const publishOne = (): boolean => {
    writer.stage(0, 1, 0, countingBytes(8));
    return writer.publish();
  };

  expect(publishOne()).toBe(true);
  expect(publishOne()).toBe(false);
  control[OUT] = 32; // one of two read
  expect(publishOne()).toBe(false);
  control[OUT] = 96;
  control[MASK] = 1;
  expect(publishOne()).toBe(false);
  control[OUT] = 128;
  control[MASK] = 2; // any number but 0 masks
  expect(publishOne()).toBe(false);
});

test('a ring fills up to one slot less than its size', () => {
  const { writer, control } = someRing({ start: 4088 });

  expect(writer.maxPacketBytes).toBe(4080);
  expect(writer.reserve(4080)).toBe(RingWrite.Staged);
  writer.commit();
  writer.publish();

  expect(control[IN]).toBe(4080);
  expect(writer.reserve(16)).toBe(RingWrite.Full);
});

test('no packet is longer than its length field can say', () => {
  const { writer } = someRing({ dataBytes: 1 << 20 });

  expect(writer.maxPacketBytes).toBe(0xffff * 8);
});

test('full is an answer: nothing is written, and room shows as soon as the reader gives some', () => {
  const { writer, reader, data } = someRing();
  while (writer.stage(0, 1, 0, countingBytes(1000)) === RingWrite.Staged);
  writer.publish();
  const before = data();

  expect(writer.stage(0, 2, 0, countingBytes(1000, 1))).toBe(RingWrite.Full);
  expect(() => writer.commit()).toThrow(UsageError);
  expect(data()).toEqual(before);

  reader.peek();
  reader.advance();
  reader.release();
  expect(writer.stage(0, 2, 0, countingBytes(1000, 1))).toBe(RingWrite.Staged);
});

test.each([0, 8, 15, 17, 20, -8, 16.5, Number.NaN])('%d bytes are no packet to reserve', (packetBytes) => {
  expect(() => someRing().writer.reserve(packetBytes)).toThrow(expect.objectContaining({ code: 'ERR_ARGUMENT' }));
});

test.each([4088, 1e6, 2 ** 32, Number.POSITIVE_INFINITY])('%d bytes never fit a ring of 4096', (packetBytes) => {
  const { writer } = someRing();
  const tooBig = expect.objectContaining({ code: 'ERR_PACKET_TOO_BIG' });

  expect(() => writer.reserve(packetBytes)).toThrow(tooBig);
  expect(() => writer.awaitRoom(packetBytes)).toThrow(tooBig);
});

test('what never fits is refused by every way to stage, before anything is written', () => {
  const { writer, data } = someRing();
  const tooBig = expect.objectContaining({ code: 'ERR_PACKET_TOO_BIG' });
  const payload = new Uint8Array(4065);
  const pfns = new Array<number>(600).fill(1);
  const before = data();

  const ways = [
    () => writer.stage(0, 1, 0, payload),
    () => writer.stageCompletion(1, 0, payload),
    () => writer.stageBuffer(0, 1, 0, new PacketBuffer(4072), 4072),
    () => writer.stagePfns(1, 0, pfns, 600, null),
    () => writer.stagePfns(1, 0, pfns, 1, payload),
    () => writer.stageRanges(1, 1, 0, [{ byteCount: 600 * 4096, byteOffset: 0, pfns }], null),
    () => writer.stageTransferPages(1, 1, 0, 0, new Array(600).fill({ byteCount: 1, byteOffset: 0 }), null),
    () => writer.stagePacket(new Uint8Array(4088)),
  ];

  for (const way of ways) expect(way).toThrow(tooBig);
  expect(data()).toEqual(before);
});

test.each([9, -1, Number.NaN])('a payload of 8 bytes has no %d bytes to send', (payloadBytes) => {
  const { writer } = someRing();
  const payload = new Uint8Array(8);
  const buffer = new PacketBuffer(8);

  const ways = [
    () => writer.stage(0, 1, 0, payload, payloadBytes),
    () => writer.stageCompletion(1, 0, payload, payloadBytes),
    () => writer.stageBuffer(0, 1, 0, buffer, payloadBytes),
    () => writer.stagePfns(1, 0, [1], 1, payload, payloadBytes),
    () => writer.stageRanges(1, 1, 0, [RANGE], payload, payloadBytes),
    () => writer.stageTransferPages(1, 1, 0, 0, [], payload, payloadBytes),
    () => writer.stagePacket(payload, payloadBytes),
  ];

  for (const way of ways) expect(way).toThrow(expect.objectContaining({ code: 'ERR_ARGUMENT' }));
});

test.each([0, 3, -1, Number.NaN])('%d page frame numbers of a list of two cannot be sent', (pfnCount) => {
  expect(() => someRing().writer.stagePfns(1, 0, [1, 2], pfnCount, null)).toThrow(UsageError);
});

test('a packet is committed once', () => {
  const { writer } = someRing();

  expect(() => writer.commit()).toThrow(expect.objectContaining({ code: 'ERR_STATE' }));
  writer.reserve(16);
  writer.commit();
  expect(() => writer.commit()).toThrow(expect.objectContaining({ code: 'ERR_STATE' }));
});

test.each([0x1000, 4, 0xffff_fff8, 0x8000_0000])(
  'a reader index of %i closes the ring wherever it is loaded',
  (index) => {
    const { writer, ring, control, reader } = someRing();
    reader.unmask();
    const payload = new Uint8Array(1000);
    const badIndex = expect.objectContaining({ code: 'ERR_RING_INDEX' });
    while (writer.stage(0, 1, 0, payload) === RingWrite.Staged);
    control[OUT] = index;

    expect(() => writer.stage(0, 1, 0, payload)).toThrow(badIndex);
    expect(() => writer.publish()).toThrow(badIndex);
    expect(() => writer.awaitRoom(1000)).toThrow(badIndex);
    expect(() => writer.loadIsDrained()).toThrow(badIndex);
    expect(() => new RingWriter(ring)).toThrow(PeerError);
  },
);

test('an index fault says what was found, what was allowed and where', () => {
  const { ring, control } = someRing();
  control[OUT] = -8;

  expect(() => new RingWriter(ring, { where: 'channel 7, guest to host' })).toThrow(
    'read index 0xfffffff8 is not a multiple of 8 in 0..0xff8 (channel 7, guest to host)',
  );
});

test('a writer takes its own index as found once, and never looks at it again', () => {
  const { ring, control, data } = someRing({ start: 64 });
  control[IN] = 4;
  expect(() => new RingWriter(ring)).toThrow(expect.objectContaining({ code: 'ERR_RING_INDEX' }));

  control[IN] = 64;
  const writer = new RingWriter(ring);
  control[IN] = 1024;
  writer.stage(0, 1, 0, countingBytes(8));
  writer.publish();

  expect(control[IN]).toBe(96);
  expect(data()[1024]).toBe(0xa5);
});

test('a new writer promises pending send sizes and asks for no room', () => {
  const { ring, control } = someRing();
  control[PENDING] = 4120;
  control[FEATURES] = 0;

  const writer = new RingWriter(ring);

  expect([control[PENDING], control[FEATURES]]).toEqual([0, 1]);
  expect(writer.isAwaitingRoom).toBe(false);
});

test('a writer that waits for room asks for a quarter of the ring at least', () => {
  const { writer, control } = someRing();
  while (writer.stage(0, 1, 0, new Uint8Array(8)) === RingWrite.Staged);
  writer.publish();

  expect(writer.awaitRoom(24)).toBe(false);
  expect(control[PENDING]).toBe(1016);
  expect(writer.awaitRoom(2001)).toBe(false);
  expect(control[PENDING]).toBe(2016);
  expect(writer.isAwaitingRoom).toBe(true);

  writer.stopAwaiting();
  expect(control[PENDING]).toBe(0);
});

test('room that was made just before the wish is found by the second look, and the wish is taken back', () => {
  const { writer, control } = someRing();
  while (writer.stage(0, 1, 0, new Uint8Array(1000)) === RingWrite.Staged);
  writer.publish();
  control[OUT] = control[IN] as number;

  expect(writer.awaitRoom(1016)).toBe(true);
  expect(control[PENDING]).toBe(0);
});

test('the next packet that fits takes the wish back', () => {
  const { writer, control } = someRing();
  while (writer.stage(0, 1, 0, new Uint8Array(1000)) === RingWrite.Staged);
  writer.publish();
  writer.awaitRoom(1016);
  control[OUT] = control[IN] as number;

  writer.stage(0, 1, 0, new Uint8Array(1000));

  expect(control[PENDING]).toBe(0);
});

test('waiting for room with packets that nobody can see is refused', () => {
  const { writer } = someRing();
  writer.stage(0, 1, 0, countingBytes(8));

  expect(() => writer.awaitRoom(16)).toThrow(expect.objectContaining({ code: 'ERR_STATE' }));
});

test('a ring is drained when the reader released all that was published', () => {
  const { writer, reader } = someRing();
  writer.stage(0, 1, 0, countingBytes(8));
  expect(writer.loadIsDrained()).toBe(true); // not published yet
  writer.publish();

  expect(writer.loadIsDrained()).toBe(false);
  reader.peek();
  reader.advance();
  expect(writer.loadIsDrained()).toBe(false);
  reader.release();
  expect(writer.loadIsDrained()).toBe(true);
});

test('inspecting a writer shows where it stands', () => {
  const { writer } = someRing({ start: 8 });
  writer.stage(0, 1, 0, countingBytes(8));

  expect(writer.inspect()).toEqual({
    dataBytes: 4096,
    isContiguous: true,
    in: 40,
    publishedIn: 8,
    seenOut: 8,
    freeBytes: 4056,
    pendingSendBytes: 0,
  });
});
