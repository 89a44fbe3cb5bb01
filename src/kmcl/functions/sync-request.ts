/** A request that waits for its answer. */
import { type ChannelEndpoint, currentIrql, Irql, OutgoingPacket } from '../../channel/index.ts';
import type { Mdl } from '../../memory/index.ts';
import type { GpaRange } from '../../wire/gpa-range.ts';
import {
  type NtStatus,
  STATUS_BUFFER_OVERFLOW,
  STATUS_BUFFER_TOO_SMALL,
  STATUS_CANCELLED,
  STATUS_DEVICE_REMOVED,
  STATUS_INVALID_DEVICE_REQUEST,
  STATUS_INVALID_DEVICE_STATE,
  STATUS_INVALID_PARAMETER_1,
  STATUS_INVALID_PARAMETER_4,
  STATUS_INVALID_PARAMETER_5,
  STATUS_INVALID_PARAMETER_6,
  STATUS_INVALID_PARAMETER_7,
  STATUS_INVALID_PARAMETER_8,
  STATUS_NOT_SUPPORTED,
  STATUS_PENDING,
  STATUS_SUCCESS,
} from '../../wire/ntstatus.ts';
import { inBandBytes } from '../../wire/packet.ts';
import {
  VMBUS_CHANNEL_FORMAT_FLAG_FORCE_MDL_LENGTH,
  VMBUS_CHANNEL_FORMAT_FLAG_WAIT_FOR_COMPLETION,
  VMBUS_CHANNEL_FORMAT_FLAGS,
} from '../constants.ts';
import { bugCheck } from '../objects/bug-check.ts';
import { type ChannelObject, findChannel } from '../objects/channel-object.ts';
import type { VmbChannel } from '../objects/handles.ts';
import type { Out } from '../out.ts';
import { mdlRanges } from './mdl-ranges.ts';
import { areRangesAllowed, checkBuffer, mayReferToMemory, rangesPacketBytes } from './send-checks.ts';

/** 100 ns units in a millisecond. */
const TICKS_PER_MS = 10_000;
/** Milliseconds from 1601-01-01 to 1970-01-01, both UTC. */
const EPOCH_1601_MS = 11_644_473_600_000;

/**
 * Sends bytes, and optionally all of an MDL chain by reference, and waits until the transaction is over: with
 * WAIT_FOR_COMPLETION until the peer completed, without until the bytes are in the ring.
 *
 * @param buffer inline bytes; `null` only if `bufferSize` is 0
 * @param bufferSize bytes of `buffer` to send
 * @param externalDataMdl chain to describe, or `null`
 * @param flags WAIT_FOR_COMPLETION, PAGED_BUFFER
 * @param completionBuffer receives the completion's bytes; `null` if they do not matter
 * @param completionBufferSize on entry the bytes of `completionBuffer`, a multiple of 8; on success the bytes written;
 *   `null` for all of `completionBuffer`
 * @param timeout units of 100 ns: `null` waits for ever, negative is relative, positive is a time since 1601, 0 neither
 *   waits nor queues. On a server only 0, with WAIT clear, is legal
 * @returns with timeout 0 a status at once, otherwise a promise of one. `STATUS_SUCCESS`; `STATUS_BUFFER_OVERFLOW` if
 *   timeout is 0 and there is no room now; `STATUS_CANCELLED` when time is up (a later completion is ignored);
 *   `STATUS_DEVICE_REMOVED` when the channel shuts down meanwhile. Undocumented: `STATUS_INVALID_PARAMETER_n` by
 *   argument (`_4` for too much external data); `STATUS_BUFFER_TOO_SMALL` if the completion is longer than the buffer
 *   (`completionBufferSize` says how long); `STATUS_INVALID_DEVICE_STATE` on a Disabled channel, and for waiting while
 *   Opened or Started runs, where no completion can arrive; `STATUS_INVALID_DEVICE_REQUEST` for external data on a
 *   server or a pipe; `STATUS_NOT_SUPPORTED` for a time since 1601 where the scheduler has no calendar
 * @throws BugCheck K-211 at DISPATCH, unless timeout is 0 and WAIT clear
 * Source: WDK `vmbuskernelmodeclientlibapi.h`, FN_VMB_CHANNEL_SEND_SYNCHRONOUS_REQUEST; timeouts: WDK,
 * KeWaitForSingleObject.
 */
