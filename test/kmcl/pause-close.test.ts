import { describe, expect, test } from 'vitest';
import {
  endpointOf,
  out,
  STATUS_CANCELLED,
  STATUS_DEVICE_REMOVED,
  STATUS_INVALID_DEVICE_STATE,
  STATUS_SUCCESS,
  VmbChannelCreateGpadlFromMdl,
  VmbChannelDisable,
  VmbChannelEnable,
  VmbChannelInitSetMaximumPacketSize,
  VmbChannelPacketComplete,
  VmbChannelPause,
  VmbChannelStart,
  VmbPacketSend,
} from '../../src/kmcl/index.ts';
import { Mdl } from '../../src/memory/index.ts';
import { MessageType } from '../../src/wire/messages/index.ts';
import { nth, somePacket, type TwoEndpoints, twoEndpoints } from './two-endpoints.ts';

/** Whether a promise has come to its end, seen from outside. */
function watch(promise: Promise<void>): { isOver: boolean } {
  const seen = { isOver: false };
  promise.then(() => {
    seen.isOver = true;
  });
  return seen;
}

async function disabled(t: TwoEndpoints, channel: Parameters<typeof VmbChannelDisable>[0]): Promise<void> {
  const promise = VmbChannelDisable(channel);
  await t.settle();
  await promise;
}

async function paused(t: TwoEndpoints, channel: Parameters<typeof VmbChannelPause>[0]): Promise<void> {
  const promise = VmbChannelPause(channel);
  await t.settle();
  await promise;
}

describe('pause', () => {
  test('K-106 VmbChannelPause on a running channel fires Suspend before it returns', async () => {
    const t = await twoEndpoints();
    t.log.length = 0;

    await paused(t, t.server);

    expect(t.log).toEqual(['server Suspend']);
    expect(endpointOf(t.server).stage).toBe('paused');
  });

  test('K-107 VmbChannelPause does not return while an incoming packet is uncompleted', async () => {
    const t = await twoEndpoints();
    VmbPacketSend(t.packet(), null, 0, null, 1);
    await t.settle();

    const pause = watch(VmbChannelPause(t.server));
    await t.settle();

    expect(t.log.at(-1)).toBe('server Suspend');
    expect(pause.isOver).toBe(false);
  });

  test('K-108 completing the last incoming packet releases a waiting VmbChannelPause', async () => {
    const t = await twoEndpoints();
    for (let count = 0; count < 2; count++) VmbPacketSend(t.packet(), null, 0, null, 1);
    await t.settle();
    const pause = watch(VmbChannelPause(t.server));
    await t.settle();

    VmbChannelPacketComplete(nth(t.received, 0).packet, null, 0);
    await t.settle();
    expect(pause.isOver).toBe(false);
    VmbChannelPacketComplete(nth(t.received, 1).packet, null, 0);
    await t.settle();

    expect(pause.isOver).toBe(true);
    expect(t.completions).toHaveLength(2);
  });

  test('K-109 from the entry of Suspend to the next Started no packet is delivered', async () => {
    let release = (): void => {};
    const gate = new Promise<void>((resolve) => {
      release = resolve;
    });
    const t = await twoEndpoints({ serverCallbacks: { EvtChannelSuspend: () => gate } });
    const pause = VmbChannelPause(t.server);
    await t.settle();
    expect(t.log.at(-1)).toBe('server Suspend');

    VmbPacketSend(t.packet(), null, 0, null, 1);
    await t.settle();
    expect(t.received).toHaveLength(0);
    release();
    await t.settle();
    await pause;

    expect(t.received).toHaveLength(0);
  });

  test('K-110 an incoming packet may be completed after Suspend has returned', async () => {
    const t = await twoEndpoints();
    VmbPacketSend(t.packet(), null, 0, null, 1);
    await t.settle();
    const pause = VmbChannelPause(t.server);
    await t.settle();

    VmbChannelPacketComplete(nth(t.received, 0).packet, Uint8Array.of(7), 1);
    await t.settle();
    await pause;

    expect(nth(t.completions, 0)).toMatchObject({
      status: STATUS_SUCCESS,
      bytes: Uint8Array.of(7, 0, 0, 0, 0, 0, 0, 0),
    });
  });

  test('K-111 packets that arrive while paused wait in the ring and are all delivered after VmbChannelStart', async () => {
    const t = await twoEndpoints();
    await paused(t, t.server);
    for (let value = 1; value <= 3; value++) VmbPacketSend(t.packet(), Uint8Array.of(value), 1, null, 1);
    await t.settle();
    expect(t.received).toHaveLength(0);

    VmbChannelStart(t.server);
    await t.settle();

    expect(t.received.map(({ bytes }) => bytes[0])).toEqual([1, 2, 3]);
  });

  test('K-112 VmbChannelPause on a Disabled channel makes the next open stop after Opened', async () => {
    const t = await twoEndpoints({
      setUpClient: (channel) => {
        void VmbChannelPause(channel);
      },
    });

    expect(t.log.filter((entry) => entry.startsWith('client'))).toEqual(['client Opened']);
    expect(endpointOf(t.client).stage).toBe('paused');
  });

  test('K-113 VmbChannelStart after such an open fires Started and PostStarted', async () => {
    const t = await twoEndpoints({
      setUpClient: (channel) => {
        void VmbChannelPause(channel);
      },
    });
    t.log.length = 0;

    VmbChannelStart(t.client);
    await t.settle();

    expect(t.log).toEqual(['client Started', 'client PostStarted']);
  });

  test('K-114 VmbChannelPause while paused returns at once and fires no second Suspend', async () => {
    const t = await twoEndpoints();
    await paused(t, t.server);
    t.log.length = 0;

    const second = watch(VmbChannelPause(t.server));
    await Promise.resolve();
    await Promise.resolve();

    expect(second.isOver).toBe(true);
    expect(t.log).toEqual([]);
  });

  test('a start that meets a pause wins if it comes last', async () => {
    const t = await twoEndpoints();
    t.log.length = 0;

    const pause = VmbChannelPause(t.server);
    VmbChannelStart(t.server);
    await t.settle();
    await pause;

    expect(t.log).toEqual(['server Suspend', 'server Started', 'server PostStarted']);
    expect(endpointOf(t.server).stage).toBe('active');
  });
});

