import fc from 'fast-check';
import { expect, test } from 'vitest';
import { freeBytes } from '../../src/ring/control-page.ts';
import { PacketBuffer } from '../../src/ring/packet-buffer.ts';
import { RingRead } from '../../src/ring/ring-reader.ts';
import { RingWrite } from '../../src/ring/ring-writer.ts';
import { countingBytes, IN, MASK, OUT, PENDING, type SomeRing, someRing } from './some-ring.ts';

test.each([
  { dataBytes: 4096, isScattered: false },
  { dataBytes: 8192, isScattered: true },
])('packets survive a wrap at every 8-byte boundary (%o)', (options) => {
  const packet = new PacketBuffer(0);
  const sizes = [0, 5, 40, 200, 600];

  for (let start = 0; start < options.dataBytes; start += 8) {
    const { writer, reader } = someRing({ ...options, start });
    sizes.forEach((size, id) => {
      writer.stage(1, id, start, countingBytes(size, start));
    });
    writer.stagePfns(99, start, [1, 2, 3], 3, countingBytes(12, start));
    writer.publish();

    const seen = sizes.map((size) => {
      reader.peek();
      reader.copyPacket(packet);
      reader.advance();
      return [reader.idLo, reader.idHi, packet.exactly(packet.packetBytes).slice(16, 16 + size)];
    });
    reader.peek();
    reader.copyPacket(packet);
    reader.advance();

    expect(seen).toEqual(sizes.map((size, id) => [id, start, countingBytes(size, start)]));
    expect([...packet.words.subarray(4, 14)]).toEqual([0, 1, 0x3000, 0, 1, 0, 2, 0, 3, 0]);
    expect(packet.bytes.slice(56, 68)).toEqual(countingBytes(12, start));
    expect(reader.peek()).toBe(RingRead.Empty);
  }
});

/** A packet as the model remembers it. */
interface Sent {
  readonly id: number;
  readonly flags: number;
  readonly payload: Uint8Array;
  /** Ring bytes, trailer included. */
  readonly totalBytes: number;
}

/**
 * A writer and a reader as their owners would drive them, with a plain array between as the model. `step` makes one
 * move; the model says what every answer must be, signals and all.
 */
class RingDrive {
  readonly ring: SomeRing;
  /** Staged and not published; published and not read; read and not released. */
  readonly staged: Sent[] = [];
  readonly unread: Sent[] = [];
  readonly unreleased: Sent[] = [];
  readonly packet = new PacketBuffer(0);
  nextId = 1;
  /** The reader waits for a signal: it unmasked, found nothing, and nobody has signalled since. */
  isReaderAsleep = false;
  /** The writer waits for a signal: packet bytes that it wants room for, 0 if it is awake. */
  writerWants = 0;

  constructor(ring: SomeRing) {
    this.ring = ring;
  }

  get freeBytes(): number {
    const used = [...this.staged, ...this.unread, ...this.unreleased].reduce(
      (sum, { totalBytes }) => sum + totalBytes,
      0,
    );
    return this.ring.ring.dataBytes - 8 - used;
  }

  stage(payloadBytes: number, way: number): void {
    const { writer } = this.ring;
    const id = this.nextId++;
    const flags = way & 1;
    const payload = countingBytes(payloadBytes, id);
    const packetBytes = 16 + Math.ceil(payloadBytes / 8) * 8;
    const fits = packetBytes + 8 <= this.freeBytes;

    const answer = this.stageOneWay(way, flags, id, payload, packetBytes);

    expect(answer).toBe(fits ? RingWrite.Staged : RingWrite.Full);
    if (fits) {
      this.staged.push({ id, flags, payload, totalBytes: packetBytes + 8 });
      this.writerWants = 0;
      expect(this.ring.control[PENDING]).toBe(0);
    } else if (way >= 2) {
      this.publish();
      // Publishing may have let nobody read yet, so there is still no room, unless packets were released unnoticed.
      if (!writer.awaitRoom(packetBytes)) this.writerWants = packetBytes;
      expect(this.writerWants).toBe(packetBytes);
    }
  }

