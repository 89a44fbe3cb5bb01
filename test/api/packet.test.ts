import { expect, test } from 'vitest';
import type { Packet } from '../../src/api/index.ts';
import { currentIrql, Irql, type PagePinner } from '../../src/channel/index.ts';
import { PAGE_BYTES } from '../../src/memory/index.ts';
import { eight, settled, twoEnds, watch } from './two-ends.ts';

test('a packet shows its payload, padded to eight outside pipes', async () => {
  const { client, server, settle } = await twoEnds();
  client.send(Uint8Array.of(1, 2, 3));
  await settle();

  const { value: packet } = await server.packets().next();

  expect(packet?.bytes).toEqual(eight(1, 2, 3));
  expect([packet?.wantsCompletion, packet?.hasExternalData, packet?.isHeld]).toEqual([false, false, true]);
});

test('in a pipe a payload keeps its length, and the guest learns of the pipe from the offer', async () => {
  const { client, server, settle } = await twoEnds({ offer: { isPipe: true } });
  const messages: Uint8Array[] = [];
  client.send(Uint8Array.of(1, 2, 3));
  server.send(Uint8Array.of(4));
  await settle();

  for (const channel of [server, client]) messages.push((await channel.packets().next()).value?.bytes as Uint8Array);

  expect(messages).toEqual([Uint8Array.of(1, 2, 3), Uint8Array.of(4)]);
});

test.each<[string, (packet: Packet) => unknown]>([
  ['bytes', (packet) => packet.bytes],
  ['wantsCompletion', (packet) => packet.wantsCompletion],
  ['hasExternalData', (packet) => packet.hasExternalData],
  ['context', (packet) => packet.context],
  ['complete', (packet) => packet.complete()],
  ['fail', (packet) => packet.fail()],
  ['deferToPassive', (packet) => packet.deferToPassive()],
  ['tryExternalData', (packet) => packet.tryExternalData()],
])('after completion %s is refused, and a later packet in the same memory is not touched', async (_, use) => {
  const { client, server, settle } = await twoEnds();
  client.send(eight(1));
  await settle();
  const iteration = server.packets();
  const first = (await iteration.next()).value as Packet;
  first.complete();
  const request = watch(client.request(eight(2)));
  await settle();
  const second = (await iteration.next()).value as Packet;

  expect(() => use(first)).toThrow(expect.objectContaining({ name: 'UsageError', code: 'ERR_STATE' }));

  expect(second.bytes).toEqual(eight(2));
  expect([second.isHeld, first.isHeld, request.state]).toEqual([true, false, 'pending']);
});

test('using completes a packet at the end of its block, once', async () => {
  const { client, server, scheduler, settle } = await twoEnds();
  const request = client.request(eight(1));
  await settle();

  {
    using packet = (await server.packets().next()).value as Packet;
    expect(packet.isHeld).toBe(true);
  }
  expect(await settled(scheduler, request)).toHaveLength(0);

  const answered = client.request(eight(1));
  await settle();
  {
    using packet = (await server.packets().next()).value as Packet;
    packet.complete(eight(3));
  }
  expect(await settled(scheduler, answered)).toEqual(eight(3));
  expect(server.statistics.completionsSent).toBe(2);
});

test('a completion that the ring could never take is refused, and the packet can still be completed', async () => {
  const { client, server, scheduler, settle } = await twoEnds({ open: { incomingRingPages: 1 } });
  const request = client.request(eight(1));
  await settle();
  const packet = (await server.packets().next()).value as Packet;

  expect(() => packet.complete(new Uint8Array(PAGE_BYTES))).toThrow(
    expect.objectContaining({ code: 'ERR_PACKET_TOO_BIG' }),
  );
  packet.complete(eight(2));

  expect(await settled(scheduler, request)).toEqual(eight(2));
});

