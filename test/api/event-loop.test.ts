/** The same over the event loop of the process, with its own timers: nothing here moves by hand. */
import { expect, test } from 'vitest';
import { Bus, type GuestChannel, type HostChannel } from '../../src/api/index.ts';
import { createLoopback } from '../../src/transports/loopback/index.ts';
import { eight, openFirst, someOffer } from './two-ends.ts';

async function serve(server: HostChannel): Promise<number> {
  let cycles = 0;
  for (; await server.opened(); cycles++) {
    for await (using packet of server) {
      if (packet.hasExternalData) {
        const data = await packet.externalData();
        data.write(0, data.toBytes().reverse());
      }
      if (packet.wantsCompletion) packet.complete(packet.bytes);
    }
  }
  return cycles;
}

test('a guest talks to an async server, comes back, and everything is given back', async () => {
  const loopback = createLoopback();
  const host = Bus.host(loopback.host);
  const server = someOffer(host);
  const served = serve(server);
  const guest = await Bus.guest(loopback.guest);
  const { freePages } = guest.pages;

  for (let cycle = 0; cycle < 3; cycle++) {
    await using client = await openFirst(guest);
    const pfns = guest.pages.allocate(1);
    const page = guest.memory.page(pfns[0] as number);
    page.fill(0);
    page[0] = cycle + 1;
    const replies = await Promise.all(
      Array.from({ length: 50 }, (_, number) => client.request(eight(number), number === 7 ? { pfns } : {})),
    );
    expect(replies.map((reply) => reply[0])).toEqual(Array.from({ length: 50 }, (_, number) => number));
    expect(page.at(-1)).toBe(cycle + 1);
    guest.pages.free(pfns);
  }
  expect(guest.pages.freePages).toBe(freePages);
  await guest.disconnect();
  await host.close();

  expect(await served).toBe(3);
});

test('a timer of the process ends a request that nobody answers, and AbortSignal.timeout another', async () => {
  const loopback = createLoopback();
  await using host = Bus.host(loopback.host);
  const server = someOffer(host);
  await using guest = await Bus.guest(loopback.guest);
  const client: GuestChannel = await openFirst(guest);

  const timed = client.request(eight(1), { timeoutMs: 1 });
  await expect(timed).rejects.toMatchObject({ code: 'ERR_TIMEOUT' });
  const aborted = client.request(eight(2), { signal: AbortSignal.timeout(1) });
  await expect(aborted).rejects.toMatchObject({ name: 'TimeoutError' });

  let answered = 0;
  for await (using packet of server) {
    expect(packet.wantsCompletion).toBe(true);
    if (++answered === 2) break;
  }
  await Promise.all([timed.released, aborted.released]);
  expect(client.isOpen).toBe(true);
});
