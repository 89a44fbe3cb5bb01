/**
 * The table of all control messages: who sends each, from which version on, under which feature, and in which form.
 *
 * Parsing, size checks and printing follow from it. Source: Linux `drivers/hv/channel_mgmt.c`,
 * `channel_message_table`; OpenVMM `vmbus_core` `protocol.rs`, `vmbus_messages!` (minimum versions and features).
 */
import { assert, PeerError } from '../../errors.ts';
import type { AnyStruct } from '../struct.ts';
import { FeatureFlag, formatVersion, VmbusVersion } from '../versions.ts';
import * as channel from './channel.ts';
import * as contact from './contact.ts';
import * as gpadl from './gpadl.ts';
import * as hvsock from './hvsock.ts';
import { MAX_MESSAGE_BYTES, MessageHeader, MessageType } from './message.ts';
import * as offer from './offer.ts';

export type Direction = 'guest-to-host' | 'host-to-guest';

/** A version below all others: such a message is taken before a version is agreed. */
export const ANY_VERSION = 0;
/** A version above all others: the shorter form stays good. */
const NEVER = 0xffff_ffff;

/** One layout of a message. */
export interface MessageForm {
  readonly struct: AnyStruct;
  /** Sent from this version on… */
  readonly minVersion: number;
  /** …if any of these feature bits is agreed; 0: no feature needed. */
  readonly anyFeature: number;
  /** From this version on (with the feature) a receiver refuses a shorter message. */
  readonly mandatoryFrom: number;
}

export interface MessageInfo {
  readonly type: MessageType;
  readonly name: keyof typeof MessageType;
  readonly direction: Direction;
  /** First version that may carry it; `ANY_VERSION` also before contact. */
  readonly minVersion: number;
  /** Feature bit that must be agreed; 0: none. */
  readonly feature: number;
  /** Range data follows the struct. */
  readonly hasData: boolean;
  /** Oldest first; the last that applies is the one to send. */
  readonly forms: readonly MessageForm[];
}

type Row = readonly [
  name: keyof typeof MessageType,
  direction: Direction,
  minVersion: number,
  feature: number,
  forms: readonly MessageForm[],
  hasData?: 'data',
];

/** The only form, or the one that every receiver insists on. */
const form = (struct: AnyStruct): MessageForm => ({ struct, minVersion: 0, anyFeature: 0, mandatoryFrom: 0 });
/** A form used from `minVersion` on; a shorter one is refused from `mandatoryFrom` on. */
const later = (struct: AnyStruct, minVersion: number, mandatoryFrom: number, anyFeature = 0): MessageForm => ({
  struct,
  minVersion,
  anyFeature,
  mandatoryFrom,
});

const G = 'guest-to-host';
const H = 'host-to-guest';
const { WS2008, WIN7, WIN10, WIN10_RS3_0, V5_0, V5_2, IRON, COPPER } = VmbusVersion;
const SIGNAL_OR_REDIRECTION = FeatureFlag.GuestSpecifiedSignalParameters | FeatureFlag.ChannelInterruptRedirection;

