import {
  type NtStatus,
  STATUS_BUFFER_OVERFLOW,
  STATUS_CANCELLED,
  STATUS_DEVICE_BUSY,
  STATUS_DEVICE_DOES_NOT_EXIST,
  STATUS_DEVICE_NOT_CONNECTED,
  STATUS_INVALID_DEVICE_REQUEST,
  STATUS_IO_DEVICE_ERROR,
  STATUS_IO_TIMEOUT,
  STATUS_SUCCESS,
  STATUS_UNSUCCESSFUL,
} from '../../../wire/ntstatus.ts';
import { SrbStatus } from '../../../wire/storvsc.ts';

/**
 * The NTSTATUS that stands in the header of a completion beside this srb status.
 * Source: OpenVMM `storvsp`, the mapping of srb status to NTSTATUS. Linux only logs it; Windows looks at it.
 */
export function ntStatusOfSrb(srbStatus: number): NtStatus {
  switch (srbStatus) {
    case SrbStatus.Success:
      return STATUS_SUCCESS;
    case SrbStatus.Busy:
      return STATUS_DEVICE_BUSY;
    case SrbStatus.DataOverrun:
      return STATUS_BUFFER_OVERFLOW;
    case SrbStatus.InvalidLun:
    case SrbStatus.InvalidTargetId:
    case SrbStatus.NoDevice:
    case SrbStatus.NoHba:
      return STATUS_DEVICE_DOES_NOT_EXIST;
    case SrbStatus.Timeout:
    case SrbStatus.CommandTimeout:
      return STATUS_IO_TIMEOUT;
    case SrbStatus.SelectionTimeout:
      return STATUS_DEVICE_NOT_CONNECTED;
    case SrbStatus.BadFunction:
    case SrbStatus.BadSrbBlockLength:
      return STATUS_INVALID_DEVICE_REQUEST;
    case SrbStatus.RequestFlushed:
      return STATUS_UNSUCCESSFUL;
    case SrbStatus.Aborted:
      return STATUS_CANCELLED;
    default:
      return STATUS_IO_DEVICE_ERROR;
  }
}
