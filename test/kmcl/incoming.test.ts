import { describe, expect, test } from 'vitest';
import { currentIrql, Irql, type PagePinner } from '../../src/channel/index.ts';
import {
  endpointOf,
  MmGetSystemAddressForMdlSafe,
  NT_SUCCESS,
  out,
  STATUS_INVALID_BUFFER_SIZE,
  STATUS_INVALID_PARAMETER,
  STATUS_INVALID_PARAMETER_1,
  STATUS_INVALID_PARAMETER_2,
  STATUS_PENDING,
  STATUS_SUCCESS,
  VmbChannelDisable,
  VmbChannelEnable,
  VmbChannelInitSetMaximumExternalData,
  VmbChannelInitSetProcessPacketCallbacks,
  VmbChannelPacketComplete,
  VmbChannelPacketDeferToPassive,
  VmbChannelPacketFail,
  VmbChannelPacketGetExternalData,
  VmbChannelSetIncomingProcessingAtPassive,
  VmbChannelSetTransactionQuota,
  VmbClientChannelInitSetRingBufferPageCount,
  type VmbPacketCompletion,
  VmbPacketSend,
  VmbPacketSendWithExternalPfns,
} from '../../src/kmcl/index.ts';
import { Mdl } from '../../src/memory/index.ts';
import {
  descriptorOf,
  hex,
  keepIn,
  nth,
  sentPackets,
  somePacket,
  type TwoEndpoints,
  twoEndpoints,
} from './two-endpoints.ts';

const WAIT = 1;

function send(t: TwoEndpoints, ...values: number[]): void {
  for (const value of values) VmbPacketSend(t.packet(), Uint8Array.of(value), 1, null, WAIT);
}

function complete(t: TwoEndpoints, ...indexes: number[]): void {
  for (const index of indexes) VmbChannelPacketComplete(nth(t.received, index).packet, null, 0);
}

function valuesOf(t: TwoEndpoints): (number | undefined)[] {
  return t.received.map(({ bytes }) => bytes[0]);
}

describe('delivery', () => {
  test('K-213 ProcessPacket is called once for each data packet', async () => {
    const t = await twoEndpoints();
    const values = Array.from({ length: 200 }, (_, index) => index);

    send(t, ...values);
    await t.settle();

    expect(valuesOf(t)).toEqual(values);
  });

  test('K-214 the buffer holds the payload only, behind descriptor and ranges', async () => {
    const t = await twoEndpoints();

    VmbPacketSend(t.packet(), hex('0102030405060708'), 8, null, WAIT);
    VmbPacketSendWithExternalPfns(t.packet(), hex('1112131415161718'), 8, [1, 2, 3], 3, WAIT);
    await t.settle();

    expect(t.received.map(({ bytes }) => bytes)).toEqual([hex('0102030405060708'), hex('1112131415161718')]);
  });

  test('K-215 flag bit 0 says whether there is external data', async () => {
    const t = await twoEndpoints();

    VmbPacketSend(t.packet(), null, 0, null, WAIT);
    VmbPacketSendWithExternalPfns(t.packet(), null, 0, [1], 1, WAIT);
    await t.settle();

    expect(t.received.map(({ flags }) => flags)).toEqual([0, 1]);
  });

  test('K-216 the length is the sent one rounded up to 8, and the bytes beyond are 0', async () => {
    const t = await twoEndpoints();
    for (const length of [0, 1, 8, 9]) VmbPacketSend(t.packet(), new Uint8Array(9).fill(5), length, null, WAIT);
    await t.settle();

    expect(t.received.map(({ bufferLength }) => bufferLength)).toEqual([0, 8, 8, 16]);
    expect(nth(t.received, 1).bytes).toEqual(Uint8Array.of(5, 0, 0, 0, 0, 0, 0, 0));
  });

  test('the payload is a copy that later packets and the ring do not touch', async () => {
    const kept: Uint8Array[] = [];
    const t = await twoEndpoints({
      onServerPacket: (_channel, _packet, buffer, length) => kept.push(buffer.subarray(0, length)),
    });
    for (let value = 1; value <= 100; value++) {
      VmbPacketSend(t.packet(), new Uint8Array(64).fill(value), 64, null, WAIT);
    }
    await t.settle();

    t.memory.bytes(4096, 4096).fill(0xee);

    expect(kept.map((bytes) => new Set(bytes))).toEqual(
      Array.from({ length: 100 }, (_, index) => new Set([index + 1])),
    );
  });
});