  stageOneWay(way: number, flags: number, id: number, payload: Uint8Array, packetBytes: number): RingWrite {
    const { writer } = this.ring;
    if (way === 0) return writer.stage(flags, id, -id, payload);
    if (way === 1) {
      const buffer = new PacketBuffer(payload.length);
      buffer.bytes.set(payload);
      return writer.stageBuffer(flags, id, -id, buffer, payload.length);
    }
    if (way === 2) {
      const longer = new Uint8Array(payload.length + 9);
      longer.set(payload);
      return writer.stage(flags, id, -id, longer, payload.length);
    }
    if (writer.reserve(packetBytes) === RingWrite.Full) return RingWrite.Full;
    const word = writer.areaAt >>> 2;
    writer.areaWords[word] = 6 | (2 << 16);
    writer.areaWords[word + 1] = (packetBytes >>> 3) | (flags << 16);
    writer.areaWords[word + 2] = id;
    writer.areaWords[word + 3] = -id;
    writer.areaBytes.set(payload, writer.areaAt + 16);
    writer.commit();
    return RingWrite.Staged;
  }

  publish(): void {
    const { writer, reader } = this.ring;
    const isEdge = this.staged.length > 0 && this.unread.length === 0 && this.unreleased.length === 0;

    const signal = writer.publish();

    expect(signal).toBe(isEdge && !reader.isMasked);
    this.unread.push(...this.staged.splice(0));
    if (signal) this.isReaderAsleep = false;
    // Nothing lost: no reader sleeps in front of packets that it may read.
    expect(this.isReaderAsleep && this.unread.length > 0).toBe(false);
  }

  read(count: number, isInPlace: boolean): void {
    const { reader } = this.ring;
    if (!reader.isMasked && !this.isReaderAsleep) reader.mask();
    for (let index = 0; index < count; index++) {
      const expected = this.unread.shift();
      expect(reader.peek()).toBe(expected === undefined ? RingRead.Empty : RingRead.Packet);
      if (expected === undefined) return;
      expect([reader.packetType, reader.idLo, reader.idHi, reader.flags]).toEqual([
        6,
        expected.id,
        -expected.id,
        expected.flags,
      ]);
      let bytes = this.packet.bytes;
      let at = 0;
      if (isInPlace) {
        at = reader.locatePacket();
        bytes = reader.areaBytes;
        expect(reader.areaWords[(at >>> 2) + 2]).toBe(expected.id);
      } else {
        reader.copyPacket(this.packet);
        bytes = this.packet.bytes;
      }
      expect(Buffer.compare(bytes.subarray(at + 16, at + 16 + expected.payload.length), expected.payload)).toBe(0);
      reader.advance();
      this.unreleased.push(expected);
    }
  }

  release(): void {
    const { ring, reader, control } = this.ring;
    const given = this.unreleased.splice(0).reduce((sum, { totalBytes }) => sum + totalBytes, 0);
    // The reader cannot know what is staged; the writer waits with everything published, so then they agree.
    const visibleFree = freeBytes(control[IN] as number, control[OUT] as number, ring.dataBytes);
    const wanted = control[PENDING] as number;

    const signal = reader.release();

    expect(signal).toBe(wanted !== 0 && visibleFree < wanted && visibleFree + given >= wanted);
    if (signal) this.writerWants = 0;
    // Nothing lost: no writer sleeps in front of a ring that was emptied.
    expect(this.writerWants !== 0 && this.unread.length === 0).toBe(false);
  }

  sleep(): void {
    const { reader, control } = this.ring;
    this.release();

    const hasMore = reader.unmask();

    expect(hasMore).toBe(this.unread.length > 0);
    this.isReaderAsleep = !hasMore;
    expect(control[MASK]).toBe(hasMore ? 1 : 0);
  }
}

const someMove = fc.oneof(
  { weight: 6, arbitrary: fc.record({ move: fc.constant('stage'), bytes: fc.nat(1500), way: fc.nat(3) }) },
  { weight: 3, arbitrary: fc.record({ move: fc.constant('stage'), bytes: fc.nat(64), way: fc.nat(3) }) },
  { weight: 3, arbitrary: fc.record({ move: fc.constant('publish'), bytes: fc.constant(0), way: fc.constant(0) }) },
  {
    weight: 4,
    arbitrary: fc.record({ move: fc.constant('read'), bytes: fc.integer({ min: 1, max: 6 }), way: fc.nat(1) }),
  },
  { weight: 2, arbitrary: fc.record({ move: fc.constant('release'), bytes: fc.constant(0), way: fc.constant(0) }) },
  { weight: 2, arbitrary: fc.record({ move: fc.constant('sleep'), bytes: fc.constant(0), way: fc.constant(0) }) },
);

