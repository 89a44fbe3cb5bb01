/** Requests without promises: an object that is sent, completes, and is sent again. */
import { OutgoingPacket, OutgoingState } from '../../channel/index.ts';
import { UsageError } from '../../errors.ts';
import type { Mdl } from '../../memory/index.ts';
import type { GpaRange } from '../../wire/gpa-range.ts';
import { type NtStatus, STATUS_CANCELLED } from '../../wire/ntstatus.ts';
import { mdlRanges } from './external-pages.ts';
import type { Sender } from './sender.ts';

/**
 * The transaction is over; called exactly once for each send, and must not wait. It may send the transaction again.
 * @param status `STATUS_SUCCESS`, or why no completion will come: `STATUS_CANCELLED` (closed here, or cancelled),
 *   `STATUS_DEVICE_REMOVED` (the other side is gone), `STATUS_IO_DEVICE_ERROR` (it broke the protocol),
 *   `STATUS_INVALID_BUFFER_SIZE` (sent before the channel was open, and the ring is too small). Pages of an ended
 *   channel are yours again when `channel.closed` resolves
 * @param bytes the completion's payload, valid during the call; `null` without one
 * @param byteCount bytes of it that count, rounded up to 8 as on the wire
 */
export type Completed = (status: NtStatus, bytes: Uint8Array | null, byteCount: number) => void;

/**
 * One packet at a time, allocated once. All sends copy `bytes` before they return.
 * @throws UsageError, all of them and nothing sent: `ERR_STATE` while it is under way or on a pipe,
 *   `ERR_PACKET_TOO_BIG`, `ERR_ARGUMENT`; or the error that ended the channel
 */
export class Transaction {
  readonly #sender: Sender;
  readonly #packet: CallbackPacket;

  constructor(sender: Sender, completed: Completed) {
    this.#sender = sender;
    this.#packet = new CallbackPacket(completed);
  }

  /** From the send to its `completed`. */
  get isUnderWay(): boolean {
    return this.#packet.state !== OutgoingState.Idle;
  }

  /** @param wantsCompletion false: it is over as soon as it is in the ring */
  send(bytes: Uint8Array, wantsCompletion = true): void {
    this.#sender.inBand(this.#idle(), bytes, wantsCompletion);
  }

  /**
   * Takes it back if it waits for room or for the channel to open: `completed` is called with `STATUS_CANCELLED`.
   * @returns false if it is in the ring already, or over
   */
  cancel(): boolean {
    if (this.#packet.state !== OutgoingState.Queued) return false;
    return this.#sender.endpoint.cancel(this.#packet, STATUS_CANCELLED);
  }

  /** For the guest's, which has more ways to send. */
  protected get sender(): Sender {
    return this.#sender;
  }

  protected idlePacket(): OutgoingPacket {
    return this.#idle();
  }

  #idle(): OutgoingPacket {
    if (this.#packet.state === OutgoingState.Idle) return this.#packet;
    const { endpoint } = this.#sender;
    const message = 'the transaction is under way; wait for its `completed`';
    endpoint.watch?.misuse(endpoint, 'K-154', message, this.#packet);
    throw new UsageError('ERR_STATE', message);
  }
}

/** With pages of the guest's, which are the host's until `completed`. */
export class GuestTransaction extends Transaction {
  /** Whole pages by number: the fast way. @param pfnCount how many of them, from the first on */
  sendPfns(bytes: Uint8Array, pfns: ArrayLike<number>, pfnCount = pfns.length): void {
    this.sender.pfns(this.idlePacket(), bytes, pfns, pfnCount);
  }

  /** A part of an MDL chain. @throws AddressError if it is outside */
  sendMdl(bytes: Uint8Array, mdl: Mdl, mdlOffset = 0, mdlBytes?: number): void {
    const ranges = mdlRanges(mdlBytes === undefined ? { mdl, mdlOffset } : { mdl, mdlOffset, mdlBytes });
    this.sender.ranges(this.idlePacket(), bytes, ranges, true);
  }

  /** Ranges as they go on the wire. @param wantsCompletion false: over as soon as it is in the ring */
  sendRanges(bytes: Uint8Array, ranges: readonly GpaRange[], wantsCompletion = true): void {
    this.sender.ranges(this.idlePacket(), bytes, ranges, wantsCompletion);
  }
}

class CallbackPacket extends OutgoingPacket {
  readonly #completed: Completed;

  constructor(completed: Completed) {
    super();
    this.#completed = completed;
  }

  override completed(status: NtStatus, bytes: Uint8Array | null, byteCount: number): void {
    this.#completed(status, bytes, byteCount);
  }
}
