/** KMCL: the Windows functions under their Windows names. */
export { Mdl, ScatterView } from '../memory/index.ts';
export * from '../wire/ntstatus.ts';
export * from './callbacks.ts';
export * from './constants.ts';
export { VmbChannelAllocateBounceBuffer, VmbChannelInitSetBounceBufferSizes } from './functions/bounce-buffers.ts';
export {
  endpointOf,
  VmbChannelAllocate,
  VmbChannelCleanup,
  VmbChannelGetInterfaceInstance,
  VmbChannelGetMmioSpace,
  VmbChannelGetPointer,
  VmbChannelSetIncomingProcessingAtPassive,
  VmbChannelSetInterruptLatency,
  VmbChannelSetPointer,
  VmbChannelSetTransactionQuota,
  VmbChannelSizeofPacket,
} from './functions/channel.ts';
export {
  VmbChannelInitSetClientContextSize,
  VmbChannelInitSetFlags,
  VmbChannelInitSetFriendlyName,
  VmbChannelInitSetMaximumExternalData,
  VmbChannelInitSetMaximumPacketSize,
  VmbChannelInitSetProcessPacketCallbacks,
  VmbChannelInitSetStateChangeCallbacks,
  VmbClientChannelInitSetRingBufferPageCount,
  VmbClientChannelInitSetTargetPnp,
} from './functions/channel-init.ts';
export * from './functions/channel-memory.ts';
export * from './functions/channel-tuning.ts';
export * from './functions/devices.ts';
export * from './functions/gpadl.ts';
export * from './functions/incoming.ts';
export * from './functions/mdl.ts';
export * from './functions/packets.ts';
export * from './functions/run-control.ts';
export * from './functions/save-restore.ts';
export * from './functions/send.ts';
export * from './functions/server-init.ts';
export * from './functions/sub-channels.ts';
export * from './functions/sync-request.ts';
export type {
  KmclClientInterfaceV1,
  KmclClientInterfaceV2,
  KmclClientInterfaceV3,
  KmclClientInterfaceV4,
  KmclClientInterfaceV5,
  KmclClientMethodsV1,
  KmclInterfaceHeader,
  KmclServerInterfaceV1,
  KmclServerInterfaceV5,
  KmclServerOnlyMethods,
} from './interface-tables.ts';
export { BugCheck } from './objects/bug-check.ts';
export { createDeviceObject, type DeviceObject, type DeviceObjectOptions } from './objects/device-object.ts';
export type {
  VmbChannel,
  VmbClientChannel,
  VmbPacket,
  VmbPacketCompletion,
  VmbServerChannel,
} from './objects/handles.ts';
export {
  closeVmbusHandle,
  openVmbusHandle,
  type VmbusKernelHandle,
  type VmbusUserHandle,
} from './objects/vmbus-handle.ts';
export * from './out.ts';
export { queryInterface } from './query-interface.ts';
