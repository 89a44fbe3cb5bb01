/**
 * One end of a soak: sends numbered packets of random lengths over one ring and checks those that come over the other,
 * both at once, as fast as they go. Every byte of every packet follows from its number, so that a packet that is lost,
 * doubled, reordered or torn shows.
 */
import type { GuestMemory } from '../../src/memory/index.ts';
import { PAGE_BYTES } from '../../src/memory/index.ts';
import { PacketBuffer, RingMemory, RingRead, RingReader, RingWrite, RingWriter } from '../../src/ring/index.ts';

export interface ExchangeShape {
  /** Packets each way. */
  readonly packetCount: number;
  /** Data pages of each ring. */
  readonly dataPages: number;
  /** Take the data pages in an order in which no two are adjacent. */
  readonly isScattered: boolean;
  /** Longest payload, bytes; lengths are random from 8 to this. */
  readonly maxPayloadBytes: number;
  readonly seed: number;
}

export interface ExchangeResult {
  readonly sent: number;
  readonly received: number;
  readonly payloadBytes: number;
  /** Signals that we sent. */
  readonly signals: number;
}

export interface ExchangeEdges {
  /** Rings the other end's doorbell. */
  signal(): void;
  /** Runs `work` soon, after other links had their turn. */
  again(work: () => void): void;
}

/** Packets of each direction in one turn, so that one link does not keep the others waiting. */
const BATCH = 256;

/** Pages that the two rings of a shape take. */
export function pagesOf(shape: ExchangeShape): number {
  return 2 * (shape.dataPages + 1);
}

/** The two rings of a shape, from page 0 on: what the guest sends, and what it receives. */
export function ringsOf(memory: GuestMemory, shape: ExchangeShape): { up: RingMemory; down: RingMemory } {
  const ring = (firstPfn: number): RingMemory => {
    const data = Array.from({ length: shape.dataPages }, (_, index) => firstPfn + 1 + index);
    return RingMemory.overPages(memory, [firstPfn, ...(shape.isScattered ? scatter(data) : data)]);
  };
  return { up: ring(0), down: ring(shape.dataPages + 1) };
}

/** Bytes of memory that a shape takes. */
export function bytesOf(shape: ExchangeShape): number {
  return pagesOf(shape) * PAGE_BYTES;
}

export class Exchange {
  readonly done: Promise<ExchangeResult>;
  readonly #shape: ExchangeShape;
  readonly #edges: ExchangeEdges;
  readonly #writer: RingWriter;
  readonly #reader: RingReader;
  readonly #sending: Numbered;
  readonly #expecting: Numbered;
  readonly #packet = new PacketBuffer(PAGE_BYTES);
  readonly #step = (): void => this.#run();
  #resolve: (result: ExchangeResult) => void = () => {};
  #reject: (error: unknown) => void = () => {};
  #payloadBytes = 0;
  #signals = 0;
  #isQueued = false;
  #isOver = false;

  constructor(
    side: 'guest' | 'host',
    rings: { up: RingMemory; down: RingMemory },
    shape: ExchangeShape,
    edges: ExchangeEdges,
  ) {
    this.#shape = shape;
    this.#edges = edges;
    this.#writer = new RingWriter(side === 'guest' ? rings.up : rings.down);
    this.#reader = new RingReader(side === 'guest' ? rings.down : rings.up);
    const seeds = [shape.seed, shape.seed ^ 0x5bd1e995] as const;
    this.#sending = new Numbered(seeds[side === 'guest' ? 0 : 1], shape.maxPayloadBytes);
    this.#expecting = new Numbered(seeds[side === 'guest' ? 1 : 0], shape.maxPayloadBytes);
    this.done = new Promise((resolve, reject) => {
      this.#resolve = resolve;
      this.#reject = reject;
    });
  }

