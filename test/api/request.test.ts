import { expect, test } from 'vitest';
import type { Packet } from '../../src/api/index.ts';
import { Mdl, PAGE_BYTES } from '../../src/memory/index.ts';
import { STATUS_CANCELLED, STATUS_DEVICE_REMOVED, STATUS_IO_DEVICE_ERROR } from '../../src/wire/ntstatus.ts';
import { eight, settled, twoEnds, watch } from './two-ends.ts';

/** A server that keeps what it gets. */
function keeping(): { held: Packet[]; offer: { onPacket: (packet: Packet) => void } } {
  const held: Packet[] = [];
  return { held, offer: { onPacket: (packet) => held.push(packet) } };
}

test('a request resolves with a copy of the completion', async () => {
  const { client, scheduler } = await twoEnds({
    offer: { onPacket: (packet) => packet.complete(packet.bytes.map((byte) => byte + 1)) },
  });

  const reply = await settled(scheduler, client.request(eight(1, 2, 3)));
  await settled(scheduler, client.request(eight(9)));

  expect(reply).toEqual(eight(2, 3, 4).map((byte, index) => (index < 3 ? byte : 1)));
});

test('requests that are answered out of order each get their own answer', async () => {
  const { held, offer } = keeping();
  const { client, settle } = await twoEnds({ offer });
  const replies = [1, 2, 3].map((number) => client.request(eight(number)));
  await settle();

  for (const packet of held.reverse()) packet.complete(eight((packet.bytes[0] as number) * 10));
  await settle();

  expect((await Promise.all(replies)).map((reply) => reply[0])).toEqual([10, 20, 30]);
});

test('a host asks its guest, which answers', async () => {
  const { server, scheduler } = await twoEnds({ open: { onPacket: (packet) => packet.complete(eight(7)) } });

  expect(await settled(scheduler, server.request(eight(1)))).toEqual(eight(7));
});

test('a host that asks before its channel is open waits for that', async () => {
  const { server, client, guest, scheduler, settle } = await twoEnds({ offer: { isPaused: true } });
  await settled(scheduler, client.close());
  const request = watch(server.request(eight(1)));
  await settle();
  expect(request.state).toBe('pending');

  const offer = await settled(scheduler, guest.findOffer({}));
  await settled(scheduler, offer.open({ onPacket: (packet) => packet.complete(eight(5)) }));
  server.resume();
  await settle();

  expect(request.value).toEqual(eight(5));
});

const sources: { name: string; pages: (memory: Parameters<typeof Mdl.fromPfns>[0], pfns: number[]) => object }[] = [
  { name: 'page frame numbers', pages: (_, pfns) => ({ pfns }) },
  { name: 'an MDL', pages: (memory, pfns) => ({ mdl: Mdl.fromPfns(memory, pfns) }) },
  {
    name: 'ranges',
    pages: (_, pfns) => ({ ranges: pfns.map((pfn) => ({ byteCount: PAGE_BYTES, byteOffset: 0, pfns: [pfn] })) }),
  },
];

test.each(sources)('pages named by $name are read and written in place', async ({ pages }) => {
  const { client, guest, scheduler } = await twoEnds({
    offer: {
      onPacket: (packet) => {
        const view = packet.tryExternalData();
        view?.write(0, view.toBytes().reverse());
        packet.complete();
      },
    },
  });
  const pfns = guest.pages.allocateScattered(3);
  pfns.forEach((pfn, index) => {
    guest.memory.page(pfn).fill(index + 1);
  });

  const reply = await settled(scheduler, client.request(eight(), pages(guest.memory, pfns)));

  expect(pfns.map((pfn) => new Set(guest.memory.page(pfn)))).toEqual([new Set([3]), new Set([2]), new Set([1])]);
  expect(reply).toHaveLength(0);
});

test('a window of an MDL chain shows those bytes and no other', async () => {
  const seen: Uint8Array[] = [];
  const { client, guest, scheduler } = await twoEnds({
    offer: {
      onPacket: (packet) => {
        seen.push(packet.tryExternalData()?.toBytes() ?? new Uint8Array(0));
        packet.complete();
      },
    },
  });
  const [first, second] = guest.pages.allocate(2) as [number, number];
  guest.memory.page(first).fill(1);
  guest.memory.page(second).fill(2);
  const mdl = Mdl.chain(Mdl.fromPfns(guest.memory, [first], 96), Mdl.fromPfns(guest.memory, [second]));

  await settled(scheduler, client.request(eight(), { mdl, mdlOffset: 3990, mdlBytes: 20 }));

  expect(seen).toEqual([Uint8Array.from({ length: 20 }, (_, index) => (index < 10 ? 1 : 2))]);
});

