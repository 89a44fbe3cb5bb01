/**
 * What a host bus is made of, as plain data: connection, channels, GPADLs, messages under way.
 *
 * It is what must survive when a guest is saved on one host and restored on another, as the guest's half of it lies in
 * the guest's memory. Devices are not in it: each takes its channel up again by offering the same identity.
 *
 * Source of the idea: OpenVMM `vmbus_server` `channels/saved_state.rs`; the format is ours.
 */
import type { GpaRange } from '../../../wire/gpa-range.ts';
import { encodeGpaRange, gpaRangeBytes, parseGpaRanges } from '../../../wire/gpa-range.ts';
import {
  bool,
  bytes,
  type Codec,
  guid,
  list,
  nothing,
  optional,
  record,
  u8,
  u16,
  u32,
  u53,
  u64,
  variants,
} from '../../../wire/saved/index.ts';
import { MAX_MESSAGE_BYTES } from '../../control-port.ts';
import type { MonitorPages } from '../../monitor-pages.ts';
import type { SavedMessage } from '../../outbox.ts';
import type { ChannelState, HostOpenRequest, ReservedTarget } from '../channel-moves.ts';
import { MAX_CHANNEL_ID } from '../channel-table.ts';
import type { AfterRelease, HostConnectionState } from '../connection-moves.ts';
import type { ContactRequest, HostConnection } from '../contact.ts';
import type { GpadlState } from '../gpadl-moves.ts';
import type { OfferParams } from '../host-device.ts';

/** Messages that the guest did not take yet, and those that a pause holds back. */
export interface SavedOutbox {
  readonly unsent: readonly SavedMessage[];
  readonly held: readonly SavedMessage[] | undefined;
}

/** A channel that the guest knows. */
export interface SavedHostChannel {
  readonly params: Required<OfferParams>;
  readonly state: ChannelState;
  readonly relid: number;
  readonly monitorId: number;
}

/** Range data of a GPADL of which words are missing. */
export interface SavedAssembly {
  readonly rangeCount: number;
  /** All of them; from `filledBytes` on they are zero. */
  readonly words: Uint8Array;
  readonly filledBytes: number;
}

export interface SavedGpadl {
  readonly relid: number;
  readonly id: number;
  readonly state: GpadlState;
  readonly ranges: readonly GpaRange[];
  readonly assembly: SavedAssembly | undefined;
}

export interface SavedHostBus {
  readonly connection: HostConnectionState;
  /** The owner was told of the connection, and so will be told of its end. */
  readonly wasConnected: boolean;
  readonly outbox: SavedOutbox;
  /** hvsock connects that wait for an answer: endpoint id and service id. */
  readonly tlConnects: readonly { readonly endpointId: string; readonly serviceId: string }[];
  readonly channels: readonly SavedHostChannel[];
  readonly gpadls: readonly SavedGpadl[];
}

/** Range data of one GPADL: the wire says its length in a u16. */
const MAX_RANGE_BYTES = 65_536;
/** More than any limit that a bus is given. */
const MAX_COUNT = 65_536;
const MAX_TL_CONNECTS = 1024;

const monitorPages = record<MonitorPages>({ parentToChildGpa: u64, childToParentGpa: u64 });

const contactRequest = record<ContactRequest>({
  version: u32,
  targetMessageVp: u32,
  targetSint: u8,
  targetVtl: u8,
  interruptPageGpa: u64,
  requestedFeatures: u32,
  monitorPages,
  clientId: optional(guid),
  isTrusted: bool,
});

const connection = record<HostConnection>({
  version: u32,
  features: u32,
  targetMessageVp: u32,
  interruptPageGpa: u64,
  monitorPages: optional(monitorPages),
  hasServerMonitorPages: bool,
  clientId: optional(guid),
  isTrusted: bool,
});

const resumeTo: Codec<'connected' | 'offering'> = {
  write: (out, value) => bool.write(out, value === 'offering'),
  read: (from) => (bool.read(from) ? 'offering' : 'connected'),
};

const afterRelease = variants<'is', AfterRelease>('is', {
  nothing,
  unloadComplete: record({ connection }),
  contact: record({ request: contactRequest }),
});

const connectionState = variants<'at', HostConnectionState>('at', {
  disconnected: nothing,
  connected: record({ connection }),
  offering: record({ connection }),
  paused: record({ connection, resumeTo }),
  disconnecting: record({ afterwards: afterRelease }),
});

const openRequest = record<HostOpenRequest>({
  openId: u32,
  ringGpadlId: u32,
  downstreamPageOffset: u32,
  targetVp: u32,
  userData: bytes(120),
  connectionId: optional(u32),
  eventFlag: optional(u16),
  openFlags: optional(u16),
  reserved: optional(record<ReservedTarget>({ targetVp: u32, targetSint: u32 })),
});

const open = record<{ readonly open: HostOpenRequest }>({ open: openRequest });

const channelState = variants<'at', ChannelState>('at', {
  unassigned: nothing,
  held: nothing,
  offered: nothing,
  opening: open,
  open,
  closing: open,
  reopening: record({ open: openRequest, next: openRequest }),
  openingReleased: open,
  closingReleased: open,
  revoked: nothing,
  gone: nothing,
});

const params = record<Required<OfferParams>>({
  interfaceId: guid,
  instanceId: guid,
  subchannelIndex: u16,
  flags: u16,
  mmioMegabytes: u16,
  mmioMegabytesOptional: u16,
  userDefined: bytes(120),
  monitorLatency100ns: u53,
  targetVtl: u8,
  order: u53,
});

const channel = record<SavedHostChannel>({ params, state: channelState, relid: u16, monitorId: u8 });

const gpadlState = variants<'at', GpadlState>('at', {
  assembling: nothing,
  accepted: nothing,
  tearingDown: record({ owesReply: bool }),
  gone: nothing,
});

/** As on the wire, and judged as on the wire. */
const ranges: Codec<readonly GpaRange[]> = {
  write: (out, value) => {
    out.u32(value.length);
    const byteCount = value.reduce((sum, range) => sum + gpaRangeBytes(range.pfns.length), 0);
    const words = new Int32Array(byteCount / 4);
    let at = 0;
    for (const { byteCount, byteOffset, pfns } of value) {
      at = encodeGpaRange(words, at, byteCount, byteOffset, pfns, pfns.length);
    }
    rangeWords.write(out, new Uint8Array(words.buffer));
  },
  read: (from) => {
    const rangeCount = from.u32();
    const words = rangeWords.read(from);
    return parseGpaRanges(words, 0, words.length, rangeCount);
  },
};
const rangeWords = bytes(MAX_RANGE_BYTES);

const gpadl = record<SavedGpadl>({
  relid: u16,
  id: u32,
  state: gpadlState,
  ranges,
  assembly: optional(record<SavedAssembly>({ rangeCount: u32, words: rangeWords, filledBytes: u32 })),
});

const message = record<SavedMessage>({ connectionId: u32, message: bytes(MAX_MESSAGE_BYTES) });
const messages = list(message, MAX_COUNT);

/** `SavedHostBus` as bytes. */
export const savedHostBus: Codec<SavedHostBus> = record<SavedHostBus>({
  connection: connectionState,
  wasConnected: bool,
  outbox: record<SavedOutbox>({ unsent: messages, held: optional(messages) }),
  tlConnects: list(record({ endpointId: guid, serviceId: guid }), MAX_TL_CONNECTS),
  channels: list(channel, MAX_CHANNEL_ID),
  gpadls: list(gpadl, MAX_COUNT),
});