export function VmbChannelSendSynchronousRequest(
  channel: VmbChannel,
  buffer: Uint8Array | null,
  bufferSize: number,
  externalDataMdl: Mdl | null,
  flags: number,
  completionBuffer: Uint8Array | null,
  completionBufferSize: Out<number> | null,
  timeout: 0,
): NtStatus;
export function VmbChannelSendSynchronousRequest(
  channel: VmbChannel,
  buffer: Uint8Array | null,
  bufferSize: number,
  externalDataMdl: Mdl | null,
  flags: number,
  completionBuffer: Uint8Array | null,
  completionBufferSize: Out<number> | null,
  timeout: number | null,
): NtStatus | Promise<NtStatus>;
export function VmbChannelSendSynchronousRequest(
  channel: VmbChannel,
  buffer: Uint8Array | null,
  bufferSize: number,
  externalDataMdl: Mdl | null,
  flags: number,
  completionBuffer: Uint8Array | null,
  completionBufferSize: Out<number> | null,
  timeout: number | null,
): NtStatus | Promise<NtStatus> {
  const object = findChannel(channel);
  if (object === undefined) return STATUS_INVALID_PARAMETER_1;
  const { endpoint } = object;
  const wantsCompletion = (flags & VMBUS_CHANNEL_FORMAT_FLAG_WAIT_FOR_COMPLETION) !== 0;
  if (currentIrql() !== Irql.Passive && (timeout !== 0 || wantsCompletion)) {
    throw bugCheck(endpoint, 'K-211', 'VmbChannelSendSynchronousRequest waits, which needs PASSIVE');
  }
  const status = check(object, buffer, bufferSize, flags, completionBuffer, completionBufferSize, timeout);
  if (status !== STATUS_SUCCESS) return status;
  if (externalDataMdl !== null && !mayReferToMemory(object)) return STATUS_INVALID_DEVICE_REQUEST;
  if (endpoint.isDisabled) return STATUS_INVALID_DEVICE_STATE;
  const ranges = externalDataMdl === null ? null : mdlRanges(externalDataMdl);
  if (ranges === undefined) return STATUS_INVALID_PARAMETER_4;
  if (ranges !== null && !areRangesAllowed(object, ranges, bufferSize)) return STATUS_INVALID_PARAMETER_4;

  const request = new RequestPacket(completionBuffer, completionBufferSize);
  const send = (): void => sendRequest(endpoint, request, ranges, buffer, bufferSize, wantsCompletion);
  if (timeout === 0) {
    if (!endpoint.hasRoomNow(ranges === null ? inBandBytes(bufferSize) : rangesPacketBytes(ranges, bufferSize))) {
      return STATUS_BUFFER_OVERFLOW;
    }
    send();
    if (!wantsCompletion) return STATUS_SUCCESS;
    // The answer cannot be here yet: the peer runs later.
    request.expire(endpoint);
    return request.status;
  }
  if (endpoint.stage === 'opening' || endpoint.stage === 'starting') return STATUS_INVALID_DEVICE_STATE;
  if (endpoint.isEnding) return STATUS_DEVICE_REMOVED;
  const delayMs = timeout === null ? Number.POSITIVE_INFINITY : delayOf(endpoint, timeout);
  if (delayMs === undefined) return STATUS_NOT_SUPPORTED;
  return request.wait(endpoint, delayMs, send);
}

