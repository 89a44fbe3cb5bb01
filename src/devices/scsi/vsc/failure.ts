/** From the state of a command that failed to the error that says so. */
import { PeerError, UsageError, type VmbusError } from '../../../errors.ts';
import {
  type NtStatus,
  ntStatusName,
  STATUS_CANCELLED,
  STATUS_DEVICE_NOT_CONNECTED,
  STATUS_DEVICE_REMOVED,
  STATUS_IO_DEVICE_ERROR,
  STATUS_SUCCESS,
} from '../../../wire/ntstatus.ts';
import { ScsiError } from './scsi-error.ts';
import type { ScsiIo } from './scsi-io.ts';

/** Why a command did not do what it should: the host's answer, or what became of the channel. */
export function failureOf(io: ScsiIo): VmbusError {
  const { status } = io;
  switch (status) {
    case STATUS_SUCCESS:
      return new ScsiError(io);
    case STATUS_CANCELLED:
    case STATUS_DEVICE_NOT_CONNECTED:
    case STATUS_DEVICE_REMOVED:
      return channelGone('the storage channel', status);
    case STATUS_IO_DEVICE_ERROR:
      return new PeerError('ERR_MESSAGE', 'the host completed the request with something that is no answer', {
        status,
      });
    default:
      return new UsageError('ERR_ARGUMENT', `the request makes no packet: ${ntStatusName(status)}`, { status });
  }
}

/** The error for a request that has no answer because its channel went away. */
export function channelGone(name: string, status: NtStatus): VmbusError {
  const code = status === STATUS_DEVICE_REMOVED ? 'ERR_RESCINDED' : 'ERR_CLOSED';
  return new PeerError(code, `${name} is gone: ${ntStatusName(status)}`, { status });
}
