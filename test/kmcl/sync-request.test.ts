import { describe, expect, test } from 'vitest';
import {
  endpointOf,
  STATUS_BUFFER_OVERFLOW,
  STATUS_BUFFER_TOO_SMALL,
  STATUS_CANCELLED,
  STATUS_DEVICE_REMOVED,
  STATUS_INVALID_DEVICE_REQUEST,
  STATUS_INVALID_DEVICE_STATE,
  STATUS_INVALID_PARAMETER_5,
  STATUS_INVALID_PARAMETER_6,
  STATUS_INVALID_PARAMETER_7,
  STATUS_INVALID_PARAMETER_8,
  STATUS_NOT_SUPPORTED,
  STATUS_SUCCESS,
  VmbChannelDisable,
  VmbChannelPacketComplete,
  VmbChannelSendSynchronousRequest,
  VmbChannelStart,
  VmbClientChannelInitSetRingBufferPageCount,
  VmbPacketSend,
} from '../../src/kmcl/index.ts';
import { Mdl } from '../../src/memory/index.ts';
import { descriptorOf, hex, nth, rangesOf, sentPackets, type TwoEndpoints, twoEndpoints } from './two-endpoints.ts';

const WAIT = 1;
/** Timeouts count 100 ns; negative ones are relative. */
const ms = (milliseconds: number): number => -milliseconds * 10_000;

/** A server that answers every packet with these bytes. */
async function answering(bytes: Uint8Array): Promise<TwoEndpoints> {
  return await twoEndpoints({
    onServerPacket: (_channel, packet) => VmbChannelPacketComplete(packet, bytes, bytes.length),
  });
}

/** A request that waits; its status when it is over. */
function request(t: TwoEndpoints, timeout: number | null = null): { status: number | 'waiting' } {
  const result: { status: number | 'waiting' } = { status: 'waiting' };
  Promise.resolve(VmbChannelSendSynchronousRequest(t.client, null, 0, null, WAIT, null, null, timeout)).then(
    (status) => {
      result.status = status;
    },
  );
  return result;
}

/** A channel whose outgoing ring is full. */
async function fullRing(): Promise<TwoEndpoints> {
  const t = await twoEndpoints({
    startServer: false,
    setUpClient: (channel) => VmbClientChannelInitSetRingBufferPageCount(channel, 4, 1),
  });
  while (endpointOf(t.client).hasRoomNow(16)) VmbPacketSend(t.packet(), null, 0, null, WAIT);
  return t;
}

test('K-198 with WAIT it succeeds after the completion and stores its bytes', async () => {
  const t = await answering(hex('0102030405060708'));
  const buffer = new Uint8Array(16);

  const promise = VmbChannelSendSynchronousRequest(t.client, hex('ff'), 1, null, WAIT, buffer, { value: 16 }, null);
  await t.settle();

  expect(await promise).toBe(STATUS_SUCCESS);
  expect(buffer).toEqual(hex('01020304050607080000000000000000'));
});

test('K-199 the completion size becomes the bytes written', async () => {
  const t = await answering(hex('0102030405060708'));
  const size = { value: 24 };

  const promise = VmbChannelSendSynchronousRequest(t.client, null, 0, null, WAIT, new Uint8Array(24), size, null);
  await t.settle();
  await promise;

  expect(size.value).toBe(8);
});

test('K-200 a completion size that is no multiple of 8 is refused and nothing is sent', async () => {
  const t = await answering(hex('00'));
  const sent = sentPackets(t.client);
  const buffer = new Uint8Array(16);

  const promise = VmbChannelSendSynchronousRequest(t.client, null, 0, null, WAIT, buffer, { value: 12 }, null);

  expect(await promise).toBe(STATUS_INVALID_PARAMETER_7);
  expect(sent).toHaveLength(0);
});

test('K-201 neither buffer nor size is needed', async () => {
  const t = await answering(hex('0102030405060708'));

  const promise = VmbChannelSendSynchronousRequest(t.client, null, 0, null, WAIT, null, null, null);
  await t.settle();

  expect(await promise).toBe(STATUS_SUCCESS);
});

test('K-202 with timeout 0 and no room it is STATUS_BUFFER_OVERFLOW and queues nothing', async () => {
  const t = await fullRing();

  expect(VmbChannelSendSynchronousRequest(t.client, null, 0, null, 0, null, null, 0)).toBe(STATUS_BUFFER_OVERFLOW);

  expect(endpointOf(t.client).inspect()).toMatchObject({ outgoing: { queued: 0 } });
});

