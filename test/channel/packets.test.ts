/** What the packet path promises beyond KMCL's rules: batches, doorbells, counters, gates, taps. */
import { describe, expect, test } from 'vitest';
import { MmioSpace } from '../../src/channel/guest/mmio-space.ts';
import {
  endpointOf,
  out,
  STATUS_INVALID_BUFFER_SIZE,
  STATUS_SUCCESS,
  VmbChannelDisable,
  VmbChannelEnable,
  VmbChannelInitSetMaximumPacketSize,
  VmbChannelPacketComplete,
  VmbChannelPacketGetExternalData,
  VmbChannelPause,
  VmbChannelStart,
  VmbClientChannelInitSetRingBufferPageCount,
  VmbPacketSend,
  VmbPacketSendWithExternalPfns,
} from '../../src/kmcl/index.ts';
import type { Mdl } from '../../src/memory/index.ts';
import {
  connectedBuses,
  hex,
  nth,
  sentPackets,
  someClient,
  somePacket,
  someServer,
  type TwoEndpoints,
  twoEndpoints,
} from '../kmcl/two-endpoints.ts';

const WAIT = 1;

/** The control page of a ring: write index, read index. The rings are the guest's first pages. */
function indexesOf(t: TwoEndpoints, page: number): { in: number; out: number } {
  const words = new Int32Array(t.memory.page(page).buffer, t.memory.page(page).byteOffset, 2);
  return { in: words[0] as number, out: words[1] as number };
}

describe('batches and doorbells', () => {
  test('what is sent between beginBatch and endBatch becomes visible at once, with one doorbell', async () => {
    const t = await twoEndpoints();
    const endpoint = endpointOf(t.client);
    const before = endpoint.statistics.doorbellsRung;

    endpoint.beginBatch();
    for (let count = 0; count < 10; count++) VmbPacketSend(t.packet(), new Uint8Array(8), 8, null, WAIT);
    expect(indexesOf(t, 0).in).toBe(0);
    expect(t.scheduler.ready).toBe(0);
    endpoint.endBatch();

    expect(indexesOf(t, 0).in).toBe(10 * 32);
    expect(endpoint.statistics.doorbellsRung - before).toBe(1);
    await t.settle();
    expect(t.received).toHaveLength(10);
  });

  test('sends one by one ring once while the reader has not looked', async () => {
    const t = await twoEndpoints();
    const before = endpointOf(t.client).statistics.doorbellsRung;

    for (let count = 0; count < 10; count++) VmbPacketSend(t.packet(), null, 0, null, WAIT);

    expect(endpointOf(t.client).statistics.doorbellsRung - before).toBe(1);
  });

  test('a batch of packets answered in-line is read and answered with one doorbell, both indexes moved once', async () => {
    const t = await twoEndpoints({
      onServerPacket: (_c, packet) => {
        seen.push({ read: indexesOf(t, 0).out, answered: indexesOf(t, 5).in });
        VmbChannelPacketComplete(packet, null, 0);
      },
    });
    const seen: { read: number; answered: number }[] = [];
    const before = endpointOf(t.server).statistics.doorbellsRung;
    for (let count = 0; count < 10; count++) VmbPacketSend(t.packet(), null, 0, null, WAIT);

    t.scheduler.step();

    expect(seen).toEqual(Array(10).fill({ read: 0, answered: 0 }));
    expect(indexesOf(t, 0).out).toBe(10 * 24);
    expect(indexesOf(t, 5).in).toBe(10 * 24);
    expect(endpointOf(t.server).statistics.doorbellsRung - before).toBe(1);
  });

  test('a round trip costs one doorbell each way', async () => {
    const t = await twoEndpoints({ onServerPacket: (_c, packet) => VmbChannelPacketComplete(packet, null, 0) });
    const counts = (): number[] => [t.client, t.server].map((channel) => endpointOf(channel).statistics.doorbellsRung);
    const before = counts();

    for (let trip = 0; trip < 20; trip++) {
      VmbPacketSend(t.packet(), null, 0, null, WAIT);
      t.scheduler.run();
    }

    expect(t.completions).toHaveLength(20);
    expect(counts().map((count, index) => count - nth(before, index))).toEqual([20, 20]);
  });
});

