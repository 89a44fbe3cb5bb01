/** A driver with save and restore: its channel moves to another host with a request under way; the guest only waits. */
import { Bus } from 'vmbus';
import { HostVmbus } from 'vmbus/channel';
import * as kmcl from 'vmbus/kmcl';
import { createLoopback } from 'vmbus/transports/loopback';

const DEVICE = 'd3a4c1f2-5e60-4b7a-9c8d-1f2e3d4c5b6a'; // Its type and its instance.
const loopback = createLoopback();
let answered = (): void => {};

/** The driver's channel on one of the hosts. Of a request it saves its number, which is one byte. */
function makeServer(name: string, vmbus: HostVmbus, saved?: Uint8Array): kmcl.VmbServerChannel {
  const server = kmcl.out<kmcl.VmbServerChannel>();
  kmcl.VmbChannelAllocate(kmcl.createDeviceObject({ vmbus, name }), true, server);
  kmcl.VmbServerChannelInitSetTargetInterfaceId(server.value, DEVICE, DEVICE);
  kmcl.VmbServerChannelInitSetSaveRestorePacketCallbacks(
    server.value,
    (_channel, packet, own, _size, bytesNeeded) => {
      bytesNeeded.value = 1;
      own?.fill(kmcl.VmbPacketGetPointer(packet) as number);
      return own === null ? kmcl.STATUS_BUFFER_TOO_SMALL : kmcl.STATUS_SUCCESS;
    },
    (channel, library, size, own) => kmcl.VmbPacketRestore(makeRequest(channel, own?.[0] ?? 0), library, size),
  );
  if (saved !== undefined) kmcl.VmbChannelRestoreFromBuffer(server.value, saved, saved.length);
  kmcl.VmbChannelEnable(server.value);
  kmcl.VmbChannelStart(server.value);
  return server.value;
}

function makeRequest(server: kmcl.VmbChannel, number: number): kmcl.VmbPacket {
  const packet = kmcl.VmbPacketAllocate(server) as kmcl.VmbPacket;
  kmcl.VmbPacketSetPointer(packet, number);
  kmcl.VmbPacketSetCompletionRoutine(packet, (_packet, _status, answer) => {
    console.log(`${kmcl.VmbChannelGetParentDeviceObject(server).name}: answer ${answer?.[0]} to request ${number}`);
    kmcl.VmbPacketFree(packet);
    answered();
  });
  return packet;
}

const oldHost = new HostVmbus(loopback.host);
const oldServer = makeServer('old host', oldHost);
await using guest = await Bus.guest(loopback.guest);
await using channel = await (await guest.findOffer({ interfaceId: DEVICE })).open();
kmcl.VmbPacketSend(makeRequest(oldServer, 42), null, 0, null, kmcl.VMBUS_CHANNEL_FORMAT_FLAG_WAIT_FOR_COMPLETION);
const { value: request } = await channel[Symbol.asyncIterator]().next();
await kmcl.VmbChannelPause(oldServer);
const [saved, filled] = [new Uint8Array(4096), kmcl.out<number>()];
kmcl.VmbChannelSaveBegin(oldServer);
kmcl.VmbChannelSaveContinue(oldServer, saved, saved.length, filled, kmcl.out());
kmcl.VmbChannelSaveEnd(oldServer);
request?.complete(Uint8Array.of(7)); // While no host looks.
const newHost = new HostVmbus(loopback.host);
newHost.restore(oldHost.save());
oldHost.leave();
makeServer('new host', newHost, saved.subarray(0, filled.value));
await new Promise<void>((resolve) => {
  answered = resolve;
});
