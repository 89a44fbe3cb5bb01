import { describe, expect, test } from 'vitest';
import type { GuestOffer } from '../../src/channel/index.ts';
import {
  closeVmbusHandle,
  createDeviceObject,
  endpointOf,
  openVmbusHandle,
  out,
  STATUS_INVALID_PARAMETER,
  STATUS_INVALID_PARAMETER_1,
  STATUS_INVALID_PARAMETER_2,
  STATUS_INVALID_PARAMETER_3,
  STATUS_SUCCESS,
  VMB_CHANNEL_STATE_CHANGE_CALLBACKS_INIT,
  type VmbChannel,
  VmbChannelAllocate,
  VmbChannelCleanup,
  VmbChannelEnable,
  VmbChannelGetPointer,
  VmbChannelInitSetClientContextSize,
  VmbChannelInitSetFlags,
  VmbChannelInitSetFriendlyName,
  VmbChannelInitSetMaximumExternalData,
  VmbChannelInitSetMaximumPacketSize,
  VmbChannelInitSetProcessPacketCallbacks,
  VmbChannelInitSetStateChangeCallbacks,
  VmbChannelPacketComplete,
  VmbChannelPacketGetClientContext,
  VmbChannelSetPointer,
  VmbChannelStart,
  type VmbClientChannel,
  VmbClientChannelInitSetRingBufferPageCount,
  VmbClientChannelInitSetTargetPnp,
  VmbConvertVmbusHandleToKernelHandle,
  VmbPacketGetPointer,
  VmbPacketSend,
  VmbPacketSetPointer,
  type VmbServerChannel,
  VmbServerChannelInitSetFlags,
  VmbServerChannelInitSetMmioMegabytes,
  VmbServerChannelInitSetSaveRestorePacketCallbacks,
  VmbServerChannelInitSetTargetInterfaceId,
  VmbServerChannelInitSetTargetVtl,
  VmbServerChannelInitSetVmbusHandle,
  type VmbusKernelHandle,
} from '../../src/kmcl/index.ts';
import { Mdl } from '../../src/memory/index.ts';
import { MessageType, OfferChannel, OpenChannel } from '../../src/wire/messages/index.ts';
import {
  connectedBuses,
  INSTANCE_ID,
  INTERFACE_ID,
  nth,
  sentPackets,
  someClient,
  someServer,
  twoBuses,
  twoEndpoints,
} from './two-endpoints.ts';

const device = createDeviceObject();
const noPacket = (): void => {};

function freshClient(): VmbClientChannel {
  const channel = out<VmbClientChannel>();
  VmbChannelAllocate(device, false, channel);
  return channel.value;
}

function freshServer(): VmbServerChannel {
  const channel = out<VmbServerChannel>();
  VmbChannelAllocate(device, true, channel);
  return channel.value;
}

/** An enabled client and server whose states no InitSet function may change any more. */
async function enabled(): Promise<{ client: VmbClientChannel; server: VmbServerChannel }> {
  const { client, server } = await twoEndpoints();
  return { client, server };
}

