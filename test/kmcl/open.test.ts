import { describe, expect, test } from 'vitest';
import { currentIrql, Irql } from '../../src/channel/index.ts';
import {
  BugCheck,
  endpointOf,
  NT_SUCCESS,
  out,
  STATUS_CANCELLED,
  STATUS_DEVICE_DOES_NOT_EXIST,
  STATUS_INSUFFICIENT_RESOURCES,
  STATUS_INVALID_DEVICE_REQUEST,
  STATUS_INVALID_DEVICE_STATE,
  STATUS_INVALID_PARAMETER_2,
  STATUS_SUCCESS,
  STATUS_UNSUCCESSFUL,
  VmbChannelAllocate,
  VmbChannelCreateGpadlFromMdl,
  VmbChannelDeleteGpadl,
  VmbChannelDisable,
  VmbChannelEnable,
  VmbChannelGetInterfaceInstance,
  VmbChannelGetMmioSpace,
  VmbChannelInitSetProcessPacketCallbacks,
  VmbChannelInitSetStateChangeCallbacks,
  VmbChannelPacketComplete,
  VmbChannelPause,
  VmbChannelSendSynchronousRequest,
  VmbChannelSetInterruptLatency,
  VmbChannelStart,
  type VmbClientChannel,
  VmbClientChannelInitSetTargetPnp,
  VmbPacketSend,
  VmbServerChannelInitSetMmioMegabytes,
  VmbServerChannelInitSetTargetInterfaceId,
} from '../../src/kmcl/index.ts';
import { GuestMemory, Mdl } from '../../src/memory/index.ts';
import { MessageType, OpenChannelResult } from '../../src/wire/messages/index.ts';
import {
  connectedBuses,
  INSTANCE_ID,
  INTERFACE_ID,
  logged,
  sentPackets,
  someClient,
  somePacket,
  someServer,
  twoBuses,
  twoEndpoints,
} from './two-endpoints.ts';

/** Types of the control messages that the guest saw, in order. */
function recordTypes(types: number[]): { events: { message: (way: string, bytes: Uint8Array) => void } } {
  return { events: { message: (_way, bytes) => types.push(bytes[0] as number) } };
}

describe('enable', () => {
  test('K-076 VmbChannelEnable on a server sends exactly one offer', async () => {
    const types: number[] = [];
    const buses = await connectedBuses({ guest: recordTypes(types) });

    VmbChannelEnable(someServer(buses.hostDevice));
    buses.scheduler.run();

    expect(types.filter((type) => type === MessageType.OfferChannel)).toHaveLength(1);
  });

  test('K-077 VmbChannelEnable on a client without an offer succeeds and waits', async () => {
    const buses = await connectedBuses();
    const client = someClient(buses.guestDevice);

    expect(VmbChannelEnable(client)).toBe(STATUS_SUCCESS);
    buses.scheduler.run();

    expect(endpointOf(client).stage).toBe('enabled');
  });

  test('K-078 VmbChannelEnable returns before the peer has done anything', async () => {
    const buses = await connectedBuses();
    const server = someServer(buses.hostDevice);
    VmbChannelEnable(server);
    buses.scheduler.run();
    const client = someClient(buses.guestDevice);

    VmbChannelEnable(client);

    expect(endpointOf(client).stage).toBe('enabled');
    expect(endpointOf(server).stage).toBe('enabled');
  });

  test('K-079 a client enabled before the offer opens when the offer arrives', async () => {
    const buses = await connectedBuses();
    const client = someClient(buses.guestDevice);
    VmbChannelEnable(client);
    buses.scheduler.run();

    VmbChannelEnable(someServer(buses.hostDevice));
    await buses.scheduler.settle();

    expect(endpointOf(client).stage).toBe('active');
  });

  test('K-080 a client enabled after the offer opens it', async () => {
    const buses = await connectedBuses();
    VmbChannelEnable(someServer(buses.hostDevice));
    buses.scheduler.run();
    const client = someClient(buses.guestDevice);

    VmbChannelEnable(client);
    await buses.scheduler.settle();

    expect(endpointOf(client).stage).toBe('active');
  });

  test('K-081 VmbChannelEnable twice is STATUS_INVALID_DEVICE_STATE', async () => {
    const { client, server } = await twoEndpoints();

    expect(VmbChannelEnable(client)).toBe(STATUS_INVALID_DEVICE_STATE);
    expect(VmbChannelEnable(server)).toBe(STATUS_INVALID_DEVICE_STATE);
  });

  test('a channel whose device has no bus of its kind cannot be enabled', () => {
    const { guestDevice, hostDevice } = twoBuses();

    expect(VmbChannelEnable(someClient(hostDevice))).toBe(STATUS_DEVICE_DOES_NOT_EXIST);
    expect(VmbChannelEnable(someServer(guestDevice))).toBe(STATUS_DEVICE_DOES_NOT_EXIST);
  });

  test('a channel without an identity, or with one in use, cannot be enabled', async () => {
    const { hostDevice, guestDevice } = await twoEndpoints();
    const client = out<VmbClientChannel>();
    VmbChannelAllocate(guestDevice, false, client);

    expect(VmbChannelEnable(client.value)).toBe(STATUS_INVALID_DEVICE_REQUEST);
    expect(VmbChannelEnable(someServer(hostDevice))).toBe(STATUS_INVALID_DEVICE_REQUEST);
  });
});