describe('completing', () => {
  test('K-217 a packet that asked gets one completion with its id and these bytes', async () => {
    const t = await twoEndpoints();
    const sent = sentPackets(t.client);
    const answers = sentPackets(t.server);
    send(t, 1);
    await t.settle();

    VmbChannelPacketComplete(nth(t.received, 0).packet, hex('aabbccddeeff0011'), 8);
    await t.settle();

    expect(answers).toHaveLength(1);
    expect(descriptorOf(answers[0])).toEqual({
      type: 0xb,
      dataOffset8: 2,
      length8: 3,
      flags: 0,
      id: descriptorOf(sent[0]).id,
    });
    expect(nth(answers, 0).subarray(16)).toEqual(hex('aabbccddeeff0011'));
  });

  test('K-218 completing a packet that did not ask sends nothing', async () => {
    const t = await twoEndpoints();
    const answers = sentPackets(t.server);
    VmbPacketSend(t.packet(), null, 0, null, 0);
    await t.settle();

    VmbChannelPacketComplete(nth(t.received, 0).packet, hex('01'), 1);
    await t.settle();

    expect(answers).toHaveLength(0);
  });

  test('K-219 completing without a buffer sends an empty completion', async () => {
    const t = await twoEndpoints();
    const answers = sentPackets(t.server);
    send(t, 1);
    await t.settle();

    complete(t, 0);
    await t.settle();

    expect(descriptorOf(answers[0])).toMatchObject({ type: 0xb, dataOffset8: 2, length8: 2 });
    expect(nth(t.completions, 0).bytes).toEqual(new Uint8Array(0));
  });

  test('K-220 a packet may be completed inside ProcessPacket or later', async () => {
    const kept: VmbPacketCompletion[] = [];
    const t = await twoEndpoints({
      onServerPacket: (_channel, packet, buffer) => {
        if (buffer[0] === 1) VmbChannelPacketComplete(packet, null, 0);
        else kept.push(packet);
      },
    });
    send(t, 1, 2);
    await t.settle();
    expect(t.completions).toHaveLength(1);

    VmbChannelPacketComplete(nth(kept, 0), null, 0);
    await t.settle();

    expect(t.completions).toHaveLength(2);
  });

  test('K-221 completing a packet twice is a bug check', async () => {
    const t = await twoEndpoints();
    send(t, 1);
    await t.settle();
    complete(t, 0);

    expect(() => complete(t, 0)).toThrow(expect.objectContaining({ code: 'ERR_BUG_CHECK', rule: 'K-221' }));
    expect(() => VmbChannelPacketFail(nth(t.received, 0).packet)).toThrow(expect.objectContaining({ rule: 'K-221' }));
  });

  test('K-222 completions need not follow arrival', async () => {
    const t = await twoEndpoints();
    const answers = sentPackets(t.server);
    const sent = sentPackets(t.client);
    send(t, 1, 2, 3);
    await t.settle();

    complete(t, 2, 0, 1);

    const ids = sent.map((packet) => descriptorOf(packet).id);
    expect(answers.map((packet) => descriptorOf(packet).id)).toEqual([ids[2], ids[0], ids[1]]);
  });

  test('completions that find the ring full wait, and all arrive', async () => {
    const t = await twoEndpoints({
      setUpClient: (channel) => VmbClientChannelInitSetRingBufferPageCount(channel, 1, 16),
    });
    send(t, ...Array.from({ length: 100 }, (_, index) => index));
    await t.settle();

    // 100 completions of 512 bytes are more than the server's ring of 4096 can take at once.
    t.received.forEach(({ packet }, index) => {
      VmbChannelPacketComplete(packet, new Uint8Array(496).fill(index), 496);
    });
    expect(endpointOf(t.server).statistics.packetsQueued).toBeGreaterThan(80);
    await t.settle();

    expect(t.completions.map(({ bytes }) => bytes?.[495])).toEqual(Array.from({ length: 100 }, (_, index) => index));
  });
});