describe('maximum packet size', () => {
  test('K-025 VmbChannelInitSetMaximumPacketSize with 0 is STATUS_INVALID_PARAMETER_2', () => {
    expect(VmbChannelInitSetMaximumPacketSize(freshClient(), 0)).toBe(STATUS_INVALID_PARAMETER_2);
    expect(VmbChannelInitSetMaximumPacketSize(freshClient(), 2 ** 32)).toBe(STATUS_INVALID_PARAMETER_2);
    expect(VmbChannelInitSetMaximumPacketSize(freshClient(), 1.5)).toBe(STATUS_INVALID_PARAMETER_2);
  });

  test('K-026 VmbChannelInitSetMaximumPacketSize on an enabled channel is STATUS_INVALID_PARAMETER_1', async () => {
    const { client, server } = await enabled();

    expect(VmbChannelInitSetMaximumPacketSize(client, 100)).toBe(STATUS_INVALID_PARAMETER_1);
    expect(VmbChannelInitSetMaximumPacketSize(server, 100)).toBe(STATUS_INVALID_PARAMETER_1);
  });

  test('K-027 VmbChannelInitSetMaximumPacketSize on a bad handle is STATUS_INVALID_PARAMETER_1', () => {
    const dead = freshClient();
    VmbChannelCleanup(dead);

    for (const handle of [dead, null, undefined, {}, 7]) {
      expect(VmbChannelInitSetMaximumPacketSize(handle as unknown as VmbChannel, 100)).toBe(STATUS_INVALID_PARAMETER_1);
    }
  });

  test('K-028 a maximum of n lets n bytes through and refuses n + 1, also when the peer sends them', async () => {
    const { client, server, packet, received, settle } = await twoEndpoints({
      setUpClient: (channel) => VmbChannelInitSetMaximumPacketSize(channel, 200),
      setUpServer: (channel) => VmbChannelInitSetMaximumPacketSize(channel, 100),
    });
    const bytes = new Uint8Array(201);

    expect(VmbPacketSend(packet(), bytes, 201, null, 1)).toBe(STATUS_INVALID_PARAMETER_3);
    expect(VmbPacketSend(packet(), bytes, 100, null, 1)).toBe(STATUS_SUCCESS);
    await settle();
    expect(received).toHaveLength(1);
    VmbChannelPacketComplete(nth(received, 0).packet, null, 0);
    // The server takes 104 (100 rounded up to 8), so 105 close its channel.
    expect(VmbPacketSend(packet(), bytes, 105, null, 1)).toBe(STATUS_SUCCESS);
    await settle();

    expect(received).toHaveLength(1);
    expect(endpointOf(server).stage).not.toBe('active');
    expect(endpointOf(client).stage).toBe('active');
  });

  test('K-029 raising the maximum packet size never shrinks the ring', async () => {
    let before = 0;
    for (const size of [1, 4096, 16_000, 100_000]) {
      const { client } = await twoEndpoints({
        setUpClient: (channel) => VmbChannelInitSetMaximumPacketSize(channel, size),
      });
      const { outgoing } = endpointOf(client).inspect() as { outgoing: { ring: { dataBytes: number } } };

      expect(outgoing.ring.dataBytes).toBeGreaterThanOrEqual(Math.max(before, size));
      before = outgoing.ring.dataBytes;
    }
  });

  test('K-030 a maximum packet size of 1 is accepted', () => {
    expect(VmbChannelInitSetMaximumPacketSize(freshClient(), 1)).toBe(STATUS_SUCCESS);
  });
});

describe('maximum external data', () => {
  test('K-031 VmbChannelInitSetMaximumExternalData with DataSize 0 is STATUS_INVALID_PARAMETER_2', () => {
    expect(VmbChannelInitSetMaximumExternalData(freshClient(), 0, 1)).toBe(STATUS_INVALID_PARAMETER_2);
  });

  test('K-032 VmbChannelInitSetMaximumExternalData with ChainLength 0 is STATUS_INVALID_PARAMETER_3', () => {
    expect(VmbChannelInitSetMaximumExternalData(freshClient(), 1, 0)).toBe(STATUS_INVALID_PARAMETER_3);
  });

  test('K-033 with both 0 the lower-numbered error is returned', () => {
    expect(VmbChannelInitSetMaximumExternalData(freshClient(), 0, 0)).toBe(STATUS_INVALID_PARAMETER_2);
  });

  test('K-034 VmbChannelInitSetMaximumExternalData on an enabled channel is STATUS_INVALID_PARAMETER_1', async () => {
    const { client } = await enabled();

    expect(VmbChannelInitSetMaximumExternalData(client, 1, 1)).toBe(STATUS_INVALID_PARAMETER_1);
  });

  test('K-035 one packet at all its limits fits the empty ring that was made for them', async () => {
    const sizes = (channel: VmbChannel): void => {
      VmbChannelInitSetMaximumPacketSize(channel, 5000);
      VmbChannelInitSetMaximumExternalData(channel, 2 ** 20, 16);
    };
    const { client, packet, memory, received, settle } = await twoEndpoints({ setUpClient: sizes, setUpServer: sizes });
    // Sixteen pieces of 64 KiB, each from the middle of a page: the most pages that they can touch.
    const pieces = Array.from({ length: 16 }, () =>
      Mdl.fromPfns(
        memory,
        Array.from({ length: 17 }, (_, index) => 100 + index),
        2048,
        65_536,
      ),
    );

    const status = VmbPacketSend(packet(), new Uint8Array(5000), 5000, Mdl.chain(...pieces), 1);
    await settle();

    expect(status).toBe(STATUS_SUCCESS);
    expect(received).toHaveLength(1);
    expect(endpointOf(client).statistics.packetsQueued).toBe(0);
  });
});

