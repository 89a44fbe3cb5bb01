/** The same exchange as in hello-kmcl.ts through `Channel`: a guest sends a page by number, a host writes into it. */
import { Bus } from 'vmbus';
import { createLoopback } from 'vmbus/transports/loopback';

const INTERFACE = '5b8e2f60-7a4d-4c1e-9f3b-2d6a8c0e1f37';
const INSTANCE = '0c9d8e7f-6a5b-4c3d-8e1f-0a2b3c4d5e6f';
const loopback = createLoopback();

// The host: offer a channel, and answer each packet.
await using host = Bus.host(loopback.host);
host.offer({
  interfaceId: INTERFACE,
  instanceId: INSTANCE,
  maxExternalBytes: 4096,
  onPacket: (packet) => {
    const page = packet.tryExternalData();
    if (page === undefined) return; // The page is not there yet: the packet comes again.
    const greeting = `hello, ${new TextDecoder().decode(packet.bytes.subarray(0, 5))}`;
    page.write(0, new TextEncoder().encode(greeting));
    packet.complete(Uint8Array.of(greeting.length));
  },
});

// The guest: find the channel, name a page, wait for the completion.
await using guest = await Bus.guest(loopback.guest);
const offer = await guest.findOffer({ interfaceId: INTERFACE, instanceId: INSTANCE });
await using channel = await offer.open({ maxExternalBytes: 4096 });

const pfns = guest.pages.allocate(1);
const request = channel.request(new TextEncoder().encode('guest'), { pfns, timeoutMs: 5000 });
try {
  const completion = await request;
  const text = new TextDecoder().decode(guest.memory.page(pfns[0] as number).slice(0, completion[0]));
  console.log(`completed: ${text}`);
} finally {
  // Whatever became of the answer: from here on the page is ours again.
  await request.released;
  guest.pages.free(pfns);
}
