/** GPADLs at either end: created and deleted by a guest, mapped and unmapped by a host. */
import type { ChannelEndpoint } from '../channel/index.ts';
import type { Mdl } from '../memory/index.ts';
import { CallSite } from './call-site.ts';
import { History } from './history.ts';
import type { Reporter } from './reporter.ts';

export class GpadlLedger {
  readonly #reporter: Reporter;
  readonly #histories = new WeakMap<ChannelEndpoint, Map<number, History>>();
  /** The guest that deletes one at the moment, when it is watched too: by GPADL id. */
  readonly #deleting = new Map<number, History>();

  constructor(reporter: Reporter) {
    this.#reporter = reporter;
  }

  historyOf(channel: ChannelEndpoint, gpadlId: number): History | undefined {
    return this.#histories.get(channel)?.get(gpadlId);
  }

  created(channel: ChannelEndpoint, gpadlId: number): void {
    // The ids of the dead are used again; so is the place of their story.
    const history = new History(`GPADL ${gpadlId}`);
    this.#of(channel).set(gpadlId, history);
    // Behind an `await`: the frames are those of whoever waits for it.
    this.#reporter.step(history, 'created', true);
  }

  deleting(channel: ChannelEndpoint, gpadlId: number): void {
    const history = this.#open(channel, gpadlId);
    this.#reporter.step(history, 'being deleted', true);
    this.#deleting.set(gpadlId, history);
  }

  deleted(channel: ChannelEndpoint, gpadlId: number): void {
    this.#reporter.step(this.#open(channel, gpadlId), 'deleted', false);
    this.#deleting.delete(gpadlId);
  }

  mapped(channel: ChannelEndpoint, gpadlId: number, mdl: Mdl): void {
    const history = this.#open(channel, gpadlId);
    this.#reporter.step(history, 'mapped', true);
    const touchedLate = (): void =>
      this.#reporter.report(channel, {
        rule: 'K-241',
        what: 'the MDL of a GPADL was touched after VmbChannelUnmapGpadl',
        history,
        first: history.siteOf('unmapped'),
        second: new CallSite(),
      });
    for (let link: Mdl | null = mdl; link !== null; link = link.next) link.touchedLate = touchedLate;
  }

  unmapped(channel: ChannelEndpoint, gpadlId: number): void {
    this.#reporter.step(this.#open(channel, gpadlId), 'unmapped', true);
  }

  tornDown(channel: ChannelEndpoint, gpadlId: number): void {
    const history = this.#open(channel, gpadlId);
    this.#reporter.step(history, 'taken back by the guest', false);
    this.#reporter.report(channel, {
      rule: 'K-260',
      what: `GPADL ${gpadlId} is deleted while it is mapped: the guest waits until it is unmapped`,
      history,
      first: history.siteOf('mapped'),
      second: this.#deleting.get(gpadlId)?.siteOf('being deleted') ?? null,
    });
  }

  #open(channel: ChannelEndpoint, gpadlId: number): History {
    const histories = this.#of(channel);
    const history = histories.get(gpadlId) ?? new History(`GPADL ${gpadlId}`);
    histories.set(gpadlId, history);
    return history;
  }

  #of(channel: ChannelEndpoint): Map<number, History> {
    const histories = this.#histories.get(channel) ?? new Map<number, History>();
    this.#histories.set(channel, histories);
    return histories;
  }
}
