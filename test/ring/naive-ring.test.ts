import fc from 'fast-check';
import { expect, test } from 'vitest';
import { NaiveRing } from '../../bench/ring/naive-ring.ts';
import { PacketBuffer } from '../../src/ring/packet-buffer.ts';
import { RingMemory } from '../../src/ring/ring-memory.ts';
import { RingRead, RingReader } from '../../src/ring/ring-reader.ts';
import { RingWrite, RingWriter } from '../../src/ring/ring-writer.ts';
import { countingBytes } from './some-ring.ts';

const RING_BYTES = 3 * 4096;
const someSizes = fc.array(fc.nat(900), { minLength: 1, maxLength: 60 });

test('the naive writer and ours leave the same bytes behind', () => {
  fc.assert(
    fc.property(someSizes, (sizes) => {
      const [naiveBytes, ourBytes] = [new Uint8Array(RING_BYTES), new Uint8Array(RING_BYTES)];
      const naive = new NaiveRing(naiveBytes);
      const ours = new RingWriter(RingMemory.over(ourBytes));
      const readers = [new NaiveRing(naiveBytes), new NaiveRing(ourBytes)];

      sizes.forEach((size, id) => {
        const payload = countingBytes(size, id);
        const isFull = naive.write({ type: 6, flags: 1, id: BigInt(id), payload }) === undefined;
        expect(ours.stage(1, id, 0, payload) === RingWrite.Full).toBe(isFull);
        ours.publish();
        if (id % 3 !== 0) for (const reader of readers) reader.read();
      });

      expect(Buffer.compare(ourBytes.subarray(4096), naiveBytes.subarray(4096))).toBe(0);
      expect([...ourBytes.subarray(0, 8)]).toEqual([...naiveBytes.subarray(0, 8)]);
    }),
  );
});

test('what the naive writer wrote is what our reader reads', () => {
  fc.assert(
    fc.property(someSizes, (sizes) => {
      const bytes = new Uint8Array(RING_BYTES);
      const writer = new NaiveRing(bytes);
      const reader = new RingReader(RingMemory.over(bytes));
      const packet = new PacketBuffer(0);

      sizes.forEach((size, index) => {
        const id = (BigInt(index) << 32n) | 7n;
        writer.write({ type: 11, flags: 0, id, payload: countingBytes(size, index) });
        expect(reader.peek()).toBe(RingRead.Packet);
        reader.copyPacket(packet);
        reader.advance();
        reader.release();

        expect([reader.packetType, reader.idLo, reader.idHi, reader.flags]).toEqual([11, 7, index, 0]);
        expect(packet.bytes.subarray(16, 16 + size)).toEqual(countingBytes(size, index));
      });
    }),
  );
});
