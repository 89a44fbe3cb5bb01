/** Why a channel came to its end, as a value and as the error that those who waited get. */
import { REASON_STATUS, type Reason } from '../../channel/index.ts';
import { PeerError, SystemError, UsageError, type VmbusError } from '../../errors.ts';
import {
  type NtStatus,
  ntStatusName,
  STATUS_DEVICE_NOT_CONNECTED,
  STATUS_DEVICE_REMOVED,
  STATUS_INSUFFICIENT_RESOURCES,
  STATUS_INVALID_BUFFER_SIZE,
  STATUS_UNSUCCESSFUL,
} from '../../wire/ntstatus.ts';

/**
 * - `closed`: by us
 * - `closedByPeer`: the guest closed it or went away; the host may see it opened again
 * - `rescinded`: the host took the offer back
 * - `lost`: the transport is gone
 * - `faulted`: the peer broke the protocol on this channel
 * - `refused`: it never opened: our `onOpened` or the other side said no
 */
export type EndReason = 'closed' | 'refused' | Exclude<Reason, 'disabled'>;

export interface ChannelEnd {
  readonly reason: EndReason;
  /** What those were told who waited for the peer. Its `status` is the NTSTATUS of a completion routine. */
  readonly error: VmbusError;
}

/** @param fault what the peer did, if that is known to be the reason */
export function endOf(reason: Reason, subject: string, fault: PeerError | undefined): ChannelEnd {
  const status = REASON_STATUS[reason];
  switch (reason) {
    case 'disabled':
      return { reason: 'closed', error: new UsageError('ERR_CLOSED', `${subject} was closed here`, { status }) };
    case 'closedByPeer':
      return {
        reason,
        error: new PeerError('ERR_CLOSED', `${subject} was closed by the guest, or the guest went away`, { status }),
      };
    case 'rescinded':
      return { reason, error: new PeerError('ERR_RESCINDED', `the host took ${subject} back`, { status }) };
    case 'lost':
      return { reason, error: new SystemError('ERR_TRANSPORT', `${subject} ended with its transport`, { status }) };
    case 'faulted': {
      const { code = 'ERR_CLOSED', message = 'the peer broke the protocol' } = fault ?? {};
      return { reason, error: new PeerError(code, `${subject} ended: ${message}`, { status, cause: fault }) };
    }
  }
}

/** Our own `onOpened` refused. */
export function refusedHere(subject: string): ChannelEnd {
  const status = STATUS_UNSUCCESSFUL;
  return { reason: 'refused', error: new UsageError('ERR_REFUSED', `onOpened refused ${subject}`, { status }) };
}

/** A located offer could not be opened. */
export function openFailure(status: NtStatus, subject: string): ChannelEnd {
  if (status === STATUS_DEVICE_REMOVED) return endOf('rescinded', subject, undefined);
  if (status === STATUS_DEVICE_NOT_CONNECTED) return endOf('lost', subject, undefined);
  if (status === STATUS_INSUFFICIENT_RESOURCES) {
    const message = `${subject} could not be opened: no pages for its rings, or no MMIO space`;
    return { reason: 'refused', error: new SystemError('ERR_OUT_OF_MEMORY', message, { status }) };
  }
  const message = `the host refused to open ${subject}: ${ntStatusName(status)}`;
  return { reason: 'refused', error: new PeerError('ERR_REFUSED', message, { status }) };
}

/** Why one packet of a channel that goes on never went out, or ended with it. */
export function packetError(status: NtStatus, subject: string, end: ChannelEnd | undefined): VmbusError {
  if (status === STATUS_INVALID_BUFFER_SIZE) {
    const message = `a packet waited for ${subject} to open, and its ring turned out too small for it`;
    return new UsageError('ERR_PACKET_TOO_BIG', message, { status });
  }
  return end?.error ?? new UsageError('ERR_CLOSED', `${subject} is closed`, { status });
}