test('K-203 with timeout 0, room and WAIT clear it succeeds at once', async () => {
  const t = await twoEndpoints();
  const sent = sentPackets(t.client);

  expect(VmbChannelSendSynchronousRequest(t.client, hex('01'), 1, null, 0, null, null, 0)).toBe(STATUS_SUCCESS);

  expect(descriptorOf(sent[0])).toMatchObject({ type: 6, flags: 0 });
});

test('K-204 when time is up the packet is cancelled and it is STATUS_CANCELLED', async () => {
  const t = await twoEndpoints();
  const result = request(t, ms(100));
  await t.settle();

  t.scheduler.advance(99);
  await t.settle();
  expect(result.status).toBe('waiting');
  t.scheduler.advance(1);
  await t.settle();

  expect(result.status).toBe(STATUS_CANCELLED);
});

test('K-205 a completion that comes after that is ignored and harms nothing', async () => {
  const t = await twoEndpoints();
  const result = request(t, ms(10));
  await t.settle();
  t.scheduler.advance(10);
  await t.settle();
  expect(result.status).toBe(STATUS_CANCELLED);

  VmbChannelPacketComplete(nth(t.received, 0).packet, hex('01'), 1);
  VmbPacketSend(t.packet(), null, 0, null, WAIT);
  await t.settle();
  VmbChannelPacketComplete(nth(t.received, 1).packet, hex('02'), 1);
  await t.settle();

  expect(t.completions).toHaveLength(1);
  expect(nth(t.completions, 0).bytes?.[0]).toBe(2);
  expect(endpointOf(t.client).stage).toBe('active');
});

test('K-206 when the channel shuts down meanwhile it is STATUS_DEVICE_REMOVED', async () => {
  for (const end of ['client', 'server'] as const) {
    const t = await twoEndpoints();
    const result = request(t);
    await t.settle();

    const disabled = VmbChannelDisable(t[end]);
    await t.settle();
    for (const { packet } of t.received) VmbChannelPacketComplete(packet, null, 0);
    await t.settle();
    await disabled;

    // The server's completion may still have come first: then it is an answer like any other.
    expect(result.status).toBe(end === 'client' ? STATUS_DEVICE_REMOVED : STATUS_SUCCESS);
  }
});

test('a synchronous request that waits in PostStarted ends when the host dies', async () => {
  let status: number | undefined;
  const t = await twoEndpoints({
    clientCallbacks: {
      EvtChannelPostStarted: async (channel) => {
        status = await VmbChannelSendSynchronousRequest(channel, null, 0, null, WAIT, null, null, null);
      },
    },
  });
  expect(status).toBeUndefined();

  t.loopback.loseHost('killed');
  await t.settle();

  expect(status).toBe(STATUS_DEVICE_REMOVED);
  expect(endpointOf(t.client).stage).toBe('disabled');
});

test('K-207 without a timeout it waits for ever', async () => {
  const t = await twoEndpoints();
  const result = request(t, null);
  await t.settle();

  t.scheduler.advance(365 * 24 * 3600 * 1000);
  await t.settle();
  expect(result.status).toBe('waiting');
  VmbChannelPacketComplete(nth(t.received, 0).packet, null, 0);
  await t.settle();

  expect(result.status).toBe(STATUS_SUCCESS);
  expect(t.scheduler.timers).toBe(0);
});

describe('K-208 times since 1601', () => {
  const unixMs = Date.UTC(2026, 0, 1);
  const since1601 = (milliseconds: number): number => (milliseconds + 11_644_473_600_000) * 10_000;

  test('K-208 a positive timeout is a time since 1601, a negative one is relative', async () => {
    const t = await twoEndpoints();
    Object.assign(t.scheduler, { wallClockMs: () => unixMs + t.scheduler.now() });
    const results = [request(t, since1601(unixMs + 500)), request(t, ms(300)), request(t, since1601(unixMs - 1))];
    await t.settle();

    t.scheduler.advance(0);
    await t.settle();
    expect(results.map(({ status }) => status)).toEqual(['waiting', 'waiting', STATUS_CANCELLED]);
    t.scheduler.advance(300);
    await t.settle();
    expect(results.map(({ status }) => status)).toEqual(['waiting', STATUS_CANCELLED, STATUS_CANCELLED]);
    t.scheduler.advance(201);
    await t.settle();

    expect(nth(results, 0).status).toBe(STATUS_CANCELLED);
  });

  test('without a calendar such a time is STATUS_NOT_SUPPORTED', async () => {
    const t = await twoEndpoints();

    const status = await VmbChannelSendSynchronousRequest(t.client, null, 0, null, WAIT, null, null, since1601(0));

    expect(status).toBe(STATUS_NOT_SUPPORTED);
  });
});

