/**
 * A peer that breaks the protocol on one channel: that channel ends, for a reason that a tap can see; its other channel,
 * the bus and the process live on.
 */
import { describe, expect, test } from 'vitest';
import {
  createDeviceObject,
  endpointOf,
  STATUS_IO_DEVICE_ERROR,
  STATUS_SUCCESS,
  VmbChannelDisable,
  VmbChannelEnable,
  VmbChannelInitSetFlags,
  VmbChannelPacketComplete,
  VmbChannelStart,
  type VmbClientChannel,
  VmbClientChannelInitSetTargetPnp,
  VmbPacketSend,
  VmbServerChannelInitSetTargetInterfaceId,
} from '../../src/kmcl/index.ts';
import {
  INTERFACE_ID,
  nth,
  someClient,
  somePacket,
  someServer,
  type TwoEndpoints,
  twoEndpoints,
} from '../kmcl/two-endpoints.ts';

const WAIT = 1;

/** The rings are the guest's first ten pages: control page and data of the ring to the host, then from the host. */
function controlWords(t: TwoEndpoints, ring: 'toHost' | 'toGuest'): Int32Array {
  const page = t.memory.page(ring === 'toHost' ? 0 : 5);
  return new Int32Array(page.buffer, page.byteOffset, 1024);
}

const IN = 0;
const OUT = 1;
const MASK = 2;

/** Codes of the faults that an endpoint found. */
function faultsOf(channel: Parameters<typeof endpointOf>[0]): string[] {
  const codes: string[] = [];
  endpointOf(channel).tap = { faulted: (_channel, error) => codes.push((error as { code?: string }).code ?? 'none') };
  return codes;
}

/** A second channel between the same two ends, which must not notice anything. */
async function bystander(t: TwoEndpoints): Promise<() => Promise<number>> {
  const instanceId = '00000000-0000-0000-0000-0000000000bb';
  const server = someServer(t.hostDevice);
  VmbServerChannelInitSetTargetInterfaceId(server, INTERFACE_ID, instanceId);
  const client = someClient(createDeviceObject({ vmbus: t.guest }));
  endpointOf(client).settings.name = 'bystander';
  VmbClientChannelInitSetTargetPnp(client, INTERFACE_ID, instanceId, null);
  VmbChannelEnable(server);
  VmbChannelStart(server);
  VmbChannelEnable(client);
  await t.settle();
  return async () => {
    const statuses: number[] = [];
    VmbPacketSend(
      somePacket(client, (_packet, status) => statuses.push(status)),
      null,
      0,
      null,
      WAIT,
    );
    await t.settle();
    return nth(statuses, 0);
  };
}

/** Rings the doorbell of a side without having anything to say. */
function poke(t: TwoEndpoints, side: 'host' | 'guest'): void {
  if (side === 'host') t.loopback.guest.signal(0x2001);
  else t.loopback.host.signal(1, 0);
}

