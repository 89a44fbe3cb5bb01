/** The V2 to V5 tables, and what their members do: known by name only, so each behaviour is ours and said to be. */
import { describe, expect, test } from 'vitest';
import * as kmcl from '../../src/kmcl/index.ts';
import { type Mdl, PAGE_BYTES, PageAllocator } from '../../src/memory/index.ts';
import {
  connectedBuses,
  expectSuccess,
  INSTANCE_ID,
  INTERFACE_ID,
  keepIn,
  nth,
  type Received,
  sentPackets,
  someClient,
  someServer,
  twoBuses,
  twoEndpoints,
} from './two-endpoints.ts';

const {
  STATUS_INVALID_DEVICE_REQUEST,
  STATUS_INVALID_DEVICE_STATE,
  STATUS_INVALID_PARAMETER_1,
  STATUS_INVALID_PARAMETER_2,
  STATUS_INVALID_PARAMETER_3,
  STATUS_INVALID_PARAMETER_4,
  STATUS_INSUFFICIENT_RESOURCES,
  STATUS_SUCCESS,
} = kmcl;
const WAIT = kmcl.VMBUS_CHANNEL_FORMAT_FLAG_WAIT_FOR_COMPLETION;
const HEADER = ['Size', 'Version', 'Context', 'InterfaceReference', 'InterfaceDereference'];

type Table = Record<string, unknown> & { readonly Size: number; readonly Version: number };

function table(type: string, version: number, size = 10_000): Table {
  const device = kmcl.createDeviceObject();
  const box = { value: undefined as unknown };
  expectSuccess(kmcl.queryInterface(device, type, size, version, box as never));
  return box.value as Table;
}

const membersOf = (of: object): string[] => Object.keys(of).filter((name) => !HEADER.includes(name));

describe('tables', () => {
  test.each([
    [1, 360, 41],
    [2, 384, 44],
    [3, 400, 46],
    [4, 416, 48],
    [5, 488, 57],
  ])('K-014 the client table V%i has %i bytes and %i members', (version, size, count) => {
    const client = table(kmcl.KMCL_CLIENT_INTERFACE_TYPE, version);

    expect([client.Version, client.Size, membersOf(client).length]).toEqual([version, size, count]);
  });

  test('K-013 each client table is the one before it and some members more, the same functions', () => {
    for (const version of [2, 3, 4, 5]) {
      const before = table(kmcl.KMCL_CLIENT_INTERFACE_TYPE, version - 1);
      const after = table(kmcl.KMCL_CLIENT_INTERFACE_TYPE, version);

      expect(membersOf(after).slice(0, membersOf(before).length)).toEqual(membersOf(before));
      for (const name of membersOf(before)) expect(after[name]).toBe(before[name]);
    }
    expect(membersOf(table(kmcl.KMCL_CLIENT_INTERFACE_TYPE, 2)).slice(41)).toEqual([
      'VmbChannelPacketGetClientContext',
      'VmbChannelGetTargetDeviceObject',
      'VmbChannelGetParentDeviceObject',
    ]);
  });

  test('the server tables have 472 and 608 bytes; V2 to V4 do not exist and give V1', () => {
    const versions = [1, 2, 4, 5, 6].map((version) => table(kmcl.KMCL_SERVER_INTERFACE_TYPE, version));

    expect(versions.map(({ Version, Size }) => [Version, Size])).toEqual([
      [1, 472],
      [1, 472],
      [1, 472],
      [5, 608],
      [5, 608],
    ]);
    expect(membersOf(versions[3] as Table)).toHaveLength(72);
    expect(membersOf(versions[3] as Table).at(-1)).toBe('VmbServerChannelInitSetSaveRestorePacketCallbacksEx');
  });

  test('every table counts eight bytes for each member behind its header', () => {
    for (const type of [kmcl.KMCL_CLIENT_INTERFACE_TYPE, kmcl.KMCL_SERVER_INTERFACE_TYPE]) {
      for (const version of [1, 2, 3, 4, 5]) {
        const one = table(type, version);
        expect(one.Size).toBe(32 + 8 * membersOf(one).length);
      }
    }
  });

  test('a size that only the V4 structure has is refused for V5', () => {
    const box = kmcl.out<never>();

    const status = kmcl.queryInterface(
      kmcl.createDeviceObject(),
      kmcl.KMCL_CLIENT_INTERFACE_TYPE as string,
      416,
      5,
      box,
    );

    expect(status).toBe(kmcl.STATUS_INVALID_BUFFER_SIZE);
    expect(box.isEmpty).toBe(true);
  });

  test('K-015 no member is a stub: none answers STATUS_NOT_SUPPORTED, whatever it is called with', async () => {
    const server = table(kmcl.KMCL_SERVER_INTERFACE_TYPE, 5);
    const nothing = (): unknown[] => [{}, {}, {}, {}, {}, {}, {}, {}];

    for (const name of membersOf(server)) {
      let answer: unknown;
      try {
        answer = await (server[name] as (...args: unknown[]) => unknown)(...nothing());
      } catch (error) {
        answer = error;
      }
      expect(answer, name).not.toBe(kmcl.STATUS_NOT_SUPPORTED);
    }
  });

  test('a V5 table types its members: a driver needs no cast', () => {
    const device = kmcl.createDeviceObject();
    const box = kmcl.out<kmcl.KmclClientInterfaceV5>();

    kmcl.queryInterface(device, kmcl.KMCL_CLIENT_INTERFACE_TYPE, 488, kmcl.KMCL_CLIENT_INTERFACE_VERSION_V5, box);

    expect(box.value.VmbSizeofChannel()).toBeGreaterThan(0);
  });
});