test('an abort rejects at once with the reason, and the late completion is dropped', async () => {
  const { held, offer } = keeping();
  const { client, server, guest, scheduler, settle } = await twoEnds({ offer });
  const abort = new AbortController();
  const pfns = guest.pages.allocate(1);
  const request = client.request(eight(1), { pfns, signal: abort.signal });
  const watched = watch(request);
  const released = watch(request.released);
  await settle();

  abort.abort(new Error('no longer wanted'));
  await settle();

  expect(watched.error).toEqual(new Error('no longer wanted'));
  expect(released.state).toBe('pending');

  held[0]?.complete(eight(1));
  await settle();

  expect(released.state).toBe('resolved');
  expect(client.isOpen && server.isOpen).toBe(true);
  const next = client.request(eight(2));
  await settle();
  held[1]?.complete(eight(22));
  expect(await settled(scheduler, next)).toEqual(eight(22));
});

test('an abort takes back what has not left yet, and its pages are free at once', async () => {
  const { client, server, scheduler, settle } = await twoEnds({
    offer: { onPacket: (packet) => packet.complete() },
  });
  await settled(scheduler, client.pause());
  const abort = new AbortController();
  const request = client.request(eight(1), { signal: abort.signal });
  const watched = watch(request);
  const released = watch(request.released);

  abort.abort();
  await settle();
  client.resume();
  await settle();

  expect(watched.error).toMatchObject({ name: 'AbortError' });
  expect(released.state).toBe('resolved');
  expect(server.statistics.packetsReceived).toBe(0);
});

test('a signal that aborted before sends nothing', async () => {
  const { client, server, scheduler } = await twoEnds();
  const request = client.request(eight(1), { signal: AbortSignal.abort() });

  await expect(settled(scheduler, request)).rejects.toMatchObject({ name: 'AbortError' });

  await request.released;
  expect(server.statistics.packetsReceived).toBe(0);
});

test('a request that is answered no longer listens to its signal', async () => {
  const { client, scheduler } = await twoEnds({ offer: { onPacket: (packet) => packet.complete(eight(1)) } });
  const abort = new AbortController();
  const removed: string[] = [];
  const { signal } = abort;
  const remove = signal.removeEventListener.bind(signal);
  signal.removeEventListener = (type: string, listener: () => void) => {
    removed.push(type);
    remove(type, listener);
  };

  const reply = await settled(scheduler, client.request(eight(1), { signal, timeoutMs: 100 }));
  abort.abort();

  expect(reply).toEqual(eight(1));
  expect(removed).toEqual(['abort']);
  expect(scheduler.timers).toBe(0);
});

test('a timeout rejects with ERR_TIMEOUT and leaves the pages with the host', async () => {
  const { held, offer } = keeping();
  const { client, scheduler, settle } = await twoEnds({ offer });
  const request = client.request(eight(1), { timeoutMs: 50 });
  const watched = watch(request);
  const released = watch(request.released);
  await settle();

  scheduler.advance(49);
  await settle();
  expect(watched.state).toBe('pending');
  scheduler.advance(1);
  await settle();

  expect(watched.error).toMatchObject({ name: 'PeerError', code: 'ERR_TIMEOUT', status: STATUS_CANCELLED });
  expect(released.state).toBe('pending');
  held[0]?.complete();
  await settle();
  expect(released.state).toBe('resolved');
});

test('closing the channel rejects with ERR_CLOSED; the pages are free when the host has let go', async () => {
  const { held, offer } = keeping();
  const { client, settle } = await twoEnds({ offer });
  const request = client.request(eight(1));
  const watched = watch(request);
  const released = watch(request.released);
  await settle();

  const closed = watch(client.close());
  await settle();

  expect(watched.error).toMatchObject({ name: 'UsageError', code: 'ERR_CLOSED', status: STATUS_CANCELLED });
  // The host's device still holds the packet and may touch its pages.
  expect(released.state).toBe('pending');
  expect(closed.state).toBe('pending');
  held[0]?.complete();
  await settle();
  expect(released.state).toBe('resolved');
  expect(closed.state).toBe('resolved');
});

test('a rescind rejects with ERR_RESCINDED', async () => {
  const { held, offer } = keeping();
  const { client, server, settle } = await twoEnds({ offer });
  const watched = watch(client.request(eight(1)));
  await settle();

  const closed = server.close();
  await settle();
  held[0]?.fail();
  await settle();
  await closed;

  expect(watched.error).toMatchObject({ name: 'PeerError', code: 'ERR_RESCINDED', status: STATUS_DEVICE_REMOVED });
  expect(client.lastEnd?.reason).toBe('rescinded');
});