describe('a guest that lies to the host', () => {
  test.each([
    ['a write index outside the ring', 0x4000, 'ERR_RING_INDEX'],
    ['a write index that is no multiple of 8', 12, 'ERR_RING_INDEX'],
    ['a few bytes that are no packet', 8, 'ERR_RING_AVAILABLE'],
    ['a packet of zeros', 64, 'ERR_RING_LENGTHS'],
  ])('%s ends the server’s channel, and only that', async (_name, index, code) => {
    const t = await twoEndpoints();
    const answer = await bystander(t);
    const faults = faultsOf(t.server);
    const statuses: number[] = [];
    VmbPacketSend(
      somePacket(t.server, (_packet, status) => statuses.push(status)),
      null,
      0,
      null,
      WAIT,
    );
    await t.settle();
    t.log.length = 0;

    controlWords(t, 'toHost')[IN] = index;
    poke(t, 'host');
    await t.settle();

    expect(faults).toEqual([code]);
    expect(t.log).toEqual(['server Suspend', 'server Closed']);
    expect(statuses).toEqual([STATUS_IO_DEVICE_ERROR]);
    expect(await answer()).toBe(STATUS_SUCCESS);
  });

  test('a channel that ended so is offered on: the guest closes it, opens it again, and it works', async () => {
    const t = await twoEndpoints();
    controlWords(t, 'toHost')[IN] = 12;
    poke(t, 'host');
    await t.settle();
    expect(endpointOf(t.server).stage).toBe('parting');

    const disabled = VmbChannelDisable(t.client);
    await t.settle();
    await disabled;
    VmbChannelEnable(t.client);
    await t.settle();
    VmbPacketSend(t.packet(), null, 0, null, WAIT);
    await t.settle();

    expect(t.received).toHaveLength(1);
    expect(endpointOf(t.server).stage).toBe('active');
  });

  test('a server that waits for the guest to close may still be disabled', async () => {
    const t = await twoEndpoints();
    controlWords(t, 'toHost')[IN] = 12;
    poke(t, 'host');
    await t.settle();

    const disabled = VmbChannelDisable(t.server);
    await t.settle();
    await disabled;

    expect(endpointOf(t.server).stage).toBe('disabled');
    expect(endpointOf(t.client).stage).toBe('disabled');
  });

  test('a completion for what was never sent ends the channel', async () => {
    const t = await twoEndpoints();
    const answer = await bystander(t);
    const faults = faultsOf(t.server);
    endpointOf(t.client).tap = {
      packetSent: (_channel, bytes, at) => {
        bytes[at] = 0xb; // in-band becomes completion
        bytes[at + 6] = 0;
      },
    };

    VmbPacketSend(t.packet(), null, 0, null, WAIT);
    await t.settle();

    expect(faults).toEqual(['ERR_RING_TRANSACTION']);
    expect(await answer()).toBe(STATUS_SUCCESS);
  });

  test('the same completion twice ends the channel, and the routine has run once', async () => {
    const t = await twoEndpoints();
    const faults = faultsOf(t.server);
    const statuses: number[] = [];
    VmbPacketSend(
      somePacket(t.server, (_packet, status) => statuses.push(status)),
      null,
      0,
      null,
      WAIT,
    );
    await t.settle();
    let first: Uint8Array | undefined;
    endpointOf(t.client).tap = {
      packetSent: (_channel, bytes, at, packetBytes) => {
        if (first === undefined) first = bytes.slice(at, at + packetBytes);
        else bytes.set(first, at);
      },
    };

    VmbChannelPacketComplete(nth(t.clientReceived, 0).packet, null, 0);
    VmbPacketSend(t.packet(), null, 0, null, 0);
    await t.settle();

    expect(statuses).toEqual([STATUS_SUCCESS]);
    expect(faults).toEqual(['ERR_RING_TRANSACTION']);
  });

  test('an unknown packet type or flag ends the channel', async () => {
    for (const [offset, value, code] of [
      [0, 8, 'ERR_RING_TYPE'],
      [6, 3, 'ERR_RING_FLAGS'],
    ] as const) {
      const t = await twoEndpoints();
      const faults = faultsOf(t.server);
      endpointOf(t.client).tap = {
        packetSent: (_channel, bytes, at) => {
          bytes[at + offset] = value;
        },
      };

      VmbPacketSend(t.packet(), null, 0, null, WAIT);
      await t.settle();

      expect(faults).toEqual([code]);
    }
  });

  test('a mask that the guest changed ends the channel', async () => {
    const t = await twoEndpoints();
    const faults = faultsOf(t.server);

    controlWords(t, 'toHost')[MASK] = 1;
    poke(t, 'host');
    await t.settle();

    expect(faults).toEqual(['ERR_RING_MASK']);
  });

  test.each([
    ['a type that is not data', 4, 2],
    ['more bytes than there are', 20, 9],
    ['a length of four thousand million', 20, 0xff],
  ])('a pipe packet with %s ends the channel', async (_name, offset, value) => {
    const pipe = (channel: Parameters<typeof VmbChannelInitSetFlags>[0]): number => VmbChannelInitSetFlags(channel, 1);
    const t = await twoEndpoints({ setUpClient: pipe, setUpServer: pipe });
    const faults = faultsOf(t.server);
    endpointOf(t.client).tap = {
      packetSent: (_channel, bytes, at) => {
        bytes[at + (offset === 4 ? 16 : offset)] = value;
      },
    };

    VmbPacketSend(t.packet(), new Uint8Array(8), 8, null, 0);
    await t.settle();

    expect(faults).toEqual(['ERR_RING_LENGTHS']);
    expect(t.received).toHaveLength(0);
  });

  test('a doorbell without a packet, or for a channel that is not open, does nothing', async () => {
    const t = await twoEndpoints();
    for (const connectionId of [0, 1, 0x2001, 0x2002, 2, 0xffff_ffff]) t.loopback.guest.signal(connectionId);
    await t.settle();

    const disabled = VmbChannelDisable(t.client);
    await t.settle();
    await disabled;
    poke(t, 'host');
    poke(t, 'guest');
    for (const eventFlag of [0, 2, 2047, 99_999]) t.loopback.host.signal(eventFlag, 0);
    await t.settle();

    expect(endpointOf(t.server).stage).toBe('enabled');
  });
});