test('K-209 on the server any timeout but 0 is refused', async () => {
  const t = await twoEndpoints();
  const send = async (timeout: number | null): Promise<number> =>
    await VmbChannelSendSynchronousRequest(t.server, null, 0, null, 0, null, null, timeout);

  expect(await send(null)).toBe(STATUS_INVALID_PARAMETER_8);
  expect(await send(ms(1))).toBe(STATUS_INVALID_PARAMETER_8);
  expect(await send(0)).toBe(STATUS_SUCCESS);
});

test('K-210 on the server WAIT is refused', async () => {
  const t = await twoEndpoints();

  expect(VmbChannelSendSynchronousRequest(t.server, null, 0, null, WAIT, null, null, 0)).toBe(
    STATUS_INVALID_PARAMETER_5,
  );
});

test('K-211 at DISPATCH only timeout 0 with WAIT clear is allowed', async () => {
  const results: unknown[] = [];
  const t = await twoEndpoints({
    onClientPacket: (channel, packet) => {
      for (const [flags, timeout] of [
        [0, 0],
        [WAIT, 0],
        [0, ms(1)],
        [0, null],
      ] as const) {
        try {
          results.push(VmbChannelSendSynchronousRequest(channel, null, 0, null, flags, null, null, timeout));
        } catch (error) {
          results.push((error as { rule: string }).rule);
        }
      }
      VmbChannelPacketComplete(packet, null, 0);
    },
  });

  VmbChannelSendSynchronousRequest(t.server, null, 0, null, 0, null, null, 0);
  await t.settle();

  expect(results).toEqual([STATUS_SUCCESS, 'K-211', 'K-211', 'K-211']);
});

test('K-212 an MDL makes it a GPA-direct packet', async () => {
  const t = await twoEndpoints();
  const sent = sentPackets(t.client);
  const mdl = Mdl.fromPfns(t.memory, [77], 8, 16);

  const status = VmbChannelSendSynchronousRequest(t.client, null, 0, mdl, 0, null, null, 0);

  expect(status).toBe(STATUS_SUCCESS);
  expect(rangesOf(sent[0])).toEqual([{ byteCount: 16, byteOffset: 8, pfns: [77] }]);
});

test('an answer longer than the buffer is STATUS_BUFFER_TOO_SMALL, and the size says how long it is', async () => {
  const t = await answering(new Uint8Array(24).fill(9));
  const buffer = new Uint8Array(16);
  const size = { value: 16 };

  const promise = VmbChannelSendSynchronousRequest(t.client, null, 0, null, WAIT, buffer, size, null);
  await t.settle();

  expect(await promise).toBe(STATUS_BUFFER_TOO_SMALL);
  expect(size.value).toBe(24);
  expect(buffer).toEqual(new Uint8Array(16));
});

test('a completion size beyond the buffer is refused', async () => {
  const t = await answering(hex('00'));

  const status = await VmbChannelSendSynchronousRequest(
    t.client,
    null,
    0,
    null,
    WAIT,
    new Uint8Array(8),
    { value: 16 },
    null,
  );

  expect(status).toBe(STATUS_INVALID_PARAMETER_6);
});

test('with timeout 0 and WAIT the answer cannot be awaited: STATUS_CANCELLED, and the answer is ignored', async () => {
  const t = await answering(hex('00'));

  expect(VmbChannelSendSynchronousRequest(t.client, null, 0, null, WAIT, null, null, 0)).toBe(STATUS_CANCELLED);
  await t.settle();

  expect(endpointOf(t.client).stage).toBe('active');
  expect(endpointOf(t.client).statistics.completionsReceived).toBe(1);
});

test('a request that waits in the queue goes out when there is room, and is taken out when time is up', async () => {
  const t = await fullRing();
  const [patient, hasty] = [request(t), request(t, ms(5))];
  t.scheduler.advance(5);
  await t.settle();
  expect([patient.status, hasty.status]).toEqual(['waiting', STATUS_CANCELLED]);
  expect(endpointOf(t.client).inspect()).toMatchObject({ outgoing: { queued: 1 } });

  VmbChannelStart(t.server);
  await t.settle();
  for (const { packet } of t.received) VmbChannelPacketComplete(packet, null, 0);
  await t.settle();

  expect(patient.status).toBe(STATUS_SUCCESS);
});

test('a request on a Disabled channel, or with external data on a server, is refused', async () => {
  const t = await twoEndpoints();
  const mdl = Mdl.fromPfns(t.memory, [77]);
  expect(VmbChannelSendSynchronousRequest(t.server, null, 0, mdl, 0, null, null, 0)).toBe(
    STATUS_INVALID_DEVICE_REQUEST,
  );

  const disabled = VmbChannelDisable(t.client);
  await t.settle();
  await disabled;

  expect(VmbChannelSendSynchronousRequest(t.client, null, 0, null, 0, null, null, 0)).toBe(STATUS_INVALID_DEVICE_STATE);
});
