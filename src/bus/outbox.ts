/**
 * Messages on their way out, in order, when the port cannot take them at once or the guest asked for a pause.
 *
 * Source: Hyper-V TLFS, HvPostMessage: a receiver that does not empty its slot makes posts fail for a while. Linux
 * `drivers/hv/connection.c` (`vmbus_post_msg`) retries on the same codes.
 */
import { type ControlPort, PostStatus } from './control-port.ts';

interface Unsent {
  readonly connectionId: number;
  readonly message: Uint8Array;
}

export class Outbox {
  readonly #port: ControlPort;
  readonly #backlog: () => void;
  #unsent: Unsent[] = [];
  #isHeld = false;

  /** @param backlog called when the first message had to be kept back; somebody shall call `flush` later */
  constructor(port: ControlPort, backlog: () => void) {
    this.#port = port;
    this.#backlog = backlog;
  }

  /** Messages kept back. */
  get length(): number {
    return this.#unsent.length;
  }

  get isHeld(): boolean {
    return this.#isHeld;
  }

  /** Posts, or keeps the message behind those that wait already. */
  post(connectionId: number, message: Uint8Array): void {
    if (this.#unsent.length === 0 && !this.#isHeld && this.#port.post(connectionId, message) === PostStatus.Success) {
      return;
    }
    this.#unsent.push({ connectionId, message });
    if (this.#unsent.length === 1 && !this.#isHeld) this.#backlog();
  }

  /** Posts without keeping: the caller wants the status. Refuses to overtake messages that wait. */
  tryPost(connectionId: number, message: Uint8Array): PostStatus {
    if (this.#unsent.length > 0 || this.#isHeld) return PostStatus.InsufficientBuffers;
    return this.#port.post(connectionId, message);
  }

  /** Tries again. @returns true when nothing is kept back any more */
  flush(): boolean {
    if (this.#isHeld) return this.#unsent.length === 0;
    let sent = 0;
    for (const { connectionId, message } of this.#unsent) {
      if (this.#port.post(connectionId, message) !== PostStatus.Success) break;
      sent++;
    }
    this.#unsent.splice(0, sent);
    return this.#unsent.length === 0;
  }

  /** Keeps everything back until `release`. */
  hold(): void {
    this.#isHeld = true;
  }

  release(): void {
    this.#isHeld = false;
    if (!this.flush()) this.#backlog();
  }

  /** Forgets what was not sent: the connection that it belonged to has ended. */
  clear(): void {
    this.#unsent = [];
    this.#isHeld = false;
  }
}
