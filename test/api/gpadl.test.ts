import { expect, test } from 'vitest';
import type { Gpadl, GuestChannel } from '../../src/api/index.ts';
import { Mdl, PAGE_BYTES } from '../../src/memory/index.ts';
import { eight, openFirst, settled, someOffer, twoBuses, twoEnds, watch } from './two-ends.ts';

test.each(['pages by number', 'an MDL', 'a view into guest memory', 'ranges'])(
  'a GPADL of %s shows the host exactly those bytes',
  async (source) => {
    const { client, server, guest, scheduler } = await twoEnds();
    const pfns = guest.pages.allocate(2);
    const first = pfns[0] as number;
    const bytes = guest.memory.bytes(first * PAGE_BYTES, 2 * PAGE_BYTES);
    bytes.forEach((_, index) => {
      bytes[index] = index % 251;
    });
    const shared = {
      'pages by number': { pages: { pfns }, start: 0, end: 2 * PAGE_BYTES },
      'an MDL': {
        pages: { mdl: Mdl.fromPfns(guest.memory, pfns, 100), mdlOffset: 50, mdlBytes: 5000 },
        start: 150,
        end: 5150,
      },
      'a view into guest memory': { pages: { bytes: bytes.subarray(4000, 4200) }, start: 4000, end: 4200 },
      ranges: { pages: { ranges: [{ byteCount: 10, byteOffset: 3, pfns: [first] }] }, start: 3, end: 13 },
    }[source];
    if (shared === undefined) throw new Error(source);

    const gpadl = await settled(scheduler, client.createGpadl(shared.pages));
    using mapped = server.mapGpadl(gpadl.id);

    expect(mapped.view.toBytes()).toEqual(bytes.slice(shared.start, shared.end));
    mapped.view.write(0, Uint8Array.of(0xee));
    expect(bytes[shared.start]).toBe(0xee);
  },
);

test('delete waits until the host has unmapped; the view ends there', async () => {
  const { client, server, guest, scheduler, settle } = await twoEnds();
  const gpadl = await settled(scheduler, client.createGpadl({ pfns: guest.pages.allocate(2) }));
  const mapped = server.mapGpadl(gpadl.id);
  const deleted = watch(gpadl.delete());
  await settle();
  expect([deleted.state, gpadl.isDeleted]).toEqual(['pending', true]);

  mapped.unmap();
  mapped.unmap();
  await settle();

  expect(deleted.state).toBe('resolved');
  expect(mapped.isMapped).toBe(false);
  expect(() => mapped.view.toBytes()).toThrow(expect.objectContaining({ code: 'ERR_STATE' }));
  await gpadl.delete();
});

test('a GPADL is mapped once at a time, and only while it exists', async () => {
  const { client, server, guest, scheduler } = await twoEnds();
  const gpadl = await settled(scheduler, client.createGpadl({ pfns: guest.pages.allocate(1) }));
  const mapped = server.mapGpadl(gpadl.id);

  expect(() => server.mapGpadl(gpadl.id)).toThrow(expect.objectContaining({ code: 'ERR_STATE' }));
  mapped.unmap();
  server.mapGpadl(gpadl.id).unmap();
  await settled(scheduler, gpadl.delete());
  expect(() => server.mapGpadl(gpadl.id)).toThrow(expect.objectContaining({ code: 'ERR_ARGUMENT' }));
});

test('what is shared for reading cannot be mapped for writing', async () => {
  const { client, server, guest, scheduler } = await twoEnds();
  const pages = { pfns: guest.pages.allocate(1) };
  const gpadl = await settled(scheduler, client.createGpadl(pages, { isReadOnly: true }));

  expect(() => server.mapGpadl(gpadl.id)).toThrow(expect.objectContaining({ code: 'ERR_ARGUMENT' }));
  expect(server.mapGpadl(gpadl.id, { isReadOnly: true }).view.byteLength).toBe(PAGE_BYTES);
});

