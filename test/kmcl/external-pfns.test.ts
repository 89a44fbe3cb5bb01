import { describe, expect, test } from 'vitest';
import {
  endpointOf,
  MmGetSystemAddressForMdlSafe,
  out,
  STATUS_CANCELLED,
  STATUS_DEVICE_REMOVED,
  STATUS_INVALID_DEVICE_REQUEST,
  STATUS_INVALID_DEVICE_STATE,
  STATUS_INVALID_PARAMETER_2,
  STATUS_INVALID_PARAMETER_3,
  STATUS_INVALID_PARAMETER_4,
  STATUS_INVALID_PARAMETER_5,
  STATUS_INVALID_PARAMETER_6,
  STATUS_SUCCESS,
  VmbChannelDisable,
  VmbChannelEnable,
  VmbChannelInitSetFlags,
  VmbChannelInitSetMaximumExternalData,
  VmbChannelInitSetMaximumPacketSize,
  VmbChannelPacketComplete,
  VmbChannelPacketGetExternalData,
  VmbChannelStart,
  VmbClientChannelInitSetRingBufferPageCount,
  VmbPacketSendWithExternalMdl,
  VmbPacketSendWithExternalPfns,
} from '../../src/kmcl/index.ts';
import { GuestMemory, Mdl } from '../../src/memory/index.ts';
import {
  connectedBuses,
  descriptorOf,
  hex,
  nth,
  rangesOf,
  sentPackets,
  someClient,
  somePacket,
  someServer,
  type TwoEndpoints,
  twoEndpoints,
} from './two-endpoints.ts';

const WAIT = 1;

/** The external data of packet number `index` that the server got. */
function externalOf(t: TwoEndpoints, index = 0): Mdl {
  const mdl = out<Mdl>();
  expect(VmbChannelPacketGetExternalData(nth(t.received, index).packet, 0, mdl)).toBe(STATUS_SUCCESS);
  return mdl.value;
}

