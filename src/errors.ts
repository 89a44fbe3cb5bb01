/**
 * Every error this package throws, and every stable code one can carry.
 *
 * Who is wrong decides the class: our caller (`UsageError`), the other side of the bus (`PeerError`), the machine
 * (`SystemError`), a guest physical address outside memory (`AddressError`). Ordinary answers (full, empty, not yet)
 * are return values and never come here. A broken invariant of our own is an `AssertionError` from `assert`.
 */

/** Each code with what it means. The text is for `docs/` and for people; programs compare the code. */
export const ERROR_CODES = {
  ERR_ADDRESS: 'a guest physical address or page frame number lies outside guest memory',
  ERR_ARGUMENT: 'an argument is outside its documented range',
  ERR_STATE: 'the call is not legal in the current state',
  ERR_STRUCT: 'a struct declaration is inconsistent (gap, overlap, alignment or size)',
  ERR_SHORT: 'a buffer is shorter than the layout that it should hold',
  ERR_PACKET_TOO_BIG: 'a packet could never fit this ring',
  ERR_RING_MEMORY: 'the pages given do not make a ring',
  ERR_RING_INDEX: 'the peer stored a ring index that is outside the ring or not a multiple of 8',
  ERR_RING_AVAILABLE: 'the ring holds some bytes but less than one packet descriptor',
  ERR_RING_LENGTHS: 'a packet descriptor carries impossible lengths',
  ERR_RING_FLAGS: 'a packet descriptor carries flags that the protocol does not define',
  ERR_RING_TYPE: 'a packet descriptor carries a type that is not used on a ring',
  ERR_RING_RANGES: 'an external-data packet names no range at all, or more than its header holds',
  ERR_RING_MASK: 'the peer changed the interrupt mask that is ours to write',
  ERR_RING_TRANSACTION: 'a completion names a transaction that is not in flight',
  ERR_GPA_RANGE: 'a GPA range is malformed',
  ERR_MESSAGE: 'a control message is malformed, out of turn or names something that does not exist',
  ERR_SAVED_STATE: 'saved state is corrupt, incomplete, of an unknown version, or does not fit this end',
  ERR_RESOURCES: 'a documented limit (channels, GPADLs, pages, identifiers) is reached',
  ERR_OUT_OF_MEMORY: 'the page allocator has no run of pages of that length',
  ERR_CLOSED: 'the channel, bus or transport is closed',
  ERR_RESCINDED: 'the host took the offer back',
  ERR_REFUSED: 'the other side answered with a failure status',
  ERR_TIMEOUT: 'the other side did not answer in the time given',
  ERR_TRANSPORT: 'the transport failed',
  ERR_BACKEND: 'the store behind a device failed',
  ERR_BUG_CHECK: 'a driver broke a rule that would have stopped Windows (bug check)',
} as const;

export type ErrorCode = keyof typeof ERROR_CODES;

export interface VmbusErrorOptions {
  /** The NTSTATUS that a KMCL function returns for the same fault, when there is one. */
  readonly status?: number;
  readonly cause?: unknown;
}

/** Base of all our errors; `code` is stable, the message is for people. */
export abstract class VmbusError extends Error {
  readonly code: ErrorCode;
  readonly status: number | undefined;

  constructor(code: ErrorCode, message: string, options: VmbusErrorOptions = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.name = new.target.name;
    this.code = code;
    this.status = options.status;
  }
}

/** Our caller is wrong: thrown at once, nothing changed. */
export class UsageError extends VmbusError {}

/** The other side of the bus is wrong: its channel (or message) ends there, everything else lives on. */
export class PeerError extends VmbusError {}

/** The machine is wrong: `cause` is the error of the call that failed. */
export class SystemError extends VmbusError {}

/** An address outside guest memory. Whether that is a peer's fault or our caller's, the catcher knows. */
export class AddressError extends VmbusError {
  constructor(message: string, options?: VmbusErrorOptions) {
    super('ERR_ADDRESS', message, options);
  }
}

/** An invariant of our own is broken. Never caught: it is a bug in this package. */
export class AssertionError extends Error {
  override readonly name = 'AssertionError';
}

/** @throws AssertionError unless `condition` holds */
export function assert(condition: boolean, message: string): asserts condition {
  if (!condition) throw new AssertionError(`invariant broken: ${message}`);
}

/** `0x` and lower-case hex, for messages about offsets and identifiers. */
export function hex(value: number): string {
  return value < 0 ? `-0x${(-value).toString(16)}` : `0x${value.toString(16)}`;
}
