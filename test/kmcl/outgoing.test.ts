import { describe, expect, test } from 'vitest';
import { currentIrql, Irql } from '../../src/channel/index.ts';
import {
  BugCheck,
  createDeviceObject,
  endpointOf,
  out,
  STATUS_INVALID_DEVICE_STATE,
  STATUS_INVALID_PARAMETER_1,
  STATUS_INVALID_PARAMETER_2,
  STATUS_INVALID_PARAMETER_3,
  STATUS_INVALID_PARAMETER_5,
  STATUS_SUCCESS,
  VmbChannelAllocate,
  VmbChannelInitSetMaximumPacketSize,
  VmbChannelPacketComplete,
  VmbChannelSizeofPacket,
  VmbChannelStart,
  type VmbClientChannel,
  VmbClientChannelInitSetRingBufferPageCount,
  type VmbPacket,
  VmbPacketAllocate,
  VmbPacketFree,
  VmbPacketGetChannel,
  VmbPacketGetPointer,
  VmbPacketInitialize,
  VmbPacketSend,
  VmbPacketSetCompletionRoutine,
  VmbPacketSetPointer,
} from '../../src/kmcl/index.ts';
import { Mdl } from '../../src/memory/index.ts';
import {
  descriptorOf,
  nth,
  rangesOf,
  sentPackets,
  somePacket,
  type TwoEndpoints,
  twoEndpoints,
} from './two-endpoints.ts';

const WAIT = 1;

/** A channel whose outgoing ring has one page and whose server does not read: 31 packets of 104 bytes fill it. */
async function stuckEndpoints(): Promise<TwoEndpoints> {
  return await twoEndpoints({
    startServer: false,
    setUpClient: (channel) => VmbClientChannelInitSetRingBufferPageCount(channel, 4, 1),
  });
}

/** Sends until packets queue, `more` beyond that. @returns payload values in send order */
function fillRing(t: TwoEndpoints, more: number, flags = WAIT): number[] {
  const values: number[] = [];
  for (let queued = 0, value = 1; queued < more; value++) {
    const bytes = new Uint8Array(104).fill(value);
    expect(VmbPacketSend(t.packet(), bytes, 104, null, flags)).toBe(STATUS_SUCCESS);
    values.push(value);
    queued = endpointOf(t.client).statistics.packetsQueued;
  }
  return values;
}

function freshClient(): VmbClientChannel {
  const channel = out<VmbClientChannel>();
  VmbChannelAllocate(createDeviceObject(), false, channel);
  return channel.value;
}

