/** A driver pair through KMCL: a client sends a page of its memory by number, a server writes into it and completes. */
import { GuestVmbus, HostVmbus } from 'vmbus/channel';
import * as kmcl from 'vmbus/kmcl';
import { createLoopback } from 'vmbus/transports/loopback';

const INTERFACE = '5b8e2f60-7a4d-4c1e-9f3b-2d6a8c0e1f37';
const INSTANCE = '0c9d8e7f-6a5b-4c3d-8e1f-0a2b3c4d5e6f';
const loopback = createLoopback();

// The host: offer a channel, and answer each packet.
const host = kmcl.createDeviceObject({ vmbus: new HostVmbus(loopback.host) });
const server = kmcl.out<kmcl.VmbServerChannel>();
kmcl.VmbChannelAllocate(host, true, server);
kmcl.VmbServerChannelInitSetTargetInterfaceId(server.value, INTERFACE, INSTANCE);
kmcl.VmbChannelInitSetMaximumExternalData(server.value, 4096, 1);
kmcl.VmbChannelInitSetProcessPacketCallbacks(
  server.value,
  (_channel, packet, buffer) => {
    const mdl = kmcl.out<kmcl.Mdl>();
    const status = kmcl.VmbChannelPacketGetExternalData(packet, 0, mdl);
    if (status !== kmcl.STATUS_SUCCESS) return kmcl.VmbChannelPacketFail(packet);
    const greeting = `hello, ${new TextDecoder().decode(buffer.subarray(0, 5))}`;
    kmcl.MmGetSystemAddressForMdlSafe(mdl.value).write(0, new TextEncoder().encode(greeting));
    kmcl.VmbChannelPacketComplete(packet, Uint8Array.of(greeting.length), 1);
  },
  null,
);
kmcl.VmbChannelEnable(server.value);
kmcl.VmbChannelStart(server.value);

// The guest: find the channel, name a page, own the transaction until its completion comes back.
const vmbus = new GuestVmbus(loopback.guest);
await vmbus.connect();
const client = kmcl.out<kmcl.VmbClientChannel>();
kmcl.VmbChannelAllocate(kmcl.createDeviceObject({ vmbus }), false, client);
kmcl.VmbChannelInitSetMaximumExternalData(client.value, 4096, 1);
kmcl.VmbClientChannelInitSetTargetPnp(client.value, INTERFACE, INSTANCE, null);
kmcl.VmbChannelEnable(client.value);

const pfns = vmbus.pages.allocate(1);
const packet = kmcl.VmbPacketAllocate(client.value) as kmcl.VmbPacket;
const done = new Promise<void>((resolve) => {
  kmcl.VmbPacketSetCompletionRoutine(packet, (_packet, status, completion) => {
    const text = new TextDecoder().decode(vmbus.memory.page(pfns[0] as number).slice(0, completion?.[0]));
    console.log(`${kmcl.ntStatusName(status)}: ${text}`);
    kmcl.VmbPacketFree(packet);
    resolve();
  });
});
const command = new TextEncoder().encode('guest');
const flags = kmcl.VMBUS_CHANNEL_FORMAT_FLAG_WAIT_FOR_COMPLETION;
kmcl.VmbPacketSendWithExternalPfns(packet, command, command.length, pfns, pfns.length, flags);
await done;
await kmcl.VmbChannelDisable(client.value);