describe('V2', () => {
  test('the client context is the same bytes until completion, another for another packet, and zero at first', async () => {
    const t = await twoEndpoints({
      setUpServer: (server) => expectSuccess(kmcl.VmbChannelInitSetClientContextSize(server, 24)),
    });
    for (const byte of [1, 2]) expectSuccess(kmcl.VmbPacketSend(t.packet(), Uint8Array.of(byte), 1, null, WAIT));
    await t.settle();

    const [a, b] = t.received.map(({ packet }) => kmcl.VmbChannelPacketGetClientContext(packet)) as [
      Uint8Array,
      Uint8Array,
    ];
    a.fill(7);

    expect(kmcl.VmbChannelPacketGetClientContext(nth(t.received, 0).packet)).toBe(a);
    expect([a.length, b.length, b[0]]).toEqual([24, 24, 0]);
    kmcl.VmbChannelPacketComplete(nth(t.received, 0).packet, null, 0);
    expect(() => kmcl.VmbChannelPacketGetClientContext(nth(t.received, 0).packet)).toThrow('K-221');
  });

  test('the parent device is that of Allocate; the target device is the one that the channel is bound to', async () => {
    const t = await twoEndpoints();
    const unbound = someClient(t.guestDevice);

    expect(kmcl.VmbChannelGetParentDeviceObject(t.client)).toBe(t.guestDevice);
    expect(kmcl.VmbChannelGetTargetDeviceObject(t.client)).toMatchObject({
      vmbus: t.guest,
      interfaceId: INTERFACE_ID,
      instanceId: INSTANCE_ID,
    });
    expect(kmcl.VmbChannelGetTargetDeviceObject(t.client)).toBe(kmcl.VmbChannelGetTargetDeviceObject(t.client));
    expect(kmcl.VmbChannelGetTargetDeviceObject(t.server)).toMatchObject({ vmbus: t.host, instanceId: INSTANCE_ID });
    expect(kmcl.VmbChannelGetTargetDeviceObject(unbound)).toBe(null);
  });
});