test('a lost transport rejects with ERR_TRANSPORT', async () => {
  const { client, loopback, settle } = await twoEnds({ offer: keeping().offer });
  const request = client.request(eight(1));
  const watched = watch(request);
  await settle();

  loopback.loseHost('the cable was pulled');
  await settle();

  expect(watched.error).toMatchObject({ name: 'SystemError', code: 'ERR_TRANSPORT', status: STATUS_DEVICE_REMOVED });
  await request.released;
});

test('a guest that closes rejects what the host asked of it', async () => {
  const held: Packet[] = [];
  const { client, server, settle } = await twoEnds({ open: { onPacket: (packet) => held.push(packet) } });
  const watched = watch(server.request(eight(1)));
  await settle();

  const closed = watch(client.close());
  await settle();
  // What the guest holds is with it until it says so.
  expect([watched.state, closed.state]).toEqual(['pending', 'pending']);
  held[0]?.fail();
  await settle();

  expect(watched.error).toMatchObject({ name: 'PeerError', code: 'ERR_CLOSED', status: STATUS_DEVICE_REMOVED });
  expect(server.lastEnd?.reason).toBe('closedByPeer');
  expect(closed.value).toBe(undefined);
});

test('a host that breaks the ring rejects with what it did, and the channel ends', async () => {
  const { client, guest, loopback, settle } = await twoEnds({
    offer: keeping().offer,
    open: { incomingRingPages: 4, outgoingRingPages: 4 },
  });
  const watched = watch(client.request(eight(1)));
  await settle();

  // The rings lie at the start of memory, the guest's own first; the write index is the first word of a ring.
  const firstPfn = guest.memory.regions[0]?.firstPfn ?? 0;
  guest.memory.page(firstPfn + 5)[0] = 12 + 1;
  loopback.host.signal(client.relid, 0);
  await settle();

  expect(watched.error).toMatchObject({ name: 'PeerError', code: 'ERR_RING_INDEX', status: STATUS_IO_DEVICE_ERROR });
  expect(client.lastEnd?.reason).toBe('faulted');
});

test.each([
  { name: 'a payload beyond maxPacketBytes', bytes: 4097, options: {}, code: 'ERR_PACKET_TOO_BIG' },
  {
    name: 'pages beyond maxExternalBytes',
    bytes: 8,
    options: { pfns: new Array(17).fill(1) },
    code: 'ERR_PACKET_TOO_BIG',
  },
  { name: 'no page at all', bytes: 8, options: { pfns: [] }, code: 'ERR_ARGUMENT' },
  { name: 'a page frame number that is none', bytes: 8, options: { pfns: [1, 0.5] }, code: 'ERR_ARGUMENT' },
  { name: 'a page frame number beyond 52 bits', bytes: 8, options: { pfns: [2 ** 52] }, code: 'ERR_ARGUMENT' },
  {
    name: 'a range that is empty',
    bytes: 8,
    options: { ranges: [{ byteCount: 0, byteOffset: 0, pfns: [] }] },
    code: 'ERR_ARGUMENT',
  },
  { name: 'a negative timeout', bytes: 8, options: { timeoutMs: -1 }, code: 'ERR_ARGUMENT' },
])('$name rejects, and nothing is sent', async ({ bytes, options, code }) => {
  const { client, server, scheduler } = await twoEnds();
  const request = client.request(new Uint8Array(bytes), options);

  await expect(settled(scheduler, request)).rejects.toMatchObject({ name: 'UsageError', code });

  await request.released;
  expect(server.statistics.packetsReceived).toBe(0);
  expect(client.inspect()).toMatchObject({ outgoing: { queued: 0, inFlight: 0 } });
});

test('a window outside its MDL rejects with an AddressError', async () => {
  const { client, guest, scheduler } = await twoEnds();
  const mdl = Mdl.fromPfns(guest.memory, guest.pages.allocate(1));

  const request = client.request(eight(), { mdl, mdlOffset: 4000, mdlBytes: 97 });

  await expect(settled(scheduler, request)).rejects.toMatchObject({ code: 'ERR_ADDRESS' });
});

test('after the end of its channel a request rejects with the reason', async () => {
  const { client, scheduler } = await twoEnds();
  await settled(scheduler, client.close());

  await expect(client.request(eight())).rejects.toMatchObject({ code: 'ERR_CLOSED' });
  expect(() => client.send(eight())).toThrow(expect.objectContaining({ code: 'ERR_CLOSED' }));
});

test('a pipe takes no requests', async () => {
  const { client, server } = await twoEnds({ offer: { isPipe: true } });

  await expect(client.request(eight())).rejects.toMatchObject({ code: 'ERR_STATE' });
  await expect(server.request(eight())).rejects.toMatchObject({ code: 'ERR_STATE' });
});
