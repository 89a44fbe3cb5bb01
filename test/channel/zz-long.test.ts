/**
 * Whatever happens in whatever order, every send that was accepted completes exactly once, and in the end nothing is
 * left: both channels Disabled, all pages back, nothing in flight.
 */
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { currentIrql, Irql } from '../../src/channel/index.ts';
import {
  endpointOf,
  STATUS_SUCCESS,
  type VmbChannel,
  VmbChannelDisable,
  VmbChannelEnable,
  VmbChannelInitSetMaximumExternalData,
  VmbChannelInitSetProcessPacketCallbacks,
  VmbChannelPacketComplete,
  VmbChannelPacketDeferToPassive,
  VmbChannelPause,
  VmbChannelSendSynchronousRequest,
  VmbChannelSetTransactionQuota,
  VmbChannelStart,
  VmbClientChannelInitSetRingBufferPageCount,
  type VmbPacket,
  type VmbPacketCompletion,
  VmbPacketFree,
  VmbPacketSend,
  VmbPacketSendWithExternalPfns,
} from '../../src/kmcl/index.ts';
import { someClient, somePacket, someServer, type TwoBuses, twoBuses } from '../kmcl/two-endpoints.ts';

type Side = 'client' | 'server';

type Operation =
  | { readonly do: 'send'; readonly side: Side; readonly flags: number; readonly bytes: number; readonly pages: number }
  | { readonly do: 'request'; readonly timeoutMs: number }
  | { readonly do: 'complete'; readonly side: Side; readonly pick: number }
  | { readonly do: 'steps'; readonly count: number }
  | { readonly do: 'time'; readonly ms: number }
  | { readonly do: 'start' | 'pause' | 'enable' | 'disable'; readonly side: Side }
  | { readonly do: 'lose'; readonly side: Side }
  | { readonly do: 'scribble'; readonly page: number; readonly word: number; readonly value: number };

const side = fc.constantFrom<Side>('client', 'server');
const operation: fc.Arbitrary<Operation> = fc.oneof(
  {
    weight: 60,
    arbitrary: fc.record({
      do: fc.constant('send'),
      side,
      flags: fc.constantFrom(0, 1, 1, 1),
      bytes: fc.constantFrom(0, 1, 100, 2000, 4096),
      pages: fc.constantFrom(0, 0, 1, 16),
    }),
  },
  { weight: 40, arbitrary: fc.record({ do: fc.constant('complete'), side, pick: fc.nat(20) }) },
  { weight: 60, arbitrary: fc.record({ do: fc.constant('steps'), count: fc.integer({ min: 1, max: 12 }) }) },
  { weight: 10, arbitrary: fc.record({ do: fc.constant('request'), timeoutMs: fc.constantFrom(0, 1, 5) }) },
  { weight: 5, arbitrary: fc.record({ do: fc.constant('time'), ms: fc.constantFrom(1, 4) }) },
  {
    weight: 20,
    arbitrary: fc.record({ do: fc.constantFrom('start', 'pause', 'enable', 'enable', 'disable'), side }),
  },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('lose'), side }) },
) as fc.Arbitrary<Operation>;

/** Some word of the rings (six pages: control and two of data, twice) takes a value that nobody meant. */
const scribble = fc.record({
  do: fc.constant('scribble' as const),
  page: fc.constantFrom(0, 3, 0, 3, 1, 4),
  word: fc.oneof(fc.constantFrom(0, 1, 2, 3, 16), fc.nat(400)),
  value: fc.oneof(fc.constantFrom(0, 1, 8, 16, 24, 0x1000, 0x1ff8, 0x2000, -1), fc.integer()),
});

/** Both ends, and an account of what was accepted and what came of it. */
class Ledger {
  readonly buses: TwoBuses = twoBuses();
  readonly channels: Readonly<Record<Side, VmbChannel>>;
  readonly held: Readonly<Record<Side, VmbPacketCompletion[]>> = { client: [], server: [] };
  /** How often each accepted send completed, by its number. */
  readonly completions: Readonly<Record<Side, number[]>> = { client: [], server: [] };
  /** Ends that died with the process that they were in; nobody expects anything of them any more. */
  readonly dead = new Set<Side>();
  readonly #sendOf = new Map<VmbPacket, number>();
  requests = 0;
  answers = 0;

  constructor() {
    const client = someClient(this.buses.guestDevice);
    const server = someServer(this.buses.hostDevice);
    this.channels = { client, server };
    // Small rings, so that they are full more often than not.
    VmbClientChannelInitSetRingBufferPageCount(client, 2, 2);
    for (const name of ['client', 'server'] as const) {
      const channel = this.channels[name];
      VmbChannelInitSetMaximumExternalData(channel, 65_536, 4);
      VmbChannelSetTransactionQuota(channel, 5);
      VmbChannelInitSetProcessPacketCallbacks(
        channel,
        (_channel, packet, buffer) => this.#got(name, packet, buffer),
        null,
      );
    }
    this.buses.guest.connect().catch(() => {});
    this.buses.scheduler.run();
  }

