/**
 * The function tables that a query hands out: member order as documented.
 *
 * Source: WDK `vmbuskernelmodeclientlibapi.h`, `KMCL_CLIENT_INTERFACE_V1` and `KMCL_SERVER_ONLY_METHODS` pages. The members
 * of V2 to V5 are listed there by name; their order is that of the list.
 */
import * as bounce from './functions/bounce-buffers.ts';
import * as channel from './functions/channel.ts';
import * as init from './functions/channel-init.ts';
import * as memory from './functions/channel-memory.ts';
import * as tuning from './functions/channel-tuning.ts';
import * as devices from './functions/devices.ts';
import * as gpadl from './functions/gpadl.ts';
import * as incoming from './functions/incoming.ts';
import * as packets from './functions/packets.ts';
import * as run from './functions/run-control.ts';
import * as saveRestore from './functions/save-restore.ts';
import * as send from './functions/send.ts';
import * as server from './functions/server-init.ts';
import * as sub from './functions/sub-channels.ts';
import * as synchronous from './functions/sync-request.ts';

/** The 41 members of `KMCL_CLIENT_INTERFACE_V1` behind its header, in order. */
export const clientMethodsV1 = {
  VmbChannelAllocate: channel.VmbChannelAllocate,
  VmbChannelCleanup: channel.VmbChannelCleanup,
  VmbChannelCreateGpadlFromBuffer: gpadl.VmbChannelCreateGpadlFromBuffer,
  VmbChannelCreateGpadlFromMdl: gpadl.VmbChannelCreateGpadlFromMdl,
  VmbChannelDeleteGpadl: gpadl.VmbChannelDeleteGpadl,
  VmbChannelDisable: run.VmbChannelDisable,
  VmbChannelEnable: run.VmbChannelEnable,
  VmbChannelGetInterfaceInstance: channel.VmbChannelGetInterfaceInstance,
  VmbChannelGetMmioSpace: channel.VmbChannelGetMmioSpace,
  VmbChannelGetPointer: channel.VmbChannelGetPointer,
  VmbChannelInitSetClientContextSize: init.VmbChannelInitSetClientContextSize,
  VmbChannelInitSetFlags: init.VmbChannelInitSetFlags,
  VmbChannelInitSetFriendlyName: init.VmbChannelInitSetFriendlyName,
  VmbChannelInitSetMaximumExternalData: init.VmbChannelInitSetMaximumExternalData,
  VmbChannelInitSetMaximumPacketSize: init.VmbChannelInitSetMaximumPacketSize,
  VmbChannelInitSetProcessPacketCallbacks: init.VmbChannelInitSetProcessPacketCallbacks,
  VmbChannelInitSetStateChangeCallbacks: init.VmbChannelInitSetStateChangeCallbacks,
  VmbChannelPacketComplete: incoming.VmbChannelPacketComplete,
  VmbChannelPacketDeferToPassive: incoming.VmbChannelPacketDeferToPassive,
  VmbChannelPacketFail: incoming.VmbChannelPacketFail,
  VmbChannelPacketGetExternalData: incoming.VmbChannelPacketGetExternalData,
  VmbChannelPause: run.VmbChannelPause,
  VmbChannelSendSynchronousRequest: synchronous.VmbChannelSendSynchronousRequest,
  VmbChannelSetIncomingProcessingAtPassive: channel.VmbChannelSetIncomingProcessingAtPassive,
  VmbChannelSetInterruptLatency: channel.VmbChannelSetInterruptLatency,
  VmbChannelSetPointer: channel.VmbChannelSetPointer,
  VmbChannelSetTransactionQuota: channel.VmbChannelSetTransactionQuota,
  VmbChannelSizeofPacket: channel.VmbChannelSizeofPacket,
  VmbChannelStart: run.VmbChannelStart,
  VmbClientChannelInitSetRingBufferPageCount: init.VmbClientChannelInitSetRingBufferPageCount,
  VmbClientChannelInitSetTargetPnp: init.VmbClientChannelInitSetTargetPnp,
  VmbPacketAllocate: packets.VmbPacketAllocate,
  VmbPacketFree: packets.VmbPacketFree,
  VmbPacketGetChannel: packets.VmbPacketGetChannel,
  VmbPacketGetPointer: packets.VmbPacketGetPointer,
  VmbPacketInitialize: packets.VmbPacketInitialize,
  VmbPacketSend: send.VmbPacketSend,
  VmbPacketSendWithExternalMdl: send.VmbPacketSendWithExternalMdl,
  VmbPacketSendWithExternalPfns: send.VmbPacketSendWithExternalPfns,
  VmbPacketSetCompletionRoutine: packets.VmbPacketSetCompletionRoutine,
  VmbPacketSetPointer: packets.VmbPacketSetPointer,
} as const;

/** V1 and three more. */
export const clientMethodsV2 = {
  ...clientMethodsV1,
  VmbChannelPacketGetClientContext: incoming.VmbChannelPacketGetClientContext,
  VmbChannelGetTargetDeviceObject: devices.VmbChannelGetTargetDeviceObject,
  VmbChannelGetParentDeviceObject: devices.VmbChannelGetParentDeviceObject,
} as const;