function check(
  object: ChannelObject,
  buffer: Uint8Array | null,
  bufferSize: number,
  flags: number,
  completionBuffer: Uint8Array | null,
  completionBufferSize: Out<number> | null,
  timeout: number | null,
): NtStatus {
  const wantsCompletion = (flags & VMBUS_CHANNEL_FORMAT_FLAG_WAIT_FOR_COMPLETION) !== 0;
  const bufferStatus = checkBuffer(object, buffer, bufferSize);
  if (bufferStatus !== STATUS_SUCCESS) return bufferStatus;
  if ((flags & ~VMBUS_CHANNEL_FORMAT_FLAGS) !== 0) return STATUS_INVALID_PARAMETER_5;
  if ((flags & VMBUS_CHANNEL_FORMAT_FLAG_FORCE_MDL_LENGTH) !== 0) return STATUS_INVALID_PARAMETER_5;
  if (wantsCompletion && (object.isServer || object.endpoint.settings.isPipe)) return STATUS_INVALID_PARAMETER_5;
  const completionBytes = completionBufferSize?.value ?? 0;
  if (completionBytes % 8 !== 0 || completionBytes < 0) return STATUS_INVALID_PARAMETER_7;
  if (completionBytes > (completionBuffer?.length ?? 0)) return STATUS_INVALID_PARAMETER_6;
  if (timeout !== null && Number.isNaN(timeout)) return STATUS_INVALID_PARAMETER_8;
  if (object.isServer && timeout !== 0) return STATUS_INVALID_PARAMETER_8;
  return STATUS_SUCCESS;
}

function sendRequest(
  endpoint: ChannelEndpoint,
  request: OutgoingPacket,
  ranges: readonly GpaRange[] | null,
  buffer: Uint8Array | null,
  bufferSize: number,
  wantsCompletion: boolean,
): void {
  if (ranges === null) endpoint.sendInBand(request, buffer, bufferSize, wantsCompletion);
  else endpoint.sendRanges(request, ranges, buffer, bufferSize, wantsCompletion);
}

/** Milliseconds from now, 0 or more; `undefined` if the scheduler has no calendar to tell. */
function delayOf(endpoint: ChannelEndpoint, timeout: number): number | undefined {
  if (timeout < 0) return -timeout / TICKS_PER_MS;
  const wallClockMs = endpoint.scheduler?.wallClockMs?.();
  if (wallClockMs === undefined) return undefined;
  return Math.max(0, timeout / TICKS_PER_MS - EPOCH_1601_MS - wallClockMs);
}

/** The packet object inside a synchronous request. */
class RequestPacket extends OutgoingPacket {
  status: NtStatus = STATUS_PENDING;
  readonly #buffer: Uint8Array | null;
  readonly #bufferSize: Out<number> | null;
  readonly #bufferBytes: number;
  #isExpired = false;
  #resolve: ((status: NtStatus) => void) | undefined;
  #stopTimer: (() => void) | undefined;

  constructor(buffer: Uint8Array | null, bufferSize: Out<number> | null) {
    super();
    this.#buffer = buffer;
    this.#bufferSize = bufferSize;
    this.#bufferBytes = bufferSize?.value ?? buffer?.length ?? 0;
  }

  override completed(status: NtStatus, bytes: Uint8Array | null, byteCount: number): void {
    if (status === STATUS_SUCCESS) this.status = this.#take(bytes, byteCount);
    else this.status = this.#isExpired ? STATUS_CANCELLED : STATUS_DEVICE_REMOVED;
    this.#stopTimer?.();
    this.#resolve?.(this.status);
  }

  /** Gives up if the transaction is not over yet. */
  expire(endpoint: ChannelEndpoint): void {
    this.#isExpired = true;
    endpoint.cancel(this, STATUS_CANCELLED);
  }

  wait(endpoint: ChannelEndpoint, delayMs: number, send: () => void): Promise<NtStatus> {
    return new Promise((resolve) => {
      this.#resolve = resolve;
      if (delayMs !== Number.POSITIVE_INFINITY) {
        const timer = endpoint.scheduler?.timer(delayMs, () => this.expire(endpoint));
        this.#stopTimer = () => timer?.cancel();
      }
      send();
    });
  }

  #take(bytes: Uint8Array | null, byteCount: number): NtStatus {
    if (this.#buffer === null) {
      if (this.#bufferSize !== null) this.#bufferSize.value = 0;
      return STATUS_SUCCESS;
    }
    if (this.#bufferSize !== null) this.#bufferSize.value = byteCount;
    if (byteCount > this.#bufferBytes) return STATUS_BUFFER_TOO_SMALL;
    if (bytes !== null) this.#buffer.set(bytes.subarray(0, byteCount));
    return STATUS_SUCCESS;
  }
}
