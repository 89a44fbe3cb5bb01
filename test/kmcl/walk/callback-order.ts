/** The documented order of a channel's callbacks, as an automaton that runs beside the channel. */
import { currentIrql, Irql } from '../../../src/channel/index.ts';

export type Callback = 'Opened' | 'Started' | 'PostStarted' | 'Suspend' | 'Closed';

/** What may follow when the one named has returned. Source: KMCL's state model in the public WDK header. */
const MAY_FOLLOW: Readonly<Record<string, readonly Callback[]>> = {
  nothing: ['Opened'],
  Opened: ['Started', 'Closed'],
  // The end may be known before PostStarted, or the pause.
  Started: ['PostStarted', 'Suspend'],
  PostStarted: ['Suspend'],
  Suspend: ['Started', 'Closed'],
  Closed: ['Opened'],
};

export class CallbackOrder {
  readonly #name: string;
  #last: Callback | 'nothing' = 'nothing';
  #running: Callback | null = null;

  constructor(name: string) {
    this.#name = name;
  }

  get running(): Callback | null {
    return this.#running;
  }

  begin(callback: Callback): void {
    if (this.#running !== null) this.#fail(`${callback} while ${this.#running} runs`);
    if (!MAY_FOLLOW[this.#last]?.includes(callback)) this.#fail(`${callback} after ${this.#last}`);
    if (currentIrql() !== Irql.Passive) this.#fail(`${callback} at DISPATCH`);
    this.#running = callback;
  }

  end(isAccepted: boolean): void {
    // A refused open is as if it had never begun.
    this.#last = isAccepted ? (this.#running as Callback) : 'nothing';
    this.#running = null;
  }

  /** A packet was delivered. */
  packet(requiresPassive: boolean): void {
    const isRunning = this.#last === 'Started' || this.#last === 'PostStarted';
    const isAllowed = isRunning && this.#running !== 'Suspend' && this.#running !== 'Closed';
    if (!isAllowed) this.#fail(`ProcessPacket after ${this.#last}, in ${this.#running ?? 'no callback'}`);
    if (requiresPassive && currentIrql() !== Irql.Passive)
      this.#fail('ProcessPacket at DISPATCH, PASSIVE was required');
  }

  /** All is over. */
  checkAtRest(): void {
    if (this.#running !== null) this.#fail(`${this.#running} never returned`);
    if (this.#last !== 'nothing' && this.#last !== 'Closed') this.#fail(`the last callback was ${this.#last}`);
  }

  #fail(what: string): never {
    throw new Error(`${this.#name}: ${what}`);
  }
}