test('fail stops delivery until the channel is opened anew', async () => {
  const { client, server, guest, scheduler, settle } = await twoEnds();
  client.send(eight(1));
  client.send(eight(2));
  await settle();
  const first = (await server.packets().next()).value as Packet;
  const second = (await server.packets().next()).value as Packet;
  second.complete();

  first.fail();
  client.send(eight(3));
  await settle();
  expect(server.statistics.packetsReceived).toBe(2);

  await settled(scheduler, client.close());
  const offer = await settled(scheduler, guest.findOffer({}));
  const again = await settled(scheduler, offer.open());
  again.send(eight(4));
  await settle();
  expect((await server.packets().next()).value?.bytes).toEqual(eight(4));
});

test('context bytes belong to the packet and begin as zeros', async () => {
  const { client, server, settle } = await twoEnds({ offer: { contextBytes: 4 } });
  const seen: string[] = [];
  for (const number of [1, 2]) {
    client.send(eight(number));
    await settle();
    using packet = (await server.packets().next()).value as Packet;
    seen.push(String(packet.context));
    packet.context?.fill(number);
    seen.push(String(packet.context));
  }

  expect(seen).toEqual(['0,0,0,0', '1,1,1,1', '0,0,0,0', '2,2,2,2']);
});

test('external data ends with its packet, also when it came in several ranges', async () => {
  const { client, server, guest, settle } = await twoEnds();
  const pfns = guest.pages.allocate(2);
  client.request(eight(), {
    ranges: pfns.map((pfn) => ({ byteCount: 100, byteOffset: 8, pfns: [pfn] })),
  });
  await settle();
  const packet = (await server.packets().next()).value as Packet;

  const view = await packet.externalData();
  expect(view.byteLength).toBe(200);
  expect(await packet.externalData({ isReadOnly: true })).toBe(view);
  packet.complete();

  expect(() => view.toBytes()).toThrow(expect.objectContaining({ code: 'ERR_STATE' }));
});

test('a packet without external data says so', async () => {
  const { client, server, settle } = await twoEnds();
  client.send(eight());
  await settle();
  using packet = (await server.packets().next()).value as Packet;

  await expect(packet.externalData()).rejects.toMatchObject({ name: 'UsageError', code: 'ERR_STATE' });
});

test('pages outside memory are the guest’s fault, and the packet can be completed', async () => {
  const { client, server, scheduler, settle } = await twoEnds();
  const request = client.request(eight(), { pfns: [2 ** 40] });
  await settle();
  const packet = (await server.packets().next()).value as Packet;

  await expect(packet.externalData()).rejects.toMatchObject({ name: 'PeerError', code: 'ERR_GPA_RANGE' });

  packet.complete(eight(1));
  expect(await settled(scheduler, request)).toEqual(eight(1));
});

test('more external data than the host allows is refused', async () => {
  const { client, server, settle } = await twoEnds({ offer: { maxExternalBytes: 4096 } });
  client.request(eight(), { pfns: [1, 2] });
  await settle();
  using packet = (await server.packets().next()).value as Packet;

  await expect(packet.externalData()).rejects.toMatchObject({ code: 'ERR_GPA_RANGE' });
});

/** Pages that are absent until `bring` is called. */
function absentPages(): { pinner: PagePinner; bring: () => void } {
  let isHere = false;
  const waiting: (() => void)[] = [];
  return {
    pinner: {
      pin: (_mdl, ready) => {
        if (!isHere) waiting.push(ready);
        return isHere;
      },
      unpin: () => {},
    },
    bring: () => {
      isHere = true;
      for (const ready of waiting.splice(0)) ready();
    },
  };
}

test('externalData waits for pages that are not there yet', async () => {
  const { pinner, bring } = absentPages();
  const { client, server, guest, scheduler, settle } = await twoEnds({ host: { pinner } });
  const request = client.request(eight(), { pfns: guest.pages.allocate(1) });
  await settle();
  const packet = (await server.packets().next()).value as Packet;
  const view = watch(packet.externalData());
  await settle();
  expect(view.state).toBe('pending');

  bring();
  await settle();

  expect(view.value?.byteLength).toBe(PAGE_BYTES);
  packet.complete();
  await settled(scheduler, request);
});