describe('a host that lies to the guest', () => {
  test('a read index outside the ring ends the client’s channel, and what it sends completes once', async () => {
    const t = await twoEndpoints();
    const answer = await bystander(t);
    const faults = faultsOf(t.client);
    controlWords(t, 'toHost')[OUT] = 0x4004;

    VmbPacketSend(t.packet(), null, 0, null, WAIT);
    await t.settle();

    expect(faults).toEqual(['ERR_RING_INDEX']);
    expect(t.completions.map(({ status }) => status)).toEqual([STATUS_IO_DEVICE_ERROR]);
    expect(endpointOf(t.client).stage).toBe('disabled');
    expect(t.guest.pages.freePages).toBeGreaterThan(2000);
    expect(await answer()).toBe(STATUS_SUCCESS);
  });

  test('a GPA-direct packet from the host ends the channel', async () => {
    const t = await twoEndpoints();
    const faults = faultsOf(t.client);
    endpointOf(t.server).tap = {
      packetSent: (_channel, bytes, at) => {
        bytes[at] = 9;
        bytes[at + 2] = 3;
        bytes[at + 20] = 1;
      },
    };

    VmbPacketSend(
      somePacket(t.server, () => {}),
      new Uint8Array(32),
      32,
      null,
      0,
    );
    await t.settle();

    expect(faults).toEqual(['ERR_RING_TYPE']);
  });

  test('a packet of an unknown type from the host is skipped and counted', async () => {
    const t = await twoEndpoints();
    endpointOf(t.server).tap = {
      packetSent: (_channel, bytes, at) => {
        bytes[at] = 0xd;
      },
    };
    const send = (): number =>
      VmbPacketSend(
        somePacket(t.server, () => {}),
        new Uint8Array(8),
        8,
        null,
        0,
      );

    send();
    endpointOf(t.server).tap = null;
    send();
    await t.settle();

    expect(t.clientReceived).toHaveLength(1);
    expect(endpointOf(t.client).statistics.packetsSkipped).toBe(1);
  });

  test('a fault that is found inside a completion routine ends the channel after the routine', async () => {
    const t = await twoEndpoints({ onServerPacket: (_c, packet) => VmbChannelPacketComplete(packet, null, 0) });
    const order: string[] = [];
    const again = t.packet();
    const packet = somePacket(t.client as VmbClientChannel, () => {
      controlWords(t, 'toHost')[OUT] = 3;
      order.push(`send ${VmbPacketSend(again, new Uint8Array(4000), 4000, null, WAIT)}`);
      order.push(endpointOf(t.client).stage);
    });

    VmbPacketSend(packet, new Uint8Array(4000), 4000, null, WAIT);
    for (let count = 0; count < 3; count++) VmbPacketSend(t.packet(), new Uint8Array(4000), 4000, null, WAIT);
    await t.settle();

    expect(order).toEqual(['send 0', 'active']);
    expect(endpointOf(t.client).stage).toBe('disabled');
    expect(t.completions.map(({ packet: own }) => own === again).filter(Boolean)).toHaveLength(1);
    expect(t.completions).toHaveLength(4);
  });
});