describe('callbacks and names', () => {
  test('K-036 VmbChannelInitSetClientContextSize succeeds before enable, also for 0', () => {
    expect(VmbChannelInitSetClientContextSize(freshClient(), 64)).toBe(STATUS_SUCCESS);
    expect(VmbChannelInitSetClientContextSize(freshClient(), 0)).toBe(STATUS_SUCCESS);
  });

  test('K-037 every incoming packet has a context of its own until it completes', async () => {
    const { packet, received, settle } = await twoEndpoints({
      setUpServer: (channel) => VmbChannelInitSetClientContextSize(channel, 24),
    });
    for (let count = 0; count < 3; count++) VmbPacketSend(packet(), null, 0, null, 1);
    await settle();

    const contexts = received.map(({ packet: incoming }) => VmbChannelPacketGetClientContext(incoming));
    contexts.forEach((context, index) => {
      context?.fill(index + 1);
    });

    expect(contexts.map((context) => context?.length)).toEqual([24, 24, 24]);
    received.forEach(({ packet: incoming }, index) => {
      expect(VmbChannelPacketGetClientContext(incoming)).toEqual(new Uint8Array(24).fill(index + 1));
    });
  });

  test('K-038 VmbChannelInitSetProcessPacketCallbacks takes no ProcessingComplete', () => {
    expect(VmbChannelInitSetProcessPacketCallbacks(freshClient(), noPacket, null)).toBe(STATUS_SUCCESS);
  });

  test('K-039 VmbChannelInitSetProcessPacketCallbacks on an enabled channel is STATUS_INVALID_PARAMETER_1', async () => {
    const { client } = await enabled();

    expect(VmbChannelInitSetProcessPacketCallbacks(client, noPacket, null)).toBe(STATUS_INVALID_PARAMETER_1);
  });

  test('K-040 state-change callbacks of another version are STATUS_INVALID_PARAMETER_2', () => {
    const callbacks = { ...VMB_CHANNEL_STATE_CHANGE_CALLBACKS_INIT(), Version: 2 };

    expect(VmbChannelInitSetStateChangeCallbacks(freshClient(), callbacks)).toBe(STATUS_INVALID_PARAMETER_2);
  });

  test('K-041 state-change callbacks of another size are STATUS_INVALID_PARAMETER_2', () => {
    const callbacks = { ...VMB_CHANNEL_STATE_CHANGE_CALLBACKS_INIT(), Size: 40 };

    expect(VmbChannelInitSetStateChangeCallbacks(freshClient(), callbacks)).toBe(STATUS_INVALID_PARAMETER_2);
  });

  test('K-042 VmbChannelInitSetStateChangeCallbacks on an enabled channel is STATUS_INVALID_PARAMETER_1', async () => {
    const { client } = await enabled();

    expect(VmbChannelInitSetStateChangeCallbacks(client, VMB_CHANNEL_STATE_CHANGE_CALLBACKS_INIT())).toBe(
      STATUS_INVALID_PARAMETER_1,
    );
  });

  test('K-043 the INIT function clears all five members and sets Version 1 and the size', () => {
    const callbacks = { EvtChannelOpened: () => STATUS_SUCCESS, EvtChannelClosed: () => {} };

    expect(VMB_CHANNEL_STATE_CHANGE_CALLBACKS_INIT(callbacks)).toEqual({
      Version: 1,
      Size: 48,
      EvtChannelOpened: null,
      EvtChannelClosed: null,
      EvtChannelSuspend: null,
      EvtChannelStarted: null,
      EvtChannelPostStarted: null,
    });
  });

  test('K-044 members may be null, and the channel opens and closes without them', async () => {
    const { client, loopback, settle } = await twoEndpoints({
      setUpClient: (channel) =>
        VmbChannelInitSetStateChangeCallbacks(channel, VMB_CHANNEL_STATE_CHANGE_CALLBACKS_INIT()),
    });
    expect(endpointOf(client).stage).toBe('active');

    loopback.loseHost('gone');
    await settle();

    expect(endpointOf(client).stage).toBe('disabled');
  });

  test('K-045 the callbacks structure is copied', async () => {
    const calls: string[] = [];
    const callbacks = VMB_CHANNEL_STATE_CHANGE_CALLBACKS_INIT();
    callbacks.EvtChannelStarted = () => {
      calls.push('first');
    };

    await twoEndpoints({
      setUpClient: (channel) => {
        VmbChannelInitSetStateChangeCallbacks(channel, callbacks);
        callbacks.EvtChannelStarted = () => {
          calls.push('second');
        };
      },
    });

    expect(calls).toEqual(['first']);
  });

  test('K-046 a friendly name is accepted and changes no byte on the wire', async () => {
    const messagesOf = async (name: string): Promise<string[]> => {
      const messages: string[] = [];
      const message = (_way: string, bytes: Uint8Array): void => {
        messages.push(Buffer.from(bytes).toString('hex'));
      };
      await twoEndpoints({
        guest: { events: { message } },
        setUpServer: (channel) => expect(VmbChannelInitSetFriendlyName(channel, name)).toBe(STATUS_SUCCESS),
        setUpClient: (channel) => expect(VmbChannelInitSetFriendlyName(channel, name)).toBe(STATUS_SUCCESS),
      });
      return messages;
    };

    expect(await messagesOf('SCSI')).toEqual(await messagesOf('a much longer name'));
  });
});

