/**
 * Both faces under random calls and random interleavings, beside a model that only counts: every request ends exactly
 * once, with its own answer or a reason; every packet is delivered at most once; nothing is left behind.
 */
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { Bus, type GuestChannel, type HostChannel, type Packet, VmbusError } from '../../src/index.ts';
import { GuestMemory } from '../../src/memory/index.ts';
import { createLoopback } from '../../src/transports/loopback/index.ts';
import { StepScheduler } from '../peers/step-scheduler.ts';
import { eight, someOffer } from './two-ends.ts';

const QUOTA = 3;

type Move =
  | { readonly do: 'open' | 'closeGuest' | 'pauseGuest' | 'resumeGuest' | 'pauseHost' | 'resumeHost' | 'share' }
  | { readonly do: 'request'; readonly pages: number; readonly timeoutMs: number | undefined }
  | { readonly do: 'abort' | 'complete' | 'fail'; readonly which: number }
  | { readonly do: 'send'; readonly from: 'guest' | 'host'; readonly count: number }
  | { readonly do: 'advance'; readonly ms: number };

const plainMove = (name: 'open' | 'closeGuest' | 'pauseGuest' | 'resumeGuest' | 'pauseHost' | 'resumeHost' | 'share') =>
  fc.constant<Move>({ do: name });

const move: fc.Arbitrary<Move> = fc.oneof(
  { weight: 3, arbitrary: plainMove('open') },
  { weight: 1, arbitrary: plainMove('closeGuest') },
  { weight: 1, arbitrary: plainMove('pauseGuest') },
  { weight: 2, arbitrary: plainMove('resumeGuest') },
  { weight: 1, arbitrary: plainMove('pauseHost') },
  { weight: 2, arbitrary: plainMove('resumeHost') },
  { weight: 1, arbitrary: plainMove('share') },
  {
    weight: 8,
    arbitrary: fc.record({
      do: fc.constant('request' as const),
      pages: fc.nat(4),
      timeoutMs: fc.option(fc.nat(50), { nil: undefined }),
    }),
  },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('abort' as const), which: fc.nat(20) }) },
  { weight: 8, arbitrary: fc.record({ do: fc.constant('complete' as const), which: fc.nat(20) }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('fail' as const), which: fc.nat(20) }) },
  {
    weight: 4,
    arbitrary: fc.record({
      do: fc.constant('send' as const),
      from: fc.constantFrom('guest' as const, 'host' as const),
      count: fc.integer({ min: 1, max: 12 }),
    }),
  },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('advance' as const), ms: fc.nat(60) }) },
);

interface Issued {
  endings: number;
  answer: number | undefined;
  releases: number;
  readonly abort: AbortController;
}

/** Ids travel in the first four bytes. */
function withId(id: number): Uint8Array {
  const bytes = eight();
  new DataView(bytes.buffer).setUint32(0, id, true);
  return bytes;
}

function idOf(bytes: Uint8Array): number {
  return new DataView(bytes.buffer, bytes.byteOffset).getUint32(0, true);
}

/** Only the refusals that a caller must expect. */
function mayThrow(work: () => void): void {
  try {
    work();
  } catch (error) {
    if (!(error instanceof VmbusError)) throw error;
  }
}

function ignore(promise: Promise<unknown>): void {
  promise.catch((error: unknown) => {
    if (!(error instanceof VmbusError)) throw error;
  });
}

class Walk {
  readonly scheduler = new StepScheduler();
  readonly loopback = createLoopback({ memory: GuestMemory.allocate(256), scheduler: this.scheduler });
  readonly host = Bus.host(this.loopback.host);
  readonly server: HostChannel = someOffer(this.host, { maxHeldPackets: QUOTA });
  readonly issued = new Map<number, Issued>();
  /** How often each id came out at the other end, and how often it was completed. */
  readonly delivered = new Map<number, number>();
  readonly completed = new Set<number>();
  readonly held: Packet[] = [];
  readonly serving = this.#serve();
  mostHeld = 0;
  client: GuestChannel | undefined;
  isOpening = false;
  #nextId = 1;