test('the counters of one transaction are exact', async () => {
  const t = await twoEndpoints();
  VmbPacketSendWithExternalPfns(t.packet(), hex('000102030405060708090a0b'), 12, [700, 701, 702], 3, WAIT);
  await t.settle();
  VmbChannelPacketGetExternalData(nth(t.received, 0).packet, 0, out<Mdl>());
  VmbChannelPacketComplete(nth(t.received, 0).packet, new Uint8Array(20), 20);
  await t.settle();

  expect(endpointOf(t.client).statistics).toEqual({
    packetsSent: 1,
    packetsReceived: 0,
    completionsSent: 0,
    completionsReceived: 1,
    packetsQueued: 0,
    doorbellsRung: 1,
    doorbellsReceived: 1,
    ringBytesSent: 80,
    ringBytesReceived: 48,
    payloadBytesSent: 12,
    payloadBytesReceived: 0,
    externalBytesSent: 12_288,
    externalBytesReceived: 0,
    packetsSkipped: 0,
  });
  expect(endpointOf(t.server).statistics).toMatchObject({
    packetsReceived: 1,
    completionsSent: 1,
    ringBytesReceived: 80,
    ringBytesSent: 48,
    payloadBytesReceived: 16,
    payloadBytesSent: 20,
    externalBytesReceived: 12_288,
  });
});

test('a packet queued before open that the guest’s ring cannot take completes with STATUS_INVALID_BUFFER_SIZE', async () => {
  const buses = await connectedBuses();
  const server = someServer(buses.hostDevice);
  VmbChannelInitSetMaximumPacketSize(server, 10_000);
  const client = someClient(buses.guestDevice);
  VmbClientChannelInitSetRingBufferPageCount(client, 1, 4);
  const statuses: number[] = [];
  VmbChannelEnable(server);
  VmbChannelStart(server);
  for (const bytes of [9000, 8]) {
    const packet = somePacket(server, (_packet, status) => statuses.push(status));
    expect(VmbPacketSend(packet, new Uint8Array(bytes), bytes, null, 0)).toBe(STATUS_SUCCESS);
  }

  VmbChannelEnable(client);
  await buses.scheduler.settle();

  expect(statuses).toEqual([STATUS_INVALID_BUFFER_SIZE, STATUS_SUCCESS]);
});

test('while a channel pauses its queued data stays, and the completions it owes go out', async () => {
  const t = await twoEndpoints({
    startServer: false,
    setUpClient: (channel) => VmbClientChannelInitSetRingBufferPageCount(channel, 4, 1),
  });
  const answers: number[] = [];
  VmbChannelStart(t.server);
  await t.settle();
  VmbPacketSend(
    somePacket(t.server, (_packet, status) => answers.push(status)),
    null,
    0,
    null,
    WAIT,
  );
  await t.settle();
  const serverPaused = VmbChannelPause(t.server);
  await t.settle();
  await serverPaused;
  while (endpointOf(t.client).statistics.packetsQueued < 2) {
    VmbPacketSend(t.packet(), new Uint8Array(500), 500, null, WAIT);
  }
  let isPaused = false;
  VmbChannelPause(t.client).then(() => {
    isPaused = true;
  });
  await t.settle();
  expect(isPaused).toBe(false);

  VmbChannelPacketComplete(nth(t.clientReceived, 0).packet, null, 0);
  VmbChannelStart(t.server);
  await t.settle();

  expect(isPaused).toBe(true);
  expect(answers).toEqual([STATUS_SUCCESS]);
  expect(endpointOf(t.client).inspect()).toMatchObject({ outgoing: { queued: 2 } });
  VmbChannelStart(t.client);
  await t.settle();
  expect(endpointOf(t.client).inspect()).toMatchObject({ outgoing: { queued: 0 } });
});