describe('packet objects', () => {
  test('K-129 VmbPacketAllocate gives a packet, or null where there is no channel', () => {
    expect(VmbPacketAllocate(freshClient())).not.toBeNull();
    expect(VmbPacketAllocate({} as never)).toBeNull();
  });

  test('K-130 a packet sent without a routine of its own frees itself', async () => {
    const t = await twoEndpoints();
    const packet = VmbPacketAllocate(t.client) as VmbPacket;
    VmbPacketSend(packet, null, 0, null, WAIT);
    await t.settle();

    VmbChannelPacketComplete(nth(t.received, 0).packet, null, 0);
    await t.settle();

    expect(() => VmbPacketFree(packet)).toThrow(expect.objectContaining({ rule: 'K-132' }));
    expect(VmbPacketAllocate(t.client)).toBe(packet);
  });

  test('K-131 a packet with a routine of its own is not freed', async () => {
    const t = await twoEndpoints();
    const packet = t.packet();
    VmbPacketSend(packet, null, 0, null, 0);
    await t.settle();

    expect(t.completions).toHaveLength(1);
    expect(VmbPacketAllocate(t.client)).not.toBe(packet);
    VmbPacketFree(packet);
  });

  test('K-132 an unsent packet is released with VmbPacketFree, once', () => {
    const packet = VmbPacketAllocate(freshClient()) as VmbPacket;

    VmbPacketFree(packet);

    expect(() => VmbPacketFree(packet)).toThrow(expect.objectContaining({ rule: 'K-132' }));
    expect(() => VmbPacketSend(packet, null, 0, null, 0)).toThrow(expect.objectContaining({ rule: 'K-132' }));
  });

  test('K-133 VmbPacketFree inside the completion routine is legal', async () => {
    const t = await twoEndpoints();
    let freed = 0;
    const packet = somePacket(t.client, (own) => {
      VmbPacketFree(own);
      freed++;
    });

    VmbPacketSend(packet, null, 0, null, 0);

    expect(freed).toBe(1);
    expect(VmbPacketAllocate(t.client)).toBe(packet);
  });

  test('K-134 a packet may be sent again inside its completion routine, however often', async () => {
    const t = await twoEndpoints({ onServerPacket: (_c, incoming) => VmbChannelPacketComplete(incoming, null, 0) });
    let left = 20_000;
    const packet = somePacket(t.client, (own) => {
      if (left-- > 0) VmbPacketSend(own, null, 0, null, 0);
    });

    VmbPacketSend(packet, null, 0, null, 0);
    await t.settle();

    expect(left).toBe(-1);
    expect(endpointOf(t.server).statistics.packetsReceived).toBe(20_001);
  });

  test('K-135 freeing a packet that is queued or in flight is a bug check', async () => {
    const t = await stuckEndpoints();
    const inFlight = t.packet();
    VmbPacketSend(inFlight, null, 0, null, WAIT);
    fillRing(t, 1);
    const queued = t.packet();
    VmbPacketSend(queued, null, 0, null, WAIT);

    expect(() => VmbPacketFree(inFlight)).toThrow(expect.objectContaining({ rule: 'K-135' }));
    expect(() => VmbPacketFree(queued)).toThrow(expect.objectContaining({ rule: 'K-135' }));
    expect(() => VmbPacketSetCompletionRoutine(queued, () => {})).toThrow(BugCheck);
  });

  test('K-136 freeing a packet in the caller’s own memory is a bug check', () => {
    const client = freshClient();
    const packet = out<VmbPacket>();
    VmbPacketInitialize(client, packet, VmbChannelSizeofPacket(client));

    expect(() => VmbPacketFree(packet.value)).toThrow(expect.objectContaining({ rule: 'K-136' }));
  });

  test('K-137 sends on allocated packets never fail for lack of resources, however many', async () => {
    const t = await stuckEndpoints();
    const statuses = new Set<number>();

    for (let count = 0; count < 3000; count++) {
      statuses.add(VmbPacketSend(t.packet(), new Uint8Array(64), 64, null, WAIT));
    }

    expect([...statuses]).toEqual([STATUS_SUCCESS]);
  });

  test('K-138 VmbPacketInitialize with no more than the largest packet and a pointer is STATUS_INVALID_PARAMETER_3', () => {
    const client = freshClient();
    VmbChannelInitSetMaximumPacketSize(client, 100);

    expect(VmbPacketInitialize(client, out<VmbPacket>(), 108)).toBe(STATUS_INVALID_PARAMETER_3);
  });

  test('K-139 VmbPacketInitialize with VmbChannelSizeofPacket bytes succeeds', () => {
    const client = freshClient();

    expect(VmbPacketInitialize(client, out<VmbPacket>(), VmbChannelSizeofPacket(client))).toBe(STATUS_SUCCESS);
  });

  test('K-140 VmbPacketInitialize with one byte less fails and stores no packet', () => {
    const client = freshClient();
    const packet = out<VmbPacket>();

    expect(VmbPacketInitialize(client, packet, VmbChannelSizeofPacket(client) - 1)).toBe(STATUS_INVALID_PARAMETER_3);
    expect(packet.isEmpty).toBe(true);
  });

  test('K-141 VmbChannelSizeofPacket is more than the largest packet and a pointer, and grows with it', () => {
    const client = freshClient();
    const sizes = [1, 100, 5000, 100_000].map((size) => {
      VmbChannelInitSetMaximumPacketSize(client, size);
      return VmbChannelSizeofPacket(client) - size;
    });

    expect(sizes.every((difference) => difference > 8)).toBe(true);
  });

  test('K-142 a packet from VmbPacketInitialize cannot be sent before it has a routine', async () => {
    const t = await twoEndpoints();
    const packet = out<VmbPacket>();
    VmbPacketInitialize(t.client, packet, VmbChannelSizeofPacket(t.client));

    expect(VmbPacketSend(packet.value, null, 0, null, 0)).toBe(STATUS_INVALID_PARAMETER_1);
    expect(endpointOf(t.client).statistics.packetsSent).toBe(0);
    VmbPacketSetCompletionRoutine(packet.value, () => {});

    expect(VmbPacketSend(packet.value, null, 0, null, 0)).toBe(STATUS_SUCCESS);
  });

  test('K-143 VmbPacketGetChannel gives the channel of Allocate and of Initialize', () => {
    const client = freshClient();
    const initialized = out<VmbPacket>();
    VmbPacketInitialize(client, initialized, VmbChannelSizeofPacket(client));

    expect(VmbPacketGetChannel(VmbPacketAllocate(client) as VmbPacket)).toBe(client);
    expect(VmbPacketGetChannel(initialized.value)).toBe(client);
  });

  test('K-144 a packet’s pointer survives send and completion', async () => {
    const t = await twoEndpoints();
    const packet = t.packet();
    VmbPacketSetPointer(packet, 'mine');

    VmbPacketSend(packet, null, 0, null, 0);

    expect(t.completions).toHaveLength(1);
    expect(VmbPacketGetPointer(packet)).toBe('mine');
  });
});

