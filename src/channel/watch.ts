/**
 * What the verifier listens to: each step in the life of a packet, a GPADL and a callback, with the objects themselves.
 *
 * A tap (`tap.ts`) sees bytes; a watch sees owners. Every channel has a `watch` that is `null` unless its bus was made
 * with one; then each of these points costs one branch. The layer `verifier/` implements it, and nothing here knows how.
 */
import type { Mdl } from '../memory/index.ts';
import type { GpaRange } from '../wire/gpa-range.ts';
import type { NtStatus } from '../wire/ntstatus.ts';
import type { ChannelEndpoint } from './channel-endpoint.ts';
import type { LifeState } from './life-cycle.ts';
import type { IncomingPacket } from './packets/incoming-packet.ts';
import type { OutgoingPacket } from './packets/outgoing-packet.ts';

/** One step of a packet or GPADL. */
export interface FindingEvent {
  /** Milliseconds by the scheduler's clock. */
  readonly atMs: number;
  /** `sent`, `in ring`, `completed`, … */
  readonly what: string;
  /** Where in the driver it was asked for; `null` where nobody asked. */
  readonly site: string | null;
}

/** A rule that was broken, and how. */
export interface Finding {
  /** Its number in this package's list of KMCL rules: `K-221`. */
  readonly rule: string;
  /** What happened, in a sentence. */
  readonly what: string;
  /** The channel, as `channel net (guest)`. */
  readonly channel: string;
  /** The packet or GPADL it is about; empty if it is about neither. */
  readonly subject: string;
  /** What happened to it, oldest first; repeated sends keep the latest. */
  readonly history: readonly FindingEvent[];
  /** The call that was right, and made this one wrong; `null` if there is none. */
  readonly firstSite: string | null;
  /** The call that broke the rule; `null` if it is the lack of one. */
  readonly secondSite: string | null;
  /** What to do. */
  readonly advice: string;
}

/** How an incoming packet left its driver. */
export type GivenBack = 'completed' | 'failed' | 'deferred';

/** The steps of an outgoing packet behind the send call. */
export interface PacketWatch {
  queued(packet: OutgoingPacket): void;
  inRing(packet: OutgoingPacket): void;
  /** Its routine runs next. */
  ended(packet: OutgoingPacket, status: NtStatus): void;
}

export interface ChannelWatch extends PacketWatch {
  /** Oldest first. */
  readonly findings: readonly Finding[];
  /** Called with each finding as it is made. */
  onFinding: ((finding: Finding) => void) | null;
  /** Looks for what is overdue now. @returns all findings */
  check(): readonly Finding[];
  inspect(): object;

  /** A face is about to refuse a call. @param subject the packet or GPADL id that it was about */
  misuse(channel: ChannelEndpoint, rule: string, what: string, subject: object | number | null): void;
  stateChanged(channel: ChannelEndpoint, to: LifeState['at']): void;
  /** Calls a state-change callback, so that `isInCallback` knows what belongs to it. */
  callback<Outcome>(channel: ChannelEndpoint, call: () => Outcome | Promise<Outcome>): Outcome | Promise<Outcome>;
  /** The caller runs inside one, perhaps behind an `await`. */
  isInCallback(channel: ChannelEndpoint): boolean;
  /** The channel's handle ends here. */
  cleanedUp(channel: ChannelEndpoint): void;

  /** @param isOwned somebody has to free it */
  allocated(channel: ChannelEndpoint, packet: OutgoingPacket, isOwned: boolean): void;
  freed(packet: OutgoingPacket): void;
  /** @param ranges pages that go with it by reference; `null` for none */
  sending(channel: ChannelEndpoint, packet: OutgoingPacket, ranges: readonly GpaRange[] | null): void;

  delivered(channel: ChannelEndpoint, packet: IncomingPacket): void;
  /** @param isReadOnly the driver promised to read only */
  mapped(channel: ChannelEndpoint, packet: IncomingPacket, mdl: Mdl, isReadOnly: boolean): void;
  givenBack(channel: ChannelEndpoint, packet: IncomingPacket, how: GivenBack): void;

  gpadlCreated(channel: ChannelEndpoint, gpadlId: number): void;
  gpadlDeleting(channel: ChannelEndpoint, gpadlId: number): void;
  gpadlDeleted(channel: ChannelEndpoint, gpadlId: number): void;
  gpadlMapped(channel: ChannelEndpoint, gpadlId: number, mdl: Mdl): void;
  gpadlUnmapped(channel: ChannelEndpoint, gpadlId: number): void;
  /** The guest wants it back; while it is mapped, it has to wait. */
  gpadlTornDown(channel: ChannelEndpoint, gpadlId: number): void;
}

/** What a transport offers with its environment, since it alone may know what the process was told. */
export interface VerifierMaker {
  /** `VMBUS_VERIFIER=1`: on unless an option says otherwise. */
  readonly isWanted: boolean;
  /** The verifier of this transport: both ends of one process share it. */
  make(): ChannelWatch;
}