test('a tap sees each packet of both directions, and each step of the channel’s life', async () => {
  const t = await twoEndpoints();
  const seen: string[] = [];
  const hexOf = (bytes: Uint8Array, at: number, length: number): string =>
    Buffer.from(bytes.slice(at, at + length)).toString('hex');
  endpointOf(t.client).tap = {
    packetSent: (_c, bytes, at, length) => seen.push(`> ${hexOf(bytes, at, length)}`),
    packetReceived: (_c, bytes, at, length) => seen.push(`< ${hexOf(bytes, at, length)}`),
    stateChanged: (_c, from, to) => seen.push(`${from} to ${to}`),
  };

  VmbPacketSend(t.packet(), hex('01'), 1, null, WAIT);
  await t.settle();
  VmbChannelPacketComplete(nth(t.received, 0).packet, hex('02'), 1);
  await t.settle();
  const disabled = VmbChannelDisable(t.client);
  await t.settle();
  await disabled;

  expect(seen).toEqual([
    '> 060002000300010001000000000000000100000000000000',
    '< 0b0002000300000001000000000000000200000000000000',
    'active to suspending',
    'suspending to draining',
    'draining to closing',
    'closing to parting',
    'parting to disabled',
  ]);
});

test('a tap that is taken off sees nothing more', async () => {
  const t = await twoEndpoints();
  const sent = sentPackets(t.client);
  VmbPacketSend(t.packet(), null, 0, null, WAIT);

  endpointOf(t.client).tap = null;
  VmbPacketSend(t.packet(), null, 0, null, WAIT);

  expect(sent).toHaveLength(1);
});

test('inspect shows a channel as a plain tree', async () => {
  const t = await twoEndpoints();
  VmbPacketSend(t.packet(), null, 0, null, WAIT);
  await t.settle();

  expect(structuredClone(endpointOf(t.server).inspect())).toMatchObject({
    role: 'host',
    state: { at: 'active' },
    relid: 1,
    incoming: { outstanding: 1, isParked: false },
    side: { offer: { state: 'open' } },
  });
  expect(structuredClone(t.guest.inspect())).toMatchObject({ channels: [{ role: 'guest', side: { state: 'open' } }] });
  expect(structuredClone(t.host.inspect())).toMatchObject({ channels: [{ role: 'host' }] });
});

describe('MMIO space', () => {
  test('ranges do not overlap, and a freed one is used again', () => {
    const space = new MmioSpace({ address: 2 ** 30, bytes: 4 * 2 ** 20 });
    const [first, second] = [space.allocate(1), space.allocate(2)];

    expect([first?.address, second?.address]).toEqual([2 ** 30, 2 ** 30 + 2 ** 20]);
    expect(space.allocate(2)).toBeNull();
    if (first !== null && first !== undefined) space.free(first);
    expect(space.allocate(1)?.address).toBe(2 ** 30);
    expect(space.allocate(1)?.address).toBe(2 ** 30 + 3 * 2 ** 20);
  });
});

test('a server that is disabled while Opened runs answers the guest only after Closed', async () => {
  // The open was once refused before Closed had returned: the guest, free to open again, met a channel that was still
  // closing, and an invariant broke. Found by the exactly-once property.
  const gates: (() => void)[] = [];
  const gate = (): Promise<void> => new Promise((resolve) => gates.push(resolve));
  const t = await twoEndpoints({
    serverCallbacks: {
      EvtChannelOpened: async () => {
        await gate();
        return STATUS_SUCCESS;
      },
      EvtChannelClosed: gate,
    },
  });
  const disabled = VmbChannelDisable(t.server);
  nth(gates, 0)();
  await t.settle();
  expect(t.log).toEqual(['server Opened', 'server Closed']);
  expect(endpointOf(t.client).stage).toBe('enabled');

  nth(gates, 1)();
  await t.settle();
  await disabled;

  expect([endpointOf(t.server).stage, endpointOf(t.client).stage]).toEqual(['disabled', 'disabled']);
});
