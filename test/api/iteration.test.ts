import { expect, test } from 'vitest';
import type { Channel, Packet } from '../../src/api/index.ts';
import { eight, settled, twoEnds, watch } from './two-ends.ts';

/** Iterates, completes each packet at once, and tells the first bytes when the iteration ends. */
async function takeAll(channel: Channel): Promise<number[]> {
  const taken: number[] = [];
  for await (using packet of channel) taken.push(packet.bytes[0] as number);
  return taken;
}

test('packets come in the order in which they were sent, those of before the iteration first', async () => {
  const { client, server, scheduler, settle } = await twoEnds();
  client.send(eight(1));
  client.send(eight(2));
  await settle();

  const taken = watch(takeAll(server));
  client.send(eight(3));
  await settle();
  await settled(scheduler, client.close());

  expect(taken.value).toEqual([1, 2, 3]);
});

test.each([
  { name: 'the guest closes', reason: 'closedByPeer', end: 'client' },
  { name: 'the host takes the offer back', reason: 'closed', end: 'server' },
] as const)('an iteration on the host ends when $name', async ({ reason, end }) => {
  const ends = await twoEnds();
  const taken = watch(takeAll(ends.server));
  await ends.settle();
  expect(taken.state).toBe('pending');

  await settled(ends.scheduler, ends[end].close());

  expect(taken.value).toEqual([]);
  expect(ends.server.lastEnd?.reason).toBe(reason);
});

test.each([
  { name: 'the guest closes', reason: 'closed', end: 'client' },
  { name: 'the host takes the offer back', reason: 'rescinded', end: 'server' },
] as const)('an iteration on the guest ends when $name', async ({ reason, end }) => {
  const ends = await twoEnds();
  const taken = watch(takeAll(ends.client));

  await settled(ends.scheduler, ends[end].close());
  await ends.settle();

  expect(taken.value).toEqual([]);
  expect(ends.client.lastEnd?.reason).toBe(reason);
});

test('iterations at both ends end when the transport is lost', async () => {
  const { client, server, loopback, settle } = await twoEnds();
  const [atClient, atServer] = [watch(takeAll(client)), watch(takeAll(server))];

  loopback.loseHost('gone');
  await settle();
  expect([atClient.state, client.lastEnd?.reason]).toEqual(['resolved', 'lost']);
  expect(atServer.state).toBe('pending');

  const other = await twoEnds();
  const atOther = watch(takeAll(other.server));
  other.loopback.loseGuest('gone');
  await other.settle();
  expect(atOther.state).toBe('resolved');
  expect(await settled(other.scheduler, other.server.opened())).toBe(false);
});

test('an iteration that begins after the end is over at once', async () => {
  const { client, scheduler } = await twoEnds();
  await settled(scheduler, client.close());

  expect(await takeAll(client)).toEqual([]);
});

test('an iteration on the host that begins before the channel is open waits for its packets', async () => {
  const { client, server, guest, scheduler, settle } = await twoEnds();
  await settled(scheduler, client.close());
  const taken = watch(takeAll(server));

  const offer = await settled(scheduler, guest.findOffer({}));
  const again = await settled(scheduler, offer.open());
  again.send(eight(4));
  await settle();
  await settled(scheduler, again.close());

  expect(taken.value).toEqual([4]);
});

test('packets of one open cycle never reach the iteration of the next', async () => {
  const { client, server, guest, scheduler, settle } = await twoEnds();
  client.send(eight(1));
  await settle();
  await settled(scheduler, client.close());
  const offer = await settled(scheduler, guest.findOffer({}));
  const again = await settled(scheduler, offer.open());
  const taken = watch(takeAll(server));
  again.send(eight(2));
  await settle();
  await settled(scheduler, again.close());

  expect(taken.value).toEqual([2]);
});

