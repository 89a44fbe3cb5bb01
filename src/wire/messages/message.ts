/**
 * Control messages: their numbers, the header they share, and how one is declared. `table.ts` says who may send which
 * when, and how long it is then.
 *
 * Source: Linux `include/linux/hyperv.h`, `enum vmbus_channel_message_type`; names and 25 to 29: OpenVMM `vmbus_core`
 * `protocol.rs`.
 */
import type { Field, Layout, Struct } from '../struct.ts';
import { pad, struct, tag, u32 } from '../struct.ts';

export const MessageType = {
  OfferChannel: 1,
  RescindChannelOffer: 2,
  RequestOffers: 3,
  AllOffersDelivered: 4,
  OpenChannel: 5,
  OpenChannelResult: 6,
  CloseChannel: 7,
  GpadlHeader: 8,
  GpadlBody: 9,
  GpadlCreated: 10,
  GpadlTeardown: 11,
  GpadlTorndown: 12,
  RelIdReleased: 13,
  InitiateContact: 14,
  VersionResponse: 15,
  Unload: 16,
  UnloadComplete: 17,
  OpenReservedChannel: 18,
  CloseReservedChannel: 19,
  CloseReservedResponse: 20,
  TlConnectRequest: 21,
  ModifyChannel: 22,
  TlConnectResult: 23,
  ModifyChannelResponse: 24,
  ModifyConnection: 25,
  ModifyConnectionResponse: 26,
  Pause: 27,
  PauseResponse: 28,
  Resume: 29,
} as const;
export type MessageType = (typeof MessageType)[keyof typeof MessageType];

/** Largest control message, bytes: the payload of a SynIC message slot. */
export const MAX_MESSAGE_BYTES = 240;

/** Begins every message. Source: Linux `include/linux/hyperv.h`, `struct vmbus_channel_message_header`. */
export const MessageHeader = struct('MessageHeader', 8, {
  messageType: u32(0, { names: MessageType }),
  headerReserved: pad(4, 4),
});

export type MessageLayout<L extends Layout> = {
  readonly messageType: Field<'tag'>;
  readonly headerReserved: Field<'pad'>;
} & L;

/**
 * Declares a message: a struct that begins with the header and always says its own type.
 * @param size bytes, header included; offsets in `body` count from the start of the header
 */
export function message<const L extends Layout>(
  name: string,
  type: MessageType,
  size: number,
  body: L,
): Struct<MessageLayout<L>> {
  const header = { messageType: tag(0, type, { names: MessageType }), headerReserved: pad(4, 4) };
  return struct(name, size, { ...header, ...body });
}