describe('batches', () => {
  /** A server that notes deliveries and ends of batches. */
  async function batching(): Promise<{ t: TwoEndpoints; events: string[] }> {
    const events: string[] = [];
    const t = await twoEndpoints({
      setUpServer: (channel) =>
        VmbChannelInitSetProcessPacketCallbacks(
          channel,
          (_channel, packet, buffer) => {
            events.push(`packet ${buffer[0]}`);
            VmbChannelPacketComplete(packet, null, 0);
          },
          (_channel, count) => events.push(`batch of ${count}`),
        ),
    });
    return { t, events };
  }

  test('K-223 ProcessingComplete fires after the last packet, when the ring has become empty', async () => {
    const { t, events } = await batching();

    send(t, 1, 2, 3);
    await t.settle();

    expect(events).toEqual(['packet 1', 'packet 2', 'packet 3', 'batch of 3']);
  });

  test('K-224 its count is the deliveries of that batch', async () => {
    const { t, events } = await batching();
    for (const size of [1, 5, 150]) {
      send(t, ...Array.from({ length: size }, () => 7));
      await t.settle();
    }

    const counted = events.filter((event) => event.startsWith('batch')).map((event) => Number(event.split(' ').at(-1)));
    expect(counted.slice(0, 2)).toEqual([1, 5]);
    expect(counted.reduce((sum, count) => sum + count, 0)).toBe(156);
    expect(events.filter((event) => event.startsWith('packet'))).toHaveLength(156);
  });

  test('K-225 completions neither count as packets nor reach ProcessPacket', async () => {
    const counts: number[] = [];
    const t = await twoEndpoints({
      onServerPacket: (_c, packet) => VmbChannelPacketComplete(packet, null, 0),
      setUpClient: (channel) =>
        VmbChannelInitSetProcessPacketCallbacks(
          channel,
          (_c, packet) => VmbChannelPacketComplete(packet, null, 0),
          (_c, count) => counts.push(count),
        ),
    });

    send(t, 1, 2, 3);
    await t.settle();

    expect(t.completions).toHaveLength(3);
    expect(counts).toEqual([]);
  });

  test('a turn takes a bounded number of packets, and others run between', async () => {
    const order: string[] = [];
    const t = await twoEndpoints({
      onServerPacket: (_c, packet) => {
        order.push('packet');
        VmbChannelPacketComplete(packet, null, 0);
      },
    });
    send(t, ...Array.from({ length: 150 }, () => 0));

    t.scheduler.dispatch(() => order.push('other'));
    await t.settle();

    expect(order.indexOf('other')).toBe(64);
    expect(order).toHaveLength(151);
  });
});

describe('quota', () => {
  /** A server with room for `quota` packets. */
  async function limited(quota: number): Promise<TwoEndpoints> {
    return await twoEndpoints({ setUpServer: (channel) => VmbChannelSetTransactionQuota(channel, quota) });
  }

  test('K-226 with a quota of q at most q packets are with the driver', async () => {
    const t = await limited(3);

    send(t, 1, 2, 3, 4, 5);
    await t.settle();

    expect(valuesOf(t)).toEqual([1, 2, 3]);
  });

  test('K-227 at the quota one completion lets one more in', async () => {
    const t = await limited(2);
    send(t, 1, 2, 3, 4);
    await t.settle();

    complete(t, 1);
    await t.settle();

    expect(valuesOf(t)).toEqual([1, 2, 3]);
  });

  test('K-228 raising the quota alone lets none in', async () => {
    const t = await limited(1);
    send(t, 1, 2, 3);
    await t.settle();

    VmbChannelSetTransactionQuota(t.server, 10);
    await t.settle();
    expect(valuesOf(t)).toEqual([1]);
    complete(t, 0);
    await t.settle();

    expect(valuesOf(t)).toEqual([1, 2, 3]);
  });

  test('K-229 lowering it below what is out blocks until the count is below it', async () => {
    const t = await limited(4);
    send(t, 1, 2, 3, 4, 5, 6);
    await t.settle();
    VmbChannelSetTransactionQuota(t.server, 2);

    complete(t, 0, 1);
    await t.settle();
    expect(valuesOf(t)).toEqual([1, 2, 3, 4]);
    complete(t, 2);
    await t.settle();

    expect(valuesOf(t)).toEqual([1, 2, 3, 4, 5]);
  });

  test('a quota of 0 is ignored', async () => {
    const t = await limited(0);

    send(t, 1, 2);
    await t.settle();

    expect(valuesOf(t)).toEqual([1, 2]);
  });
});

