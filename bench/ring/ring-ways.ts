/** Ways to move one packet through a ring: staged, published, read, released, all on one thread. */
import { GuestMemory } from '../../src/memory/guest-memory.ts';
import { PacketBuffer } from '../../src/ring/packet-buffer.ts';
import { RingMemory } from '../../src/ring/ring-memory.ts';
import { RingRead, RingReader, type RingReaderOptions } from '../../src/ring/ring-reader.ts';
import { RingWriter } from '../../src/ring/ring-writer.ts';
import { GpaRangeReader } from '../../src/wire/gpa-range.ts';
import type { Way } from '../harness/measure.ts';
import { NaiveRing } from './naive-ring.ts';

const DATA_PAGES = 64;
/** Of every ring here. */
export const DATA_BYTES = DATA_PAGES * 4096;
/** An imported binding is looked up at every use; in a loop this short that shows. */
const PACKET: RingRead = RingRead.Packet;

export type MemoryKind = 'SAB' | 'AB' | 'scattered SAB';

/** Everything that the loops compute ends up here, so that no compiler can leave it out. */
let sink = 0;

/** Reads it, to be printed: proof that the work was done. */
export function sinkValue(): number {
  return sink;
}

function someMemory(kind: MemoryKind): { memory: GuestMemory; pfns: number[] } {
  const memory = GuestMemory.allocate(DATA_PAGES + 1, { shared: kind !== 'AB' });
  const pfns = Array.from({ length: DATA_PAGES + 1 }, (_, index) => index);
  return { memory, pfns: kind === 'scattered SAB' ? pfns.reverse() : pfns };
}

function someEnds(kind: MemoryKind, options?: RingReaderOptions): { writer: RingWriter; reader: RingReader } {
  const { memory, pfns } = someMemory(kind);
  const ring = RingMemory.overPages(memory, pfns);
  return { writer: new RingWriter(ring), reader: new RingReader(ring, options) };
}

function somePayload(byteCount: number): Uint8Array {
  return Uint8Array.from({ length: byteCount }, (_, index) => index * 7);
}

/** The plain way. A batch is all written, then all read; each packet is published and released by itself. */
export function naive(payloadBytes: number, batch: number): Way {
  const { memory } = someMemory('SAB');
  const ring = new NaiveRing(memory.bytes(0, (DATA_PAGES + 1) * 4096));
  const payload = somePayload(payloadBytes);
  let id = 0n;
  return {
    name: 'naive: DataView, BigInt, objects (SAB)',
    run(operations) {
      for (let done = 0; done < operations; done += batch) {
        for (let index = 0; index < batch; index++) {
          if (ring.write({ type: 6, flags: 1, id: id++, payload }) === undefined) throw new Error('full');
        }
        for (let index = 0; index < batch; index++) {
          const packet = ring.read();
          if (packet === undefined) throw new Error('empty');
          sink ^= Number(packet.id & 0xffn) ^ (packet.payload[0] as number);
        }
      }
    },
  };
}

/** Payload copied in, packet copied out to private memory: what devices use. */
export function copying(payloadBytes: number, batch: number, kind: MemoryKind, options?: RingReaderOptions): Way {
  const ends = someEnds(kind, options);
  const payload = somePayload(payloadBytes);
  const packet = new PacketBuffer(payloadBytes + 16);
  let id = 0;
  return {
    name: `stage + copyPacket (${kind}${options?.viewCopyBytes === undefined ? '' : ', through views'})`,
    run(operations) {
      const { writer, reader } = ends;
      let transaction = id;
      let sum = 0;
      for (let done = 0; done < operations; done += batch) {
        for (let index = 0; index < batch; index++) {
          transaction = (transaction + 1) | 0;
          if (writer.stage(1, transaction, 0, payload, payloadBytes) !== 0) throw new Error('full');
        }
        writer.publish();
        for (let index = 0; index < batch; index++) {
          if (reader.peek() !== PACKET) throw new Error('empty');
          reader.copyPacket(packet);
          sum ^= reader.idLo ^ (packet.words[4] as number);
          reader.advance();
        }
        reader.release();
      }
      id = transaction;
      sink ^= sum;
    },
  };
}

