/** What happened to one packet or GPADL, bounded: a packet that is sent a million times keeps its latest steps. */
import type { FindingEvent } from '../channel/index.ts';
import type { CallSite } from './call-site.ts';

const STEPS_KEPT = 16;

interface Step {
  readonly atMs: number;
  readonly what: string;
  readonly site: CallSite | null;
}

export class History {
  /** `outgoing packet 3`. */
  readonly subject: string;
  #steps: Step[] = [];

  constructor(subject: string) {
    this.subject = subject;
  }

  add(atMs: number, what: string, site: CallSite | null): void {
    // The first step says where the thing comes from; it stays.
    if (this.#steps.length === STEPS_KEPT) this.#steps.splice(1, 1);
    this.#steps.push({ atMs, what, site });
  }

  /** When the last step of that name was taken, ms; `undefined` if it never was. */
  lastAtMs(what: string): number | undefined {
    return this.#last(what)?.atMs;
  }

  /** Where the last step of that name was asked for, or the last of any name that somebody asked for. */
  siteOf(what?: string): CallSite | null {
    return this.#last(what)?.site ?? null;
  }

  events(): FindingEvent[] {
    return this.#steps.map(({ atMs, what, site }) => ({ atMs, what, site: site?.text ?? null }));
  }

  #last(what: string | undefined): Step | undefined {
    return this.#steps.findLast((step) => (what === undefined ? step.site !== null : step.what.startsWith(what)));
  }
}