// biome-ignore format: one row per message reads as the table that it is
const rows: readonly Row[] = [
  ['OfferChannel',             H, WS2008,      0, [form(offer.OfferChannel)]],
  ['RescindChannelOffer',      H, WS2008,      0, [form(offer.RescindChannelOffer)]],
  ['RequestOffers',            G, WS2008,      0, [form(offer.RequestOffers)]],
  ['AllOffersDelivered',       H, WS2008,      0, [form(offer.AllOffersDelivered)]],
  ['OpenChannel',              G, WS2008,      0, [
    form(channel.OpenChannel),
    later(channel.OpenChannel2, COPPER, COPPER, SIGNAL_OR_REDIRECTION),
  ]],
  ['OpenChannelResult',        H, WS2008,      0, [form(channel.OpenChannelResult)]],
  ['CloseChannel',             G, WS2008,      0, [form(channel.CloseChannel)]],
  ['GpadlHeader',              G, WS2008,      0, [form(gpadl.GpadlHeader)], 'data'],
  ['GpadlBody',                G, WS2008,      0, [form(gpadl.GpadlBody)], 'data'],
  ['GpadlCreated',             H, WS2008,      0, [form(gpadl.GpadlCreated)]],
  ['GpadlTeardown',            G, WS2008,      0, [form(gpadl.GpadlTeardown)]],
  ['GpadlTorndown',            H, WS2008,      0, [form(gpadl.GpadlTorndown)]],
  ['RelIdReleased',            G, WS2008,      0, [form(offer.RelIdReleased)]],
  // Version and features here are those that the message itself asks for: nothing is agreed yet.
  ['InitiateContact',          G, ANY_VERSION, 0, [
    form(contact.InitiateContactLegacy),
    later(contact.InitiateContact, V5_0, V5_0),
    later(contact.InitiateContact2, COPPER, COPPER, FeatureFlag.ClientId),
  ]],
  // A host that refuses 6.0 answers with 16 bytes, so no longer form is ever mandatory.
  ['VersionResponse',          H, ANY_VERSION, 0, [
    form(contact.VersionResponseShort),
    later(contact.VersionResponseLegacy, 0, V5_0),
    later(contact.VersionResponse, V5_0, V5_0),
    later(contact.VersionResponse2, COPPER, NEVER),
    later(contact.VersionResponse3, COPPER, NEVER, FeatureFlag.ServerSpecifiedMonitorPages),
  ]],
  ['Unload',                   G, WS2008,      0, [form(contact.Unload)]],
  ['UnloadComplete',           H, WIN7,        0, [form(contact.UnloadComplete)]],
  ['OpenReservedChannel',      G, WIN10,       0, [form(channel.OpenReservedChannel)]],
  ['CloseReservedChannel',     G, ANY_VERSION, 0, [form(channel.CloseReservedChannel)]],
  ['CloseReservedResponse',    H, WIN10,       0, [form(channel.CloseReservedResponse)]],
  ['TlConnectRequest',         G, WIN10,       0, [
    form(hvsock.TlConnectRequest),
    later(hvsock.TlConnectRequest2, V5_2, NEVER),
  ]],
  ['ModifyChannel',            G, WIN10_RS3_0, 0, [form(channel.ModifyChannel)]],
  ['TlConnectResult',          H, WIN10_RS3_0, 0, [form(hvsock.TlConnectResult)]],
  ['ModifyChannelResponse',    H, IRON,        0, [form(channel.ModifyChannelResponse)]],
  ['ModifyConnection',         G, COPPER,      FeatureFlag.ModifyConnection, [form(contact.ModifyConnection)]],
  ['ModifyConnectionResponse', H, COPPER,      FeatureFlag.ModifyConnection, [form(contact.ModifyConnectionResponse)]],
  ['Pause',                    G, COPPER,      FeatureFlag.PauseResume, [form(contact.Pause)]],
  ['PauseResponse',            H, COPPER,      FeatureFlag.PauseResume, [form(contact.PauseResponse)]],
  ['Resume',                   G, COPPER,      FeatureFlag.PauseResume, [form(contact.Resume)]],
];

/** Every message, by number. */
export const MESSAGES: readonly MessageInfo[] = rows.map(
  ([name, direction, minVersion, feature, forms, hasData]): MessageInfo => ({
    type: MessageType[name],
    name,
    direction,
    minVersion,
    feature,
    hasData: hasData !== undefined,
    forms,
  }),
);

const byType = new Map<number, MessageInfo>(MESSAGES.map((info) => [info.type, info]));

/** The row of a message type; undefined for a number that no message has. */
export function findMessage(type: number): MessageInfo | undefined {
  return byType.get(type);
}

/** Whether a connection of this version and these features may carry the message. */
export function isMessageAllowed(info: MessageInfo, version: number, features: number): boolean {
  return version >= info.minVersion && (info.feature === 0 || (features & info.feature) !== 0);
}

/**
 * Bytes of the message as we send it, range data not counted.
 * @param version version of the connection; for InitiateContact the one asked for
 * @param features as the version
 */
export function messageSize(type: MessageType, version: number, features: number): number {
  return sentForm(infoOf(type), version, features).struct.size;
}