/** The same with the payload in an aligned buffer. */
export function copyingAligned(payloadBytes: number, batch: number, kind: MemoryKind): Way {
  const ends = someEnds(kind);
  const payload = new PacketBuffer(payloadBytes);
  payload.bytes.set(somePayload(payloadBytes));
  const packet = new PacketBuffer(payloadBytes + 16);
  let id = 0;
  return {
    name: `stageBuffer + copyPacket (${kind})`,
    run(operations) {
      const { writer, reader } = ends;
      let transaction = id;
      let sum = 0;
      for (let done = 0; done < operations; done += batch) {
        for (let index = 0; index < batch; index++) {
          transaction = (transaction + 1) | 0;
          if (writer.stageBuffer(1, transaction, 0, payload, payloadBytes) !== 0) throw new Error('full');
        }
        writer.publish();
        for (let index = 0; index < batch; index++) {
          if (reader.peek() !== PACKET) throw new Error('empty');
          reader.copyPacket(packet);
          sum ^= reader.idLo ^ (packet.words[4] as number);
          reader.advance();
        }
        reader.release();
      }
      id = transaction;
      sink ^= sum;
    },
  };
}

/**
 * The descriptor of a transfer: page frame numbers staged, copied out, and each one looked at.
 * @param pfnCount pages; 256 are 1 MiB
 */
export function pageList(pfnCount: number, batch: number, kind: MemoryKind): Way {
  const ends = someEnds(kind);
  const pfns = Array.from({ length: pfnCount }, (_, index) => 1000 + index * 3);
  const request = somePayload(52);
  const packet = new PacketBuffer(0);
  const ranges = new GpaRangeReader();
  let id = 0;
  return {
    name: `stagePfns + copyPacket + GpaRangeReader (${kind})`,
    run(operations) {
      const { writer, reader } = ends;
      let transaction = id;
      let sum = 0;
      for (let done = 0; done < operations; done += batch) {
        for (let index = 0; index < batch; index++) {
          transaction = (transaction + 1) | 0;
          if (writer.stagePfns(transaction, 0, pfns, pfnCount, request, 52) !== 0) throw new Error('full');
        }
        writer.publish();
        for (let index = 0; index < batch; index++) {
          if (reader.peek() !== PACKET) throw new Error('empty');
          reader.copyPacket(packet);
          ranges.start(packet.words, 24, reader.dataOffset8 * 8, reader.rangeCount);
          while (ranges.next()) for (let page = 0; page < ranges.pfnCount; page++) sum ^= ranges.pfn(page);
          reader.advance();
        }
        reader.release();
      }
      id = transaction;
      sink ^= sum;
    },
  };
}

/** The same without the copy: for a peer that is trusted not to change it. */
export function pageListInPlace(pfnCount: number, batch: number, kind: MemoryKind): Way {
  const ends = someEnds(kind);
  const pfns = Array.from({ length: pfnCount }, (_, index) => 1000 + index * 3);
  const request = somePayload(52);
  const ranges = new GpaRangeReader();
  let id = 0;
  return {
    name: `stagePfns + locatePacket + GpaRangeReader (${kind})`,
    run(operations) {
      const { writer, reader } = ends;
      let transaction = id;
      let sum = 0;
      for (let done = 0; done < operations; done += batch) {
        for (let index = 0; index < batch; index++) {
          transaction = (transaction + 1) | 0;
          if (writer.stagePfns(transaction, 0, pfns, pfnCount, request, 52) !== 0) throw new Error('full');
        }
        writer.publish();
        for (let index = 0; index < batch; index++) {
          if (reader.peek() !== PACKET) throw new Error('empty');
          const at = reader.locatePacket();
          ranges.start(reader.areaWords, at + 24, at + reader.dataOffset8 * 8, reader.rangeCount);
          while (ranges.next()) for (let page = 0; page < ranges.pfnCount; page++) sum ^= ranges.pfn(page);
          reader.advance();
        }
        reader.release();
      }
      id = transaction;
      sink ^= sum;
    },
  };
}

/** What a transfer's data cost to copy out of the pages that the descriptor names, contiguous ones. */
export function copyOut(pageCount: number, kind: 'SAB' | 'AB', how: 'in one' | 'page by page'): Way {
  const memory = GuestMemory.allocate(pageCount, { shared: kind === 'SAB' });
  const target = new Uint8Array(pageCount * 4096);
  const whole = memory.bytes(0, target.length);
  whole.fill(7);
  return {
    name: `Uint8Array.set, ${how} (${kind})`,
    run(operations) {
      for (let done = 0; done < operations; done++) {
        if (how === 'in one') target.set(whole);
        else for (let pfn = 0; pfn < pageCount; pfn++) target.set(memory.page(pfn), pfn * 4096);
        sink ^= target[done & 0xfffff] as number;
      }
    },
  };
}