test('the ring holds back what the consumer has no room for', async () => {
  const { client, server, settle } = await twoEnds({ offer: { maxHeldPackets: 3 } });
  for (let number = 0; number < 10; number++) client.send(eight(number));
  await settle();

  expect(server.statistics.packetsReceived).toBe(3);
  expect(server.inspect()).toMatchObject({ untakenPackets: 3, incoming: { outstanding: 3 } });

  const iteration = server.packets();
  const held: Packet[] = [];
  for (let number = 0; number < 3; number++) held.push((await iteration.next()).value as Packet);
  await settle();
  expect(server.statistics.packetsReceived).toBe(3);

  held[1]?.complete();
  await settle();
  expect(server.statistics.packetsReceived).toBe(4);
});

test('a slow consumer is never given more than it can hold, and loses nothing', async () => {
  const { client, server, scheduler, settle } = await twoEnds({ offer: { maxHeldPackets: 2 } });
  const most = { held: 0 };
  const taken: number[] = [];
  const consumer = (async () => {
    for await (using packet of server) {
      most.held = Math.max(most.held, heldBy(server));
      taken.push(packet.bytes[0] as number);
      await Promise.resolve();
    }
  })();
  for (let number = 0; number < 100; number++) client.send(eight(number));
  await settle();
  await settled(scheduler, client.close());
  await consumer;

  expect(taken).toEqual(Array.from({ length: 100 }, (_, number) => number));
  expect(most.held).toBe(2);
});

function heldBy(channel: Channel): number {
  return (channel.inspect() as { incoming: { outstanding: number } }).incoming.outstanding;
}

test('two iterations at once share the packets', async () => {
  const { client, server, scheduler, settle } = await twoEnds();
  const [one, other] = [watch(takeAll(server)), watch(takeAll(server))];
  await settle();

  for (let number = 0; number < 10; number++) client.send(eight(number));
  await settle();
  await settled(scheduler, client.close());

  const all = [...(one.value ?? []), ...(other.value ?? [])];
  expect(all.sort((a, b) => a - b)).toEqual([0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
});

test('an iteration that is left and begun again goes on where it was', async () => {
  const { client, server, settle } = await twoEnds();
  for (let number = 1; number <= 3; number++) client.send(eight(number));
  await settle();
  const taken: number[] = [];

  for await (using packet of server) {
    taken.push(packet.bytes[0] as number);
    break;
  }
  for await (using packet of server) {
    taken.push(packet.bytes[0] as number);
    if (taken.length === 3) break;
  }

  expect(taken).toEqual([1, 2, 3]);
});

test('return() ends a next() that waits, and later packets go to others', async () => {
  const { client, server, settle } = await twoEnds();
  const left = server.packets();
  const waiting = left.next();

  await left.return?.();
  client.send(eight(5));
  await settle();

  expect(await waiting).toEqual({ done: true, value: undefined });
  expect(await left.next()).toEqual({ done: true, value: undefined });
  expect((await server.packets().next()).value?.bytes).toEqual(eight(5));
});

test('an abort ends the wait for a packet with its reason, and no packet is lost', async () => {
  const { client, server, settle } = await twoEnds();
  const abort = new AbortController();
  const iteration = server.packets({ signal: abort.signal });
  const next = watch(iteration.next());

  abort.abort(new Error('enough'));
  client.send(eight(6));
  await settle();

  expect(next.error).toEqual(new Error('enough'));
  await expect(iteration.next()).rejects.toEqual(new Error('enough'));
  expect((await server.packets().next()).value?.bytes).toEqual(eight(6));
});

test('a channel with onPacket cannot be iterated', async () => {
  const { server } = await twoEnds({ offer: { onPacket: (packet) => packet.complete() } });

  expect(() => server.packets()).toThrow(expect.objectContaining({ code: 'ERR_STATE' }));
});

test('packets that nobody took do not keep a channel from closing, and are not answered', async () => {
  const { client, server, scheduler, settle } = await twoEnds();
  const request = watch(client.request(eight(1)));
  await settle();

  await settled(scheduler, server.close());

  expect(request.error).toMatchObject({ code: 'ERR_RESCINDED' });
  expect(server.statistics.completionsSent).toBe(0);
});