describe('V3: bounce buffers', () => {
  const HOST_VISIBLE = Array.from({ length: 8 }, (_, index) => 1000 + index);

  async function pair() {
    const { memory } = twoBuses();
    const reserved = Array.from({ length: memory.pageCount }, (_, pfn) => pfn).filter(
      (pfn) => !HOST_VISIBLE.includes(pfn),
    );
    const hostVisiblePages = new PageAllocator(memory, { reserved });
    const pages = new PageAllocator(memory, { reserved: HOST_VISIBLE });
    return await twoEndpoints({
      memory,
      guest: { pages, hostVisiblePages },
      setUpClient: (client) => {
        expectSuccess(kmcl.VmbChannelInitSetBounceBufferSizes(client, 4 * PAGE_BYTES, 2 * PAGE_BYTES));
      },
    });
  }

  test('a buffer lies in pages that the host can see, zeroed, and reaches it as external data', async () => {
    const t = await pair();
    t.memory.page(1000).fill(0xa5);
    const mdl = kmcl.out<Mdl>();

    expectSuccess(kmcl.VmbChannelAllocateBounceBuffer(t.client, 5000, mdl));
    const view = kmcl.MmGetSystemAddressForMdlSafe(mdl.value);
    const wasZero = view.toBytes().every((byte) => byte === 0);
    view.write(0, Uint8Array.of(1, 2, 3));
    expectSuccess(kmcl.VmbPacketSend(t.packet(), null, 0, mdl.value, WAIT));
    await t.settle();
    const seen = kmcl.out<Mdl>();
    expectSuccess(kmcl.VmbChannelPacketGetExternalData(nth(t.received, 0).packet, 0, seen));

    expect(wasZero).toBe(true);
    expect([...mdl.value.pfns]).toEqual([1000, 1001]);
    expect(kmcl.MmGetSystemAddressForMdlSafe(seen.value).toBytes().subarray(0, 3)).toEqual(Uint8Array.of(1, 2, 3));
  });

  test('the pool is bounded, whole pages count, and all goes back at Cleanup', async () => {
    const t = await pair();
    const box = kmcl.out<Mdl>();

    const statuses = [2 * PAGE_BYTES + 1, 0, 5000, 5000, 1].map((bytes) =>
      kmcl.VmbChannelAllocateBounceBuffer(t.client, bytes, box),
    );
    const disabled = kmcl.VmbChannelDisable(t.client);
    await t.settle();
    await disabled;
    kmcl.VmbChannelCleanup(t.client);

    expect(statuses).toEqual([
      STATUS_INVALID_PARAMETER_2,
      STATUS_INVALID_PARAMETER_2,
      STATUS_SUCCESS,
      STATUS_SUCCESS,
      STATUS_INSUFFICIENT_RESOURCES,
    ]);
    expect(box.value.isValid).toBe(false);
    expect(t.guest.hostVisiblePages.freePages).toBe(HOST_VISIBLE.length);
  });

  test('sizes that make no sense, other states and a server are refused', async () => {
    const t = await pair();
    const client = someClient(t.guestDevice);
    const server = someServer(t.hostDevice, '00000000-0000-0000-0000-000000000001');
    const box = kmcl.out<Mdl>();

    expect(kmcl.VmbChannelInitSetBounceBufferSizes(client, 4095, 1)).toBe(STATUS_INVALID_PARAMETER_2);
    expect(kmcl.VmbChannelInitSetBounceBufferSizes(client, 4096, 4097)).toBe(STATUS_INVALID_PARAMETER_3);
    expect(kmcl.VmbChannelInitSetBounceBufferSizes(t.client, 4096, 1)).toBe(STATUS_INVALID_PARAMETER_1);
    expect(kmcl.VmbChannelInitSetBounceBufferSizes(server as never, 4096, 1)).toBe(STATUS_INVALID_PARAMETER_1);
    expect(kmcl.VmbChannelAllocateBounceBuffer(client, 1, box)).toBe(STATUS_INVALID_DEVICE_STATE);
    expect(kmcl.VmbChannelAllocateBounceBuffer(server as never, 1, box)).toBe(STATUS_INVALID_DEVICE_REQUEST);
    expect(box.isEmpty).toBe(true);
  });
});

