/** Flags of an offer, and what lies in its user-defined area when the flags say so. */
import { bytes, guid, pad, struct, u8, u32 } from './struct.ts';

/**
 * `OfferChannel.flags`.
 *
 * Source: Linux `include/linux/hyperv.h`, `VMBUS_CHANNEL_…`; 0x2, 0x4 and 0x8 in their newer meaning: OpenVMM
 * `vmbus_core` `protocol.rs`, `OfferFlags` (Linux 6.12 still names 0x2 and 0x4 after transfer pages and GPADLs).
 */
export const OfferFlag = {
  EnumerateDeviceInterface: 0x0001,
  /** Sent only when feature ConfidentialChannels is agreed, as is the next. */
  ConfidentialRingBuffer: 0x0002,
  ConfidentialExternalMemory: 0x0004,
  /** Sent only when feature GpaPinning is agreed. */
  RequirePinnedExternalMemory: 0x0008,
  /** Payloads begin with a `PipeHeader`, the user-defined area with a pipe type. */
  NamedPipeMode: 0x0010,
  LoopbackOffer: 0x0100,
  ParentOffer: 0x0200,
  RequestMonitoredNotification: 0x0400,
  /** hvsock. */
  TlnpiProvider: 0x2000,
} as const;
export type OfferFlag = (typeof OfferFlag)[keyof typeof OfferFlag];

/** The names of the set bits, joined by ` | `; unknown bits as hex; `none` for 0. */
export function formatOfferFlags(flags: number): string {
  const names = Object.entries(OfferFlag).filter(([, bit]) => (flags & bit) !== 0);
  const unknown = names.reduce((rest, [, bit]) => rest & ~bit, flags);
  const parts = names.map(([name]) => name);
  if (unknown !== 0) parts.push(`0x${unknown.toString(16)}`);
  return parts.length === 0 ? 'none' : parts.join(' | ');
}

/** Source: Linux `include/linux/hyperv.h`, `VMBUS_PIPE_TYPE_BYTE` and `VMBUS_PIPE_TYPE_MESSAGE`. */
export const PipeType = {
  /** A stream: packet borders mean nothing. */
  Byte: 0,
  /** One packet is one message. */
  Message: 4,
} as const;
export type PipeType = (typeof PipeType)[keyof typeof PipeType];

/** Bit 0 of `PipeOfferData.pipeFlags`: the pipe takes GPA-direct packets. Source: OpenVMM `vmbus_core` `protocol.rs`. */
export const PIPE_FLAG_GPA_DIRECT = 1;

/**
 * User-defined area of an offer in pipe mode.
 *
 * Source: Linux `include/linux/hyperv.h`, `struct vmbus_channel_offer` (`u.pipe`); the flags: OpenVMM `vmbus_core`
 * `protocol.rs`, `PipeUserDefinedParameters`.
 */
export const PipeOfferData = struct('PipeOfferData', 120, {
  pipeType: u32(0, { names: PipeType }),
  providerData: bytes(4, 112),
  pipeFlags: u32(116), // PIPE_FLAG_GPA_DIRECT
});

/** `version` of `HvsockOfferData`. Source: OpenVMM `vmbus_core` `protocol.rs`, `HvsockParametersVersion`. */
export const HvsockVersion = { BeforeRs5: 0, Rs5: 1 } as const;

/**
 * User-defined area of an hvsock offer; packed.
 *
 * Source: OpenVMM `vmbus_core` `protocol.rs`, `HvsockUserDefinedParameters`; the byte at 4: Linux
 * `net/vmw_vsock/hyperv_transport.c`.
 */
export const HvsockOfferData = struct('HvsockOfferData', 120, {
  pipeType: u32(0, { names: PipeType }), // Byte
  isFromHost: u8(4), // 1: the host connects to a listener in the guest
  isForGuestContainer: u8(5),
  version: u32(6, { unaligned: true, names: HvsockVersion }),
  siloId: guid(10, { unaligned: true }),
  reserved: pad(26, 94),
});