describe('flags', () => {
  test('K-047 VmbChannelInitSetFlags with other bits is STATUS_INVALID_PARAMETER_2', () => {
    expect(VmbChannelInitSetFlags(freshClient(), 0x2)).toBe(STATUS_INVALID_PARAMETER_2);
    expect(VmbChannelInitSetFlags(freshClient(), 0x8000_0001)).toBe(STATUS_INVALID_PARAMETER_2);
  });

  test('K-048 VmbChannelInitSetFlags on an enabled channel is STATUS_INVALID_PARAMETER_1', async () => {
    const { client } = await enabled();

    expect(VmbChannelInitSetFlags(client, 0)).toBe(STATUS_INVALID_PARAMETER_1);
  });

  test('K-049 VmbChannelInitSetFlags takes 0 and IS_PIPE', () => {
    expect(VmbChannelInitSetFlags(freshClient(), 0)).toBe(STATUS_SUCCESS);
    expect(VmbChannelInitSetFlags(freshServer(), 1)).toBe(STATUS_SUCCESS);
  });

  test('K-050 VmbServerChannelInitSetFlags with bits outside 0x1f is STATUS_INVALID_PARAMETER_2', () => {
    expect(VmbServerChannelInitSetFlags(freshServer(), 0x20)).toBe(STATUS_INVALID_PARAMETER_2);
    expect(VmbServerChannelInitSetFlags(freshServer(), 0x1f)).toBe(STATUS_SUCCESS);
  });

  test('K-051 VmbServerChannelInitSetFlags on an enabled channel is STATUS_INVALID_PARAMETER_1', async () => {
    const { server } = await enabled();

    expect(VmbServerChannelInitSetFlags(server, 0)).toBe(STATUS_INVALID_PARAMETER_1);
  });

  test.each([
    [0x1, 0x0100],
    [0x2, 0x0001],
    [0x4, 0x0010],
    [0x8, 0x0000],
    [0x10, 0x2000],
  ])('server flag %i stands in the offer as %i', async (flag, bits) => {
    const buses = await connectedBuses();
    const server = someServer(buses.hostDevice);
    VmbServerChannelInitSetFlags(server, flag);

    VmbChannelEnable(server);
    buses.scheduler.run();

    expect(nth([...buses.guest.bus.offers()], 0).flags).toBe(bits);
  });

  test('K-052 server InitSet functions on a client channel are STATUS_INVALID_PARAMETER_1', () => {
    const client = freshClient() as unknown as VmbServerChannel;
    const handle = {} as VmbusKernelHandle;
    const status = (): number => STATUS_SUCCESS;

    expect(VmbServerChannelInitSetFlags(client, 0)).toBe(STATUS_INVALID_PARAMETER_1);
    expect(VmbServerChannelInitSetMmioMegabytes(client, 1, 1)).toBe(STATUS_INVALID_PARAMETER_1);
    expect(VmbServerChannelInitSetTargetInterfaceId(client, INTERFACE_ID, INSTANCE_ID)).toBe(
      STATUS_INVALID_PARAMETER_1,
    );
    expect(VmbServerChannelInitSetTargetVtl(client, 0)).toBe(STATUS_INVALID_PARAMETER_1);
    expect(VmbServerChannelInitSetVmbusHandle(client, handle)).toBe(STATUS_INVALID_PARAMETER_1);
    expect(VmbServerChannelInitSetSaveRestorePacketCallbacks(client, status, status)).toBe(STATUS_INVALID_PARAMETER_1);
  });
});

