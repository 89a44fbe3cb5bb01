/**
 * Protocol versions and the feature flags of version 6.0.
 *
 * Source: Linux `include/linux/hyperv.h` (`VERSION_WS2008` and following); OpenVMM `vmbus_core` `protocol.rs`
 * (`Version`, `FeatureFlags`).
 */

/** A version is `major << 16 | minor`; peers compare it whole. */
export const VmbusVersion = {
  /** 0.13, Windows Server 2008: one interrupt page shared by all channels. */
  WS2008: 0x0000_000d,
  /** 1.1, Windows 7: a connection of its own for each channel's signals to the host. */
  WIN7: 0x0001_0001,
  /** 2.4, Windows 8: target VP per channel, event flags towards the guest, sub-channels. */
  WIN8: 0x0002_0004,
  /** 3.0, Windows 8.1: unload and reconnect; the target VP of InitiateContact counts. */
  WIN8_1: 0x0003_0000,
  /** 4.0, Windows 10: hvsock, reserved channels. */
  WIN10: 0x0004_0000,
  /** 4.1, Windows 10 RS3: ModifyChannel without acknowledgement, TlConnectResult. */
  WIN10_RS3_0: 0x0004_0001,
  /** 5.0, Windows 10 RS3: message connection named by VersionResponse, target SINT. */
  V5_0: 0x0005_0000,
  /** 5.1, Windows 10 RS4: target VTL. */
  V5_1: 0x0005_0001,
  /** 5.2, Windows 10 RS5: silo id in TlConnectRequest. */
  V5_2: 0x0005_0002,
  /** 5.3, Windows Server 2022: ModifyChannelResponse. */
  IRON: 0x0005_0003,
  /** 6.0: feature flags, longer forms of three messages, types 25 to 29. */
  COPPER: 0x0006_0000,
} as const;
export type VmbusVersion = (typeof VmbusVersion)[keyof typeof VmbusVersion];

/** Every version we speak, newest first: the order in which a guest asks. */
export const ALL_VERSIONS: readonly VmbusVersion[] = Object.values(VmbusVersion).sort((a, b) => b - a);

/** Bits of InitiateContact and VersionResponse; 0 below 6.0. The result is requested AND supported. */
export const FeatureFlag = {
  /** OpenChannel names the connection id and event flag for the channel's signals. */
  GuestSpecifiedSignalParameters: 0x01,
  /** OpenChannel's open flags count (interrupt redirected to the redirected VTL). */
  ChannelInterruptRedirection: 0x02,
  /** ModifyConnection changes the monitor pages of a running connection. */
  ModifyConnection: 0x04,
  /** InitiateContact carries a client id. */
  ClientId: 0x08,
  /** Offers may say that rings and external memory are confidential. */
  ConfidentialChannels: 0x10,
  PauseResume: 0x20,
  /** VersionResponse names monitor pages that the host supplies. */
  ServerSpecifiedMonitorPages: 0x40,
  /** Offers may ask for pinned external memory. */
  GpaPinning: 0x80,
} as const;
export type FeatureFlag = (typeof FeatureFlag)[keyof typeof FeatureFlag];

/** `5.3` for 0x00050003. */
export function formatVersion(version: number): string {
  return `${version >>> 16}.${version & 0xffff}`;
}

/** True for the versions of `ALL_VERSIONS`, and for no other: 5.4 is not "about 5.3". */
export function isKnownVersion(version: number): version is VmbusVersion {
  return ALL_VERSIONS.some((known) => known === version);
}

/** The names of the set bits, joined by ` | `; unknown bits as hex; `none` for 0. */
export function formatFeatures(features: number): string {
  const names = Object.entries(FeatureFlag).filter(([, bit]) => (features & bit) !== 0);
  const unknown = names.reduce((rest, [, bit]) => rest & ~bit, features) >>> 0;
  const parts = names.map(([name]) => name);
  if (unknown !== 0) parts.push(`0x${unknown.toString(16)}`);
  return parts.length === 0 ? 'none' : parts.join(' | ');
}
