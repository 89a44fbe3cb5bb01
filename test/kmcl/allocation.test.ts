import { expect, test } from 'vitest';
import {
  createDeviceObject,
  endpointOf,
  out,
  STATUS_INVALID_PARAMETER_1,
  STATUS_SUCCESS,
  VmbChannelAllocate,
  VmbChannelCleanup,
  VmbChannelDisable,
  VmbChannelEnable,
  VmbChannelGetPointer,
  VmbChannelInitSetMaximumPacketSize,
  VmbChannelInitSetStateChangeCallbacks,
  VmbChannelPacketComplete,
  VmbChannelStart,
  type VmbClientChannel,
  VmbPacketAllocate,
  VmbPacketSend,
  type VmbServerChannel,
  VmbServerChannelInitSetFlags,
  VmbServerChannelInitSetTargetInterfaceId,
} from '../../src/kmcl/index.ts';
import { connectedBuses, INSTANCE_ID, INTERFACE_ID, logged, someServer, twoEndpoints } from './two-endpoints.ts';

const device = createDeviceObject();

function allocateClient(): VmbClientChannel {
  const channel = out<VmbClientChannel>();
  VmbChannelAllocate(device, false, channel);
  return channel.value;
}

test('K-016 VmbChannelAllocate succeeds and stores a handle', () => {
  const channel = out<VmbClientChannel>();

  expect(VmbChannelAllocate(device, false, channel)).toBe(STATUS_SUCCESS);
  expect(channel.value).toBeTruthy();
});

test('K-017 a fresh channel is Disabled', () => {
  expect(endpointOf(allocateClient()).stage).toBe('disabled');
});

test('K-018 VmbChannelAllocate at DISPATCH is a bug check', async () => {
  let thrown: unknown;
  const { client, settle, packet } = await twoEndpoints({
    onServerPacket: (_channel, incoming) => {
      try {
        VmbChannelAllocate(device, false, out<VmbClientChannel>());
      } catch (error) {
        thrown = error;
      }
      VmbChannelPacketComplete(incoming, null, 0);
    },
  });

  expect(VmbPacketSend(packet(), null, 0, null, 1)).toBe(STATUS_SUCCESS);
  await settle();

  expect(thrown).toMatchObject({ code: 'ERR_BUG_CHECK', rule: 'K-018' });
  expect(endpointOf(client).stage).toBe('active');
});

test('K-019 channels open with nothing set but their target, and the default callbacks answer', async () => {
  const { scheduler, guest, hostDevice } = await connectedBuses();
  const server = someServer(hostDevice);
  const client = out<VmbClientChannel>();
  VmbChannelAllocate(createDeviceObject({ vmbus: guest, interfaceId: INTERFACE_ID }), false, client);

  expect(VmbChannelEnable(server)).toBe(STATUS_SUCCESS);
  VmbChannelStart(server);
  expect(VmbChannelEnable(client.value)).toBe(STATUS_SUCCESS);
  await scheduler.settle();
  const packet = VmbPacketAllocate(client.value);
  if (packet !== null) VmbPacketSend(packet, null, 0, null, 1);
  await scheduler.settle();

  expect(endpointOf(client.value).stage).toBe('active');
  expect(endpointOf(client.value).statistics.completionsReceived).toBe(1);
});

test('K-020 isServer decides the kind of endpoint for good', () => {
  const server = out<VmbServerChannel>();
  VmbChannelAllocate(device, true, server);
  const client = allocateClient() as unknown as VmbServerChannel;

  expect(VmbServerChannelInitSetFlags(server.value, 0)).toBe(STATUS_SUCCESS);
  expect(VmbServerChannelInitSetFlags(client, 0)).toBe(STATUS_INVALID_PARAMETER_1);
  expect(endpointOf(server.value).role).toBe('host');
});

test('K-021 a handle is dead after VmbChannelCleanup', () => {
  const channel = allocateClient();

  VmbChannelCleanup(channel);

  expect(VmbChannelInitSetMaximumPacketSize(channel, 100)).toBe(STATUS_INVALID_PARAMETER_1);
  expect(VmbPacketAllocate(channel)).toBeNull();
  expect(() => VmbChannelGetPointer(channel)).toThrow(expect.objectContaining({ rule: 'K-021' }));
  expect(() => VmbChannelCleanup(channel)).toThrow(expect.objectContaining({ rule: 'K-021' }));
});

test('K-022 VmbChannelCleanup on an enabled channel is a bug check', async () => {
  const { client, settle } = await twoEndpoints();

  expect(() => VmbChannelCleanup(client)).toThrow(expect.objectContaining({ rule: 'K-022' }));

  const disabled = VmbChannelDisable(client);
  await settle();
  await disabled;
  VmbChannelCleanup(client);
});

test('K-023 VmbChannelCleanup fires no callback', () => {
  const log: string[] = [];
  const channel = allocateClient();
  VmbChannelInitSetStateChangeCallbacks(channel, logged('client', log));

  VmbChannelCleanup(channel);

  expect(log).toEqual([]);
});

test('K-024 a failed allocation stores no handle', () => {
  const channel = out<VmbServerChannel>();

  expect(VmbChannelAllocate(null as never, true, channel)).toBe(STATUS_INVALID_PARAMETER_1);
  expect(channel.isEmpty).toBe(true);
  expect(() => channel.value).toThrow(expect.objectContaining({ code: 'ERR_STATE' }));
});

test('a handle that is none is refused by the InitSet functions', () => {
  expect(VmbServerChannelInitSetTargetInterfaceId({} as never, INTERFACE_ID, INSTANCE_ID)).toBe(
    STATUS_INVALID_PARAMETER_1,
  );
});
