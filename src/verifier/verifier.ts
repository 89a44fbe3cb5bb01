/**
 * Watches drivers: each packet, GPADL and callback of the channels of a bus, and says which rule was broken, by whom,
 * and what came before.
 *
 * What would have bug-checked Windows throws its `BugCheck` with or without a verifier; with one it is a finding first.
 * What nobody would notice (leaks, lost completions, changed pages) becomes a finding only.
 */
import type {
  ChannelEndpoint,
  ChannelWatch,
  Finding,
  GivenBack,
  IncomingPacket,
  LifeState,
  OutgoingPacket,
} from '../channel/index.ts';
import type { Mdl } from '../memory/index.ts';
import type { GpaRange } from '../wire/gpa-range.ts';
import type { NtStatus } from '../wire/ntstatus.ts';
import { CallSite } from './call-site.ts';
import { GpadlLedger } from './gpadl-ledger.ts';
import type { History } from './history.ts';
import { IncomingLedger } from './incoming-ledger.ts';
import { OutgoingLedger } from './outgoing-ledger.ts';
import { Reporter } from './reporter.ts';

export interface VerifierOptions {
  /** Whose clock it reads: the environment's scheduler. */
  readonly scheduler: { now(): number };
  /** Called with each finding as it is made; it is kept in `findings` all the same. */
  readonly onFinding?: (finding: Finding) => void;
  /** A packet under way, or with a driver, for this long counts as lost, milliseconds. Default 30 000. */
  readonly overdueMs?: number;
}

const OVERDUE_MS = 30_000;
/** What an async frame of a callback is called in a stack; a number follows. */
const CALLBACK_NAME = 'vmbusStateChangeCallback';

export class Verifier implements ChannelWatch {
  readonly #reporter: Reporter;
  readonly #outgoing: OutgoingLedger;
  readonly #incoming: IncomingLedger;
  readonly #gpadls: GpadlLedger;
  readonly #channels = new Set<ChannelEndpoint>();
  /** Callbacks that have not returned, by the name that their async frames have. */
  readonly #callbacks = new Map<ChannelEndpoint, Set<string>>();
  #nextCallback = 1;

  constructor({ scheduler, onFinding, overdueMs = OVERDUE_MS }: VerifierOptions) {
    this.#reporter = new Reporter(() => scheduler.now(), onFinding ?? null);
    this.#outgoing = new OutgoingLedger(this.#reporter, overdueMs);
    this.#incoming = new IncomingLedger(this.#reporter, overdueMs);
    this.#gpadls = new GpadlLedger(this.#reporter);
  }

  get findings(): readonly Finding[] {
    return this.#reporter.findings;
  }

  get onFinding(): ((finding: Finding) => void) | null {
    return this.#reporter.onFinding;
  }

  set onFinding(onFinding: ((finding: Finding) => void) | null) {
    this.#reporter.onFinding = onFinding;
  }