test('the end of the channel deletes and unmaps what was left, though the host had it mapped', async () => {
  const { client, server, guest, scheduler, settle } = await twoEnds();
  const { freePages } = guest.pages;
  const pfns = guest.pages.allocate(1);
  const gpadl = await settled(scheduler, client.createGpadl({ pfns }));
  const mapped = server.mapGpadl(gpadl.id);

  await settled(scheduler, client.close());
  await settle();

  expect([gpadl.isDeleted, mapped.isMapped]).toEqual([true, false]);
  expect(() => mapped.view.toBytes()).toThrow(expect.objectContaining({ code: 'ERR_STATE' }));
  expect(guest.vmbus.bus.inspect().gpadlCount).toBe(0);
  guest.pages.free(pfns);
  expect(guest.pages.freePages).toBeGreaterThan(freePages);
});

test('GPADLs can be made in onOpened and deleted in onClosed', async () => {
  const { host, guest, scheduler, settle } = await twoBuses();
  someOffer(host);
  await settle();
  const gpadls: Gpadl[] = [];
  const client = await settled(
    scheduler,
    openFirst(guest, {
      onOpened: async (channel: GuestChannel) => {
        gpadls.push(await channel.createGpadl({ pfns: guest.pages.allocate(1) }));
      },
      onClosed: async () => {
        await gpadls[0]?.delete();
      },
    }),
  );
  expect(client.isOpen).toBe(true);

  await settled(scheduler, client.close());

  expect(gpadls[0]?.isDeleted).toBe(true);
});

test('an abort gives up the wait for the host, and what it confirms later is deleted', async () => {
  const { client, guest, settle } = await twoEnds();
  const before = guest.vmbus.bus.inspect().gpadlCount;
  const abort = new AbortController();
  const gpadl = watch(client.createGpadl({ pfns: guest.pages.allocate(1) }, { signal: abort.signal }));

  abort.abort(new Error('enough'));
  await settle();

  expect(gpadl.error).toEqual(new Error('enough'));
  expect(guest.vmbus.bus.inspect().gpadlCount).toBe(before);
});

test.each([
  { name: 'no page', pages: { pfns: [] } },
  { name: 'a number that is no page frame number', pages: { pfns: [-1] } },
  { name: 'more pages than a GPADL can name', pages: { pfns: new Array(8191).fill(1) } },
  { name: 'memory that is not the guest’s', pages: { bytes: new Uint8Array(8) } },
])('$name cannot be shared', async ({ pages }) => {
  const { client, scheduler } = await twoEnds();

  const gpadl = client.createGpadl(pages);

  await expect(settled(scheduler, gpadl)).rejects.toMatchObject({ name: 'UsageError', code: 'ERR_ARGUMENT' });
});

test('pages outside memory are refused by the host', async () => {
  const { client, scheduler } = await twoEnds();

  const gpadl = client.createGpadl({ pfns: [2 ** 40] });

  await expect(settled(scheduler, gpadl)).rejects.toMatchObject({ name: 'PeerError', code: 'ERR_REFUSED' });
});

test('a GPADL that the host confirms while the channel ends is deleted, and its maker told', async () => {
  const { client, guest, settle } = await twoEnds();
  const gpadl = watch(client.createGpadl({ pfns: guest.pages.allocate(1) }));

  const closed = watch(client.close());
  await settle();

  expect(gpadl.error).toMatchObject({ code: 'ERR_CLOSED' });
  expect(closed.state).toBe('resolved');
  expect(guest.vmbus.bus.inspect().gpadlCount).toBe(0);
});

test('a closed channel shares nothing', async () => {
  const { client, server, guest, scheduler } = await twoEnds();
  await settled(scheduler, client.close());

  await expect(client.createGpadl({ pfns: guest.pages.allocate(1) })).rejects.toMatchObject({ code: 'ERR_CLOSED' });
  expect(() => server.mapGpadl(1)).toThrow(expect.objectContaining({ code: 'ERR_STATE' }));
  expect(() => client.send(eight())).toThrow(expect.objectContaining({ code: 'ERR_CLOSED' }));
});
