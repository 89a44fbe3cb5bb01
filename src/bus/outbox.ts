/**
 * Messages on their way out, in order, when the port cannot take them at once or the guest asked for a pause.
 *
 * Source: Hyper-V TLFS, HvPostMessage: a receiver that does not empty its slot makes posts fail for a while. Linux
 * `drivers/hv/connection.c` (`vmbus_post_msg`) retries on the same codes.
 */
import { type ControlPort, PostStatus } from './control-port.ts';

/** A message that waits, as plain data. */
export interface SavedMessage {
  readonly connectionId: number;
  readonly message: Uint8Array;
}

interface Unsent extends SavedMessage {
  /** Called instead of trying again when there is no such message connection. */
  readonly refused: (() => void) | undefined;
}

export class Outbox {
  readonly #port: ControlPort;
  readonly #backlog: () => void;
  /** What the port did not take yet. */
  #unsent: Unsent[] = [];
  /** What came after `hold`; undefined when nothing is held. */
  #held: Unsent[] | undefined;

  /** @param backlog called when a message had to be kept back that could go; somebody shall call `flush` later */
  constructor(port: ControlPort, backlog: () => void) {
    this.#port = port;
    this.#backlog = backlog;
  }

  /** Messages kept back, for whatever reason. */
  get length(): number {
    return this.#unsent.length + (this.#held?.length ?? 0);
  }

  /** Posts, or keeps the message behind those that wait already. */
  post(connectionId: number, message: Uint8Array, refused?: () => void): void {
    const unsent = { connectionId, message, refused };
    if (this.#held !== undefined) {
      this.#held.push(unsent);
      return;
    }
    this.#unsent.push(unsent);
    if (this.#unsent.length === 1 && !this.flush()) this.#backlog();
  }

  /** Tries again. @returns true when nothing is kept back that could go */
  flush(): boolean {
    let first = this.#unsent[0];
    while (first !== undefined) {
      const status = this.#port.post(first.connectionId, first.message);
      const isRefused = status === PostStatus.InvalidConnectionId && first.refused !== undefined;
      if (status !== PostStatus.Success && !isRefused) return false;
      this.#unsent.shift();
      // Whoever was refused may post again at once; that comes last and the loop finds it.
      if (isRefused) first.refused?.();
      first = this.#unsent[0];
    }
    return true;
  }

  /** Keeps everything that is posted from now on, until `release`. What was posted before still goes. */
  hold(): void {
    this.#held ??= [];
  }

  /** Lets everything go. @param first a message that goes before what was held */
  release(first?: { readonly connectionId: number; readonly message: Uint8Array }): void {
    if (first !== undefined) this.#unsent.push({ ...first, refused: undefined });
    this.#unsent.push(...(this.#held ?? []));
    this.#held = undefined;
    if (!this.flush()) this.#backlog();
  }

  /** What waits, to be put back with `restore`. */
  save(): { unsent: SavedMessage[]; held: SavedMessage[] | undefined } {
    const plain = ({ connectionId, message }: Unsent): SavedMessage => ({ connectionId, message: message.slice() });
    return { unsent: this.#unsent.map(plain), held: this.#held?.map(plain) };
  }

  /** Takes up where another outbox was saved. Nothing is posted before `flush`. */
  restore(saved: {
    readonly unsent: readonly SavedMessage[];
    readonly held?: readonly SavedMessage[] | undefined;
  }): void {
    const waiting = (message: SavedMessage): Unsent => ({ ...message, refused: undefined });
    this.#unsent = saved.unsent.map(waiting);
    this.#held = saved.held?.map(waiting);
  }

  /** Forgets what was not sent: the connection that it belonged to has ended. */
  clear(): void {
    this.#unsent = [];
    this.#held = undefined;
  }
}