/** V2 and two more. */
export const clientMethodsV3 = {
  ...clientMethodsV2,
  VmbChannelInitSetBounceBufferSizes: bounce.VmbChannelInitSetBounceBufferSizes,
  VmbChannelAllocateBounceBuffer: bounce.VmbChannelAllocateBounceBuffer,
} as const;

/** V3 and two more. */
export const clientMethodsV4 = {
  ...clientMethodsV3,
  VmbChannelInitSetMaximumPacketCount: tuning.VmbChannelInitSetMaximumPacketCount,
  VmbChannelCreateGpadlFromPfnList: gpadl.VmbChannelCreateGpadlFromPfnList,
} as const;

/** V4 and nine more. */
export const clientMethodsV5 = {
  ...clientMethodsV4,
  VmbChannelInitSetPrimaryChannel: sub.VmbChannelInitSetPrimaryChannel,
  VmbChannelInitialize: memory.VmbChannelInitialize,
  VmbChannelSetAllowableDpcCpuUsage: tuning.VmbChannelSetAllowableDpcCpuUsage,
  VmbClientChannelInitSetTargetProcessorIndex: tuning.VmbClientChannelInitSetTargetProcessorIndex,
  VmbSizeofChannel: memory.VmbSizeofChannel,
  VmbChannelInitSetInlinePacketContextSize: tuning.VmbChannelInitSetInlinePacketContextSize,
  VmbPacketGetInlinePacketContextPointer: packets.VmbPacketGetInlinePacketContextPointer,
  VmbChannelInitSetProcessPacketCallbacksEx: tuning.VmbChannelInitSetProcessPacketCallbacksEx,
  VmbPacketSetCompletionRoutineEx: packets.VmbPacketSetCompletionRoutineEx,
} as const;

/** The 14 members of `KMCL_SERVER_ONLY_METHODS`, in order. */
export const serverOnlyMethods = {
  VmbChannelMapGpadl: gpadl.VmbChannelMapGpadl,
  VmbChannelRestoreFromBuffer: saveRestore.VmbChannelRestoreFromBuffer,
  VmbChannelSaveBegin: saveRestore.VmbChannelSaveBegin,
  VmbChannelSaveContinue: saveRestore.VmbChannelSaveContinue,
  VmbChannelSaveEnd: saveRestore.VmbChannelSaveEnd,
  VmbChannelUnmapGpadl: gpadl.VmbChannelUnmapGpadl,
  VmbConvertVmbusHandleToKernelHandle: server.VmbConvertVmbusHandleToKernelHandle,
  VmbPacketRestore: saveRestore.VmbPacketRestore,
  VmbServerChannelInitSetFlags: server.VmbServerChannelInitSetFlags,
  VmbServerChannelInitSetMmioMegabytes: server.VmbServerChannelInitSetMmioMegabytes,
  VmbServerChannelInitSetSaveRestorePacketCallbacks: server.VmbServerChannelInitSetSaveRestorePacketCallbacks,
  VmbServerChannelInitSetTargetInterfaceId: server.VmbServerChannelInitSetTargetInterfaceId,
  VmbServerChannelInitSetTargetVtl: server.VmbServerChannelInitSetTargetVtl,
  VmbServerChannelInitSetVmbusHandle: server.VmbServerChannelInitSetVmbusHandle,
} as const;

/** The 14 and, behind them, the one that V5 adds: its place is not public. */
export const serverOnlyMethodsV5 = {
  ...serverOnlyMethods,
  VmbServerChannelInitSetSaveRestorePacketCallbacksEx: server.VmbServerChannelInitSetSaveRestorePacketCallbacksEx,
} as const;

export type KmclClientMethodsV1 = typeof clientMethodsV1;
export type KmclServerOnlyMethods = typeof serverOnlyMethods;

/** Windows' `INTERFACE`: the header of every table. */
export interface KmclInterfaceHeader {
  /** Bytes of the C structure. */
  readonly Size: number;
  readonly Version: number;
  /** The exporter's own; opaque. */
  readonly Context: unknown;
  /** One more user of this table. */
  readonly InterfaceReference: (context: unknown) => void;
  /** One less; after the last the table must not be used. */
  readonly InterfaceDereference: (context: unknown) => void;
}

export type KmclClientInterfaceV1 = KmclInterfaceHeader & KmclClientMethodsV1;
export type KmclClientInterfaceV2 = KmclInterfaceHeader & typeof clientMethodsV2;
export type KmclClientInterfaceV3 = KmclInterfaceHeader & typeof clientMethodsV3;
export type KmclClientInterfaceV4 = KmclInterfaceHeader & typeof clientMethodsV4;
export type KmclClientInterfaceV5 = KmclInterfaceHeader & typeof clientMethodsV5;
export type KmclServerInterfaceV1 = KmclClientInterfaceV1 & KmclServerOnlyMethods;
export type KmclServerInterfaceV5 = KmclClientInterfaceV5 & typeof serverOnlyMethodsV5;
