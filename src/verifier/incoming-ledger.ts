/** Packets that a driver was given, and the guest's pages that came with them. */
import type { ChannelEndpoint, GivenBack, IncomingPacket } from '../channel/index.ts';
import type { Mdl } from '../memory/index.ts';
import { CallSite } from './call-site.ts';
import { History } from './history.ts';
import { sumOfMdl } from './page-sum.ts';
import type { Reporter } from './reporter.ts';

interface Account {
  readonly history: History;
  isHeld: boolean;
  isOverdueTold: boolean;
  /** Mapped for reading only, and the sum of its pages then. */
  readOnly: { readonly mdl: Mdl; readonly sum: number } | null;
}

export class IncomingLedger {
  readonly #reporter: Reporter;
  readonly #overdueMs: number;
  readonly #accounts = new WeakMap<IncomingPacket, Account>();
  readonly #held = new Map<ChannelEndpoint, Set<IncomingPacket>>();
  #nextNumber = 1;

  constructor(reporter: Reporter, overdueMs: number) {
    this.#reporter = reporter;
    this.#overdueMs = overdueMs;
  }

  historyOf(packet: object): History | undefined {
    return this.#accounts.get(packet as IncomingPacket)?.history;
  }

  delivered(channel: ChannelEndpoint, packet: IncomingPacket): void {
    const account = this.#accounts.get(packet) ?? this.#open(packet);
    account.isHeld = true;
    this.#reporter.step(account.history, 'delivered', false);
    const held = this.#held.get(channel) ?? new Set();
    this.#held.set(channel, held.add(packet));
  }

  mapped(channel: ChannelEndpoint, packet: IncomingPacket, mdl: Mdl, isReadOnly: boolean): void {
    const account = this.#accounts.get(packet) ?? this.#open(packet);
    const { history } = account;
    this.#reporter.step(history, isReadOnly ? 'mapped read-only' : 'mapped', true);
    if (isReadOnly) account.readOnly = { mdl, sum: sumOfMdl(mdl) };
    const touchedLate = (): void =>
      this.#reporter.report(channel, {
        rule: 'K-241',
        what: 'the MDL of a packet was touched after the packet had been given back',
        history,
        first: history.siteOf(),
        second: new CallSite(),
      });
    for (let link: Mdl | null = mdl; link !== null; link = link.next) link.touchedLate = touchedLate;
  }

  givenBack(channel: ChannelEndpoint, packet: IncomingPacket, how: GivenBack): void {
    const account = this.#accounts.get(packet);
    if (account === undefined) return;
    this.#reporter.step(account.history, how, true);
    account.isHeld = false;
    const held = this.#held.get(channel);
    held?.delete(packet);
    if (held?.size === 0) this.#held.delete(channel);
    if (how !== 'deferred') this.#checkPages(channel, account);
  }

  /** Packets with the driver for long: pause and disable wait for them. @param why said behind the age */
  checkOverdue(channel: ChannelEndpoint, why: string): void {
    for (const packet of this.#held.get(channel) ?? []) {
      const account = this.#accounts.get(packet) as Account;
      const ageMs = this.#reporter.now() - (account.history.lastAtMs('delivered') ?? 0);
      if (account.isOverdueTold || ageMs < this.#overdueMs) continue;
      account.isOverdueTold = true;
      this.#reporter.report(channel, {
        rule: 'K-107',
        what: `a packet was delivered ${ageMs.toFixed(0)} ms ago and never completed${why}`,
        history: account.history,
        first: account.history.siteOf(),
        second: null,
      });
    }
  }

  cleanedUp(channel: ChannelEndpoint): void {
    this.#held.delete(channel);
  }

  inspect(): object {
    let held = 0;
    for (const packets of this.#held.values()) held += packets.size;
    return { heldPackets: held };
  }

  #checkPages(channel: ChannelEndpoint, account: Account): void {
    const { readOnly, history } = account;
    account.readOnly = null;
    if (readOnly === null || sumOfMdl(readOnly.mdl) === readOnly.sum) return;
    this.#reporter.report(channel, {
      rule: 'K-245',
      what: 'pages mapped for reading only changed before the packet was given back: by this driver, or by the guest',
      history,
      first: history.siteOf('mapped'),
      second: new CallSite(),
    });
  }

  #open(packet: IncomingPacket): Account {
    const history = new History(`incoming packet ${this.#nextNumber++}`);
    const account: Account = { history, isHeld: false, isOverdueTold: false, readOnly: null };
    this.#accounts.set(packet, account);
    return account;
  }
}
