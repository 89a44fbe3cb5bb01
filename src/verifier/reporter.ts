/** Collects findings, in a bounded list, and tells whoever listens. */
import type { ChannelEndpoint, Finding } from '../channel/index.ts';
import { adviceOn } from './advice.ts';
import { CallSite } from './call-site.ts';
import type { History } from './history.ts';

/** Findings kept; later ones are counted and told, so that a broken loop does not fill the memory. */
const FINDINGS_KEPT = 1000;

export interface Breach {
  readonly rule: string;
  readonly what: string;
  readonly history: History | null;
  /** The call that was right. */
  readonly first: CallSite | null;
  /** The call that was not; `null` if one is missing. */
  readonly second: CallSite | null;
}

export class Reporter {
  readonly findings: Finding[] = [];
  onFinding: ((finding: Finding) => void) | null;
  count = 0;
  readonly #now: () => number;

  constructor(now: () => number, onFinding: ((finding: Finding) => void) | null) {
    this.#now = now;
    this.onFinding = onFinding;
  }

  now(): number {
    return this.#now();
  }

  step(history: History, what: string, isAsked: boolean): void {
    history.add(this.#now(), what, isAsked ? new CallSite() : null);
  }

  report(channel: ChannelEndpoint, { rule, what, history, first, second }: Breach): void {
    const finding: Finding = {
      rule,
      what,
      channel: channel.subject,
      subject: history?.subject ?? '',
      history: history?.events() ?? [],
      firstSite: first?.text ?? null,
      secondSite: second?.text ?? null,
      advice: adviceOn(rule),
    };
    this.count++;
    if (this.findings.length < FINDINGS_KEPT) this.findings.push(finding);
    this.onFinding?.(finding);
  }
}