describe('client settings', () => {
  test('K-053 VmbClientChannelInitSetRingBufferPageCount on a server is STATUS_INVALID_PARAMETER_1', () => {
    const server = freshServer() as unknown as VmbClientChannel;

    expect(VmbClientChannelInitSetRingBufferPageCount(server, 4, 4)).toBe(STATUS_INVALID_PARAMETER_1);
  });

  test('K-054 rings have exactly the data pages asked for and a control page more each', async () => {
    const messages: Uint8Array[] = [];
    const { client, server, guest, memory } = await twoEndpoints({
      guest: { events: { message: (_way, message) => messages.push(message.slice()) } },
      setUpClient: (channel) => VmbClientChannelInitSetRingBufferPageCount(channel, 5, 9),
    });
    const open = messages.find((message) => message[0] === MessageType.OpenChannel) as Uint8Array;

    expect(OpenChannel.parse(open).downstreamPageOffset).toBe(10);
    expect(memory.pageCount - guest.pages.freePages).toBe(5 + 9 + 2);
    for (const [channel, incoming, outgoing] of [
      [client, 5, 9],
      [server, 9, 5],
    ] as const) {
      expect(endpointOf(channel).inspect()).toMatchObject({
        incoming: { ring: { dataBytes: incoming * 4096 } },
        outgoing: { ring: { dataBytes: outgoing * 4096 } },
      });
    }
  });

  test('K-055 a ring of 0 pages is refused by position', () => {
    expect(VmbClientChannelInitSetRingBufferPageCount(freshClient(), 0, 4)).toBe(STATUS_INVALID_PARAMETER_2);
    expect(VmbClientChannelInitSetRingBufferPageCount(freshClient(), 4, 0)).toBe(STATUS_INVALID_PARAMETER_3);
  });

  test('K-056 without an instance a client binds to any instance of the type', async () => {
    const buses = await connectedBuses();
    const client = someClient(buses.guestDevice);
    VmbClientChannelInitSetTargetPnp(client, INTERFACE_ID, null, null);
    const server = someServer(buses.hostDevice, '00000000-0000-0000-0000-0000000000ff');
    VmbChannelEnable(client);
    VmbChannelEnable(server);

    await buses.scheduler.settle();

    expect(endpointOf(client).instanceId).toBe('00000000-0000-0000-0000-0000000000ff');
    expect(endpointOf(client).stage).toBe('active');
  });

  test('K-057 with an instance a client ignores other instances of the type', async () => {
    const buses = await connectedBuses();
    const client = someClient(buses.guestDevice);
    const other = someServer(buses.hostDevice, '00000000-0000-0000-0000-0000000000ff');
    VmbChannelEnable(other);
    VmbChannelEnable(client);

    await buses.scheduler.settle();

    expect(endpointOf(client).stage).toBe('enabled');
    expect(endpointOf(other).stage).toBe('enabled');
  });

  test('K-058 VmbClientChannelInitSetTargetPnp takes no failure callback', () => {
    expect(VmbClientChannelInitSetTargetPnp(freshClient(), INTERFACE_ID, INSTANCE_ID, null)).toBe(STATUS_SUCCESS);
  });

  test('K-059 VmbClientChannelInitSetTargetPnp in a wrong state is STATUS_INVALID_PARAMETER_1', async () => {
    const { client } = await enabled();

    expect(VmbClientChannelInitSetTargetPnp(client, INTERFACE_ID, null, null)).toBe(STATUS_INVALID_PARAMETER_1);
  });
});

