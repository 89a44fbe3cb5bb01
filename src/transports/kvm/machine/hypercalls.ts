/**
 * The two hypercalls that a VMBus guest needs: HvPostMessage and HvSignalEvent. Every other code gets "invalid code".
 *
 * Runs in the vCPU's thread, once per doorbell, so registers are words, not `bigint`s. The input block is the guest's
 * memory: its address is checked, each field is read once.
 *
 * Source: Hyper-V TLFS, "Hypercall Interface", HvCallPostMessage and HvCallSignalEvent; status codes as in Linux
 * `include/asm-generic/hyperv-tlfs.h`.
 */
import { MAX_MESSAGE_BYTES, MessageConnection, PostStatus } from '../../../bus/control-port.ts';
import { PAGE_BYTES } from '../../../memory/page.ts';
import type { Bell } from './bell.ts';
import type { ExitMailbox } from './exit-mailbox.ts';
import type { GuestRam } from './guest-ram.ts';

/** Bits 0..15 of the input value. */
export const HypercallCode = { PostMessage: 0x5c, SignalEvent: 0x5d } as const;

/** Bit 16 of the input value: the parameters are in registers. */
export const FAST = 1 << 16;
/** Bits 17..31: variable header size and reserved bits; both calls have none. */
const UNUSED_LOW = 0xfffe0000;

export const HypercallStatus = {
  Success: 0,
  InvalidCode: 2,
  InvalidInput: 3,
  InvalidAlignment: 4,
  InvalidParameter: 5,
  InvalidConnectionId: PostStatus.InvalidConnectionId,
  InsufficientBuffers: PostStatus.InsufficientBuffers,
} as const;

/** Connection ids have 24 bits. */
const CONNECTION_ID_LIMIT = 1 << 24;
/** The message type that both sides of VMBus use. */
const VMBUS_MESSAGE_TYPE = 1;
const POST_HEADER_BYTES = 16;
const SIGNAL_INPUT_BYTES = 8;

export class Hypercalls {
  readonly #ram: GuestRam;
  readonly #mailbox: ExitMailbox;
  readonly #bell: Bell;
  readonly #isStopped: () => boolean;

  constructor(ram: GuestRam, mailbox: ExitMailbox, bell: Bell, isStopped: () => boolean) {
    this.#ram = ram;
    this.#mailbox = mailbox;
    this.#bell = bell;
    this.#isStopped = isStopped;
  }

  /**
   * @param inputLo RCX, low word: code and flags; `inputHi` is the high word: repeat count and start
   * @param parameterLo RDX, low word: the input block's address, or the parameter itself if fast
   * @returns status for RAX
   */
  call(inputLo: number, inputHi: number, parameterLo: number, parameterHi: number): number {
    const code = inputLo & 0xffff;
    if (code !== HypercallCode.PostMessage && code !== HypercallCode.SignalEvent) return HypercallStatus.InvalidCode;
    if ((inputLo & UNUSED_LOW) !== 0 || inputHi !== 0) return HypercallStatus.InvalidInput;
    const isFast = (inputLo & FAST) !== 0;
    if (code === HypercallCode.SignalEvent) {
      return isFast ? this.#signal(parameterLo, parameterHi) : this.#signalSlow(parameterLo, parameterHi);
    }
    return isFast ? HypercallStatus.InvalidInput : this.#post(parameterLo, parameterHi);
  }

  #post(addressLo: number, addressHi: number): number {
    const gpa = inputAddress(addressLo, addressHi);
    const status = this.#checkInput(gpa, POST_HEADER_BYTES);
    if (status !== HypercallStatus.Success) return status;
    const view = this.#ram.view;
    const connectionId = view.getUint32(gpa, true);
    const messageType = view.getUint32(gpa + 8, true);
    const byteCount = view.getUint32(gpa + 12, true);
    if (messageType !== VMBUS_MESSAGE_TYPE || byteCount > MAX_MESSAGE_BYTES) return HypercallStatus.InvalidParameter;
    if (connectionId !== MessageConnection.Legacy && connectionId !== MessageConnection.Multiclient) {
      return HypercallStatus.InvalidConnectionId;
    }
    const bodyStatus = this.#checkInput(gpa, POST_HEADER_BYTES + byteCount);
    if (bodyStatus !== HypercallStatus.Success) return bodyStatus;
    const payload = this.#ram.slice(gpa + POST_HEADER_BYTES, byteCount);
    const isTaken = this.#mailbox.putMessage(connectionId, payload);
    this.#bell.ring();
    return isTaken ? HypercallStatus.Success : HypercallStatus.InsufficientBuffers;
  }

  #signalSlow(addressLo: number, addressHi: number): number {
    const gpa = inputAddress(addressLo, addressHi);
    const status = this.#checkInput(gpa, SIGNAL_INPUT_BYTES);
    if (status !== HypercallStatus.Success) return status;
    return this.#signal(this.#ram.view.getUint32(gpa, true), this.#ram.view.getUint32(gpa + 4, true));
  }

  /** @param flagWord flag number in bits 0..15; our event ports have one flag, number 0 */
  #signal(connectionId: number, flagWord: number): number {
    if (flagWord !== 0) return HypercallStatus.InvalidParameter;
    if (connectionId === 0 || connectionId >= CONNECTION_ID_LIMIT) return HypercallStatus.InvalidConnectionId;
    this.#mailbox.putSignal(connectionId, this.#isStopped);
    this.#bell.ring();
    return HypercallStatus.Success;
  }

  /** Aligned to 8, in RAM, and within one page. */
  #checkInput(gpa: number, byteCount: number): number {
    if (gpa % 8 !== 0 || (gpa % PAGE_BYTES) + byteCount > PAGE_BYTES) return HypercallStatus.InvalidAlignment;
    return this.#ram.has(gpa, byteCount) ? HypercallStatus.Success : HypercallStatus.InvalidParameter;
  }
}

/** Exact below 2^53; above it the number is too large for any RAM, which is all that matters. */
function inputAddress(lo: number, hi: number): number {
  return hi * 2 ** 32 + lo;
}