describe('levels', () => {
  test('K-230 with SetIncomingProcessingAtPassive every delivery is at PASSIVE', async () => {
    const levels: number[] = [];
    const note = (): void => {
      levels.push(currentIrql());
    };
    const t = await twoEndpoints({
      setUpServer: (channel) => {
        VmbChannelSetIncomingProcessingAtPassive(channel, true);
        VmbChannelInitSetProcessPacketCallbacks(
          channel,
          (_c, packet) => {
            note();
            VmbChannelPacketComplete(packet, null, 0);
          },
          note,
        );
      },
    });

    send(t, 1, 2, 3);
    await t.settle();

    expect(levels).toEqual([Irql.Passive, Irql.Passive, Irql.Passive, Irql.Passive]);
  });

  test('K-231 without it deliveries are at DISPATCH or PASSIVE', async () => {
    const levels: number[] = [];
    const t = await twoEndpoints({ onServerPacket: () => levels.push(currentIrql()) });

    send(t, 1);
    await t.settle();

    expect(levels).toEqual([Irql.Dispatch]);
  });

  test('K-232 DeferToPassive brings the same packet again at PASSIVE', async () => {
    const seen: { packet: VmbPacketCompletion; level: number; value: number | undefined }[] = [];
    const t = await twoEndpoints({
      onServerPacket: (_c, packet, buffer) => {
        seen.push({ packet, level: currentIrql(), value: buffer[0] });
        if (currentIrql() === Irql.Dispatch) VmbChannelPacketDeferToPassive(packet);
        else VmbChannelPacketComplete(packet, null, 0);
      },
    });

    send(t, 9);
    await t.settle();

    expect(seen.map(({ level, value }) => [level, value])).toEqual([
      [Irql.Dispatch, 9],
      [Irql.Passive, 9],
    ]);
    expect(seen[0]?.packet).toBe(seen[1]?.packet);
    expect(t.completions).toHaveLength(1);
  });

  test('K-233 DeferToPassive outside ProcessPacket is a bug check', async () => {
    const t = await twoEndpoints();
    send(t, 1);
    await t.settle();

    expect(() => VmbChannelPacketDeferToPassive(nth(t.received, 0).packet)).toThrow(
      expect.objectContaining({ rule: 'K-233' }),
    );
  });

  test('K-234 a deferred packet comes before those that arrived after it', async () => {
    const order: (number | undefined)[] = [];
    const t = await twoEndpoints({
      onServerPacket: (_c, packet, buffer) => {
        if (buffer[0] === 2 && currentIrql() === Irql.Dispatch) {
          VmbChannelPacketDeferToPassive(packet);
          return;
        }
        order.push(buffer[0]);
        VmbChannelPacketComplete(packet, null, 0);
      },
    });

    send(t, 1, 2, 3, 4);
    await t.settle();

    expect(order).toEqual([1, 2, 3, 4]);
  });
});

