/** Control messages as plain objects, for expectations: the name, then the fields. */
import { PeerError } from '../../src/errors.ts';
import * as messages from '../../src/wire/messages/index.ts';

export interface ReadMessage {
  readonly name: keyof typeof messages.MessageType;
  readonly [field: string]: unknown;
}

interface Parser {
  readonly size: number;
  parse(bytes: Uint8Array): object;
}

/** Longest form first: the first that fits the bytes is read. */
const parsers: Readonly<Record<keyof typeof messages.MessageType, readonly Parser[]>> = {
  OfferChannel: [messages.OfferChannel],
  RescindChannelOffer: [messages.RescindChannelOffer],
  RequestOffers: [messages.RequestOffers],
  AllOffersDelivered: [messages.AllOffersDelivered],
  OpenChannel: [messages.OpenChannel2, messages.OpenChannel],
  OpenChannelResult: [messages.OpenChannelResult],
  CloseChannel: [messages.CloseChannel],
  GpadlHeader: [messages.GpadlHeader],
  GpadlBody: [messages.GpadlBody],
  GpadlCreated: [messages.GpadlCreated],
  GpadlTeardown: [messages.GpadlTeardown],
  GpadlTorndown: [messages.GpadlTorndown],
  RelIdReleased: [messages.RelIdReleased],
  InitiateContact: [messages.InitiateContact2, messages.InitiateContact],
  VersionResponse: [messages.VersionResponse3, messages.VersionResponse2, messages.VersionResponse],
  Unload: [messages.Unload],
  UnloadComplete: [messages.UnloadComplete],
  OpenReservedChannel: [messages.OpenReservedChannel],
  CloseReservedChannel: [messages.CloseReservedChannel],
  CloseReservedResponse: [messages.CloseReservedResponse],
  TlConnectRequest: [messages.TlConnectRequest2, messages.TlConnectRequest],
  ModifyChannel: [messages.ModifyChannel],
  TlConnectResult: [messages.TlConnectResult],
  ModifyChannelResponse: [messages.ModifyChannelResponse],
  ModifyConnection: [messages.ModifyConnection],
  ModifyConnectionResponse: [messages.ModifyConnectionResponse],
  Pause: [messages.Pause],
  PauseResponse: [messages.PauseResponse],
  Resume: [messages.Resume],
};

export function readMessage(bytes: Uint8Array): ReadMessage {
  const type = messages.MessageHeader.parse(bytes).messageType;
  const name = messages.findMessage(type)?.name;
  const parser = name && parsers[name].find(({ size }) => size <= bytes.length);
  if (name === undefined || parser === undefined) {
    throw new PeerError('ERR_MESSAGE', `type ${type} with ${bytes.length} bytes is no message`);
  }
  return { name, ...parser.parse(bytes) };
}