describe('open and start', () => {
  test('K-082 a client runs after open without VmbChannelStart', async () => {
    const { log } = await twoEndpoints();

    expect(log.filter((entry) => entry.startsWith('client'))).toEqual([
      'client Opened',
      'client Started',
      'client PostStarted',
    ]);
  });

  test('K-083 a server without VmbChannelStart gets Opened, but neither Started nor packets', async () => {
    const { log, packet, received, settle } = await twoEndpoints({ startServer: false });

    VmbPacketSend(packet(), null, 0, null, 1);
    await settle();

    expect(log.filter((entry) => entry.startsWith('server'))).toEqual(['server Opened']);
    expect(received).toHaveLength(0);
  });

  test('K-084 a server may be started right after VmbChannelEnable', async () => {
    const { log, server } = await twoEndpoints();

    expect(log.filter((entry) => entry.startsWith('server'))).toEqual([
      'server Opened',
      'server Started',
      'server PostStarted',
    ]);
    expect(endpointOf(server).stage).toBe('active');
  });

  test('K-085 VmbChannelStart on an open paused channel fires Started', async () => {
    const { log, server, settle } = await twoEndpoints({ startServer: false });
    log.length = 0;

    VmbChannelStart(server);
    await settle();

    expect(log).toEqual(['server Started', 'server PostStarted']);
  });

  test('K-086 Opened, Started, PostStarted come in this order, and completions flow before PostStarted', async () => {
    const buses = await connectedBuses();
    const client = someClient(buses.guestDevice);
    const server = someServer(buses.hostDevice);
    const log: string[] = [];
    VmbChannelInitSetProcessPacketCallbacks(server, (_c, packet) => VmbChannelPacketComplete(packet, null, 0), null);
    const send = (): void => {
      VmbPacketSend(
        somePacket(client, () => log.push('completion')),
        null,
        0,
        null,
        1,
      );
    };
    VmbChannelInitSetStateChangeCallbacks(
      client,
      logged('client', log, {
        EvtChannelStarted: send,
        EvtChannelPostStarted: async () => {
          await expect(VmbChannelSendSynchronousRequest(client, null, 0, null, 1, null, null, null)).resolves.toBe(0);
          log.push('answered');
        },
      }),
    );
    VmbChannelEnable(server);
    VmbChannelStart(server);
    VmbChannelEnable(client);

    await buses.scheduler.settle();

    expect(log.filter((entry) => entry !== 'completion')).toEqual([
      'client Opened',
      'client Started',
      'client PostStarted',
      'answered',
    ]);
    expect(log).toContain('completion');
  });

  test('K-087 no packet is delivered before Started has returned', async () => {
    let release = (): void => {};
    const gate = new Promise<void>((resolve) => {
      release = resolve;
    });
    const { packet, received, settle } = await twoEndpoints({ serverCallbacks: { EvtChannelStarted: () => gate } });
    VmbPacketSend(packet(), null, 0, null, 1);
    await settle();
    expect(received).toHaveLength(0);

    release();
    await settle();

    expect(received).toHaveLength(1);
  });

  test('K-088 a packet may come while PostStarted still runs', async () => {
    let release = (): void => {};
    const gate = new Promise<void>((resolve) => {
      release = resolve;
    });
    const { packet, received, settle, server } = await twoEndpoints({
      serverCallbacks: { EvtChannelPostStarted: () => gate },
    });

    VmbPacketSend(packet(), null, 0, null, 1);
    await settle();

    expect(received).toHaveLength(1);
    release();
    await settle();
    expect(endpointOf(server).stage).toBe('active');
  });

  test('K-089 Opened runs at PASSIVE', async () => {
    const levels: number[] = [];
    const EvtChannelOpened = (): number => {
      levels.push(currentIrql());
      return STATUS_SUCCESS;
    };

    await twoEndpoints({ clientCallbacks: { EvtChannelOpened }, serverCallbacks: { EvtChannelOpened } });

    expect(levels).toEqual([Irql.Passive, Irql.Passive]);
  });

  test('K-090 after a failed Opened nothing is started, delivered or sent', async () => {
    const { log, client, server, guest } = await twoEndpoints({
      clientCallbacks: { EvtChannelOpened: () => STATUS_UNSUCCESSFUL },
    });

    expect(log.filter((entry) => entry.startsWith('client'))).toEqual(['client Opened']);
    expect(endpointOf(client).stage).toBe('disabled');
    expect(endpointOf(client).statistics.packetsSent).toBe(0);
    // The host sees a channel that was opened and closed, and offers it on.
    expect(endpointOf(server).stage).toBe('enabled');
    expect(guest.pages.freePages).toBe(2048);
  });

  test('K-091 after a failed Opened on the server the guest is told that the open failed', async () => {
    const results: number[] = [];
    const { client, server, log } = await twoEndpoints({
      guest: {
        events: {
          message: (_way, bytes) => {
            if (bytes[0] === MessageType.OpenChannelResult) results.push(OpenChannelResult.parse(bytes).status);
          },
        },
      },
      serverCallbacks: { EvtChannelOpened: async () => STATUS_UNSUCCESSFUL },
    });

    expect(results.map((status) => NT_SUCCESS(status))).toEqual([false]);
    expect(log).toEqual(['server Opened']);
    expect([endpointOf(server).stage, endpointOf(client).stage]).toEqual(['enabled', 'disabled']);
  });

  test('K-092 packets sent before the channel is open go out in order once it runs', async () => {
    const buses = await connectedBuses();
    const client = someClient(buses.guestDevice);
    VmbChannelEnable(client);
    const sent = sentPackets(client);
    for (let value = 1; value <= 5; value++) {
      const packet = somePacket(client, () => {});
      expect(VmbPacketSend(packet, Uint8Array.of(value), 1, null, 1)).toBe(STATUS_SUCCESS);
    }
    buses.scheduler.run();
    expect(sent).toHaveLength(0);

    VmbChannelEnable(someServer(buses.hostDevice));
    await buses.scheduler.settle();

    expect(sent.map((packet) => packet[16])).toEqual([1, 2, 3, 4, 5]);
  });

  test('K-093 a send from Started returns at once and waits for its return', async () => {
    const seen: string[] = [];
    const { client } = await twoEndpoints({
      clientCallbacks: {
        EvtChannelStarted: (channel) => {
          const packet = somePacket(channel as VmbClientChannel, () => {});
          seen.push(`status ${VmbPacketSend(packet, null, 0, null, 1)}`);
          seen.push(`sent ${endpointOf(channel).statistics.packetsSent}`);
        },
      },
    });

    expect(seen).toEqual(['status 0', 'sent 0']);
    expect(endpointOf(client).statistics.packetsSent).toBe(1);
  });

  test('K-094 waiting for a completion inside Opened or Started is refused', async () => {
    const statuses: number[] = [];
    const wait = async (channel: VmbClientChannel): Promise<void> => {
      statuses.push(await VmbChannelSendSynchronousRequest(channel, null, 0, null, 1, null, null, null));
    };

    const { client } = await twoEndpoints({
      clientCallbacks: {
        EvtChannelOpened: async (channel) => {
          await wait(channel as VmbClientChannel);
          return STATUS_SUCCESS;
        },
        EvtChannelStarted: (channel) => wait(channel as VmbClientChannel),
      },
    });

    expect(statuses).toEqual([STATUS_INVALID_DEVICE_STATE, STATUS_INVALID_DEVICE_STATE]);
    expect(endpointOf(client).stage).toBe('active');
  });

  test('K-095 a synchronous request inside PostStarted completes', async () => {
    let status: number | undefined;
    await twoEndpoints({
      onServerPacket: (_channel, packet) => VmbChannelPacketComplete(packet, null, 0),
      clientCallbacks: {
        EvtChannelPostStarted: async (channel) => {
          status = await VmbChannelSendSynchronousRequest(channel, null, 0, null, 1, null, null, null);
        },
      },
    });

    expect(status).toBe(STATUS_SUCCESS);
  });

  test('K-096 PostStarted fires on both endpoints', async () => {
    const { log } = await twoEndpoints();

    expect(log.filter((entry) => entry.endsWith('PostStarted')).sort()).toEqual([
      'client PostStarted',
      'server PostStarted',
    ]);
  });

  test.each(['EvtChannelOpened', 'EvtChannelStarted', 'EvtChannelPostStarted'] as const)(
    'K-097 VmbChannelStart and VmbChannelPause are bug checks inside %s',
    async (name) => {
      const thrown: unknown[] = [];
      await twoEndpoints({
        clientCallbacks: {
          [name]: (channel: VmbClientChannel) => {
            try {
              VmbChannelStart(channel);
            } catch (error) {
              thrown.push(error);
            }
            for (const stop of [VmbChannelPause, VmbChannelDisable]) {
              stop(channel).catch((error: unknown) => thrown.push(error));
            }
            return STATUS_SUCCESS;
          },
        },
      });

      expect(thrown).toHaveLength(3);
      for (const error of thrown) expect(error).toMatchObject({ rule: 'K-097' });
      expect(thrown.every((error) => error instanceof BugCheck)).toBe(true);
    },
  );

  test('K-098 a GPADL may be created inside Opened', async () => {
    const handle = out<number>();
    const statuses: number[] = [];
    await twoEndpoints({
      clientCallbacks: {
        EvtChannelOpened: async (channel) => {
          const mdl = Mdl.fromPfns(GuestMemory.allocate(1), [100]);
          statuses.push(await VmbChannelCreateGpadlFromMdl(channel as VmbClientChannel, 0, mdl, 0, 0, handle));
          return STATUS_SUCCESS;
        },
        EvtChannelClosed: (channel) => VmbChannelDeleteGpadl(channel as VmbClientChannel, handle.value),
      },
    });

    expect(statuses).toEqual([STATUS_SUCCESS]);
    expect(handle.value).toBeGreaterThan(0);
  });

  test('K-099 PnpFailure fires when a located device cannot be connected, and Opened does not', async () => {
    const failures: number[] = [];
    // Two rings take at least ten pages.
    const buses = await connectedBuses({ memory: GuestMemory.allocate(8) });
    const client = someClient(buses.guestDevice);
    const log: string[] = [];
    VmbChannelInitSetStateChangeCallbacks(client, logged('client', log));
    VmbClientChannelInitSetTargetPnp(client, INTERFACE_ID, INSTANCE_ID, (_channel, status) => failures.push(status));
    VmbChannelEnable(someServer(buses.hostDevice));
    buses.scheduler.run();

    expect(VmbChannelEnable(client)).toBe(STATUS_SUCCESS);
    await buses.scheduler.settle();

    expect(failures).toEqual([STATUS_INSUFFICIENT_RESOURCES]);
    expect(log).toEqual([]);
    expect(endpointOf(client).stage).toBe('disabled');
  });

  test('K-100 PnpFailure does not fire merely because there is no offer', async () => {
    const failures: number[] = [];
    const buses = await connectedBuses();
    const client = someClient(buses.guestDevice);
    VmbClientChannelInitSetTargetPnp(client, INTERFACE_ID, INSTANCE_ID, (_channel, status) => failures.push(status));

    VmbChannelEnable(client);
    await buses.scheduler.settle();

    expect(failures).toEqual([]);
  });
});

