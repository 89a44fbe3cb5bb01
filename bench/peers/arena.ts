/** Memory that two threads or two processes share: a ring each way, and a page of words for the bench itself. */
import { PacketBuffer } from '../../src/ring/packet-buffer.ts';
import { RingMemory } from '../../src/ring/ring-memory.ts';
import { RingRead, RingReader } from '../../src/ring/ring-reader.ts';
import { RingWriter } from '../../src/ring/ring-writer.ts';

const PAGE_BYTES = 4096;
const DATA_PAGES = 64;
const RING_PAGES = DATA_PAGES + 1;
const EMPTY: RingRead = RingRead.Empty;
/** Longer packets are copied out through views. */
const VIEW_COPY_BYTES = 384;

export const DATA_BYTES = DATA_PAGES * PAGE_BYTES;
export const ARENA_PAGES = 2 * RING_PAGES + 1;

/** Indexes of words, each on a cache line of its own. */
export const Word = { Ready: 0, Done: 16, Bad: 32, WakeBench: 48, WakePeer: 64 } as const;

/** How an end waits for a packet. */
export type Patience = 'spin' | 'spin, then Atomics.wait' | 'Atomics.wait at once';

/** Looks before a wait: some 20 us. */
const SPIN_LOOKS = 2_000;
/** Whatever goes wrong in the other half must not keep this one busy for ever. */
const DEADLINE_MS = 20_000;

/** The bench holds one side, its peer the other. */
export class Arena {
  readonly words: Int32Array;
  readonly writer: RingWriter;
  readonly reader: RingReader;
  readonly packet = new PacketBuffer(8192);
  readonly #payload = new PacketBuffer(8192);
  readonly #ownWake: number;
  readonly #peerWake: number;

  /** @param bytes `ARENA_PAGES` pages; zero when the first side opens them */
  constructor(bytes: Uint8Array, side: 'bench' | 'peer') {
    const ring = (index: number): RingMemory =>
      RingMemory.over(bytes.subarray(index * RING_PAGES * PAGE_BYTES, (index + 1) * RING_PAGES * PAGE_BYTES));
    const own = side === 'bench' ? 0 : 1;
    this.writer = new RingWriter(ring(own));
    this.reader = new RingReader(ring(1 - own), { viewCopyBytes: VIEW_COPY_BYTES });
    this.words = new Int32Array(bytes.buffer, bytes.byteOffset + 2 * RING_PAGES * PAGE_BYTES, PAGE_BYTES / 4);
    this.#ownWake = side === 'bench' ? Word.WakeBench : Word.WakePeer;
    this.#peerWake = side === 'bench' ? Word.WakePeer : Word.WakeBench;
    this.#payload.bytes.fill(7);
  }

  /** Waits, looking, until a word has a value. */
  spinUntil(word: number, value: number): void {
    const untilMs = performance.now() + DEADLINE_MS;
    for (;;) {
      for (let look = 0; look < 100_000; look++) if (Atomics.load(this.words, word) === value) return;
      if (performance.now() > untilMs) throw new Error(`word ${word} stays ${this.words[word]}, not ${value}`);
    }
  }

  /** @param batch packets per publication */
  sendAll(count: number, payloadBytes: number, batch: number): void {
    const { writer } = this;
    const payload = this.#payload;
    let sincePublished = 0;
    const untilMs = performance.now() + DEADLINE_MS;
    for (let id = 0; id < count; id++) {
      let looks = 0;
      while (writer.stageBuffer(0, id, 0, payload, payloadBytes) !== 0) {
        writer.publish();
        if ((++looks & 0xfffff) === 0 && performance.now() > untilMs) throw new Error(`nobody reads packet ${id}`);
      }
      if (++sincePublished < batch) continue;
      sincePublished = 0;
      writer.publish();
    }
    writer.publish();
  }

  /** Room goes back packet by packet with `batch` 1, else per eighth of the ring. @returns packets out of order */
  receiveAll(count: number, batch: number): number {
    const { reader, packet } = this;
    const releaseBytes = batch === 1 ? 1 : DATA_BYTES >>> 3;
    let bad = 0;
    for (let want = 0; want < count; ) {
      if (reader.peek() === EMPTY) {
        reader.release();
        continue;
      }
      reader.copyPacket(packet);
      if (packet.words[2] !== want) bad++;
      want++;
      reader.advance();
      if (reader.unreleasedBytes >= releaseBytes) reader.release();
    }
    reader.release();
    return bad;
  }

  /** One packet, published, the other end woken if it asked for that. */
  sendOne(id: number, payloadBytes: number): void {
    while (this.writer.stageBuffer(0, id, 0, this.#payload, payloadBytes) !== 0);
    if (!this.writer.publish()) return;
    Atomics.store(this.words, this.#peerWake, 1);
    Atomics.notify(this.words, this.#peerWake);
  }

  /** Waits for one packet and takes it. @returns its id */
  receiveOne(patience: Patience): number {
    const { reader, packet } = this;
    let looks = patience === 'Atomics.wait at once' ? SPIN_LOOKS : 0;
    while (reader.peek() === EMPTY) {
      if (patience === 'spin' || looks++ < SPIN_LOOKS) continue;
      Atomics.store(this.words, this.#ownWake, 0);
      if (reader.unmask()) continue;
      Atomics.wait(this.words, this.#ownWake, 0);
      reader.mask();
      looks = patience === 'Atomics.wait at once' ? SPIN_LOOKS : 0;
    }
    reader.copyPacket(packet);
    const id = reader.idLo;
    reader.advance();
    reader.release();
    return id;
  }

  /** The other half of round trips. */
  echoAll(count: number, payloadBytes: number, patience: Patience): void {
    for (let turn = 0; turn < count; turn++) this.sendOne(this.receiveOne(patience), payloadBytes);
  }

  /** @param times filled, nanoseconds each */
  timeRoundTrips(times: Float64Array, payloadBytes: number, patience: Patience): void {
    for (let turn = 0; turn < times.length; turn++) {
      const begin = process.hrtime.bigint();
      this.sendOne(turn, payloadBytes);
      const id = this.receiveOne(patience);
      times[turn] = Number(process.hrtime.bigint() - begin);
      if (id !== turn) throw new Error(`answer ${id} to ${turn}`);
    }
  }
}