describe('V4', () => {
  test('no more packets than the maximum are out at once', async () => {
    const t = await twoEndpoints({
      setUpClient: (client) => expectSuccess(kmcl.VmbChannelInitSetMaximumPacketCount(client, 2)),
    });

    const first = kmcl.VmbPacketAllocate(t.client) as kmcl.VmbPacket;
    const second = kmcl.VmbPacketAllocate(t.client) as kmcl.VmbPacket;
    const third = kmcl.VmbPacketAllocate(t.client);
    kmcl.VmbPacketFree(first);
    const fourth = kmcl.VmbPacketAllocate(t.client);

    expect(third).toBe(null);
    expect(fourth).not.toBe(null);
    expect(kmcl.VmbChannelInitSetMaximumPacketCount(t.client, 2)).toBe(STATUS_INVALID_PARAMETER_1);
    expect(kmcl.VmbChannelInitSetMaximumPacketCount(someClient(t.guestDevice), 0)).toBe(STATUS_INVALID_PARAMETER_2);
    kmcl.VmbPacketFree(second);
  });

  test('a GPADL of a page list is those pages in that order', async () => {
    const t = await twoEndpoints();
    const handle = kmcl.out<number>();
    const pfns = [907, 900, 907];
    const mdl = kmcl.out<Mdl>();

    const created = kmcl.VmbChannelCreateGpadlFromPfnList(t.client, 0, pfns, 3, handle);
    await t.settle();
    expectSuccess(await created);
    expectSuccess(kmcl.VmbChannelMapGpadl(t.server, 0, handle.value, mdl));

    expect([...mdl.value.pfns]).toEqual(pfns);
    expect(await kmcl.VmbChannelCreateGpadlFromPfnList(t.client, 0, pfns, 0, handle)).toBe(STATUS_INVALID_PARAMETER_4);
    expect(await kmcl.VmbChannelCreateGpadlFromPfnList(t.client, 0, pfns, 4, handle)).toBe(STATUS_INVALID_PARAMETER_3);
    expect(await kmcl.VmbChannelCreateGpadlFromPfnList(t.client, 0, [1e9], 1, handle)).toBe(STATUS_INVALID_PARAMETER_3);
    expect(await kmcl.VmbChannelCreateGpadlFromPfnList(t.client, 2, pfns, 3, handle)).toBe(STATUS_INVALID_PARAMETER_2);
  });
});

