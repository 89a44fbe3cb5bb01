/** A request and its two ends: the answer that we wait for, and the moment the other side lets go of it. */
import { OutgoingPacket, OutgoingState, type Timer } from '../../channel/index.ts';
import { PeerError, UsageError } from '../../errors.ts';
import { type NtStatus, STATUS_CANCELLED, STATUS_SUCCESS } from '../../wire/ntstatus.ts';
import type { WaitOptions } from '../waiting.ts';
import type { ExternalPages, NoPages } from './external-pages.ts';
import type { Sender } from './sender.ts';

export interface RequestOptions extends WaitOptions {
  /** Milliseconds after which it rejects with `ERR_TIMEOUT`, 0 or more; waits for ever unless given. */
  readonly timeoutMs?: number;
}

type Settle = (value: Uint8Array) => void;
type Fail = (error: unknown) => void;

const NO_BYTES = new Uint8Array(0);

/**
 * The promise of a completion's payload: a copy, its length rounded up to 8 as on the wire.
 *
 * An abort or a timeout rejects at once, but the wire has no word to take a packet back: one that is in the ring stays
 * with the other side, and its completion is dropped when it comes. Pages that went with it are the host's until then.
 * Before you use them for anything else, `await request.released`.
 */
export class PendingRequest extends Promise<Uint8Array> {
  /** What `then` makes is an ordinary promise. */
  static override get [Symbol.species](): PromiseConstructor {
    return Promise;
  }

  readonly #exchange: Exchange | null;

  /** @param exchange `null` for a request that was refused */
  constructor(executor: (resolve: Settle, reject: Fail) => void, exchange: Exchange | null) {
    super(executor);
    this.#exchange = exchange;
  }

  /** Resolves, and never rejects, when the pages are yours again: completed, never sent, or the channel torn down. */
  get released(): Promise<void> {
    return this.#exchange?.released() ?? Promise.resolve();
  }
}

/** Sends it. Never throws: what is wrong rejects. */
export function startRequest(
  sender: Sender,
  bytes: Uint8Array,
  options: RequestOptions & (ExternalPages | NoPages),
): PendingRequest {
  const exchange = new Exchange(sender);
  return new PendingRequest((resolve, reject) => exchange.begin(resolve, reject, bytes, options), exchange);
}

export function refusedRequest(error: unknown): PendingRequest {
  return new PendingRequest((_, reject) => reject(error), null);
}

class Exchange extends OutgoingPacket {
  readonly #sender: Sender;
  #resolve: Settle = () => {};
  #reject: Fail = () => {};
  #signal: AbortSignal | undefined;
  #abort: (() => void) | undefined;
  #timer: Timer | undefined;
  /** The other side has let go: what resolves `released`, as far as somebody asked. */
  #isReleased = false;
  #release: (() => void) | undefined;
  #released: Promise<void> | undefined;

  constructor(sender: Sender) {
    super();
    this.#sender = sender;
  }

  begin(resolve: Settle, reject: Fail, bytes: Uint8Array, options: RequestOptions & (ExternalPages | NoPages)): void {
    const { signal, timeoutMs } = options;
    this.#resolve = resolve;
    this.#reject = reject;
    if (signal?.aborted === true) {
      this.#fail(signal.reason);
      return;
    }
    try {
      checkTimeout(timeoutMs);
      this.#sender.request(this, bytes, options);
    } catch (error) {
      this.#fail(error);
      return;
    }
    if (signal !== undefined) this.#listen(signal);
    if (timeoutMs !== undefined) this.#time(timeoutMs);
  }

  override completed(status: NtStatus, bytes: Uint8Array | null, byteCount: number): void {
    const { owner } = this.#sender;
    this.#stopListening();
    if (status === STATUS_SUCCESS) {
      this.#resolve(bytes === null ? NO_BYTES : bytes.slice(0, byteCount));
      this.#setReleased();
      return;
    }
    this.#reject(owner.errorOf(status));
    // It may be with the other side still, which lets go of it before the channel is torn down.
    owner.peerDone().then(() => this.#setReleased());
  }

  released(): Promise<void> {
    this.#released ??= this.#isReleased
      ? Promise.resolve()
      : new Promise((resolve) => {
          this.#release = resolve;
        });
    return this.#released;
  }

  #listen(signal: AbortSignal): void {
    this.#signal = signal;
    this.#abort = () => this.#giveUp(signal.reason);
    signal.addEventListener('abort', this.#abort, { once: true });
  }

  #time(timeoutMs: number): void {
    this.#timer = this.#sender.endpoint.scheduler?.timer(timeoutMs, () => {
      const status = STATUS_CANCELLED;
      this.#giveUp(new PeerError('ERR_TIMEOUT', `no completion within ${timeoutMs} ms`, { status }));
    });
  }

  /** The promise ends now; the packet too if it has not left yet, and otherwise when its completion comes. */
  #giveUp(error: unknown): void {
    this.#stopListening();
    this.#reject(error);
    if (this.state !== OutgoingState.Queued) return;
    this.#setReleased();
    this.#sender.endpoint.cancel(this, STATUS_CANCELLED);
  }

  /** Nothing was sent. */
  #fail(error: unknown): void {
    this.#reject(error);
    this.#setReleased();
  }

  #stopListening(): void {
    if (this.#abort !== undefined) this.#signal?.removeEventListener('abort', this.#abort);
    this.#abort = undefined;
    this.#timer?.cancel();
    this.#timer = undefined;
  }

  #setReleased(): void {
    this.#isReleased = true;
    this.#release?.();
  }
}

function checkTimeout(timeoutMs: number | undefined): void {
  if (timeoutMs === undefined || timeoutMs >= 0) return;
  throw new UsageError('ERR_ARGUMENT', `timeoutMs is ${timeoutMs}; it must be 0 or more`);
}