describe('the packet', () => {
  test('K-176 six arguments, and the pages are elements 0 to PfnLength - 1', async () => {
    const t = await twoEndpoints();
    const sent = sentPackets(t.client);

    VmbPacketSendWithExternalPfns(t.packet(), null, 0, [7, 8, 9, 10], 2, WAIT);

    expect(VmbPacketSendWithExternalPfns).toHaveLength(6);
    expect(rangesOf(sent[0])).toEqual([{ byteCount: 8192, byteOffset: 0, pfns: [7, 8] }]);
  });

  test('K-177 without WAIT it is refused and nothing reaches the ring', async () => {
    const t = await twoEndpoints();
    const sent = sentPackets(t.client);

    expect(VmbPacketSendWithExternalPfns(t.packet(), null, 0, [7], 1, 0)).toBe(STATUS_INVALID_PARAMETER_6);
    await t.settle();

    expect(sent).toHaveLength(0);
    expect(t.received).toHaveLength(0);
    expect(t.completions).toHaveLength(0);
  });

  test('K-178 it is GPA-direct with flags 1 and one range of whole pages from offset 0', async () => {
    const t = await twoEndpoints();
    const sent = sentPackets(t.client);

    VmbPacketSendWithExternalPfns(t.packet(), null, 0, [5, 6, 7, 8, 9], 5, WAIT);

    expect(descriptorOf(sent[0])).toMatchObject({ type: 9, flags: 1, dataOffset8: 9, length8: 9 });
    expect(rangesOf(sent[0])).toEqual([{ byteCount: 5 * 4096, byteOffset: 0, pfns: [5, 6, 7, 8, 9] }]);
  });

  test('K-179 page frame numbers are u64 in the caller’s order: adjacent or not, descending, repeated, large', async () => {
    const t = await twoEndpoints();
    const sent = sentPackets(t.client);
    const pfns = [300, 2, 2, 1, 0xffff_ffff, 2 ** 40 + 3, 2 ** 52 - 1];

    expect(VmbPacketSendWithExternalPfns(t.packet(), null, 0, Float64Array.from(pfns), 7, WAIT)).toBe(STATUS_SUCCESS);

    const bytes = nth(sent, 0);
    const view = new DataView(bytes.buffer, bytes.byteOffset);
    expect(pfns.map((_, index) => view.getBigUint64(32 + 8 * index, true))).toEqual(pfns.map(BigInt));
  });

  test('K-180 three pages and 12 bytes make the 72 bytes of the worked example, and a trailer', async () => {
    const t = await twoEndpoints();
    const sent = sentPackets(t.client);

    VmbPacketSendWithExternalPfns(t.packet(), hex('a0a1a2a3a4a5a6a7a8a9aaab'), 12, [0x111, 0x222, 0x333], 3, WAIT);

    expect(nth(sent, 0)).toEqual(
      hex(`
        09 00  07 00  09 00  01 00   01 00 00 00 00 00 00 00
        00 00 00 00  01 00 00 00
        00 30 00 00  00 00 00 00
        11 01 00 00 00 00 00 00   22 02 00 00 00 00 00 00   33 03 00 00 00 00 00 00
        a0 a1 a2 a3 a4 a5 a6 a7 a8 a9 aa ab 00 00 00 00
      `),
    );
    // The rings are the guest's first pages; the ring to the host begins with its control page.
    expect(t.memory.bytes(4096, 80)).toEqual(Uint8Array.of(...nth(sent, 0), 0, 0, 0, 0, 0, 0, 0, 0));
    expect(new Uint32Array(t.memory.page(0).slice(0, 4).buffer)[0]).toBe(80);
  });

  test('K-181 the payload starts at DataOffset8 x 8 and is padded with zeros', async () => {
    const t = await twoEndpoints();
    const sent = sentPackets(t.client);
    for (let length = 1; length <= 17; length++) {
      VmbPacketSendWithExternalPfns(t.packet(), new Uint8Array(17).fill(0xee), length, [1, 2], 2, WAIT);
    }

    sent.forEach((packet, index) => {
      const length = index + 1;
      const payload = packet.subarray(descriptorOf(packet).dataOffset8 * 8);
      const padded = Math.ceil(length / 8) * 8;
      expect(Array.from(payload)).toEqual([...Array(length).fill(0xee), ...Array(padded - length).fill(0)]);
    });
    expect(sent).toHaveLength(17);
  });

  test('K-182 no pages make an in-band packet, never a GPA-direct one with range count 0', async () => {
    const t = await twoEndpoints();
    const sent = sentPackets(t.client);

    expect(VmbPacketSendWithExternalPfns(t.packet(), Uint8Array.of(1), 1, null, 0, WAIT)).toBe(STATUS_SUCCESS);
    expect(VmbPacketSendWithExternalPfns(t.packet(), Uint8Array.of(1), 1, [4], 0, WAIT)).toBe(STATUS_SUCCESS);

    expect(sent.map((packet) => descriptorOf(packet))).toMatchObject([
      { type: 6, flags: 1 },
      { type: 6, flags: 1 },
    ]);
  });
});