describe('V5', () => {
  test('sub-channels number themselves, take identity and target from their primary, and meet their counterparts', async () => {
    const t = await twoEndpoints();
    const got: Received[][] = [[], []];
    const clients: kmcl.VmbClientChannel[] = [];
    for (const index of [0, 1]) {
      const server = kmcl.out<kmcl.VmbServerChannel>();
      const client = kmcl.out<kmcl.VmbClientChannel>();
      expectSuccess(kmcl.VmbChannelAllocate(t.hostDevice, true, server));
      expectSuccess(kmcl.VmbChannelAllocate(t.guestDevice, false, client));
      expectSuccess(kmcl.VmbChannelInitSetPrimaryChannel(server.value, t.server));
      expectSuccess(kmcl.VmbChannelInitSetPrimaryChannel(client.value, t.client));
      kmcl.VmbChannelInitSetProcessPacketCallbacks(server.value, keepIn(nth(got, index)), null);
      expectSuccess(kmcl.VmbChannelEnable(server.value));
      kmcl.VmbChannelStart(server.value);
      expectSuccess(kmcl.VmbChannelEnable(client.value));
      clients.push(client.value);
    }
    await t.settle();

    for (const [index, client] of clients.entries()) {
      const packet = kmcl.VmbPacketAllocate(client) as kmcl.VmbPacket;
      expectSuccess(kmcl.VmbPacketSend(packet, Uint8Array.of(index + 1), 1, null, 0));
    }
    await t.settle();

    expect(got.map((received) => received.map(({ bytes }) => bytes[0]))).toEqual([[1], [2]]);
    expect([...t.guest.bus.offers()].map(({ subchannelIndex }) => subchannelIndex).sort()).toEqual([0, 1, 2]);
  });

  test('a primary must be live, of the same kind, another one, and no sub-channel; Cleanup frees the number', async () => {
    const t = await twoEndpoints();
    const [a, b, c] = [someClient(t.guestDevice), someClient(t.guestDevice), someClient(t.guestDevice)] as const;
    expectSuccess(kmcl.VmbChannelInitSetPrimaryChannel(a, t.client));

    expect(kmcl.VmbChannelInitSetPrimaryChannel(b, b)).toBe(STATUS_INVALID_PARAMETER_2);
    expect(kmcl.VmbChannelInitSetPrimaryChannel(b, a)).toBe(STATUS_INVALID_PARAMETER_2);
    expect(kmcl.VmbChannelInitSetPrimaryChannel(b, t.server as never)).toBe(STATUS_INVALID_PARAMETER_2);
    expect(kmcl.VmbChannelInitSetPrimaryChannel(b, {} as never)).toBe(STATUS_INVALID_PARAMETER_2);
    expect(kmcl.VmbChannelInitSetPrimaryChannel(t.client, a)).toBe(STATUS_INVALID_PARAMETER_1);
    expectSuccess(kmcl.VmbChannelInitSetPrimaryChannel(b, c));
    expect(kmcl.VmbChannelInitSetPrimaryChannel(c, t.client)).toBe(STATUS_INVALID_PARAMETER_1);
    kmcl.VmbChannelCleanup(b);
    expectSuccess(kmcl.VmbChannelInitSetPrimaryChannel(c, t.client));
  });

  test('a channel in the caller’s memory works like any other', async () => {
    const t = await connectedBuses();
    const box = kmcl.out<kmcl.VmbClientChannel>();
    const size = kmcl.VmbSizeofChannel();

    expect(kmcl.VmbChannelInitialize(box, size - 1, t.guestDevice, false)).toBe(STATUS_INVALID_PARAMETER_2);
    expect(kmcl.VmbChannelInitialize(box, size, null as never, false)).toBe(STATUS_INVALID_PARAMETER_3);
    expect(box.isEmpty).toBe(true);
    expectSuccess(kmcl.VmbChannelInitialize(box, size, t.guestDevice, false));
    expectSuccess(kmcl.VmbClientChannelInitSetTargetPnp(box.value, INTERFACE_ID, null, null));
    kmcl.VmbChannelCleanup(box.value);

    expect(() => kmcl.VmbChannelSizeofPacket(box.value)).toThrow('K-021');
  });

  test('a share of the time at DISPATCH lets the rest of a batch run at PASSIVE', async () => {
    const levels: number[] = [];
    const { currentIrql } = await import('../../src/channel/index.ts');
    const t = await twoEndpoints({
      onServerPacket: (_channel, packet) => {
        levels.push(currentIrql());
        kmcl.VmbChannelPacketComplete(packet, null, 0);
      },
    });
    kmcl.VmbChannelSetAllowableDpcCpuUsage(t.server, 5);
    kmcl.VmbChannelSetAllowableDpcCpuUsage(t.server, 0);
    kmcl.VmbChannelSetAllowableDpcCpuUsage(t.server, 101);

    for (let count = 0; count < 10; count++) expectSuccess(kmcl.VmbPacketSend(t.packet(), null, 0, null, WAIT));
    await t.settle();

    // 5% of 64 packets at DISPATCH, the others at PASSIVE.
    expect(levels).toEqual([2, 2, 2, 0, 0, 0, 0, 0, 0, 0]);
  });

  test('the processor that a client chose is in its open request', async () => {
    const opened: number[] = [];
    const { OpenChannel, MessageHeader, MessageType } = await import('../../src/wire/messages/index.ts');
    await twoEndpoints({
      guest: {
        events: {
          message: (way, message) => {
            const isOpen = way === 'sent' && MessageHeader.parse(message).messageType === MessageType.OpenChannel;
            if (isOpen) opened.push(OpenChannel.parse(message).targetVp);
          },
        },
      },
      setUpClient: (client) => expectSuccess(kmcl.VmbClientChannelInitSetTargetProcessorIndex(client, 3)),
    });

    expect(opened).toEqual([3]);
    const server = someServer(twoBuses().hostDevice);
    expect(kmcl.VmbClientChannelInitSetTargetProcessorIndex(server as never, 0)).toBe(STATUS_INVALID_PARAMETER_1);
    expect(kmcl.VmbClientChannelInitSetTargetProcessorIndex(someClient(twoBuses().guestDevice), -1)).toBe(
      STATUS_INVALID_PARAMETER_2,
    );
  });

  test('the inline context survives send and completion, is not on the wire, and is zero in a new packet', async () => {
    const t = await twoEndpoints({
      setUpClient: (client) => {
        const before = kmcl.VmbChannelSizeofPacket(client);
        expectSuccess(kmcl.VmbChannelInitSetInlinePacketContextSize(client, 20));
        expect(kmcl.VmbChannelSizeofPacket(client)).toBe(before + 24);
      },
    });
    const sent = sentPackets(t.client);
    const packet = t.packet();
    const context = kmcl.VmbPacketGetInlinePacketContextPointer(packet) as Uint8Array;
    context.fill(0xee);

    expectSuccess(kmcl.VmbPacketSend(packet, Uint8Array.of(1), 1, null, WAIT));
    await t.settle();
    kmcl.VmbChannelPacketComplete(nth(t.received, 0).packet, null, 0);
    await t.settle();

    expect(kmcl.VmbPacketGetInlinePacketContextPointer(packet)).toBe(context);
    expect(context).toEqual(new Uint8Array(20).fill(0xee));
    expect(nth(sent, 0).includes(0xee)).toBe(false);
    kmcl.VmbPacketFree(packet);
    expect(kmcl.VmbPacketGetInlinePacketContextPointer(t.packet())).toEqual(new Uint8Array(20));
    expect(kmcl.VmbPacketGetInlinePacketContextPointer(kmcl.VmbPacketAllocate(t.server) as never)).toBe(null);
    expect(kmcl.VmbChannelInitSetInlinePacketContextSize(t.client, 8)).toBe(STATUS_INVALID_PARAMETER_1);
    expect(kmcl.VmbChannelInitSetInlinePacketContextSize(someClient(t.guestDevice), 65_537)).toBe(
      STATUS_INVALID_PARAMETER_2,
    );
  });

  test('the Ex callbacks and the Ex completion routine get their context', async () => {
    const calls: unknown[] = [];
    const t = await twoEndpoints({
      setUpServer: (server) =>
        expectSuccess(
          kmcl.VmbChannelInitSetProcessPacketCallbacksEx(
            server,
            (_channel, packet, _buffer, length, _flags, context) => {
              calls.push(['packet', length, context]);
              kmcl.VmbChannelPacketComplete(packet, null, 0);
            },
            (_channel, count, context) => calls.push(['batch', count, context]),
            'server context',
          ),
        ),
    });
    const packet = kmcl.VmbPacketAllocate(t.client) as kmcl.VmbPacket;
    kmcl.VmbPacketSetCompletionRoutineEx(
      packet,
      (_packet, status, _buffer, _length, context) => calls.push(['routine', status, context]),
      'packet context',
    );

    expectSuccess(kmcl.VmbPacketSend(packet, Uint8Array.of(1), 1, null, WAIT));
    await t.settle();

    expect(calls).toEqual([
      ['packet', 8, 'server context'],
      ['batch', 1, 'server context'],
      ['routine', STATUS_SUCCESS, 'packet context'],
    ]);
    expect(kmcl.VmbChannelInitSetProcessPacketCallbacksEx(t.server, () => {}, null, 0)).toBe(
      STATUS_INVALID_PARAMETER_1,
    );
    expect(kmcl.VmbChannelInitSetProcessPacketCallbacksEx(someServer(t.hostDevice), null as never, null, 0)).toBe(
      STATUS_INVALID_PARAMETER_2,
    );
  });

  test('a packet whose routine is set again without Ex forgets the context', async () => {
    const t = await twoEndpoints();
    const contexts: unknown[] = [];
    const routine = (...args: unknown[]): number => contexts.push(args[4]);
    const packet = t.packet();
    kmcl.VmbPacketSetCompletionRoutineEx(packet, routine, 'mine');
    kmcl.VmbPacketSetCompletionRoutine(packet, routine);

    expectSuccess(kmcl.VmbPacketSend(packet, null, 0, null, 0));
    await t.settle();

    expect(contexts).toEqual([undefined]);
  });
});