describe('completion', () => {
  test('K-145 without WAIT a packet completes when its bytes are in the ring, whatever the peer does', async () => {
    const t = await stuckEndpoints();

    VmbPacketSend(t.packet(), Uint8Array.of(1), 1, null, 0);

    expect(t.completions).toHaveLength(1);
    expect(t.received).toHaveLength(0);
  });

  test('K-146 its routine gets STATUS_SUCCESS and no buffer', async () => {
    const t = await stuckEndpoints();

    VmbPacketSend(t.packet(), Uint8Array.of(1), 1, null, 0);

    expect(nth(t.completions, 0)).toMatchObject({ status: STATUS_SUCCESS, bytes: null });
  });

  test('K-147 without WAIT the descriptor’s flags are 0', async () => {
    const t = await twoEndpoints();
    const sent = sentPackets(t.client);

    VmbPacketSend(t.packet(), null, 0, null, 0);

    expect(descriptorOf(sent[0]).flags).toBe(0);
  });

  test('K-148 with WAIT bit 0 is set and only the peer’s completion completes', async () => {
    const t = await twoEndpoints();
    const sent = sentPackets(t.client);

    VmbPacketSend(t.packet(), null, 0, null, WAIT);
    await t.settle();
    expect(descriptorOf(sent[0]).flags).toBe(1);
    expect(t.completions).toHaveLength(0);
    VmbChannelPacketComplete(nth(t.received, 0).packet, null, 0);
    await t.settle();

    expect(t.completions).toHaveLength(1);
  });

  test('K-149 a queued packet without WAIT is not complete before it enters the ring', async () => {
    const t = await stuckEndpoints();
    fillRing(t, 1, WAIT);
    VmbPacketSend(t.packet(), null, 0, null, 0);
    await t.settle();
    expect(t.completions).toHaveLength(0);

    VmbChannelStart(t.server);
    await t.settle();

    expect(t.completions).toHaveLength(1);
  });

  test('K-150 with WAIT the routine gets the peer’s bytes and their length, rounded up to 8', async () => {
    const t = await twoEndpoints();
    VmbPacketSend(t.packet(), null, 0, null, WAIT);
    await t.settle();

    VmbChannelPacketComplete(nth(t.received, 0).packet, Uint8Array.of(1, 2, 3, 4, 5, 6, 7, 8, 9), 9);
    await t.settle();

    expect(nth(t.completions, 0).bytes).toEqual(Uint8Array.of(1, 2, 3, 4, 5, 6, 7, 8, 9, 0, 0, 0, 0, 0, 0, 0));
  });

  test('K-151 the routine runs exactly once for each send', async () => {
    const t = await twoEndpoints({ onServerPacket: (_c, incoming) => VmbChannelPacketComplete(incoming, null, 0) });
    for (let count = 0; count < 500; count++) VmbPacketSend(t.packet(), null, 0, null, count % 2);

    await t.settle();

    expect(t.completions).toHaveLength(500);
    expect(new Set(t.completions.map(({ packet }) => packet)).size).toBe(500);
  });

  test('K-152 a send that fails runs no routine and leaves the packet to its owner', async () => {
    const t = await twoEndpoints();
    const packet = t.packet();

    expect(VmbPacketSend(packet, null, 5, null, WAIT)).toBe(STATUS_INVALID_PARAMETER_2);
    await t.settle();
    expect(t.completions).toHaveLength(0);

    expect(VmbPacketSend(packet, null, 0, null, 0)).toBe(STATUS_SUCCESS);
    expect(t.completions).toHaveLength(1);
  });

  test('K-153 completions in any order find their packets', async () => {
    const t = await twoEndpoints();
    const packets = Array.from({ length: 5 }, () => t.packet());
    packets.forEach((packet, index) => {
      VmbPacketSend(packet, Uint8Array.of(index), 1, null, WAIT);
    });
    await t.settle();

    for (const index of [3, 0, 4, 1, 2]) {
      VmbChannelPacketComplete(nth(t.received, index).packet, nth(t.received, index).bytes, 1);
    }
    await t.settle();

    expect(t.completions.map(({ packet }) => packets.indexOf(packet))).toEqual([3, 0, 4, 1, 2]);
    expect(t.completions.map(({ bytes }) => bytes?.[0])).toEqual([3, 0, 4, 1, 2]);
  });

  test('K-154 packets in flight never share an id, none is 0, and sending one twice is a bug check', async () => {
    const t = await twoEndpoints();
    const sent = sentPackets(t.client);
    for (let count = 0; count < 300; count++) {
      VmbPacketSend(t.packet(), null, 0, null, WAIT);
      if (count % 3 !== 0) continue;
      await t.settle();
      VmbChannelPacketComplete(nth(t.received.splice(0, 1), 0).packet, null, 0);
    }
    await t.settle();
    const packet = t.packet();
    VmbPacketSend(packet, null, 0, null, WAIT);

    const ids = sent.map((bytes) => descriptorOf(bytes).id);
    expect(new Set(ids).size).toBe(301);
    expect(ids).not.toContain(0n);
    expect(() => VmbPacketSend(packet, null, 0, null, WAIT)).toThrow(expect.objectContaining({ rule: 'K-154' }));
  });
});