describe('what is refused', () => {
  test.each([
    ['K-183 no array', null, 1],
    ['an array shorter than PfnLength', [1, 2], 3],
    ['a negative page', [1, -1], 2],
    ['a page that is no whole number', [1.5], 1],
    ['a page of 2^52', [2 ** 52], 1],
    ['not a number at all', [Number.NaN], 1],
  ] as const)('%s is refused', async (_name, pfns, length) => {
    const t = await twoEndpoints();
    const sent = sentPackets(t.client);

    expect(VmbPacketSendWithExternalPfns(t.packet(), null, 0, pfns, length, WAIT)).toBe(STATUS_INVALID_PARAMETER_4);
    expect(sent).toHaveLength(0);
  });

  test('K-184 more data than the channel’s maximum is refused, the maximum itself is not', async () => {
    const t = await twoEndpoints({ setUpClient: (channel) => VmbChannelInitSetMaximumExternalData(channel, 8192, 1) });

    expect(VmbPacketSendWithExternalPfns(t.packet(), null, 0, [1, 2, 3], 3, WAIT)).toBe(STATUS_INVALID_PARAMETER_5);
    expect(VmbPacketSendWithExternalPfns(t.packet(), null, 0, [1, 2, 3], 2, WAIT)).toBe(STATUS_SUCCESS);
  });

  test('a channel without a maximum takes no external data', async () => {
    const buses = await connectedBuses();
    const client = someClient(buses.guestDevice);
    VmbChannelEnable(client);
    const packet = somePacket(client, () => {});

    expect(VmbPacketSendWithExternalPfns(packet, null, 0, [1], 1, WAIT)).toBe(STATUS_INVALID_PARAMETER_5);
  });

  test('a packet that no ring of this size can take is refused, before and after open', async () => {
    const setUpClient = (channel: Parameters<typeof VmbClientChannelInitSetRingBufferPageCount>[0]): void => {
      VmbClientChannelInitSetRingBufferPageCount(channel, 4, 1);
      VmbChannelInitSetMaximumExternalData(channel, 0xffff_f000, 1);
    };
    const pfns = new Float64Array(600);
    const open = await twoEndpoints({ setUpClient });
    const closed = await connectedBuses();
    const client = someClient(closed.guestDevice);
    setUpClient(client);
    VmbChannelEnable(client);

    expect(VmbPacketSendWithExternalPfns(open.packet(), null, 0, pfns, 600, WAIT)).toBe(STATUS_INVALID_PARAMETER_5);
    const packet = somePacket(client, () => {});
    expect(VmbPacketSendWithExternalPfns(packet, null, 0, pfns, 600, WAIT)).toBe(STATUS_INVALID_PARAMETER_5);
    expect(VmbPacketSendWithExternalPfns(packet, null, 0, pfns, 400, WAIT)).toBe(STATUS_SUCCESS);
  });

  test('more pages than a descriptor can count are refused: 65531 - ceil(B / 8) is the most', async () => {
    const t = await twoEndpoints({
      memory: GuestMemory.allocate(2048),
      setUpClient: (channel) => {
        VmbClientChannelInitSetRingBufferPageCount(channel, 4, 200);
        VmbChannelInitSetMaximumExternalData(channel, 0xffff_f000, 1);
      },
    });
    const pfns = new Float64Array(65_532);
    const bytes = new Uint8Array(9);

    expect(VmbPacketSendWithExternalPfns(t.packet(), bytes, 9, pfns, 65_530, WAIT)).toBe(STATUS_INVALID_PARAMETER_5);
    expect(VmbPacketSendWithExternalPfns(t.packet(), bytes, 9, pfns, 65_529, WAIT)).toBe(STATUS_SUCCESS);
  });

  test('the inline buffer and the flags are checked by position', async () => {
    const t = await twoEndpoints({ setUpClient: (channel) => VmbChannelInitSetMaximumPacketSize(channel, 16) });
    const send = (buffer: Uint8Array | null, length: number, flags: number): number =>
      VmbPacketSendWithExternalPfns(t.packet(), buffer, length, [1], 1, flags);

    expect(send(null, 1, WAIT)).toBe(STATUS_INVALID_PARAMETER_2);
    expect(send(new Uint8Array(3), 4, WAIT)).toBe(STATUS_INVALID_PARAMETER_2);
    expect(send(new Uint8Array(17), 17, WAIT)).toBe(STATUS_INVALID_PARAMETER_3);
    expect(send(null, -1, WAIT)).toBe(STATUS_INVALID_PARAMETER_3);
    expect(send(null, 0, WAIT | 2)).toBe(STATUS_INVALID_PARAMETER_6);
    expect(send(null, 0, WAIT | 8)).toBe(STATUS_INVALID_PARAMETER_6);
    expect(send(null, 0, WAIT)).toBe(STATUS_SUCCESS);
  });

  test('K-192 on a server channel it is refused', async () => {
    const t = await twoEndpoints();
    const packet = somePacket(t.server, () => {});

    expect(VmbPacketSendWithExternalPfns(packet, null, 0, [1], 1, WAIT)).toBe(STATUS_INVALID_DEVICE_REQUEST);
  });

  test('K-193 on a pipe it is refused', async () => {
    const t = await twoEndpoints({
      setUpClient: (channel) => VmbChannelInitSetFlags(channel, 1),
      setUpServer: (channel) => VmbChannelInitSetFlags(channel, 1),
    });

    expect(VmbPacketSendWithExternalPfns(t.packet(), null, 0, [1], 1, WAIT)).toBe(STATUS_INVALID_DEVICE_REQUEST);
  });

  test('on a Disabled channel it is STATUS_INVALID_DEVICE_STATE', async () => {
    const t = await twoEndpoints();
    const disabled = VmbChannelDisable(t.client);
    await t.settle();
    await disabled;

    expect(VmbPacketSendWithExternalPfns(t.packet(), null, 0, [1], 1, WAIT)).toBe(STATUS_INVALID_DEVICE_STATE);
  });
});