/** Bytes that the message must have at least when it comes in. */
export function minMessageSize(type: MessageType, version: number, features: number): number {
  const info = infoOf(type);
  const mandatory = info.forms.filter((f) => version >= f.mandatoryFrom && hasFeature(f, features));
  return Math.max(...mandatory.map((f) => f.struct.size));
}

/**
 * The first look at a message that came in.
 * @param direction the direction in which it came
 * @param version version of the connection; `ANY_VERSION` when there is none
 * @param features features of the connection
 * @returns its row; the bytes are enough for the form that this version and these features demand
 * @throws PeerError `ERR_SHORT` for too few bytes; `ERR_MESSAGE` for too many, an unknown type, the wrong direction,
 *   or a type that version or features do not have
 */
export function checkMessage(bytes: Uint8Array, direction: Direction, version: number, features: number): MessageInfo {
  MessageHeader.check(bytes.length, 'control message');
  const type = readType(bytes);
  const info = findMessage(type);
  if (info === undefined) throw new PeerError('ERR_MESSAGE', `control message of unknown type ${type}`);
  if (bytes.length > MAX_MESSAGE_BYTES) {
    throw new PeerError('ERR_MESSAGE', `${info.name} of ${bytes.length} bytes, at most ${MAX_MESSAGE_BYTES} fit`);
  }
  if (info.direction !== direction) throw new PeerError('ERR_MESSAGE', `${info.name} came ${direction}`);
  if (!isMessageAllowed(info, version, features)) {
    const when = version === ANY_VERSION ? 'before contact' : `on a connection of version ${formatVersion(version)}`;
    throw new PeerError('ERR_MESSAGE', `${info.name} ${when} with features 0x${features.toString(16)}`);
  }
  const agreed = termsOf(info, bytes, version, features);
  const least = minMessageSize(info.type, agreed.version, agreed.features);
  if (bytes.length < least) {
    throw new PeerError('ERR_SHORT', `${info.name} has ${bytes.length} bytes, ${least} are needed here`);
  }
  return info;
}

/**
 * One line per field, for people. Never throws; says so when the type is unknown or bytes are missing.
 * @param version picks the layout where versions differ; by default the newest that the length allows
 */
export function printMessage(bytes: Uint8Array, version: number = COPPER, features = 0xffff_ffff): string {
  if (bytes.length < MessageHeader.size) return MessageHeader.print(bytes);
  const info = findMessage(readType(bytes));
  if (info === undefined) return `unknown message\n${MessageHeader.print(bytes)}`;
  const fitting = info.forms.filter((f) => f.struct.size <= bytes.length);
  const agreed = termsOf(info, bytes, version, features);
  const readable = { ...info, forms: fitting.length > 0 ? fitting : info.forms };
  const { struct } = sentForm(readable, agreed.version, agreed.features);
  const rest = bytes.length - struct.size;
  return rest > 0 ? `${struct.print(bytes)}\n${`${rest} more bytes`.padStart(8)}` : struct.print(bytes);
}

function readType(bytes: Uint8Array): number {
  return MessageHeader.parse(bytes).messageType;
}

/** Version and features that decide the form: InitiateContact brings its own, whatever was agreed before. */
function termsOf(info: MessageInfo, bytes: Uint8Array, version: number, features: number) {
  if (info.type !== MessageType.InitiateContact || bytes.length < contact.InitiateContact.size) {
    return { version, features };
  }
  const asked = contact.InitiateContact.parse(bytes);
  return { version: asked.version, features: asked.version >= COPPER ? asked.features : 0 };
}

function sentForm(info: MessageInfo, version: number, features: number): MessageForm {
  const applicable = info.forms.filter((f) => version >= f.minVersion && hasFeature(f, features));
  return applicable.at(-1) ?? (info.forms[0] as MessageForm);
}

function hasFeature(form: MessageForm, features: number): boolean {
  return form.anyFeature === 0 || (features & form.anyFeature) !== 0;
}

function infoOf(type: MessageType): MessageInfo {
  const info = findMessage(type);
  assert(info !== undefined, `message type ${type} has no row`);
  return info;
}