/** The same the plain way: numbers to BigInt and back. */
export function naivePageList(pfnCount: number, batch: number): Way {
  const { memory } = someMemory('SAB');
  const ring = new NaiveRing(memory.bytes(0, (DATA_PAGES + 1) * 4096));
  const pfns = Array.from({ length: pfnCount }, (_, index) => 1000 + index * 3);
  let id = 0n;
  return {
    name: 'naive: BigUint64Array, objects (SAB)',
    run(operations) {
      for (let done = 0; done < operations; done += batch) {
        for (let index = 0; index < batch; index++) {
          const list = BigUint64Array.from(pfns, BigInt);
          if (ring.write({ type: 6, flags: 1, id: id++, payload: new Uint8Array(list.buffer) }) === undefined) {
            throw new Error('full');
          }
        }
        for (let index = 0; index < batch; index++) {
          const packet = ring.read();
          if (packet === undefined) throw new Error('empty');
          const { buffer, byteOffset } = packet.payload;
          for (const pfn of new BigUint64Array(buffer, byteOffset, pfnCount)) sink ^= Number(pfn);
        }
      }
    },
  };
}

/** Written where it goes, read where it lies: every payload word stored and loaded once. */
export function inPlace(payloadBytes: number, batch: number, kind: MemoryKind): Way {
  const ends = someEnds(kind);
  let id = 0;
  return {
    name: `reserve + locatePacket (${kind})`,
    run(operations) {
      const { writer, reader } = ends;
      // Captured numbers are stored by way of a float: these are ours alone to keep out of the loop.
      const packetBytes = 16 + payloadBytes;
      const descriptor0 = 6 | (2 << 16);
      const descriptor1 = (packetBytes >>> 3) | (1 << 16);
      let transaction = id;
      let sum = 0;
      for (let done = 0; done < operations; done += batch) {
        for (let index = 0; index < batch; index++) {
          transaction = (transaction + 1) | 0;
          if (writer.reserve(packetBytes) !== 0) throw new Error('full');
          const words = writer.areaWords;
          const at = writer.areaAt >>> 2;
          const end = at + (packetBytes >>> 2);
          words[at] = descriptor0;
          words[at + 1] = descriptor1;
          words[at + 2] = transaction;
          words[at + 3] = 0;
          for (let word = at + 4; word < end; word++) words[word] = word;
          writer.commit();
        }
        writer.publish();
        for (let index = 0; index < batch; index++) {
          if (reader.peek() !== PACKET) throw new Error('empty');
          const at = (reader.locatePacket() >>> 2) + 4;
          const words = reader.areaWords;
          const end = at + (payloadBytes >>> 2);
          sum ^= reader.idLo;
          for (let word = at; word < end; word++) sum ^= words[word] as number;
          reader.advance();
        }
        reader.release();
      }
      id = transaction;
      sink ^= sum;
    },
  };
}

/** Copied in, read where it lies: one word of each 64 bytes, as a parser would. */
export function zeroCopyRead(payloadBytes: number, batch: number, kind: MemoryKind): Way {
  const ends = someEnds(kind);
  const payload = somePayload(payloadBytes);
  let id = 0;
  return {
    name: `stage + locatePacket (${kind})`,
    run(operations) {
      const { writer, reader } = ends;
      let transaction = id;
      let sum = 0;
      for (let done = 0; done < operations; done += batch) {
        for (let index = 0; index < batch; index++) {
          transaction = (transaction + 1) | 0;
          if (writer.stage(1, transaction, 0, payload, payloadBytes) !== 0) throw new Error('full');
        }
        writer.publish();
        for (let index = 0; index < batch; index++) {
          if (reader.peek() !== PACKET) throw new Error('empty');
          const at = (reader.locatePacket() >>> 2) + 4;
          const words = reader.areaWords;
          const end = at + (payloadBytes >>> 2);
          sum ^= reader.idLo;
          for (let word = at; word < end; word += 16) sum ^= words[word] as number;
          reader.advance();
        }
        reader.release();
      }
      id = transaction;
      sink ^= sum;
    },
  };
}
