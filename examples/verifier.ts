/** A server that completes a packet twice: once in ProcessPacket, once from its time-out. The verifier tells both. */
import { GuestVmbus, HostVmbus } from 'vmbus/channel';
import * as kmcl from 'vmbus/kmcl';
import { createLoopback } from 'vmbus/transports/loopback';
import { formatFinding } from 'vmbus/verifier';

const INTERFACE = '2f0c7f0b-6f8e-4f58-9f27-6c1c5e2d7a10';
const INSTANCE = '7d4e1a92-3b5c-4d6e-8f70-91a2b3c4d5e6';
const loopback = createLoopback();
const vmbus = new HostVmbus(loopback.host, { verifier: true });

const pending: kmcl.VmbPacketCompletion[] = [];
function answer(packet: kmcl.VmbPacketCompletion): void {
  kmcl.VmbChannelPacketComplete(packet, null, 0);
}
function onTimeOut(): void {
  // The bug: `answer` did not take the packet off the list.
  for (const packet of pending) kmcl.VmbChannelPacketComplete(packet, null, 0);
}

const server = kmcl.out<kmcl.VmbServerChannel>();
kmcl.VmbChannelAllocate(kmcl.createDeviceObject({ vmbus }), true, server);
kmcl.VmbServerChannelInitSetTargetInterfaceId(server.value, INTERFACE, INSTANCE);
kmcl.VmbChannelInitSetProcessPacketCallbacks(
  server.value,
  (_channel, packet) => {
    pending.push(packet);
    answer(packet);
  },
  null,
);
kmcl.VmbChannelEnable(server.value);
kmcl.VmbChannelStart(server.value);

const guest = new GuestVmbus(loopback.guest);
await guest.connect();
const client = kmcl.out<kmcl.VmbClientChannel>();
kmcl.VmbChannelAllocate(kmcl.createDeviceObject({ vmbus: guest }), false, client);
kmcl.VmbClientChannelInitSetTargetPnp(client.value, INTERFACE, INSTANCE, null);
kmcl.VmbChannelEnable(client.value);
const { VMBUS_CHANNEL_FORMAT_FLAG_WAIT_FOR_COMPLETION: WAIT } = kmcl;
await kmcl.VmbChannelSendSynchronousRequest(client.value, Uint8Array.of(1), 1, null, WAIT, null, null, null);

try {
  onTimeOut();
} catch (error) {
  console.log(`thrown: ${(error as kmcl.BugCheck).rule}`);
}
for (const finding of vmbus.verifier?.findings ?? []) {
  console.log(finding.history.map(({ what }) => what).join(', '));
  console.log(`first in ${finding.firstSite?.split(' ')[0]}, then in ${finding.secondSite?.split(' ')[0]}`);
  if (process.argv.includes('--all')) console.log(formatFinding(finding));
}
await kmcl.VmbChannelDisable(client.value);