describe('server settings', () => {
  test('K-060 no MMIO at all is STATUS_INVALID_PARAMETER', () => {
    expect(VmbServerChannelInitSetMmioMegabytes(freshServer(), 0, 0)).toBe(STATUS_INVALID_PARAMETER);
  });

  test('K-061 optional MMIO alone is accepted', () => {
    expect(VmbServerChannelInitSetMmioMegabytes(freshServer(), 0, 1)).toBe(STATUS_SUCCESS);
  });

  /** The offer message of a server, as it crossed. */
  async function offerOf(setUp: (channel: VmbServerChannel) => void): Promise<Uint8Array> {
    const messages: Uint8Array[] = [];
    const buses = await connectedBuses({
      guest: { events: { message: (_way, message) => messages.push(message.slice()) } },
    });
    const server = someServer(buses.hostDevice);
    setUp(server);
    VmbChannelEnable(server);
    buses.scheduler.run();
    return messages.find((message) => message[0] === MessageType.OfferChannel) as Uint8Array;
  }

  test('K-062 the megabytes of MMIO stand in the offer, mandatory and optional', async () => {
    const offer = await offerOf((server) => VmbServerChannelInitSetMmioMegabytes(server, 3, 700));

    expect(OfferChannel.parse(offer)).toMatchObject({ mmioMegabytes: 3, mmioMegabytesOptional: 700 });
  });

  test('K-064 type and instance stand in the offer byte for byte', async () => {
    const offer = await offerOf((server) =>
      VmbServerChannelInitSetTargetInterfaceId(
        server,
        '01020304-0506-0708-090a-0b0c0d0e0f10',
        '11121314-1516-1718-191a-1b1c1d1e1f20',
      ),
    );

    // Windows' order: the first three groups are little-endian.
    expect(Buffer.from(offer.subarray(8, 40)).toString('hex')).toBe(
      '0403020106050807090a0b0c0d0e0f10' + '1413121116151817191a1b1c1d1e1f20',
    );
  });

  test('K-063 VmbServerChannelInitSetMmioMegabytes in a wrong state is STATUS_INVALID_PARAMETER_1', async () => {
    const { server } = await enabled();

    expect(VmbServerChannelInitSetMmioMegabytes(server, 1, 1)).toBe(STATUS_INVALID_PARAMETER_1);
  });

  test('K-065 two channels may share a type with different instances', async () => {
    const buses = await connectedBuses();
    const servers = [INSTANCE_ID, '00000000-0000-0000-0000-000000000002'].map((id) => someServer(buses.hostDevice, id));

    expect(servers.map((server) => VmbChannelEnable(server))).toEqual([STATUS_SUCCESS, STATUS_SUCCESS]);
    buses.scheduler.run();

    expect([...buses.guest.bus.offers()].map((offer: GuestOffer) => offer.instanceId)).toEqual([
      INSTANCE_ID,
      '00000000-0000-0000-0000-000000000002',
    ]);
  });

  test('K-066 a trust level that does not exist is STATUS_INVALID_PARAMETER_2', () => {
    expect(VmbServerChannelInitSetTargetVtl(freshServer(), 16)).toBe(STATUS_INVALID_PARAMETER_2);
    expect(VmbServerChannelInitSetTargetVtl(freshServer(), -1)).toBe(STATUS_INVALID_PARAMETER_2);
    expect(VmbServerChannelInitSetTargetVtl(freshServer(), 2)).toBe(STATUS_SUCCESS);
  });

  test('K-067 a channel for another trust level is not offered', async () => {
    const buses = await connectedBuses();
    const forTwo = someServer(buses.hostDevice);
    VmbServerChannelInitSetTargetVtl(forTwo, 2);
    const forZero = someServer(buses.hostDevice, '00000000-0000-0000-0000-000000000002');

    VmbChannelEnable(forTwo);
    VmbChannelEnable(forZero);
    buses.scheduler.run();

    expect([...buses.guest.bus.offers()].map((offer) => offer.instanceId)).toEqual([
      '00000000-0000-0000-0000-000000000002',
    ]);
  });

  test('K-068 the VMBus handle decides which guest gets the offer', async () => {
    const first = await connectedBuses();
    const second = await connectedBuses();
    const server = someServer(first.hostDevice);
    const kernelHandle = out<VmbusKernelHandle>();
    VmbConvertVmbusHandleToKernelHandle(openVmbusHandle(second.host), kernelHandle);

    VmbServerChannelInitSetVmbusHandle(server, kernelHandle.value);
    VmbChannelEnable(server);
    first.scheduler.run();
    second.scheduler.run();

    expect([...first.guest.bus.offers()]).toHaveLength(0);
    expect([...second.guest.bus.offers()]).toHaveLength(1);
  });

  test('K-069 the VMBus handle may be set from any context', async () => {
    const kernelHandle = out<VmbusKernelHandle>();
    VmbConvertVmbusHandleToKernelHandle(openVmbusHandle(twoBuses().host), kernelHandle);
    const set = (): number => VmbServerChannelInitSetVmbusHandle(freshServer(), kernelHandle.value);

    const inPromise = await Promise.resolve().then(set);
    const inImmediate = await new Promise((resolve) => setImmediate(() => resolve(set())));

    expect([inPromise, inImmediate]).toEqual([STATUS_SUCCESS, STATUS_SUCCESS]);
  });

  test('K-070 a handle that this process did not open cannot be converted', () => {
    const handle = openVmbusHandle(twoBuses().host);
    const kernelHandle = out<VmbusKernelHandle>();

    const status = VmbConvertVmbusHandleToKernelHandle(structuredClone(handle), kernelHandle);

    expect(status).toBe(STATUS_INVALID_PARAMETER_1);
    expect(kernelHandle.isEmpty).toBe(true);
  });

  test('K-071 a kernel handle stays open until its owner closes it', () => {
    const handle = openVmbusHandle(twoBuses().host);
    const kernelHandle = out<VmbusKernelHandle>();
    VmbConvertVmbusHandleToKernelHandle(handle, kernelHandle);

    closeVmbusHandle(handle);
    expect(VmbServerChannelInitSetVmbusHandle(freshServer(), kernelHandle.value)).toBe(STATUS_SUCCESS);

    closeVmbusHandle(kernelHandle.value);
    expect(VmbServerChannelInitSetVmbusHandle(freshServer(), kernelHandle.value)).toBe(STATUS_INVALID_PARAMETER_2);
  });

  test('K-072 VmbServerChannelInitSetSaveRestorePacketCallbacks in a wrong state is refused', async () => {
    const { server } = await enabled();
    const status = (): number => STATUS_SUCCESS;

    expect(VmbServerChannelInitSetSaveRestorePacketCallbacks(server, status, status)).toBe(STATUS_INVALID_PARAMETER_1);
    expect(VmbServerChannelInitSetSaveRestorePacketCallbacks(freshServer(), status, status)).toBe(STATUS_SUCCESS);
  });
});

