import { expect, test } from 'vitest';
import type { Completed } from '../../src/api/index.ts';
import { Mdl } from '../../src/memory/index.ts';
import { STATUS_CANCELLED, STATUS_DEVICE_REMOVED, STATUS_SUCCESS } from '../../src/wire/ntstatus.ts';
import { eight, settled, twoEnds } from './two-ends.ts';

/** Completions as they come. */
function logging(): { log: [number, number[] | null][]; completed: Completed } {
  const log: [number, number[] | null][] = [];
  return {
    log,
    completed: (status, bytes, byteCount) =>
      log.push([status, bytes === null ? null : [...bytes.subarray(0, byteCount)]]),
  };
}

test('a transaction completes once for each send, and may be sent again from there', async () => {
  const { client, settle } = await twoEnds({ offer: { onPacket: (packet) => packet.complete(packet.bytes) } });
  const replies: number[] = [];
  const transaction = client.transaction((_, bytes) => {
    replies.push(bytes?.[0] as number);
    if (replies.length < 1000) transaction.send(eight(replies.length % 256));
  });

  transaction.send(eight(0));
  await settle();

  expect(replies).toEqual(Array.from({ length: 1000 }, (_, index) => index % 256));
  expect(transaction.isUnderWay).toBe(false);
});

test('without a completion it is over when it is in the ring', async () => {
  const { client, server, settle } = await twoEnds();
  const { log, completed } = logging();

  client.transaction(completed).send(eight(1), false);

  expect(log).toEqual([[STATUS_SUCCESS, null]]);
  await settle();
  expect(server.statistics.packetsReceived).toBe(1);
});

test('pages go by number, as a window of an MDL, and as ranges', async () => {
  const seen: number[][] = [];
  const { client, guest, settle } = await twoEnds({
    offer: {
      onPacket: (packet) => {
        seen.push([...(packet.tryExternalData()?.toBytes() ?? [])].slice(0, 3));
        packet.complete();
      },
    },
  });
  const { log, completed } = logging();
  const pfns = guest.pages.allocate(3);
  pfns.forEach((pfn, index) => {
    guest.memory.page(pfn).fill(index);
  });
  const transaction = client.transaction(completed);

  transaction.sendPfns(eight(), pfns.slice(1), 1);
  await settle();
  transaction.sendMdl(eight(), Mdl.fromPfns(guest.memory, pfns), 4095, 3);
  await settle();
  transaction.sendRanges(eight(), [{ byteCount: 2, byteOffset: 0, pfns: [pfns[2] as number] }]);
  await settle();

  expect(seen).toEqual([
    [1, 1, 1],
    [0, 1, 1],
    [2, 2],
  ]);
  expect(log).toEqual(new Array(3).fill([STATUS_SUCCESS, []]));
});

test('while it is under way it can neither be sent nor, once in the ring, be taken back', async () => {
  const { client, settle } = await twoEnds();
  const { log, completed } = logging();
  const transaction = client.transaction(completed);
  transaction.send(eight(1));

  expect(() => transaction.send(eight(2))).toThrow(expect.objectContaining({ name: 'UsageError', code: 'ERR_STATE' }));
  expect(transaction.cancel()).toBe(false);

  await settle();
  expect([transaction.isUnderWay, log]).toEqual([true, []]);
});

test('cancel takes back what waits for its turn', async () => {
  const { client, server, scheduler, settle } = await twoEnds();
  await settled(scheduler, client.pause());
  const { log, completed } = logging();
  const transaction = client.transaction(completed);
  transaction.send(eight(1));

  expect(transaction.cancel()).toBe(true);
  client.resume();
  await settle();

  expect(log).toEqual([[STATUS_CANCELLED, null]]);
  expect(server.statistics.packetsReceived).toBe(0);
});

test.each(['client', 'server'] as const)(
  'the end of the channel by the %s completes what is under way',
  async (end) => {
    const ends = await twoEnds();
    const { log, completed } = logging();
    ends.client.transaction(completed).send(eight(1));
    await ends.settle();

    await settled(ends.scheduler, ends[end].close());
    await ends.settle();

    expect(log).toEqual([[end === 'client' ? STATUS_CANCELLED : STATUS_DEVICE_REMOVED, null]]);
  },
);

test('a host has transactions of bytes', async () => {
  const { server, settle } = await twoEnds({ open: { onPacket: (packet) => packet.complete(eight(4)) } });
  const { log, completed } = logging();

  server.transaction(completed).send(eight(1));
  await settle();

  expect(log).toEqual([[STATUS_SUCCESS, [...eight(4)]]]);
});

test('what is refused leaves the transaction idle', async () => {
  const { client, scheduler } = await twoEnds();
  const { log, completed } = logging();
  const transaction = client.transaction(completed);

  for (const send of [
    () => transaction.send(new Uint8Array(4097)),
    () => transaction.sendPfns(eight(), []),
    () => transaction.sendPfns(eight(), [1], 2),
    () => transaction.sendRanges(eight(), []),
  ]) {
    expect(send).toThrow(expect.objectContaining({ name: 'UsageError' }));
  }

  expect([transaction.isUnderWay, log]).toEqual([false, []]);
  transaction.send(eight(1));
  await settled(scheduler, client.close());
  expect(log).toEqual([[STATUS_CANCELLED, null]]);
});
