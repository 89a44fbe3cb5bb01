/** Offers, their end, and the release of channel ids. */
import { bytes, guid, pad, u8, u16, u32 } from '../struct.ts';
import { MessageType, message } from './message.ts';

/** Bytes of the user-defined area of an offer, and of the user data of an open. */
export const USER_DEFINED_BYTES = 120;

/**
 * Source: Linux `include/linux/hyperv.h`, `struct vmbus_channel_offer_channel`; optional MMIO at 182: OpenVMM
 * `vmbus_core` `protocol.rs`, `OfferChannel` (reserved elsewhere).
 */
export const OfferChannel = message('OfferChannel', MessageType.OfferChannel, 196, {
  interfaceId: guid(8),
  instanceId: guid(24),
  reserved: pad(40, 16), // DPDK names a latency, a revision and a context size here
  flags: u16(56), // OfferFlag bits
  mmioMegabytes: u16(58),
  userDefined: bytes(60, USER_DEFINED_BYTES),
  subchannelIndex: u16(180), // 0 is the primary; counts from 2.4
  mmioMegabytesOptional: u16(182),
  channelId: u32(184),
  monitorId: u8(188), // 255 without
  monitorAllocated: u8(189), // bit 0
  dedicatedInterrupt: u16(190), // bit 0
  connectionId: u32(192), // where the guest signals this channel; opaque to it
});

/** Source: Linux `include/linux/hyperv.h`, `struct vmbus_channel_rescind_offer`. */
export const RescindChannelOffer = message('RescindChannelOffer', MessageType.RescindChannelOffer, 12, {
  channelId: u32(8),
});

/** Source: Linux `drivers/hv/channel_mgmt.c`, `vmbus_request_offers`. */
export const RequestOffers = message('RequestOffers', MessageType.RequestOffers, 8, {});

/** Source: Linux `drivers/hv/channel_mgmt.c`, `vmbus_onoffers_delivered`. */
export const AllOffersDelivered = message('AllOffersDelivered', MessageType.AllOffersDelivered, 8, {});

/** The guest has no use for the id any more. Source: Linux `include/linux/hyperv.h`, `struct vmbus_channel_relid_released`. */
export const RelIdReleased = message('RelIdReleased', MessageType.RelIdReleased, 12, {
  channelId: u32(8),
});