describe('what an open channel tells', () => {
  test('K-101 VmbChannelGetInterfaceInstance gives the instance of the offer', async () => {
    const { client, server } = await twoEndpoints();
    const [ofClient, ofServer] = [out<string>(), out<string>()];

    VmbChannelGetInterfaceInstance(client, ofClient);
    VmbChannelGetInterfaceInstance(server, ofServer);

    expect([ofClient.value, ofServer.value]).toEqual([INSTANCE_ID, INSTANCE_ID]);
  });

  test('K-102 VmbChannelGetMmioSpace gives at least the mandatory megabytes after Opened', async () => {
    const { client, settle } = await twoEndpoints({
      setUpServer: (server) => VmbServerChannelInitSetMmioMegabytes(server, 3, 5),
    });
    const address = out<number>();
    const size = out<number>();

    VmbChannelGetMmioSpace(client, address, size);
    expect(size.value).toBeGreaterThanOrEqual(3 * 2 ** 20);
    expect(address.value % 2 ** 20).toBe(0);
    expect(address.value).toBeGreaterThanOrEqual(2048 * 4096);

    const disabled = VmbChannelDisable(client);
    await settle();
    await disabled;
    VmbChannelGetMmioSpace(client, address, size);
    expect([address.value, size.value]).toEqual([0, 0]);
  });

  test('K-103 VmbChannelSetInterruptLatency gives back the value before', async () => {
    const { client } = await twoEndpoints();
    const before = out<number>();

    VmbChannelSetInterruptLatency(client, 250, before);
    expect(VmbChannelSetInterruptLatency(client, 500, before)).toBe(STATUS_SUCCESS);

    expect(before.value).toBe(250);
  });

  test('K-104 VmbChannelSetInterruptLatency works inside Opened and Closed, and fails before and after', async () => {
    const statuses: string[] = [];
    const set = (where: string, channel: VmbClientChannel): void => {
      statuses.push(`${where} ${VmbChannelSetInterruptLatency(channel, 1, out<number>()) === STATUS_SUCCESS}`);
    };
    const { client, settle } = await twoEndpoints({
      setUpClient: (channel) => set('before', channel),
      clientCallbacks: {
        EvtChannelOpened: (channel) => {
          set('opened', channel as VmbClientChannel);
          return STATUS_SUCCESS;
        },
        EvtChannelClosed: (channel) => set('closed', channel as VmbClientChannel),
      },
    });

    const disabled = VmbChannelDisable(client);
    await settle();
    await disabled;
    set('after', client);

    expect(statuses).toEqual(['before false', 'opened true', 'closed true', 'after false']);
  });

  test('K-105 a failed VmbChannelSetInterruptLatency changes nothing', async () => {
    const { client, server } = await twoEndpoints();
    const before = out<number>();
    VmbChannelSetInterruptLatency(client, 70, before);

    expect(VmbChannelSetInterruptLatency(client, 0x1_0000, before)).toBe(STATUS_INVALID_PARAMETER_2);
    expect(VmbChannelSetInterruptLatency(server, 1, before)).toBe(STATUS_INVALID_DEVICE_REQUEST);
    VmbChannelSetInterruptLatency(client, 80, before);

    expect(before.value).toBe(70);
  });
});

