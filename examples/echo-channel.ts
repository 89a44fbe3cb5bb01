/** An echo device with external data: it turns the bytes of the guest's pages round, in place, one packet at a time. */
import { Bus, type HostChannel, VmbusError } from 'vmbus';
import { PAGE_BYTES } from 'vmbus/memory';
import { createLoopback } from 'vmbus/transports/loopback';

const INTERFACE = '8d1f6a52-3c90-4e7b-b5a8-64c27e0f9d13';
const INSTANCE = '2e4b7c18-95d3-4f60-8a71-c03e5d9f2b46';
const PAGES = 4;
const loopback = createLoopback();

/** The device: serves one guest after the other, until its offer is taken back. */
async function serve(channel: HostChannel): Promise<void> {
  while (await channel.opened()) {
    for await (using packet of channel) {
      try {
        const data = await packet.externalData();
        data.write(0, data.toBytes().reverse());
        packet.complete(packet.bytes); // The payload comes back as it is.
      } catch (error) {
        if (!(error instanceof VmbusError)) throw error;
        console.log(`host: ${error.code}`); // The end of the block completes the packet without bytes.
      }
    }
    console.log(`host: the guest is gone (${channel.lastEnd?.reason})`);
  }
}

await using host = Bus.host(loopback.host);
const device = host.offer({ interfaceId: INTERFACE, instanceId: INSTANCE, maxExternalBytes: PAGES * PAGE_BYTES });
const served = serve(device);

{
  await using guest = await Bus.guest(loopback.guest);
  const offer = await guest.findOffer({ interfaceId: INTERFACE });
  await using channel = await offer.open({ maxExternalBytes: PAGES * PAGE_BYTES });
  const pfns = guest.pages.allocateScattered(PAGES);
  guest.memory.page(pfns[0] as number).set(new TextEncoder().encode('!dlrow olleh'));

  const [echo, nothing] = await Promise.all([
    channel.request(Uint8Array.of(1, 2, 3, 4, 5, 6, 7, 8), { pfns }),
    channel.request(Uint8Array.of(9)), // Without pages.
  ]);

  const tail = guest.memory.page(pfns[PAGES - 1] as number).subarray(-12);
  console.log(`guest: ${echo.join(' ')}, ${new TextDecoder().decode(tail)}, then ${nothing.length} bytes`);
}
await device.close();
await served;
