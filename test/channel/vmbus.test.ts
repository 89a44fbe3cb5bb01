/** The two ends of the bus as their owners see them: contact, loss, messages that the other side does not take at once. */
import { describe, expect, test } from 'vitest';
import { PostStatus } from '../../src/bus/control-port.ts';
import { GuestVmbus, HostVmbus } from '../../src/channel/index.ts';
import {
  createDeviceObject,
  endpointOf,
  VmbChannelEnable,
  VmbChannelPacketComplete,
  VmbChannelStart,
  VmbPacketSend,
} from '../../src/kmcl/index.ts';
import { GuestMemory } from '../../src/memory/index.ts';
import { createLoopback } from '../../src/transports/loopback/index.ts';
import { ALL_VERSIONS, formatVersion, VmbusVersion } from '../../src/wire/versions.ts';
import { someClient, somePacket, someServer, twoBuses, twoEndpoints } from '../kmcl/two-endpoints.ts';
import { StepScheduler } from '../peers/step-scheduler.ts';

describe('contact', () => {
  test('connect gives the version that both ends know best', async () => {
    const { guest, scheduler } = twoBuses({ host: { newestVersion: VmbusVersion.WIN10 } });

    const version = guest.connect();
    scheduler.run();

    expect(await version).toBe(VmbusVersion.WIN10);
  });

  test('without a common version connect rejects with ERR_REFUSED', async () => {
    const { guest, scheduler } = twoBuses({
      guest: { oldestVersion: VmbusVersion.WIN10 },
      host: { newestVersion: VmbusVersion.WIN8 },
    });

    const version = guest.connect();
    scheduler.run();

    await expect(version).rejects.toMatchObject({ code: 'ERR_REFUSED' });
  });

  test('when the host is lost connect rejects with ERR_TRANSPORT, then and later', async () => {
    const { guest, scheduler, loopback } = twoBuses();

    const version = guest.connect();
    loopback.loseHost('killed');
    scheduler.run();

    await expect(version).rejects.toMatchObject({ code: 'ERR_TRANSPORT' });
    await expect(guest.connect()).rejects.toMatchObject({ code: 'ERR_TRANSPORT' });
  });

  test('connect while connecting, or when connected, is refused', async () => {
    const { guest, scheduler } = twoBuses();
    const version = guest.connect();
    await expect(guest.connect()).rejects.toMatchObject({ code: 'ERR_STATE' });
    scheduler.run();
    await version;

    await expect(guest.connect()).rejects.toMatchObject({ code: 'ERR_STATE' });
  });

  test('after disconnect the guest may connect again and open the same channel', async () => {
    const t = await twoEndpoints();
    const disconnected = t.guest.disconnect();
    await t.settle();
    await disconnected;
    expect(endpointOf(t.client).stage).toBe('disabled');

    const version = t.guest.connect();
    await t.settle();
    await version;
    VmbChannelEnable(t.client);
    await t.settle();

    expect([endpointOf(t.client).stage, endpointOf(t.server).stage]).toEqual(['active', 'active']);
  });

  test('the owner hears of offers, of the last one, and of those taken back', async () => {
    const heard: string[] = [];
    const { guest, host, scheduler } = twoBuses({
      guest: {
        events: {
          offered: (offer) => heard.push(`offered ${offer.relid}`),
          rescinded: (offer) => heard.push(`rescinded ${offer.relid}`),
          allOffersDelivered: () => heard.push('all'),
        },
      },
    });
    const server = someServer(createDeviceObject({ vmbus: host }));
    VmbChannelEnable(server);
    guest.connect().catch(() => {});
    scheduler.run();

    endpointOf(server)
      .disable()
      .catch(() => {});
    await scheduler.settle();

    expect(heard).toEqual(['offered 1', 'all', 'rescinded 1']);
    expect([...guest.bus.offers()]).toEqual([]);
  });
});

test.each(ALL_VERSIONS.map((version) => [formatVersion(version), version] as const))(
  'a round trip in both directions works at version %s',
  async (_name, version) => {
    const t = await twoEndpoints({
      host: { newestVersion: version },
      onServerPacket: (_c, packet) => VmbChannelPacketComplete(packet, null, 0),
      onClientPacket: (_c, packet) => VmbChannelPacketComplete(packet, null, 0),
    });
    const statuses: number[] = [];

    VmbPacketSend(t.packet(), new Uint8Array(100), 100, null, 1);
    VmbPacketSend(
      somePacket(t.server, (_packet, status) => statuses.push(status)),
      null,
      0,
      null,
      1,
    );
    await t.settle();

    expect(t.guest.bus.version).toBe(version);
    expect(t.completions.map(({ status }) => status)).toEqual([0]);
    expect(statuses).toEqual([0]);
  },
);

test('a channel opens even when every message is at first refused for lack of buffers', async () => {
  const scheduler = new StepScheduler();
  const loopback = createLoopback({ memory: GuestMemory.allocate(256), scheduler });
  /** Refuses each message once. */
  const reluctant = <Environment extends typeof loopback.guest | typeof loopback.host>(
    env: Environment,
  ): Environment => {
    let isFirst = true;
    const post = (connectionId: number, message: Uint8Array): PostStatus => {
      isFirst = !isFirst;
      return isFirst ? env.control.post(connectionId, message) : PostStatus.InsufficientBuffers;
    };
    return { ...env, control: { post } };
  };
  const guest = new GuestVmbus(reluctant(loopback.guest));
  const host = new HostVmbus(reluctant(loopback.host));
  const client = someClient(createDeviceObject({ vmbus: guest }));
  const server = someServer(createDeviceObject({ vmbus: host }));
  guest.connect().catch(() => {});
  VmbChannelEnable(server);
  VmbChannelStart(server);
  VmbChannelEnable(client);

  for (let tick = 0; tick < 100; tick++) scheduler.advance(1);
  scheduler.run();

  expect([endpointOf(client).stage, endpointOf(server).stage]).toEqual(['active', 'active']);
});