describe('an offer that goes away while it is being opened', () => {
  test('a rescind that meets the open ends in PnpFailure and Disabled, with every page given back', async () => {
    const failures: number[] = [];
    const buses = await connectedBuses();
    const server = someServer(buses.hostDevice);
    VmbServerChannelInitSetTargetInterfaceId(server, INTERFACE_ID, INSTANCE_ID);
    VmbChannelEnable(server);
    buses.scheduler.run();
    const client = someClient(buses.guestDevice);
    VmbClientChannelInitSetTargetPnp(client, INTERFACE_ID, INSTANCE_ID, (_channel, status) => failures.push(status));

    VmbChannelEnable(client);
    const disabled = VmbChannelDisable(server);
    await buses.scheduler.settle();
    await disabled;

    expect(failures).toHaveLength(1);
    expect(endpointOf(client).stage).toBe('disabled');
    expect(buses.guest.pages.freePages).toBe(2048);
    expect([...buses.guest.bus.offers()]).toHaveLength(0);
  });

  test.each(Array.from({ length: 24 }, (_, steps) => steps))(
    'VmbChannelDisable after %i steps of an open ends Disabled, with every page given back',
    async (steps) => {
      const buses = await connectedBuses();
      VmbChannelEnable(someServer(buses.hostDevice));
      buses.scheduler.run();
      const client = someClient(buses.guestDevice);
      const completions: number[] = [];
      VmbChannelEnable(client);
      VmbPacketSend(
        somePacket(client, (_packet, status) => completions.push(status)),
        null,
        0,
        null,
        1,
      );
      for (let step = 0; step < steps; step++) buses.scheduler.step();

      const disabled = VmbChannelDisable(client);
      await buses.scheduler.settle();
      await disabled;

      expect(endpointOf(client).stage).toBe('disabled');
      expect(buses.guest.pages.freePages).toBe(2048);
      expect(completions).toEqual([STATUS_CANCELLED]);
      // The offer is still there: another enable opens it.
      VmbChannelEnable(client);
      await buses.scheduler.settle();
      expect(endpointOf(client).stage).toBe('active');
    },
  );

  test('of two clients for one offer the second gets it when the first is done', async () => {
    const { client, guestDevice, settle } = await twoEndpoints();
    const second = someClient(guestDevice);
    VmbChannelEnable(second);
    await settle();
    expect(endpointOf(second).stage).toBe('enabled');

    const disabled = VmbChannelDisable(client);
    await settle();
    await disabled;

    expect(endpointOf(second).stage).toBe('active');
  });
});