describe('giving up', () => {
  test('K-235 after PacketFail nothing is delivered until the channel is closed and opened again', async () => {
    const values: (number | undefined)[] = [];
    const t = await twoEndpoints({
      onServerPacket: (_c, packet, buffer) => {
        values.push(buffer[0]);
        if (buffer[0] === 2) VmbChannelPacketFail(packet);
        else VmbChannelPacketComplete(packet, null, 0);
      },
    });
    send(t, 1, 2, 3);
    await t.settle();
    expect(values).toEqual([1, 2]);

    const disabled = VmbChannelDisable(t.client);
    await t.settle();
    await disabled;
    VmbChannelEnable(t.client);
    await t.settle();
    send(t, 4);
    await t.settle();

    expect(values).toEqual([1, 2, 4]);
  });

  test('K-236 PacketFail sends no completion', async () => {
    const t = await twoEndpoints();
    const answers = sentPackets(t.server);
    send(t, 1);
    await t.settle();

    VmbChannelPacketFail(nth(t.received, 0).packet);
    await t.settle();

    expect(answers).toHaveLength(0);
    expect(t.completions).toHaveLength(0);
  });
});

describe('external data', () => {
  /** Sends a chain and gives the server's view of it. */
  async function received(
    pieces: (t: TwoEndpoints) => Mdl,
    options: Parameters<typeof twoEndpoints>[0] = {},
  ): Promise<{ t: TwoEndpoints; status: number; mdl: ReturnType<typeof out<Mdl>> }> {
    const t = await twoEndpoints(options);
    VmbPacketSend(t.packet(), null, 0, pieces(t), WAIT);
    await t.settle();
    const mdl = out<Mdl>();
    const status = VmbChannelPacketGetExternalData(nth(t.received, 0).packet, 0, mdl);
    return { t, status, mdl };
  }

  /** Puts a GPA-direct packet with these words of header and ranges into the guest's ring, as no honest guest would. */
  async function forged(words: readonly number[]): Promise<{ t: TwoEndpoints; status: number }> {
    const t = await twoEndpoints();
    const spoil = {
      packetSent: (_c: unknown, bytes: Uint8Array, at: number): void => {
        const view = new DataView(bytes.buffer, bytes.byteOffset);
        words.forEach((word, index) => {
          view.setUint32(at + 20 + 4 * index, word, true);
        });
      },
    };
    endpointOf(t.client).tap = spoil;
    VmbPacketSendWithExternalPfns(t.packet(), null, 0, [1, 2], 2, WAIT);
    await t.settle();
    const mdl = out<Mdl>();
    return { t, status: VmbChannelPacketGetExternalData(nth(t.received, 0).packet, 0, mdl) };
  }

  test('K-237 the MDL chain equals the ranges that were sent', async () => {
    const { status, mdl } = await received((t) =>
      Mdl.chain(Mdl.fromPfns(t.memory, [200], 10, 20), Mdl.fromPfns(t.memory, [300, 299], 4090, 100)),
    );

    expect(status).toBe(STATUS_SUCCESS);
    expect(mdl.value).toMatchObject({ pfns: [200], byteOffset: 10, byteCount: 20 });
    expect(mdl.value.next).toMatchObject({ pfns: [300, 299], byteOffset: 4090, byteCount: 100, next: null });
  });

  /** A host whose guest pages arrive late. */
  function latePages(): { pinner: PagePinner; arrive: () => void; pinned: Set<Mdl> } {
    const waiting: (() => void)[] = [];
    const pinned = new Set<Mdl>();
    let isThere = false;
    const pinner: PagePinner = {
      pin: (mdl, ready) => {
        if (isThere) pinned.add(mdl);
        else waiting.push(ready);
        return isThere;
      },
      unpin: (mdl) => pinned.delete(mdl),
    };
    const arrive = (): void => {
      isThere = true;
      for (const ready of waiting.splice(0)) ready();
    };
    return { pinner, arrive, pinned };
  }

  test('K-238 STATUS_PENDING sets no MDL; ProcessPacket comes again and then it succeeds', async () => {
    const { pinner, arrive } = latePages();
    const seen: { packet: VmbPacketCompletion; status: number; isEmpty: boolean }[] = [];
    const t = await twoEndpoints({
      host: { pinner },
      onServerPacket: (_c, packet) => {
        const mdl = out<Mdl>();
        const status = VmbChannelPacketGetExternalData(packet, 0, mdl);
        seen.push({ packet, status, isEmpty: mdl.isEmpty });
        if (status === STATUS_SUCCESS) VmbChannelPacketComplete(packet, null, 0);
      },
    });
    VmbPacketSendWithExternalPfns(t.packet(), null, 0, [1], 1, WAIT);
    await t.settle();
    expect(seen).toMatchObject([{ status: STATUS_PENDING, isEmpty: true }]);
    expect(() => VmbChannelPacketComplete(nth(seen, 0).packet, null, 0)).toThrow(
      expect.objectContaining({ rule: 'K-221' }),
    );

    arrive();
    await t.settle();

    expect(seen[1]).toMatchObject({ status: STATUS_SUCCESS, isEmpty: false });
    expect(seen[1]?.packet).toBe(seen[0]?.packet);
    expect(t.completions).toHaveLength(1);
  });

  test('K-239 STATUS_PENDING is 0x103 and passes NT_SUCCESS, so callers must compare it', () => {
    expect(STATUS_PENDING).toBe(0x103);
    expect(NT_SUCCESS(STATUS_PENDING)).toBe(true);
  });

  test('K-240 the MDL has bytes only once it is mapped, and a second call gives the same one', async () => {
    const { t, mdl } = await received((two) => Mdl.fromPfns(two.memory, [500], 16, 4));
    t.memory.page(500).set([1, 2, 3, 4], 16);
    const again = out<Mdl>();

    VmbChannelPacketGetExternalData(nth(t.received, 0).packet, 1, again);

    expect(again.value).toBe(mdl.value);
    expect(MmGetSystemAddressForMdlSafe(mdl.value).toBytes()).toEqual(Uint8Array.of(1, 2, 3, 4));
  });

  test('K-241 the MDL and its view are dead after PacketComplete', async () => {
    const { t, mdl } = await received((two) => Mdl.fromPfns(two.memory, [500]));
    const view = MmGetSystemAddressForMdlSafe(mdl.value);

    complete(t, 0);

    expect(mdl.value.isValid).toBe(false);
    expect(() => MmGetSystemAddressForMdlSafe(mdl.value)).toThrow(expect.objectContaining({ code: 'ERR_STATE' }));
    expect(() => view.write(0, Uint8Array.of(1))).toThrow(expect.objectContaining({ code: 'ERR_STATE' }));
  });

  test('K-242 the pages are pinned from GetExternalData to PacketComplete', async () => {
    const { pinner, arrive, pinned } = latePages();
    arrive();
    const { t, mdl } = await received((two) => Mdl.fromPfns(two.memory, [500]), { host: { pinner } });
    expect([...pinned]).toEqual([mdl.value]);

    complete(t, 0);

    expect(pinned.size).toBe(0);
  });

  test('K-243 a packet without external data has none to give', async () => {
    const t = await twoEndpoints();
    send(t, 1);
    await t.settle();

    expect(VmbChannelPacketGetExternalData(nth(t.received, 0).packet, 0, out<Mdl>())).toBe(STATUS_INVALID_PARAMETER_1);
  });

  test('K-244 flag bits outside 0x1 are refused', async () => {
    const { t } = await received((two) => Mdl.fromPfns(two.memory, [500]));

    expect(VmbChannelPacketGetExternalData(nth(t.received, 0).packet, 2, out<Mdl>())).toBe(STATUS_INVALID_PARAMETER_2);
  });

  test('K-245 READ_ONLY maps whatever the sender gave', async () => {
    const t = await twoEndpoints();
    VmbPacketSendWithExternalPfns(t.packet(), null, 0, [1], 1, WAIT);
    await t.settle();

    expect(VmbChannelPacketGetExternalData(nth(t.received, 0).packet, 1, out<Mdl>())).toBe(STATUS_SUCCESS);
  });

  test.each([
    ['longer than ChainLength', 65_536, 1],
    ['larger than DataSize', 199, 8],
  ])('K-246 a chain %s is refused', async (_name, dataSize, chainLength) => {
    const { status, mdl } = await received(
      (t) => Mdl.chain(Mdl.fromPfns(t.memory, [200], 10, 100), Mdl.fromPfns(t.memory, [300], 10, 100)),
      { setUpServer: (channel) => VmbChannelInitSetMaximumExternalData(channel, dataSize, chainLength) },
    );

    expect(status).toBe(STATUS_INVALID_BUFFER_SIZE);
    expect(mdl.isEmpty).toBe(true);
  });

  test.each([
    ['byte count 0', [1, 0, 0]],
    ['a byte offset beyond the page', [1, 4096, 4096]],
    ['fewer page numbers than its bytes need', [1, 8193, 0]],
    ['more ranges than there are', [2, 4096, 0]],
    ['a sum that overflows', [1, 0xffff_ffff, 1]],
    ['four thousand million ranges', [0xffff_ffff, 8192, 0]],
    ['a page outside guest memory', [1, 8192, 0, 0x7fff_ffff, 0]],
    ['a page of 2^63', [1, 8192, 0, 0, 0x8000_0000]],
  ])('K-247 a range with %s is a status, and the channel lives on', async (_name, words) => {
    const { t, status } = await forged(words);

    expect([STATUS_INVALID_PARAMETER, STATUS_INVALID_BUFFER_SIZE]).toContain(status);
    endpointOf(t.client).tap = null;
    complete(t, 0);
    send(t, 1);
    await t.settle();
    expect(t.received).toHaveLength(2);
    expect(t.completions).toHaveLength(1);
  });

  test('K-247 a range count of 0 ends the channel, and nothing else', async () => {
    const t = await twoEndpoints();
    const spoil = {
      packetSent: (_c: unknown, bytes: Uint8Array, at: number): void =>
        new DataView(bytes.buffer, bytes.byteOffset).setUint32(at + 20, 0, true),
    };
    endpointOf(t.client).tap = spoil;

    VmbPacketSendWithExternalPfns(t.packet(), null, 0, [1], 1, WAIT);
    await t.settle();

    expect(t.received).toHaveLength(0);
    expect(t.log.slice(-2)).toEqual(['server Suspend', 'server Closed']);
    expect(t.host.bus.state).toBe('offering');
  });

  test('what the ring holds after the copy is not looked at again', async () => {
    const { t, mdl } = await (async () => {
      const two = await twoEndpoints({
        onServerPacket: (_c, packet) => {
          // The guest rewrites its ring while the packet is being delivered.
          two.memory.bytes(4096, 4096).fill(0xff);
          const box = out<Mdl>();
          VmbChannelPacketGetExternalData(packet, 0, box);
          mdls.push(box);
        },
      });
      const mdls: ReturnType<typeof out<Mdl>>[] = [];
      VmbPacketSendWithExternalPfns(two.packet(), null, 0, [600, 601], 2, WAIT);
      await two.settle();
      return { t: two, mdl: nth(mdls, 0) };
    })();

    expect(mdl.value.pfns).toEqual([600, 601]);
    expect(endpointOf(t.server).stage).toBe('active');
  });
});

describe('packets from the host', () => {
  test('the server may send and ask for a completion too', async () => {
    const t = await twoEndpoints();
    const completions: (number | undefined)[] = [];
    const packet = somePacket(t.server, (_packet, _status, buffer) => completions.push(buffer?.[0]));

    VmbPacketSend(packet, hex('05'), 1, null, WAIT);
    await t.settle();
    VmbChannelPacketComplete(nth(t.clientReceived, 0).packet, hex('06'), 1);
    await t.settle();

    expect(nth(t.clientReceived, 0).bytes[0]).toBe(5);
    expect(completions).toEqual([6]);
  });

  test('a driver that throws does not take the channel down with it', async () => {
    const received: number[] = [];
    const keep = keepIn([]);
    const t = await twoEndpoints({
      onServerPacket: (channel, packet, buffer, length, flags) => {
        received.push(buffer[0] ?? -1);
        if (buffer[0] === 1) throw new Error('driver bug');
        keep(channel, packet, buffer, length, flags);
      },
    });
    send(t, 1, 2);

    expect(() => t.scheduler.run()).toThrow('driver bug');
    expect(currentIrql()).toBe(Irql.Passive);
    send(t, 3);
    await t.settle();

    expect(received).toEqual([1, 2, 3]);
  });
});
