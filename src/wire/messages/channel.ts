/** Opening, closing and steering channels, the reserved ones among them. */
import { bytes, u16, u32 } from '../struct.ts';
import { MessageType, message } from './message.ts';
import { USER_DEFINED_BYTES } from './offer.ts';

/** A target VP that means: never interrupt the guest for this channel. Source: OpenVMM `vmbus_core` `protocol.rs`, `VP_INDEX_DISABLE_INTERRUPT`. */
export const VP_INDEX_DISABLE_INTERRUPT = 0xffff_ffff;

/** Source: Linux `include/linux/hyperv.h`, `struct vmbus_channel_open_channel`. */
export const OpenChannel = message('OpenChannel', MessageType.OpenChannel, 148, {
  channelId: u32(8),
  openId: u32(12), // opaque, echoed in the result
  ringGpadlId: u32(16),
  targetVp: u32(20), // VP to interrupt; counts from 2.4
  downstreamPageOffset: u32(24), // 4 KiB pages from the start of the GPADL to the host-to-guest ring
  userData: bytes(28, USER_DEFINED_BYTES), // for the device
});

/** 6.0 with GuestSpecifiedSignalParameters or ChannelInterruptRedirection. Source: OpenVMM `vmbus_core` `protocol.rs`, `OpenChannel2`. */
export const OpenChannel2 = message('OpenChannel2', MessageType.OpenChannel, 156, {
  channelId: u32(8),
  openId: u32(12),
  ringGpadlId: u32(16),
  targetVp: u32(20),
  downstreamPageOffset: u32(24),
  userData: bytes(28, USER_DEFINED_BYTES),
  connectionId: u32(148), // what the guest will signal; with GuestSpecifiedSignalParameters
  eventFlag: u16(152), // what the host shall raise; with GuestSpecifiedSignalParameters
  openFlags: u16(154), // OpenFlag bits; with ChannelInterruptRedirection
});

/** Source: OpenVMM `vmbus_core` `protocol.rs`, `OpenChannelFlags`. */
export const OpenFlag = { RedirectInterrupt: 1 } as const;

/** Source: Linux `include/linux/hyperv.h`, `struct vmbus_channel_open_result`. */
export const OpenChannelResult = message('OpenChannelResult', MessageType.OpenChannelResult, 20, {
  channelId: u32(8),
  openId: u32(12),
  status: u32(16), // NTSTATUS
});

/** Has no reply. Source: Linux `include/linux/hyperv.h`, `struct vmbus_channel_close_channel`. */
export const CloseChannel = message('CloseChannel', MessageType.CloseChannel, 12, {
  channelId: u32(8),
});

/** Source: Linux `include/linux/hyperv.h`, `struct vmbus_channel_modifychannel`. */
export const ModifyChannel = message('ModifyChannel', MessageType.ModifyChannel, 16, {
  channelId: u32(8),
  targetVp: u32(12),
});

/** Source: Linux `include/linux/hyperv.h`, `struct vmbus_channel_modifychannel_response`. */
export const ModifyChannelResponse = message('ModifyChannelResponse', MessageType.ModifyChannelResponse, 16, {
  channelId: u32(8),
  status: u32(12), // NTSTATUS
});

/** Source: OpenVMM `vmbus_core` `protocol.rs`, `OpenReservedChannel`. */
export const OpenReservedChannel = message('OpenReservedChannel', MessageType.OpenReservedChannel, 28, {
  channelId: u32(8),
  targetVp: u32(12), // for the replies, as is the SINT
  targetSint: u32(16),
  ringGpadlId: u32(20),
  downstreamPageOffset: u32(24),
});

/** Source: OpenVMM `vmbus_core` `protocol.rs`, `CloseReservedChannel`. */
export const CloseReservedChannel = message('CloseReservedChannel', MessageType.CloseReservedChannel, 20, {
  channelId: u32(8),
  targetVp: u32(12),
  targetSint: u32(16),
});

/** Source: OpenVMM `vmbus_core` `protocol.rs`, `CloseReservedChannelResponse`. */
export const CloseReservedResponse = message('CloseReservedResponse', MessageType.CloseReservedResponse, 12, {
  channelId: u32(8),
});