  /** Call at the start, and whenever the doorbell rang. */
  run(): void {
    if (this.#isQueued || this.#isOver) return;
    this.#isQueued = true;
    this.#edges.again(this.#step);
  }

  #run(): void {
    this.#isQueued = false;
    if (this.#isOver) return;
    try {
      const mayRead = this.#receive();
      const mayWrite = this.#send();
      if (this.#sending.number === this.#shape.packetCount && this.#expecting.number === this.#shape.packetCount) {
        this.#finish();
      } else if (mayRead || mayWrite || this.#reader.unmask()) {
        this.run();
      }
    } catch (error) {
      this.#isOver = true;
      this.#reject(error);
    }
  }

  /** @returns true if there may be more to read now */
  #receive(): boolean {
    const reader = this.#reader;
    if (reader.isMasked === false) reader.mask();
    let count = 0;
    while (count < BATCH && reader.peek() === RingRead.Packet) {
      reader.copyPacket(this.#packet);
      reader.advance();
      this.#payloadBytes += this.#expecting.check(this.#packet, 16, reader.packetBytes - 16);
      count++;
    }
    if (reader.release()) this.#signal();
    return count === BATCH;
  }

  /** @returns true if more could be written now */
  #send(): boolean {
    const sending = this.#sending;
    const left = this.#shape.packetCount - sending.number;
    let count = 0;
    let isFull = false;
    while (count < BATCH && count < left && !isFull) {
      const payloadBytes = sending.fill();
      isFull = this.#writer.stageBuffer(0, sending.number, 0, sending.payload, payloadBytes) === RingWrite.Full;
      if (isFull) break;
      sending.advance();
      count++;
    }
    if (this.#writer.publish()) this.#signal();
    if (isFull) return this.#writer.awaitRoom(16 + sending.payloadBytes);
    return count < left;
  }

  #signal(): void {
    this.#signals++;
    this.#edges.signal();
  }

  #finish(): void {
    this.#isOver = true;
    this.#resolve({
      sent: this.#sending.number,
      received: this.#expecting.number,
      payloadBytes: this.#payloadBytes,
      signals: this.#signals,
    });
  }
}

/** A sequence of packets that both ends can write down: number n always has the same length and bytes. */
class Numbered {
  readonly payload: PacketBuffer;
  number = 0;
  readonly #maxSlots: number;
  #state: number;
  #payloadBytes: number;
  #isFilled = false;

  constructor(seed: number, maxPayloadBytes: number) {
    this.payload = new PacketBuffer(maxPayloadBytes);
    this.#maxSlots = maxPayloadBytes >>> 3;
    this.#state = seed | 1;
    this.#payloadBytes = this.#nextPayloadBytes();
  }

  get payloadBytes(): number {
    return this.#payloadBytes;
  }

  /** Puts the current packet's payload into `payload`. @returns its length in bytes */
  fill(): number {
    if (this.#isFilled) return this.#payloadBytes;
    const words = this.payload.words;
    const count = this.#payloadBytes >>> 2;
    for (let index = 0; index < count; index++) words[index] = wordOf(this.number, index);
    this.#isFilled = true;
    return this.#payloadBytes;
  }

  advance(): void {
    this.number++;
    this.#isFilled = false;
    this.#payloadBytes = this.#nextPayloadBytes();
  }

  /** Compares what came with the current packet, and moves on. @returns its length in bytes */
  check(packet: PacketBuffer, at: number, payloadBytes: number): number {
    if (payloadBytes !== this.#payloadBytes) {
      throw new Error(`packet ${this.number} has ${payloadBytes} payload bytes instead of ${this.#payloadBytes}`);
    }
    const words = packet.words;
    const first = at >>> 2;
    const count = payloadBytes >>> 2;
    for (let index = 0; index < count; index++) {
      if (words[first + index] !== wordOf(this.number, index)) {
        throw new Error(
          `word ${index} of packet ${this.number} is ${words[first + index]} instead of ${wordOf(this.number, index)}`,
        );
      }
    }
    this.advance();
    return payloadBytes;
  }

  #nextPayloadBytes(): number {
    // xorshift32, George Marsaglia, "Xorshift RNGs" (2003).
    let state = this.#state;
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    this.#state = state;
    return 8 * (1 + ((state >>> 0) % this.#maxSlots));
  }
}

function wordOf(number: number, index: number): number {
  return index === 0 ? number | 0 : (Math.imul(number, 0x9e3779b1) + Math.imul(index, 0x85ebca6b)) | 0;
}

/** Odd positions first, backwards: no page lies behind its neighbour. */
function scatter(pfns: readonly number[]): number[] {
  const odd = pfns.filter((_, index) => index % 2 === 1).reverse();
  return [...odd, ...pfns.filter((_, index) => index % 2 === 0).reverse()];
}