describe('queueing and completion', () => {
  /** One page of outgoing ring, a server that does not read, the ring full. */
  async function fullRing(): Promise<TwoEndpoints> {
    const t = await twoEndpoints({
      startServer: false,
      setUpClient: (channel) => VmbClientChannelInitSetRingBufferPageCount(channel, 4, 1),
    });
    while (endpointOf(t.client).statistics.packetsQueued === 0) {
      VmbPacketSendWithExternalPfns(t.packet(), new Uint8Array(64), 64, [1, 2, 3, 4], 4, WAIT);
    }
    return t;
  }

  test('K-185 changing the array after the call does not change a queued packet', async () => {
    const t = await fullRing();
    const pfns = [11, 12, 13];
    VmbPacketSendWithExternalPfns(t.packet(), null, 0, pfns, 3, WAIT);
    pfns.fill(99);

    VmbChannelStart(t.server);
    await t.settle();

    expect(externalOf(t, t.received.length - 1).pfns).toEqual([11, 12, 13]);
  });

  test('K-186 a packet that found the ring full goes out later with the same bytes', async () => {
    const send = (t: TwoEndpoints): number =>
      VmbPacketSendWithExternalPfns(t.packet(), hex('0102030405'), 5, [8, 6, 7], 3, WAIT);
    const free = await twoEndpoints();
    const atOnce = sentPackets(free.client);
    send(free);

    const full = await fullRing();
    expect(send(full)).toBe(STATUS_SUCCESS);
    const later = sentPackets(full.client);
    expect(later).toHaveLength(0);
    VmbChannelStart(full.server);
    await full.settle();

    const withoutId = (packet: Uint8Array | undefined): Uint8Array => {
      const copy = Uint8Array.from(packet ?? []);
      copy.fill(0, 8, 16);
      return copy;
    };
    expect(withoutId(later.at(-1))).toEqual(withoutId(atOnce[0]));
  });

  test('K-187 its routine does not run when the packet merely enters the ring', async () => {
    const t = await twoEndpoints();

    VmbPacketSendWithExternalPfns(t.packet(), null, 0, [1], 1, WAIT);
    await t.settle();

    expect(t.received).toHaveLength(1);
    expect(t.completions).toHaveLength(0);
  });

  test('K-188 its routine runs after the peer’s completion, with its bytes', async () => {
    const t = await twoEndpoints();
    VmbPacketSendWithExternalPfns(t.packet(), null, 0, [1], 1, WAIT);
    await t.settle();

    VmbChannelPacketComplete(nth(t.received, 0).packet, hex('1122334455667788'), 8);
    await t.settle();

    expect(nth(t.completions, 0)).toMatchObject({ status: STATUS_SUCCESS, bytes: hex('1122334455667788') });
  });

  test('K-189 what the server writes into the pages is there when the routine runs', async () => {
    const t = await twoEndpoints();
    let seen = '';
    const packet = somePacket(t.client, () => {
      seen = Buffer.from(t.memory.bytes(501 * 4096, 5)).toString();
    });
    VmbPacketSendWithExternalPfns(packet, null, 0, [500, 501], 2, WAIT);
    await t.settle();

    MmGetSystemAddressForMdlSafe(externalOf(t)).write(4096, Buffer.from('hello'));
    VmbChannelPacketComplete(nth(t.received, 0).packet, null, 0);
    await t.settle();

    expect(seen).toBe('hello');
  });

  test('K-190 the sender neither looks at the pages nor takes any', async () => {
    const t = await twoEndpoints();
    const free = t.guest.pages.freePages;

    // Page 2^40 does not exist; that is for the receiver to find out.
    expect(VmbPacketSendWithExternalPfns(t.packet(), null, 0, [2 ** 40], 1, WAIT)).toBe(STATUS_SUCCESS);

    expect(t.guest.pages.freePages).toBe(free);
  });

  test('K-191 PAGED_BUFFER concerns the inline buffer only: the packet is the same', async () => {
    const packets = await Promise.all(
      [WAIT, WAIT | 4].map(async (flags) => {
        const t = await twoEndpoints();
        const sent = sentPackets(t.client);
        VmbPacketSendWithExternalPfns(t.packet(), hex('010203'), 3, [4, 5], 2, flags);
        return nth(sent, 0);
      }),
    );

    expect(packets[0]).toEqual(packets[1]);
  });

  test('K-194 the receiver sees EXTERNAL_DATA and an MDL of all pages from offset 0', async () => {
    const t = await twoEndpoints();
    VmbPacketSendWithExternalPfns(t.packet(), hex('01'), 1, [40, 39, 41], 3, WAIT);
    await t.settle();

    const mdl = externalOf(t);

    expect(nth(t.received, 0)).toMatchObject({ flags: 1, bufferLength: 8 });
    expect(mdl).toMatchObject({ byteCount: 3 * 4096, byteOffset: 0, pfns: [40, 39, 41], next: null });
  });

  test('K-195 before open it is queued, and sent after open', async () => {
    const buses = await connectedBuses();
    const client = someClient(buses.guestDevice);
    VmbChannelInitSetMaximumExternalData(client, 65_536, 1);
    VmbChannelEnable(client);
    const sent = sentPackets(client);

    expect(
      VmbPacketSendWithExternalPfns(
        somePacket(client, () => {}),
        null,
        0,
        [3],
        1,
        WAIT,
      ),
    ).toBe(STATUS_SUCCESS);
    buses.scheduler.run();
    expect(sent).toHaveLength(0);
    VmbChannelEnable(someServer(buses.hostDevice));
    await buses.scheduler.settle();

    expect(sent).toHaveLength(1);
  });

  test('K-196 a receiver takes N one-page ranges as one range of N pages', async () => {
    // The server allows one MDL; a sender that describes each page by itself must still be understood.
    const t = await twoEndpoints({
      setUpServer: (channel) => VmbChannelInitSetMaximumExternalData(channel, 65_536, 1),
    });
    const pages = [9, 7, 8].map((pfn) => Mdl.fromPfns(t.memory, [pfn]));
    VmbPacketSendWithExternalMdl(t.packet(), null, 0, Mdl.chain(...pages), 0, 0, WAIT);
    await t.settle();

    const mdl = externalOf(t);

    expect(mdl).toMatchObject({ byteCount: 3 * 4096, byteOffset: 0, pfns: [9, 7, 8], next: null });
  });

  test('K-197 the same pages as an MDL make the same bytes', async () => {
    const t = await twoEndpoints();
    const sent = sentPackets(t.client);
    const pfns = [31, 33, 32];
    VmbPacketSendWithExternalPfns(t.packet(), hex('0102'), 2, pfns, 3, WAIT);
    await t.settle();
    VmbChannelPacketComplete(nth(t.received, 0).packet, null, 0);
    await t.settle();

    VmbPacketSendWithExternalMdl(t.packet(), hex('0102'), 2, Mdl.fromPfns(t.memory, pfns), 0, 0, WAIT);

    const [first, second] = [nth(sent, 0), nth(sent, 1)];
    expect(second.subarray(16)).toEqual(first.subarray(16));
    expect(second.subarray(0, 8)).toEqual(first.subarray(0, 8));
  });

  test.each([
    ['the client disables the channel', STATUS_CANCELLED, (t: TwoEndpoints) => VmbChannelDisable(t.client)],
    ['the server takes it back', STATUS_DEVICE_REMOVED, (t: TwoEndpoints) => VmbChannelDisable(t.server)],
    ['the host dies', STATUS_DEVICE_REMOVED, (t: TwoEndpoints) => t.loopback.loseHost('killed')],
  ])('in flight and queued, it completes once without a buffer when %s', async (_name, status, end) => {
    const t = await fullRing();
    const count = 1 + endpointOf(t.client).statistics.packetsSent;

    end(t);
    await t.settle();

    expect(t.completions).toHaveLength(count);
    expect(t.completions.every((completion) => completion.status === status && completion.bytes === null)).toBe(true);
  });
});