test('a wait for pages ends with the completion of the packet, an abort, or the channel', async () => {
  const { client, server, guest, settle } = await twoEnds({ host: absentPages() });
  const abort = new AbortController();
  for (let number = 0; number < 3; number++) client.request(eight(), { pfns: guest.pages.allocate(1) }).catch(() => {});
  await settle();
  const iteration = server.packets();
  const packets: Packet[] = [];
  for (let number = 0; number < 3; number++) packets.push((await iteration.next()).value as Packet);
  const [completed, aborted, ended] = packets as [Packet, Packet, Packet];
  const waits = [
    watch(completed.externalData()),
    watch(aborted.externalData({ signal: abort.signal })),
    watch(ended.externalData()),
  ];
  await settle();

  completed.complete();
  abort.abort(new Error('too slow'));
  const closed = watch(server.close());
  await settle();

  expect(waits.map(({ error }) => error)).toEqual([
    expect.objectContaining({ code: 'ERR_STATE' }),
    new Error('too slow'),
    expect.objectContaining({ code: 'ERR_CLOSED' }),
  ]);
  aborted.complete();
  ended.complete();
  await settle();
  expect(closed.state).toBe('resolved');
});

test('tryExternalData in onPacket: the packet comes again when its pages are there, and a using block leaves it alone', async () => {
  const { pinner, bring } = absentPages();
  const deliveries: (number | undefined)[] = [];
  const { client, guest, scheduler, settle } = await twoEnds({
    host: { pinner },
    offer: {
      onPacket: (packet) => {
        using held = packet;
        deliveries.push(held.tryExternalData()?.byteLength);
      },
    },
  });
  const request = client.request(eight(), { pfns: guest.pages.allocate(1) });
  await settle();
  expect(deliveries).toEqual([undefined]);

  bring();
  expect(await settled(scheduler, request)).toHaveLength(0);

  expect(deliveries).toEqual([undefined, PAGE_BYTES]);
});

test('tryExternalData outside onPacket does not keep a using block from completing the packet', async () => {
  const { client, server, guest, scheduler, settle } = await twoEnds({ host: absentPages() });
  const request = client.request(eight(), { pfns: guest.pages.allocate(1) });
  await settle();

  {
    using packet = (await server.packets().next()).value as Packet;
    expect(packet.tryExternalData()).toBe(undefined);
  }

  expect(await settled(scheduler, request)).toHaveLength(0);
});

test('deferToPassive brings the packet again at PASSIVE, where it may wait', async () => {
  const levels: number[] = [];
  const { client, scheduler } = await twoEnds({
    offer: {
      onPacket: (packet) => {
        levels.push(currentIrql());
        if (currentIrql() === Irql.Dispatch) packet.deferToPassive();
        else packet.complete(eight(1));
      },
    },
  });

  expect(await settled(scheduler, client.request(eight()))).toEqual(eight(1));
  expect(levels).toEqual([Irql.Dispatch, Irql.Passive]);
});

test('outside its onPacket a packet cannot be deferred', async () => {
  const { client, server, settle } = await twoEnds();
  client.send(eight());
  await settle();
  using packet = (await server.packets().next()).value as Packet;

  expect(() => packet.deferToPassive()).toThrow(expect.objectContaining({ code: 'ERR_STATE' }));
});

test('onPacket gets one object for one packet after the other', async () => {
  const objects = new Set<Packet>();
  const { client, server, settle } = await twoEnds({
    offer: {
      onPacket: (packet, channel) => {
        expect(channel).toBe(server);
        objects.add(packet);
        packet.complete();
      },
    },
  });

  for (let number = 0; number < 20; number++) client.send(eight(number));
  await settle();

  expect(objects.size).toBe(1);
  expect(server.statistics.packetsReceived).toBe(20);
});

test('onBatchEnd tells how many packets a batch had', async () => {
  const batches: number[] = [];
  const { client, settle } = await twoEnds({
    offer: { onPacket: (packet) => packet.complete(), onBatchEnd: (packetCount) => batches.push(packetCount) },
  });

  client.batch(() => {
    for (let number = 0; number < 5; number++) client.send(eight(number));
  });
  await settle();

  expect(batches).toEqual([5]);
  expect(client.statistics.doorbellsRung).toBe(1);
});