  async #serve(): Promise<void> {
    while (await this.server.opened()) {
      for await (const packet of this.server) {
        this.#deliver(packet.bytes);
        this.held.push(packet);
        this.mostHeld = Math.max(this.mostHeld, this.held.length);
      }
    }
  }

  #deliver(bytes: Uint8Array): void {
    const id = idOf(bytes);
    this.delivered.set(id, (this.delivered.get(id) ?? 0) + 1);
  }

  async take(client: GuestChannel): Promise<void> {
    for await (using packet of client) this.#deliver(packet.bytes);
  }

  request(pages: number, timeoutMs: number | undefined): void {
    const { client } = this;
    if (client === undefined) return;
    const id = this.#nextId++;
    const abort = new AbortController();
    const issued: Issued = { endings: 0, answer: undefined, releases: 0, abort };
    this.issued.set(id, issued);
    const request = client.request(withId(id), {
      signal: abort.signal,
      ...(timeoutMs === undefined ? {} : { timeoutMs }),
      ...(pages === 0 ? {} : { pfns: Array.from({ length: pages }, (_, page) => page) }),
    });
    request.then(
      (reply) => {
        issued.endings++;
        issued.answer = idOf(reply);
      },
      (error: unknown) => {
        issued.endings++;
        if (!(error instanceof VmbusError) && error !== abort.signal.reason) throw error;
      },
    );
    void request.released.then(() => {
      issued.releases++;
    });
  }

  send(channel: GuestChannel | HostChannel | undefined, count: number): void {
    for (let index = 0; index < count; index++) mayThrow(() => channel?.send(withId(this.#nextId++)));
  }

  async open(): Promise<void> {
    if (this.isOpening || this.client?.isOpen === true) return;
    this.isOpening = true;
    try {
      const offer = await this.bus.findOffer({});
      const client = await offer.open({ maxExternalBytes: 65536, outgoingRingPages: 1, incomingRingPages: 1 });
      this.client = client;
      void this.take(client);
    } catch (error) {
      if (!(error instanceof VmbusError)) throw error;
    } finally {
      this.isOpening = false;
    }
  }

  get bus(): Awaited<ReturnType<typeof Bus.guest>> {
    if (this.#bus === undefined) throw new Error('not connected');
    return this.#bus;
  }

  #bus: Awaited<ReturnType<typeof Bus.guest>> | undefined;

  async connect(): Promise<void> {
    const bus = Bus.guest(this.loopback.guest);
    await this.scheduler.settle();
    this.#bus = await bus;
    await this.scheduler.settle();
  }

  move(move: Move): void {
    switch (move.do) {
      case 'open':
        void this.open();
        return;
      case 'closeGuest':
        if (this.client !== undefined) ignore(this.client.close());
        return;
      case 'pauseGuest':
        if (this.client !== undefined) ignore(this.client.pause());
        return;
      case 'resumeGuest':
        mayThrow(() => this.client?.resume());
        return;
      case 'pauseHost':
        ignore(this.server.pause());
        return;
      case 'resumeHost':
        mayThrow(() => this.server.resume());
        return;
      case 'share':
        if (this.client !== undefined) ignore(this.client.createGpadl({ pfns: [1, 2, 3] }));
        return;
      case 'request':
        this.request(move.pages, move.timeoutMs);
        return;
      case 'abort': {
        const all = [...this.issued.values()];
        all[move.which % Math.max(all.length, 1)]?.abort.abort();
        return;
      }
      case 'complete':
        this.complete(move.which);
        return;
      case 'fail': {
        const [packet] = this.held.splice(move.which % Math.max(this.held.length, 1), 1);
        packet?.fail();
        return;
      }
      case 'send':
        this.send(move.from === 'guest' ? this.client : this.server, move.count);
        return;
      case 'advance':
        this.scheduler.advance(move.ms);
        return;
    }
  }

  complete(which: number): void {
    const [packet] = this.held.splice(which % Math.max(this.held.length, 1), 1);
    if (packet === undefined) return;
    const id = idOf(packet.bytes);
    expect(this.completed.has(id)).toBe(false);
    this.completed.add(id);
    packet.complete(packet.bytes);
  }

  /** Some pieces of work, with the microtasks between them. */
  async steps(count: number): Promise<void> {
    for (let step = 0; step < count; step++) {
      this.scheduler.step();
      await Promise.resolve();
      await Promise.resolve();
    }
  }

  /** Lets everything go and waits for the end. */
  async end(): Promise<void> {
    const closed = this.host.close();
    for (let round = 0; round < 20; round++) {
      await this.scheduler.settle();
      while (this.held.length > 0) this.complete(0);
    }
    await closed;
    const disconnected = this.bus.disconnect();
    await this.scheduler.settle();
    await disconnected;
    await this.serving;
    await this.scheduler.settle();
  }
}

/** Some let the two ends come to rest, most do not. */
const steps = fc.oneof({ weight: 3, arbitrary: fc.nat(8) }, { weight: 1, arbitrary: fc.nat(100) });
const turns = fc.array(fc.tuple(move, steps), { minLength: 20, maxLength: 120, size: 'max' });

test('requests end exactly once with their own answer, packets come at most once, and nothing is left', async () => {
  const reached = { answered: 0, ended: 0, delivered: 0 };
  await fc.assert(
    fc.asyncProperty(turns, async (moves) => {
      const walk = new Walk();
      await walk.connect();
      const { freePages } = walk.bus.pages;

      for (const [next, stepCount] of moves) {
        walk.move(next);
        await walk.steps(stepCount);
      }
      await walk.end();

      for (const [id, { endings, answer, releases }] of walk.issued) {
        expect([id, endings, releases]).toEqual([id, 1, 1]);
        if (answer !== undefined) {
          expect([answer, walk.delivered.get(id), walk.completed.has(id)]).toEqual([id, 1, true]);
          reached.answered++;
        } else {
          reached.ended++;
        }
      }
      for (const [id, count] of walk.delivered) expect([id, count]).toEqual([id, 1]);
      reached.delivered += walk.delivered.size;
      expect(walk.mostHeld).toBeLessThanOrEqual(QUOTA);
      expect(walk.bus.pages.freePages).toBe(freePages);
      expect(walk.bus.vmbus.bus.inspect().gpadlCount).toBe(0);
      expect([walk.bus.channels, walk.host.channels]).toEqual([[], []]);
    }),
    { numRuns: 400 },
  );
  // The walk is worth nothing if it never gets anywhere.
  expect(Object.values(reached).every((count) => count > 100)).toBe(true);
}, 120_000);

test('while a channel stays open and runs, every packet sent comes exactly once and in order', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.tuple(fc.integer({ min: 1, max: 40 }), fc.nat(20)), { maxLength: 30 }),
      async (bursts) => {
        const walk = new Walk();
        await walk.connect();
        void walk.open();
        await walk.scheduler.settle();
        let sent = 0;

        for (const [count, steps] of bursts) {
          walk.send(walk.client, count);
          sent += count;
          walk.complete(0);
          await walk.steps(steps);
        }
        while (walk.held.length > 0 || walk.delivered.size < sent) {
          walk.complete(0);
          await walk.steps(4);
        }

        expect([...walk.delivered]).toEqual(Array.from({ length: sent }, (_, index) => [index + 1, 1]));
        await walk.end();
      },
    ),
    { numRuns: 50 },
  );
}, 120_000);
