/** What a channel can be told before it is made, with the defaults. */
import type { ChannelEndpoint, ChannelTap } from '../../channel/index.ts';
import { UsageError } from '../../errors.ts';
import type { Packet } from '../packets/packet.ts';
import type { ChannelEnd } from './channel-end.ts';

/** @template Self the channel that the callbacks are given */
export interface ChannelOptions<Self> {
  /** For messages and `inspect()`, never on the wire. */
  readonly name?: string;
  /** Longest payload in both directions, bytes, 1 or more; a longer one from the peer ends the channel. Default 4096. */
  readonly maxPacketBytes?: number;
  /** Most external data of one packet, bytes; 0, the default, for none. A guest sizes its rings for it. */
  readonly maxExternalBytes?: number;
  /** Ranges that external data may come in, 1 or more. Default 32. */
  readonly maxExternalRanges?: number;
  /** Bytes of yours in `packet.context` of each incoming packet. Default 0. */
  readonly contextBytes?: number;
  /** Each payload has its exact length with it; no requests and no external data. */
  readonly isPipe?: boolean;
  /**
   * Packets that may be with you at once, those waiting for the iteration included; more stay in the ring, where they
   * hold the sender back. Default 64, and no limit with `onPacket`.
   */
  readonly maxHeldPackets?: number;
  /** Run `onPacket` at PASSIVE only, where it may call what waits. */
  readonly isPassiveOnly?: boolean;
  /** Deliver and send nothing before `resume()`. */
  readonly isPaused?: boolean;
  /** The listener of tracers; see `Channel.tap`. */
  readonly tap?: ChannelTap;

  /**
   * A packet came. Instead of the iteration: no promise, no allocation. The object stands for another packet once this
   * one is completed, so do not keep it beyond that. Must not wait.
   */
  readonly onPacket?: (packet: Packet, channel: Self) => void;
  /** Delivery pauses after that many packets: the place to flush what was gathered. */
  readonly onBatchEnd?: (packetCount: number, channel: Self) => void;

  // State changes, at PASSIVE, one at a time, each waited for. None may pause, resume or close its own channel.

  /** First of an open cycle; GPADLs may be made. Return `false`, or a promise of it, to refuse: nothing follows then. */
  readonly onOpened?: (channel: Self) => unknown;
  /** Sends wait until it is done. */
  readonly onStarted?: (channel: Self) => void | Promise<void>;
  /** Packets flow. */
  readonly onPostStarted?: (channel: Self) => void | Promise<void>;
  /** Nothing is delivered from here on: complete what you hold. */
  readonly onSuspended?: (channel: Self) => void | Promise<void>;
  /** The end of the open cycle. */
  readonly onClosed?: (end: ChannelEnd, channel: Self) => void | Promise<void>;
}

/** Packets with a consumer that iterates, unless it says otherwise. */
const ITERATED_PACKETS = 64;
/** Both rings with their control pages fill the largest GPADL of one range: 8190 pages. */
const MAX_RING_PAGES = 4094;

export interface RingPages {
  /** Data pages of the ring from the host, 1..4094; as many as the largest packet needs unless given. */
  readonly incomingRingPages?: number;
  /** Data pages of the ring to the host. */
  readonly outgoingRingPages?: number;
  /** Virtual processor that the host interrupts. Default 0. */
  readonly targetVp?: number;
}

/** Tells the endpoint. @throws UsageError `ERR_ARGUMENT` */
export function configure<Self>(endpoint: ChannelEndpoint, options: ChannelOptions<Self> & RingPages): void {
  const { settings } = endpoint;
  settings.name = options.name ?? '';
  settings.isPipe = options.isPipe ?? false;
  settings.maxPacketBytes = whole('maxPacketBytes', options.maxPacketBytes ?? 4096, 1);
  settings.maxExternalBytes = whole('maxExternalBytes', options.maxExternalBytes ?? 0, 0);
  settings.maxExternalRanges = whole('maxExternalRanges', options.maxExternalRanges ?? 32, 1);
  settings.contextBytes = whole('contextBytes', options.contextBytes ?? 0, 0);
  settings.targetVp = whole('targetVp', options.targetVp ?? 0, 0);
  settings.incomingRingPages = ringPages('incomingRingPages', options.incomingRingPages);
  settings.outgoingRingPages = ringPages('outgoingRingPages', options.outgoingRingPages);
  const unlimited = options.onPacket === undefined ? ITERATED_PACKETS : Number.POSITIVE_INFINITY;
  endpoint.setQuota(quotaOf(options.maxHeldPackets ?? unlimited));
  endpoint.setPassiveOnly(options.isPassiveOnly ?? false);
  if (options.tap !== undefined) endpoint.tap = options.tap;
}

/** @throws UsageError `ERR_ARGUMENT` unless 1 or more */
export function quotaOf(packets: number): number {
  return packets === Number.POSITIVE_INFINITY ? packets : whole('maxHeldPackets', packets, 1);
}

function whole(name: string, value: number, least: number): number {
  if (Number.isInteger(value) && value >= least && value <= 0xffff_ffff) return value;
  throw new UsageError('ERR_ARGUMENT', `${name} is ${value}; it must be a whole number of ${least} or more`);
}

function ringPages(name: string, pages: number | undefined): number {
  if (pages === undefined) return 0;
  if (Number.isInteger(pages) && pages >= 1 && pages <= MAX_RING_PAGES) return pages;
  throw new UsageError('ERR_ARGUMENT', `${name} is ${pages}, outside 1..${MAX_RING_PAGES}`);
}