  play(op: Operation): void {
    switch (op.do) {
      case 'send':
        this.#send(op.side, op.flags, op.bytes, op.pages);
        return;
      case 'request':
        this.#request(op.timeoutMs);
        return;
      case 'complete':
        this.#complete(op.side, op.pick);
        return;
      case 'steps':
        for (let count = 0; count < op.count; count++) this.buses.scheduler.step();
        return;
      case 'time':
        this.buses.scheduler.advance(op.ms);
        return;
      case 'start':
        VmbChannelStart(this.channels[op.side]);
        return;
      case 'pause':
        void VmbChannelPause(this.channels[op.side]);
        return;
      case 'enable':
        VmbChannelEnable(this.channels[op.side]);
        return;
      case 'disable':
        void VmbChannelDisable(this.channels[op.side]);
        return;
      case 'lose':
        if (this.dead.size > 0) return;
        this.dead.add(op.side);
        if (op.side === 'client') this.buses.loopback.loseGuest('lost');
        else this.buses.loopback.loseHost('lost');
        return;
      case 'scribble': {
        const page = this.buses.memory.page(op.page);
        new Int32Array(page.buffer, page.byteOffset, 1024)[op.word] = op.value;
        return;
      }
    }
  }

  /** Brings everything to its end. */
  finish(): void {
    for (const name of ['client', 'server'] as const) void VmbChannelDisable(this.channels[name]);
    for (let round = 0; round < 100; round++) {
      this.buses.scheduler.run();
      for (const name of ['client', 'server'] as const) while (this.held[name].length > 0) this.#complete(name, 0);
    }
  }

  #send(name: Side, flags: number, bytes: number, pages: number): void {
    const completions = this.completions[name];
    const packet = somePacket(this.channels[name], (own) => {
      const send = this.#sendOf.get(own) as number;
      completions[send] = (completions[send] as number) + 1;
      VmbPacketFree(own);
    });
    this.#sendOf.set(packet, completions.length);
    completions.push(0);
    const payload = new Uint8Array(bytes);
    const status =
      pages > 0 && name === 'client'
        ? VmbPacketSendWithExternalPfns(packet, payload, bytes, new Float64Array(pages).fill(100), pages, 1)
        : VmbPacketSend(packet, payload, bytes, null, flags);
    if (status === STATUS_SUCCESS) return;
    expect(completions.pop()).toBe(0);
    VmbPacketFree(packet);
  }

  #request(timeoutMs: number): void {
    this.requests++;
    const timeout = timeoutMs === 0 ? null : -timeoutMs * 10_000;
    const result = VmbChannelSendSynchronousRequest(this.channels.client, null, 0, null, 1, null, null, timeout);
    if (typeof result === 'number') this.answers++;
    else void result.then(() => this.answers++);
  }

  /** Some are answered at once, some later, some only at PASSIVE. */
  #got(name: Side, packet: VmbPacketCompletion, buffer: Uint8Array): void {
    if (buffer.length % 3 === 0 && currentIrql() === Irql.Dispatch) VmbChannelPacketDeferToPassive(packet);
    else if (this.held[name].length % 4 === 3) VmbChannelPacketComplete(packet, new Uint8Array(600), 600);
    else this.held[name].push(packet);
  }

  #complete(name: Side, pick: number): void {
    const held = this.held[name];
    const [packet] = held.splice(pick % Math.max(held.length, 1), 1);
    if (packet !== undefined) VmbChannelPacketComplete(packet, new Uint8Array(40), 40);
  }
}

/** Plays it all, ends it all, and looks at what is left. */
async function check(operations: readonly Operation[]): Promise<void> {
  const ledger = new Ledger();
  for (const name of ['server', 'client'] as const) ledger.play({ do: 'enable', side: name });
  ledger.play({ do: 'start', side: 'server' });

  for (const op of operations) ledger.play(op);
  ledger.finish();
  await Promise.resolve();
  await Promise.resolve();

  for (const name of (['client', 'server'] as const).filter((one) => !ledger.dead.has(one))) {
    expect(ledger.completions[name].filter((count) => count !== 1)).toEqual([]);
    const endpoint = endpointOf(ledger.channels[name]);
    expect(endpoint.stage).toBe('disabled');
    expect(endpoint.inspect()).toMatchObject({ outgoing: { queued: 0, inFlight: 0 }, incoming: { outstanding: 0 } });
  }
  if (ledger.dead.has('client')) return;
  expect(ledger.answers).toBe(ledger.requests);
  expect(ledger.buses.guest.pages.freePages).toBe(2048);
}

test('every accepted send completes exactly once, and nothing is left behind', async () => {
  await fc.assert(fc.asyncProperty(fc.array(operation, { minLength: 10, maxLength: 250 }), check), { numRuns: 5000 });
});

test('the same while the rings are scribbled over: the channel may end, but nothing is lost and nothing throws', async () => {
  const operations = fc.array(fc.oneof({ weight: 15, arbitrary: operation }, { weight: 1, arbitrary: scribble }), {
    minLength: 10,
    maxLength: 250,
  });

  await fc.assert(fc.asyncProperty(operations, check), { numRuns: 5000 });
});