describe('the queue', () => {
  test('K-155 a send on a full ring succeeds and queues', async () => {
    const t = await stuckEndpoints();

    fillRing(t, 3);

    expect(endpointOf(t.client).inspect()).toMatchObject({ outgoing: { queued: 3 } });
  });

  test('K-156 queued packets enter the ring in send order when there is room', async () => {
    const t = await stuckEndpoints();
    const values = fillRing(t, 40);

    VmbChannelStart(t.server);
    await t.settle();

    expect(t.received.map(({ bytes }) => bytes[0])).toEqual(values);
    expect(endpointOf(t.client).inspect()).toMatchObject({ outgoing: { queued: 0, ring: { pendingSendBytes: 0 } } });
  });

  test('K-157 a new send never overtakes a queued one, even if it is small enough to fit', async () => {
    const t = await stuckEndpoints();
    fillRing(t, 2);

    VmbPacketSend(t.packet(), Uint8Array.of(255), 1, null, WAIT);
    VmbChannelStart(t.server);
    await t.settle();

    expect(t.received.at(-1)?.bytes[0]).toBe(255);
  });

  test('K-158 the inline buffer may be overwritten right after the send, queued or not', async () => {
    const t = await stuckEndpoints();
    const bytes = new Uint8Array(104).fill(1);
    VmbPacketSend(t.packet(), bytes, 104, null, WAIT);
    bytes.fill(0xee);
    fillRing(t, 1);
    bytes.fill(2);
    VmbPacketSend(t.packet(), bytes, 104, null, WAIT);
    bytes.fill(0xee);

    VmbChannelStart(t.server);
    await t.settle();

    expect(nth(t.received, 0).bytes).toEqual(new Uint8Array(104).fill(1));
    expect(t.received.at(-1)?.bytes).toEqual(new Uint8Array(104).fill(2));
  });

  test('one doorbell brings a whole queue across', async () => {
    const t = await stuckEndpoints();
    fillRing(t, 100);
    await t.settle();
    const before = endpointOf(t.client).statistics.doorbellsRung;

    VmbChannelStart(t.server);
    await t.settle();

    // The ring holds 31 packets: each time the server made room, one signal for what followed, at most.
    expect(t.received.length).toBeGreaterThan(100);
    expect(endpointOf(t.client).statistics.doorbellsRung - before).toBeLessThan(10);
  });
});

