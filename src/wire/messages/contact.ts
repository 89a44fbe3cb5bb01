/**
 * Making and ending contact, negotiating the version, pausing.
 *
 * Forms: a `…Legacy` struct is what versions below 5.0 speak; a number behind the name counts the longer forms of 6.0.
 */
import { guid, pad, u8, u32, u64 } from '../struct.ts';
import { MessageType, message } from './message.ts';

/** How the connection fares, in VersionResponse (from 2.4) and ModifyConnectionResponse. Source: OpenVMM `vmbus_core` `protocol.rs`. */
export const ConnectionState = { Successful: 0, FailedLowResources: 1, FailedUnknownFailure: 2 } as const;
export type ConnectionState = (typeof ConnectionState)[keyof typeof ConnectionState];

/** The interrupt that carries VMBus. Source: Linux `include/asm-generic/hyperv-tlfs.h`, `VMBUS_MESSAGE_SINT`. */
export const VMBUS_SINT = 2;

/** Below 5.0. Source: Linux `include/linux/hyperv.h`, `struct vmbus_channel_initiate_contact`. */
export const InitiateContactLegacy = message('InitiateContactLegacy', MessageType.InitiateContact, 40, {
  version: u32(8),
  targetVp: u32(12), // for messages; counts from 3.0
  interruptPageGpa: u64(16), // byte address, used below 2.4 only
  parentToChildMonitorGpa: u64(24), // byte address; both monitor pages or none
  childToParentMonitorGpa: u64(32),
});

/** 5.0 to 5.3, and 6.0 without client id. Source: OpenVMM `vmbus_core` `protocol.rs`, `InitiateContact`, `TargetInfo`. */
export const InitiateContact = message('InitiateContact', MessageType.InitiateContact, 40, {
  version: u32(8),
  targetVp: u32(12),
  targetSint: u8(16),
  targetVtl: u8(17), // counts from 5.1
  reserved: pad(18, 2),
  features: u32(20), // requested FeatureFlag bits, 0 below 6.0
  parentToChildMonitorGpa: u64(24),
  childToParentMonitorGpa: u64(32),
});

/** 6.0 with feature ClientId. Source: OpenVMM `vmbus_core` `protocol.rs`, `InitiateContact2`. */
export const InitiateContact2 = message('InitiateContact2', MessageType.InitiateContact, 56, {
  version: u32(8),
  targetVp: u32(12),
  targetSint: u8(16),
  targetVtl: u8(17),
  reserved: pad(18, 2),
  features: u32(20),
  parentToChildMonitorGpa: u64(24),
  childToParentMonitorGpa: u64(32),
  clientId: guid(40),
});

/** The least that a guest below 5.0 needs. Source: Linux `struct vmbus_channel_version_response` without its union. */
export const VersionResponseShort = message('VersionResponseShort', MessageType.VersionResponse, 9, {
  versionSupported: u8(8), // 0 or 1
});

/** Below 5.0. Source: OpenVMM `vmbus_core` `protocol.rs`, `VersionResponse`. */
export const VersionResponseLegacy = message('VersionResponseLegacy', MessageType.VersionResponse, 16, {
  versionSupported: u8(8),
  connectionState: u8(9, { names: ConnectionState }), // from 2.4
  reserved: pad(10, 2),
  selectedVersion: u32(12),
});

/** From 5.0. Source: Linux `include/linux/hyperv.h`, `struct vmbus_channel_version_response`. */
export const VersionResponse = message('VersionResponse', MessageType.VersionResponse, 16, {
  versionSupported: u8(8),
  connectionState: u8(9, { names: ConnectionState }),
  reserved: pad(10, 2),
  messageConnectionId: u32(12), // where the guest posts all later messages
});

/** 6.0. Source: OpenVMM `vmbus_core` `protocol.rs`, `VersionResponse2`. */
export const VersionResponse2 = message('VersionResponse2', MessageType.VersionResponse, 20, {
  versionSupported: u8(8),
  connectionState: u8(9, { names: ConnectionState }),
  reserved: pad(10, 2),
  messageConnectionId: u32(12),
  features: u32(16), // requested and supported
});

/** 6.0 with feature ServerSpecifiedMonitorPages. Source: OpenVMM `vmbus_core` `protocol.rs`, `VersionResponse3`. */
export const VersionResponse3 = message('VersionResponse3', MessageType.VersionResponse, 40, {
  versionSupported: u8(8),
  connectionState: u8(9, { names: ConnectionState }),
  reserved: pad(10, 2),
  messageConnectionId: u32(12),
  features: u32(16),
  reserved2: pad(20, 4),
  parentToChildMonitorGpa: u64(24), // may be 0
  childToParentMonitorGpa: u64(32),
});

/** Source: Linux `drivers/hv/connection.c`, `vmbus_disconnect`. */
export const Unload = message('Unload', MessageType.Unload, 8, {});

/** Source: Linux `drivers/hv/channel_mgmt.c`, `vmbus_unload_response`. */
export const UnloadComplete = message('UnloadComplete', MessageType.UnloadComplete, 8, {});

/** Changes the monitor pages of a running connection. Source: OpenVMM `vmbus_core` `protocol.rs`, `ModifyConnection`. */
export const ModifyConnection = message('ModifyConnection', MessageType.ModifyConnection, 24, {
  parentToChildMonitorGpa: u64(8), // both or none
  childToParentMonitorGpa: u64(16),
});

/** Source: OpenVMM `vmbus_core` `protocol.rs`, `ModifyConnectionResponse`. */
export const ModifyConnectionResponse = message('ModifyConnectionResponse', MessageType.ModifyConnectionResponse, 9, {
  connectionState: u8(8, { names: ConnectionState }),
});

/** Source: OpenVMM `vmbus_core` `protocol.rs`, `Pause`. */
export const Pause = message('Pause', MessageType.Pause, 8, {});

/** Source: OpenVMM `vmbus_core` `protocol.rs`, `PauseResponse`. */
export const PauseResponse = message('PauseResponse', MessageType.PauseResponse, 8, {});

/** Has no reply. Source: OpenVMM `vmbus_core` `protocol.rs`, `Resume`. */
export const Resume = message('Resume', MessageType.Resume, 8, {});