describe('disable and close', () => {
  test('K-115 VmbChannelDisable on a running client fires Suspend and Closed before it returns', async () => {
    const t = await twoEndpoints();
    t.log.length = 0;

    await disabled(t, t.client);

    expect(t.log.filter((entry) => entry.startsWith('client'))).toEqual(['client Suspend', 'client Closed']);
    expect(endpointOf(t.client).stage).toBe('disabled');
    expect(t.guest.pages.freePages).toBe(2048);
  });

  test('K-116 VmbChannelDisable waits for an uncompleted incoming packet', async () => {
    const t = await twoEndpoints();
    VmbPacketSend(t.packet(), null, 0, null, 1);
    await t.settle();

    const disable = watch(VmbChannelDisable(t.server));
    await t.settle();
    expect(disable.isOver).toBe(false);
    expect(t.log).not.toContain('server Closed');
    VmbChannelPacketComplete(nth(t.received, 0).packet, null, 0);
    await t.settle();

    expect(disable.isOver).toBe(true);
  });

  test('K-117 VmbChannelDisable on a client sends a close, on a server a rescind', async () => {
    const types: number[] = [];
    const record = { events: { message: (_way: string, bytes: Uint8Array) => types.push(bytes[0] as number) } };
    const ofClient = await twoEndpoints({ guest: record });
    await disabled(ofClient, ofClient.client);
    expect(types).toContain(MessageType.CloseChannel);
    expect(types).not.toContain(MessageType.RescindChannelOffer);

    types.length = 0;
    const ofServer = await twoEndpoints({ guest: record });
    await disabled(ofServer, ofServer.server);

    expect(types).toContain(MessageType.RescindChannelOffer);
    expect(types.at(-1)).toBe(MessageType.RelIdReleased);
  });

  test('K-118 VmbChannelDisable on a channel that was never opened fires neither Suspend nor Closed', async () => {
    const t = await twoEndpoints({ setUpClient: () => {} });
    await disabled(t, t.client);
    t.log.length = 0;

    await disabled(t, t.server);
    VmbChannelEnable(t.client);
    await disabled(t, t.client);

    expect(t.log).toEqual([]);
  });

  test('K-119 after VmbChannelDisable the channel can be configured and enabled again', async () => {
    const t = await twoEndpoints();
    await disabled(t, t.client);

    expect(VmbChannelInitSetMaximumPacketSize(t.client, 8000)).toBe(STATUS_SUCCESS);
    expect(VmbChannelEnable(t.client)).toBe(STATUS_SUCCESS);
    await t.settle();

    expect(endpointOf(t.client).stage).toBe('active');
    expect(endpointOf(t.server).stage).toBe('active');
  });

  test('K-120 when the guest closes, the server gets Suspend and Closed, stays offered, and opens again', async () => {
    const t = await twoEndpoints();
    t.log.length = 0;

    await disabled(t, t.client);
    expect(t.log.filter((entry) => entry.startsWith('server'))).toEqual(['server Suspend', 'server Closed']);
    expect(endpointOf(t.server).stage).toBe('enabled');
    VmbChannelEnable(t.client);
    await t.settle();

    expect(t.log.filter((entry) => entry.startsWith('server')).slice(2)).toEqual([
      'server Opened',
      'server Started',
      'server PostStarted',
    ]);
  });

  test('K-121 when the server rescinds, the client gets Suspend and Closed and is Disabled', async () => {
    const t = await twoEndpoints();
    t.log.length = 0;

    await disabled(t, t.server);

    expect(t.log).toEqual(['server Suspend', 'server Closed', 'client Suspend', 'client Closed']);
    expect(endpointOf(t.client).stage).toBe('disabled');
    expect([...t.guest.bus.offers()]).toHaveLength(0);
  });

  test('K-122 a client closed by the peer opens a new offer only after VmbChannelEnable', async () => {
    const t = await twoEndpoints();
    await disabled(t, t.server);
    VmbChannelEnable(t.server);
    await t.settle();
    expect([...t.guest.bus.offers()]).toHaveLength(1);
    expect(endpointOf(t.client).stage).toBe('disabled');

    VmbChannelEnable(t.client);
    await t.settle();

    expect(endpointOf(t.client).stage).toBe('active');
  });

  test('K-123 sends after Closed on the server are queued and go out at the next open', async () => {
    const t = await twoEndpoints();
    await disabled(t, t.client);

    const status = VmbPacketSend(
      somePacket(t.server, () => {}),
      Uint8Array.of(42),
      1,
      null,
      1,
    );
    await t.settle();
    expect(status).toBe(STATUS_SUCCESS);
    expect(endpointOf(t.server).statistics.packetsSent).toBe(0);
    VmbChannelEnable(t.client);
    await t.settle();

    expect(t.clientReceived.map(({ bytes }) => bytes[0])).toEqual([42]);
  });

  test('K-124 each packet without a completion from the peer completes exactly once when the channel ends', async () => {
    const t = await twoEndpoints();
    for (let count = 0; count < 5; count++) VmbPacketSend(t.packet(), null, 0, null, 1);
    await t.settle();
    for (const { packet } of t.received.splice(0, 2)) VmbChannelPacketComplete(packet, null, 0);
    await t.settle();

    const disable = VmbChannelDisable(t.client);
    await t.settle();
    for (const { packet } of t.received) VmbChannelPacketComplete(packet, null, 0);
    await t.settle();
    await disable;

    expect(t.completions.map(({ status }) => status)).toEqual([
      STATUS_SUCCESS,
      STATUS_SUCCESS,
      STATUS_CANCELLED,
      STATUS_CANCELLED,
      STATUS_CANCELLED,
    ]);
    expect(new Set(t.completions.map(({ packet }) => packet)).size).toBe(5);
  });

  test('K-125 a GPADL that is left when Closed returns is a bug check', async () => {
    const t = await twoEndpoints();
    const created = VmbChannelCreateGpadlFromMdl(t.client, 0, Mdl.fromPfns(t.memory, [100]), 0, 0, out<number>());
    await t.settle();
    expect(await created).toBe(STATUS_SUCCESS);

    const disable = VmbChannelDisable(t.client);

    expect(() => t.scheduler.run()).toThrow(expect.objectContaining({ rule: 'K-125' }));
    // The channel itself goes on: the bug is reported, not multiplied.
    await t.settle();
    await disable;
    expect(endpointOf(t.client).stage).toBe('disabled');
  });

  test('K-126 state-change callbacks of one channel never overlap', async () => {
    let running = 0;
    let most = 0;
    const slow = async (): Promise<void> => {
      running++;
      most = Math.max(most, running);
      for (let turn = 0; turn < 3; turn++) await Promise.resolve();
      running--;
    };
    const t = await twoEndpoints({
      clientCallbacks: {
        EvtChannelOpened: async () => {
          await slow();
          return STATUS_SUCCESS;
        },
        EvtChannelStarted: slow,
        EvtChannelPostStarted: slow,
        EvtChannelSuspend: slow,
        EvtChannelClosed: slow,
      },
    });

    const all = [VmbChannelPause(t.client), VmbChannelDisable(t.client), VmbChannelDisable(t.server)];
    VmbChannelStart(t.client);
    await t.settle();
    await Promise.all(all);

    expect(most).toBe(1);
    expect(running).toBe(0);
    expect(t.log.filter((entry) => entry.startsWith('client')).slice(-2)).toEqual(['client Suspend', 'client Closed']);
  });

  test('K-127 what Suspend and Closed return cannot stop the channel from closing', async () => {
    const refuse = (): never => STATUS_INVALID_DEVICE_STATE as never;
    const t = await twoEndpoints({ clientCallbacks: { EvtChannelSuspend: refuse, EvtChannelClosed: refuse } });

    await disabled(t, t.client);

    expect(endpointOf(t.client).stage).toBe('disabled');
  });

  test('K-128 when the guest dies the server gets Suspend and Closed', async () => {
    const t = await twoEndpoints();
    const statuses: number[] = [];
    VmbPacketSend(
      somePacket(t.server, (_packet, status) => statuses.push(status)),
      null,
      0,
      null,
      1,
    );
    await t.settle();
    t.log.length = 0;

    t.loopback.loseGuest('killed');
    await t.settle();

    expect(t.log).toEqual(['server Suspend', 'server Closed']);
    expect(endpointOf(t.server).stage).toBe('enabled');
    expect(statuses).toEqual([STATUS_DEVICE_REMOVED]);
  });

  test('when the host dies the client gets Suspend and Closed, and its packets an end', async () => {
    const t = await twoEndpoints();
    VmbPacketSend(t.packet(), null, 0, null, 1);
    await t.settle();
    t.log.length = 0;

    t.loopback.loseHost('killed');
    await t.settle();

    expect(t.log).toEqual(['client Suspend', 'client Closed']);
    expect(t.completions.map(({ status }) => status)).toEqual([STATUS_DEVICE_REMOVED]);
    expect(endpointOf(t.client).stage).toBe('disabled');
    expect(t.guest.pages.freePages).toBe(2048);
  });

  test('disconnecting the guest ends its channels on both sides', async () => {
    const t = await twoEndpoints();
    t.log.length = 0;

    const disconnected = t.guest.disconnect();
    await t.settle();
    await disconnected;

    expect(t.log).toEqual(
      expect.arrayContaining(['client Suspend', 'client Closed', 'server Suspend', 'server Closed']),
    );
    expect([endpointOf(t.client).stage, endpointOf(t.server).stage]).toEqual(['disabled', 'enabled']);
  });
});