test.each([
  { dataBytes: 4096, isScattered: false, isShared: false },
  { dataBytes: 8192, isScattered: false, isShared: true },
  { dataBytes: 8192, isScattered: true, isShared: true },
])('a ring does what a plain array does, signals when it should, and loses no wake-up (%o)', (options) => {
  fc.assert(
    fc.property(fc.nat(options.dataBytes / 8 - 1), fc.array(someMove, { maxLength: 120 }), (start8, moves) => {
      const drive = new RingDrive(someRing({ ...options, start: start8 * 8 }));

      for (const { move, bytes, way } of moves) {
        // Whoever sleeps does nothing; the other side goes on.
        if (move === 'stage' && drive.writerWants === 0) drive.stage(bytes, way);
        else if (move === 'publish') drive.publish();
        else if (move === 'read' && !drive.isReaderAsleep) drive.read(bytes, way === 1);
        else if (move === 'release' && !drive.isReaderAsleep) drive.release();
        else if (move === 'sleep' && !drive.isReaderAsleep) drive.sleep();
      }

      drive.publish();
      if (!drive.isReaderAsleep) drive.read(drive.unread.length + 1, false);
      drive.release();
      expect(drive.unread).toEqual([]);
      expect(drive.writerWants).toBe(0);
    }),
    { numRuns: 300 },
  );
});

/** Calls `before` ahead of every atomic access that `work` makes. */
function withAccessesWatched(before: () => void, work: () => void): void {
  const { load, store, exchange } = Atomics;
  const watched = { load, store, exchange } as Record<string, (...parts: never[]) => unknown>;
  for (const [name, access] of Object.entries(watched)) {
    watched[name] = (...parts) => {
      before();
      return access(...parts);
    };
  }
  Object.assign(Atomics, watched);
  try {
    work();
  } finally {
    Object.assign(Atomics, { load, store, exchange });
  }
}

/**
 * Between any two accesses to a control word by one end, the other may make whole moves: a seed says where. Who misses
 * its signal sleeps for ever here, because nobody else wakes it.
 */
test('wherever one end is interrupted by the other, nobody sleeps for ever', () => {
  fc.assert(
    fc.property(
      fc.array(fc.nat(5), { minLength: 50, maxLength: 300 }),
      fc.integer({ min: 1, max: 6 }),
      (turns, packets) => {
        const { writer, reader } = someRing();
        const payload = countingBytes(1500);
        const signals = { data: false, room: false };
        let received = 0;

        function* send(): Generator<void> {
          for (let sent = 0; sent < packets; yield) {
            if (writer.stage(0, sent, 0, payload) === RingWrite.Staged) {
              sent++;
              if (writer.publish()) signals.data = true;
            } else if (!writer.awaitRoom(1520)) {
              while (!signals.room) yield;
              signals.room = false;
            }
          }
        }

        function* receive(): Generator<void> {
          for (; received < packets; yield) {
            for (; reader.peek() === RingRead.Packet; received++) {
              reader.advance();
              yield;
            }
            if (reader.release()) signals.room = true;
            yield;
            if (reader.unmask()) continue;
            while (!signals.data) yield;
            signals.data = false;
            reader.mask();
          }
        }

        const ends = [send(), receive()] as const;
        let isInterrupting = false;
        let running = 0;
        const interrupt = (): void => {
          if (isInterrupting) return;
          isInterrupting = true;
          for (let moves = Math.max((turns.pop() ?? 0) - 2, 0); moves > 0; moves--) ends[1 - running]?.next();
          isInterrupting = false;
        };

        withAccessesWatched(interrupt, () => {
          for (let turn = 0; turn < 400 && received < packets; turn++) {
            running = (turns.pop() ?? turn) % 2;
            ends[running]?.next();
          }
        });

        expect(received).toBe(packets);
      },
    ),
    { numRuns: 2000 },
  );
});