  check(): readonly Finding[] {
    for (const channel of this.#channels) this.#checkOverdue(channel, '');
    return this.findings;
  }

  inspect(): object {
    this.check();
    const { count } = this.#reporter;
    return { findingCount: count, findings: this.findings, ...this.#outgoing.inspect(), ...this.#incoming.inspect() };
  }

  misuse(channel: ChannelEndpoint, rule: string, what: string, subject: object | number | null): void {
    const history = this.#historyOf(channel, subject);
    // A GPADL left behind is the lack of a call.
    const second = rule === 'K-125' ? null : new CallSite();
    this.#reporter.report(channel, { rule, what, history, first: history?.siteOf() ?? null, second });
  }

  stateChanged(channel: ChannelEndpoint, to: LifeState['at']): void {
    if (to === 'disabled') this.#channels.delete(channel);
    else this.#channels.add(channel);
    // The driver was asked to let go; what it kept for long it has forgotten.
    if (to === 'suspending' || to === 'draining') this.#checkOverdue(channel, '; the channel waits for it');
  }

  callback<Outcome>(channel: ChannelEndpoint, call: () => Outcome | Promise<Outcome>): Outcome | Promise<Outcome> {
    const outcome = call();
    if (!(outcome instanceof Promise)) return outcome;
    // V8 follows an `await` back to who waits: whatever the callback calls later has this function in its stack.
    const name = `${CALLBACK_NAME}${this.#nextCallback++}`;
    const running = this.#callbacks.get(channel) ?? new Set();
    this.#callbacks.set(channel, running.add(name));
    const waiter = {
      [name]: async (): Promise<Outcome> => {
        try {
          return await outcome;
        } finally {
          running.delete(name);
          if (running.size === 0) this.#callbacks.delete(channel);
        }
      },
    };
    return (waiter[name] as () => Promise<Outcome>)();
  }

  isInCallback(channel: ChannelEndpoint): boolean {
    const running = this.#callbacks.get(channel);
    if (running === undefined || running.size === 0) return false;
    const { frames } = new CallSite();
    // `at async Object.vmbusStateChangeCallback7 (file:line:column)`
    return [...running].some((name) => frames.some((frame) => frame.includes(`${name} (`)));
  }

  cleanedUp(channel: ChannelEndpoint): void {
    this.#outgoing.cleanedUp(channel);
    this.#incoming.cleanedUp(channel);
    this.#channels.delete(channel);
    this.#callbacks.delete(channel);
  }

  allocated(channel: ChannelEndpoint, packet: OutgoingPacket, isOwned: boolean): void {
    this.#outgoing.allocated(channel, packet, isOwned);
  }

  freed(packet: OutgoingPacket): void {
    this.#outgoing.freed(packet);
  }

  sending(channel: ChannelEndpoint, packet: OutgoingPacket, ranges: readonly GpaRange[] | null): void {
    this.#outgoing.sending(channel, packet, ranges);
  }

  queued(packet: OutgoingPacket): void {
    this.#outgoing.step(packet, 'queued');
  }

  inRing(packet: OutgoingPacket): void {
    this.#outgoing.step(packet, 'in ring');
  }

  ended(packet: OutgoingPacket, status: NtStatus): void {
    this.#outgoing.ended(packet, status);
  }

  delivered(channel: ChannelEndpoint, packet: IncomingPacket): void {
    this.#incoming.delivered(channel, packet);
  }

  mapped(channel: ChannelEndpoint, packet: IncomingPacket, mdl: Mdl, isReadOnly: boolean): void {
    this.#incoming.mapped(channel, packet, mdl, isReadOnly);
    if (isReadOnly) this.#outgoing.markDataOut(channel.relid, packet.idLo, packet.idHi);
  }

  givenBack(channel: ChannelEndpoint, packet: IncomingPacket, how: GivenBack): void {
    this.#incoming.givenBack(channel, packet, how);
  }

  gpadlCreated(channel: ChannelEndpoint, gpadlId: number): void {
    this.#gpadls.created(channel, gpadlId);
  }

  gpadlDeleting(channel: ChannelEndpoint, gpadlId: number): void {
    this.#gpadls.deleting(channel, gpadlId);
  }

  gpadlDeleted(channel: ChannelEndpoint, gpadlId: number): void {
    this.#gpadls.deleted(channel, gpadlId);
  }

  gpadlMapped(channel: ChannelEndpoint, gpadlId: number, mdl: Mdl): void {
    this.#gpadls.mapped(channel, gpadlId, mdl);
  }

  gpadlUnmapped(channel: ChannelEndpoint, gpadlId: number): void {
    this.#gpadls.unmapped(channel, gpadlId);
  }

  gpadlTornDown(channel: ChannelEndpoint, gpadlId: number): void {
    this.#gpadls.tornDown(channel, gpadlId);
  }

  #checkOverdue(channel: ChannelEndpoint, why: string): void {
    this.#outgoing.checkOverdue(channel);
    this.#incoming.checkOverdue(channel, why);
  }

  #historyOf(channel: ChannelEndpoint, subject: object | number | null): History | null {
    if (subject === null) return null;
    if (typeof subject === 'number') return this.#gpadls.historyOf(channel, subject) ?? null;
    return this.#outgoing.historyOf(subject) ?? this.#incoming.historyOf(subject) ?? null;
  }
}