describe('what is sent', () => {
  test('K-159 PAGED_BUFFER changes no byte on the wire', async () => {
    const [plain, paged] = await Promise.all(
      [WAIT, WAIT | 4].map(async (flags) => {
        const t = await twoEndpoints();
        const sent = sentPackets(t.client);
        VmbPacketSend(t.packet(), Uint8Array.of(1, 2, 3), 3, null, flags);
        return sent[0];
      }),
    );

    expect(plain).toEqual(paged);
    expect(plain).toHaveLength(24);
  });

  test('K-160 with PAGED_BUFFER the bytes are read before the call returns', async () => {
    const t = await twoEndpoints();
    const bytes = Uint8Array.of(1, 2, 3, 4, 5, 6, 7, 8);

    VmbPacketSend(t.packet(), bytes, 8, null, WAIT | 4);
    bytes.fill(0);
    await t.settle();

    expect(nth(t.received, 0).bytes).toEqual(Uint8Array.of(1, 2, 3, 4, 5, 6, 7, 8));
  });

  test('K-161 without an MDL the packet is in-band, with one it is GPA-direct', async () => {
    const t = await twoEndpoints();
    const sent = sentPackets(t.client);

    VmbPacketSend(t.packet(), null, 0, null, WAIT);
    VmbPacketSend(t.packet(), null, 0, Mdl.fromPfns(t.memory, [5]), WAIT);

    expect(sent.map((packet) => descriptorOf(packet).type)).toEqual([6, 9]);
  });

  test('K-162 a chain of MDLs becomes one range for each, in order', async () => {
    const t = await twoEndpoints();
    const sent = sentPackets(t.client);
    const chain = Mdl.chain(
      Mdl.fromPfns(t.memory, [9], 100, 50),
      Mdl.fromPfns(t.memory, [4, 3], 4000, 200),
      Mdl.fromPfns(t.memory, [9], 0, 4096),
    );

    VmbPacketSend(t.packet(), null, 0, chain, WAIT);

    expect(rangesOf(sent[0])).toEqual([
      { byteCount: 50, byteOffset: 100, pfns: [9] },
      { byteCount: 200, byteOffset: 4000, pfns: [4, 3] },
      { byteCount: 4096, byteOffset: 0, pfns: [9] },
    ]);
  });

  test('K-163 a buffer above the maximum packet size is refused', async () => {
    const t = await twoEndpoints();

    expect(VmbPacketSend(t.packet(), new Uint8Array(4097), 4097, null, WAIT)).toBe(STATUS_INVALID_PARAMETER_3);
  });

  test('K-164 flag bits outside 0x7 are refused', async () => {
    const t = await twoEndpoints();

    expect(VmbPacketSend(t.packet(), null, 0, null, 0x8)).toBe(STATUS_INVALID_PARAMETER_5);
    expect(VmbPacketSend(t.packet(), null, 0, null, 0x8000_0000)).toBe(STATUS_INVALID_PARAMETER_5);
  });

  test('K-165 VmbPacketSetCompletionRoutine replaces the default', async () => {
    const t = await twoEndpoints();
    const packet = VmbPacketAllocate(t.client) as VmbPacket;
    let ran = 0;

    VmbPacketSetCompletionRoutine(packet, () => ran++);
    VmbPacketSend(packet, null, 0, null, 0);

    expect(ran).toBe(1);
    VmbPacketFree(packet);
  });

  test('K-166 a completion from the peer runs its routine at DISPATCH', async () => {
    const t = await twoEndpoints({ onServerPacket: (_c, incoming) => VmbChannelPacketComplete(incoming, null, 0) });
    const levels: number[] = [];

    VmbPacketSend(
      somePacket(t.client, () => levels.push(currentIrql())),
      null,
      0,
      null,
      WAIT,
    );
    await t.settle();

    expect(levels).toEqual([Irql.Dispatch]);
    expect(currentIrql()).toBe(Irql.Passive);
  });

  test('a send on a Disabled channel is STATUS_INVALID_DEVICE_STATE', () => {
    const packet = VmbPacketAllocate(freshClient()) as VmbPacket;

    expect(VmbPacketSend(packet, null, 0, null, WAIT)).toBe(STATUS_INVALID_DEVICE_STATE);
  });

  test('a packet that could never fit the ring is refused', async () => {
    const t = await twoEndpoints({
      setUpClient: (channel) => {
        VmbChannelInitSetMaximumPacketSize(channel, 10_000);
        VmbClientChannelInitSetRingBufferPageCount(channel, 4, 1);
      },
    });

    expect(VmbPacketSend(t.packet(), new Uint8Array(8000), 8000, null, WAIT)).toBe(STATUS_INVALID_PARAMETER_3);
    expect(VmbPacketSend(t.packet(), new Uint8Array(4000), 4000, null, WAIT)).toBe(STATUS_SUCCESS);
  });
});
