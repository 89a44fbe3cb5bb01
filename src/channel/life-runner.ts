/**
 * Runs the table of `life-cycle.ts` for one channel: keeps the state, calls the driver one callback at a time, wakes
 * those who wait for a state, and leaves everything else to the endpoint.
 */
import { NT_SUCCESS, STATUS_UNSUCCESSFUL } from '../wire/ntstatus.ts';
import type { ChannelDriver } from './channel-driver.ts';
import { type LifeAction, type LifeEvent, type LifeState, type Reason, stepLife } from './life-cycle.ts';

/** The actions that are not callbacks of the driver. */
export type LifeEffect = Extract<
  LifeAction,
  { do: 'begin' | 'answerOpen' | 'openGates' | 'closeGates' | 'retire' | 'detach' | 'awaitDrain' | 'part' }
>;

/** What the runner needs from the endpoint. */
export interface LifeHost {
  perform(action: LifeEffect): void;
  /** Runs work in a turn of its own at PASSIVE. */
  passive(work: () => void): void;
  changed(from: LifeState['at'], to: LifeState['at']): void;
  /** Calls a callback of the driver's. */
  callBack<Outcome>(call: () => Outcome | Promise<Outcome>): Outcome | Promise<Outcome>;
  /** Whose life this is, for messages. */
  subject(): string;
}

interface Waiter {
  readonly isOver: (at: LifeState['at']) => boolean;
  readonly resolve: () => void;
}

export class LifeRunner {
  state: LifeState = { at: 'disabled', isPauseArmed: false };
  /** True in the synchronous part of a callback. */
  isInCallback = false;

  readonly #driver: ChannelDriver;
  readonly #role: 'guest' | 'host';
  readonly #host: LifeHost;
  #waiters: Waiter[] = [];

  constructor(driver: ChannelDriver, role: 'guest' | 'host', host: LifeHost) {
    this.#driver = driver;
    this.#role = role;
    this.#host = host;
  }

  /** Takes one event: the state changes first, then the actions run, so what answers at once meets the new state. */
  step(event: LifeEvent): void {
    const before = this.state;
    const { next, actions } = stepLife(before, event, this.#host.subject());
    this.state = next;
    const reason = reasonOf(next);
    if (reason !== undefined && reasonOf(before) === undefined) this.#driver.ending?.(reason);
    if (next.at !== before.at) this.#host.changed(before.at, next.at);
    for (const action of actions) this.#do(action);
    this.#wake();
  }

  /** Resolves as soon as the channel is in such a state; at once if it is now. */
  wait(isOver: Waiter['isOver']): Promise<void> {
    return new Promise((resolve) => {
      this.#waiters.push({ isOver, resolve });
      this.#wake();
    });
  }

  #do(action: LifeAction): void {
    const driver = this.#driver;
    switch (action.do) {
      case 'reportOpenFailure':
        this.#callBack(
          () => driver.openFailed(action.status),
          () => {},
        );
        return;
      case 'runOpened':
        this.#runOpened();
        return;
      case 'runStarted':
        this.#callBack(
          () => driver.started(),
          () => this.step({ is: 'startedReturned' }),
        );
        return;
      case 'runPostStarted':
        this.#callBack(
          () => driver.postStarted(),
          () => this.step({ is: 'postStartedReturned' }),
        );
        return;
      case 'runSuspend':
        this.#callBack(
          () => driver.suspend(),
          () => this.step({ is: 'suspendReturned' }),
        );
        return;
      case 'runClosed':
        this.#callBack(
          () => driver.closed(),
          () => {
            this.step({ is: 'closedReturned' });
            driver.afterClosed?.();
          },
        );
        return;
      default:
        this.#host.perform(action);
    }
  }

  #runOpened(): void {
    const endsAs = this.#role === 'host' ? 'enabled' : 'disabled';
    this.#callBack(
      () => this.#driver.opened(),
      (status) => {
        const isOk = NT_SUCCESS(status ?? STATUS_UNSUCCESSFUL);
        this.step(isOk ? { is: 'openedReturned', ok: true } : { is: 'openedReturned', ok: false, endsAs });
      },
    );
  }

  /** Runs a callback in a turn of its own, and goes on when it (or its promise) is done. */
  #callBack<Outcome>(call: () => Outcome | Promise<Outcome>, done: (outcome: Outcome | undefined) => void): void {
    this.#host.passive(() => {
      let outcome: Outcome | Promise<Outcome>;
      this.isInCallback = true;
      try {
        outcome = this.#host.callBack(call);
      } catch (error) {
        // A driver that throws has a bug, which goes up; the channel does not hang for it.
        this.isInCallback = false;
        done(undefined);
        throw error;
      } finally {
        this.isInCallback = false;
      }
      if (!(outcome instanceof Promise)) {
        done(outcome);
        return;
      }
      outcome.then(done, (error: unknown) => {
        done(undefined);
        throw error;
      });
    });
  }

  #wake(): void {
    if (this.#waiters.length === 0) return;
    const { at } = this.state;
    const over = this.#waiters.filter((waiter) => waiter.isOver(at));
    this.#waiters = this.#waiters.filter((waiter) => !waiter.isOver(at));
    for (const waiter of over) waiter.resolve();
  }
}

/** Why the cycle shall end; `undefined` while it shall not. */
function reasonOf(state: LifeState): Reason | undefined {
  return 'end' in state ? state.end?.reason : undefined;
}
