/** Packets that a driver sends: allocated, under way, freed. */
import { type ChannelEndpoint, type OutgoingPacket, OutgoingState } from '../channel/index.ts';
import type { GpaRange } from '../wire/gpa-range.ts';
import { type NtStatus, ntStatusName } from '../wire/ntstatus.ts';
import { History } from './history.ts';
import { sumOfRanges } from './page-sum.ts';
import type { Reporter } from './reporter.ts';

interface Account {
  readonly channel: ChannelEndpoint;
  readonly history: History;
  isOwned: boolean;
  isUnderWay: boolean;
  /** Told once for each send. */
  isOverdueTold: boolean;
  /** Pages that went with it, and their sum when they did. */
  ranges: readonly GpaRange[] | null;
  sum: number | null;
  /** Nobody but its owner can have written to the pages. */
  isDataOut: boolean;
}

export class OutgoingLedger {
  readonly #reporter: Reporter;
  readonly #overdueMs: number;
  /** As long as somebody has the object, its story is known. */
  readonly #accounts = new WeakMap<OutgoingPacket, Account>();
  /** Owned and not freed, or under way. */
  readonly #live = new Map<ChannelEndpoint, Set<OutgoingPacket>>();
  #nextNumber = 1;

  constructor(reporter: Reporter, overdueMs: number) {
    this.#reporter = reporter;
    this.#overdueMs = overdueMs;
  }

  historyOf(packet: object): History | undefined {
    return this.#accounts.get(packet as OutgoingPacket)?.history;
  }

  allocated(channel: ChannelEndpoint, packet: OutgoingPacket, isOwned: boolean): void {
    const account = this.#open(channel, packet);
    account.isOwned = isOwned;
    this.#reporter.step(account.history, isOwned ? 'allocated' : 'initialised', true);
    if (isOwned) this.#liveOf(channel).add(packet);
  }

  freed(packet: OutgoingPacket): void {
    const account = this.#accounts.get(packet);
    if (account === undefined) return;
    this.#reporter.step(account.history, 'freed', true);
    this.#drop(account.channel, packet);
  }

  sending(channel: ChannelEndpoint, packet: OutgoingPacket, ranges: readonly GpaRange[] | null): void {
    const account = this.#accounts.get(packet) ?? this.#open(channel, packet);
    account.isUnderWay = true;
    account.isOverdueTold = false;
    account.isDataOut = false;
    account.ranges = ranges;
    const { memory } = channel;
    account.sum = ranges === null || memory === undefined ? null : sumOfRanges(memory, ranges);
    this.#liveOf(channel).add(packet);
    this.#reporter.step(account.history, 'sent', true);
  }

  step(packet: OutgoingPacket, what: string): void {
    const account = this.#accounts.get(packet);
    if (account !== undefined) this.#reporter.step(account.history, what, false);
  }

  ended(packet: OutgoingPacket, status: NtStatus): void {
    const account = this.#accounts.get(packet);
    if (account === undefined) return;
    this.#checkPages(account);
    account.isUnderWay = false;
    account.ranges = null;
    if (!account.isOwned) this.#drop(account.channel, packet);
    this.#reporter.step(account.history, `completed with ${ntStatusName(status)}`, false);
  }

  /** The peer, which this verifier watches too, promised only to read the pages of this transaction. */
  markDataOut(relid: number, idLo: number, idHi: number): void {
    for (const [channel, packets] of this.#live) {
      if (channel.role !== 'guest' || channel.relid !== relid) continue;
      for (const packet of packets) {
        const account = this.#accounts.get(packet) as Account;
        if (account.isUnderWay && packet.idLo === idLo && packet.idHi === idHi) account.isDataOut = true;
      }
    }
  }

  /** Sends that nobody answered for long. */
  checkOverdue(channel: ChannelEndpoint): void {
    for (const packet of this.#live.get(channel) ?? []) {
      const account = this.#accounts.get(packet) as Account;
      const sentAtMs = account.history.lastAtMs('sent');
      if (!account.isUnderWay || account.isOverdueTold || sentAtMs === undefined) continue;
      const ageMs = this.#reporter.now() - sentAtMs;
      if (ageMs < this.#overdueMs) continue;
      account.isOverdueTold = true;
      const where = packet.state === OutgoingState.Queued ? 'it still waits in the queue' : 'the peer has it';
      this.#reporter.report(channel, {
        rule: 'K-151',
        what: `the completion routine of a packet sent ${ageMs.toFixed(0)} ms ago never ran: ${where}`,
        history: account.history,
        first: account.history.siteOf('sent'),
        second: null,
      });
    }
  }

  /** The channel is gone; what is left was forgotten. */
  cleanedUp(channel: ChannelEndpoint): void {
    for (const packet of this.#live.get(channel) ?? []) {
      const { history, isUnderWay } = this.#accounts.get(packet) as Account;
      this.#reporter.report(channel, {
        rule: isUnderWay ? 'K-151' : 'K-132',
        what: isUnderWay
          ? 'a packet is still under way at VmbChannelCleanup'
          : 'a packet was allocated and never freed, and its channel is cleaned up',
        history,
        first: history.siteOf(isUnderWay ? 'sent' : 'allocated'),
        second: null,
      });
    }
    this.#live.delete(channel);
  }

  inspect(): object {
    let live = 0;
    for (const packets of this.#live.values()) live += packets.size;
    return { livePackets: live };
  }

  #checkPages({ channel, history, ranges, sum, isDataOut }: Account): void {
    const { memory } = channel;
    if (!isDataOut || ranges === null || sum === null || memory === undefined) return;
    if (sumOfRanges(memory, ranges) === sum) return;
    this.#reporter.report(channel, {
      rule: 'K-189',
      what: 'pages that the host only reads changed between the send and the completion: their owner wrote to them',
      history,
      first: history.siteOf('sent'),
      second: null,
    });
  }

  #open(channel: ChannelEndpoint, packet: OutgoingPacket): Account {
    const account: Account = {
      channel,
      history: new History(`outgoing packet ${this.#nextNumber++}`),
      isOwned: false,
      isUnderWay: false,
      isOverdueTold: false,
      ranges: null,
      sum: null,
      isDataOut: false,
    };
    this.#accounts.set(packet, account);
    return account;
  }

  /** A channel of which nothing is left is held no longer. */
  #drop(channel: ChannelEndpoint, packet: OutgoingPacket): void {
    const live = this.#live.get(channel);
    live?.delete(packet);
    if (live?.size === 0) this.#live.delete(channel);
  }

  #liveOf(channel: ChannelEndpoint): Set<OutgoingPacket> {
    const live = this.#live.get(channel) ?? new Set();
    this.#live.set(channel, live);
    return live;
  }
}