describe('pointers', () => {
  test('K-073 a channel keeps its pointer in every state', async () => {
    const buses = await connectedBuses();
    const client = someClient(buses.guestDevice);
    const mine = { mine: true };
    expect(VmbChannelGetPointer(client)).toBeNull();

    VmbChannelSetPointer(client, mine);
    VmbChannelEnable(client);
    expect(VmbChannelGetPointer(client)).toBe(mine);

    const server = someServer(buses.hostDevice);
    VmbChannelEnable(server);
    VmbChannelStart(server);
    await buses.scheduler.settle();
    expect(endpointOf(client).stage).toBe('active');
    expect(VmbChannelGetPointer(client)).toBe(mine);
  });

  test('K-074 setting null clears the pointer', () => {
    const client = freshClient();
    VmbChannelSetPointer(client, 7);

    VmbChannelSetPointer(client, null);

    expect(VmbChannelGetPointer(client)).toBeNull();
  });

  test('K-075 the pointers of channel and packets are independent', async () => {
    const { client, packet } = await twoEndpoints();
    const [one, two] = [packet(), packet()];

    VmbChannelSetPointer(client, 'channel');
    VmbPacketSetPointer(one, 'one');

    expect([VmbChannelGetPointer(client), VmbPacketGetPointer(one), VmbPacketGetPointer(two)]).toEqual([
      'channel',
      'one',
      null,
    ]);
  });
});

describe('pipes', () => {
  const pipe = (channel: VmbChannel): void => {
    VmbChannelInitSetFlags(channel, 1);
  };

  test('a pipe frames each payload with its exact length and takes it off again', async () => {
    const { client, packet, received, settle } = await twoEndpoints({ setUpClient: pipe, setUpServer: pipe });
    const sent = sentPackets(client);

    expect(VmbPacketSend(packet(), Uint8Array.of(1, 2, 3), 3, null, 0)).toBe(STATUS_SUCCESS);
    await settle();

    expect(Buffer.from(nth(sent, 0)).toString('hex')).toBe(
      '06000200040000000000000000000000' + '0100000003000000' + '0102030000000000',
    );
    expect(nth(received, 0)).toMatchObject({ bufferLength: 3, bytes: Uint8Array.of(1, 2, 3) });
  });

  test('a pipe is offered as one', async () => {
    const { guest } = await twoEndpoints({ setUpClient: pipe, setUpServer: pipe });
    const offer = nth([...guest.bus.offers()], 0);

    expect(offer.flags).toBe(0x10);
    expect(offer.userDefined[0]).toBe(4);
  });
});
