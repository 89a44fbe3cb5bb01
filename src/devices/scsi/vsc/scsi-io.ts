/**
 * One SCSI command as a guest asks it: the question above, the answer below.
 *
 * The object may be used again once `onDone` was called; a disk keeps a pool of them. `StorVsc.submit` takes it.
 */
import { type NtStatus, STATUS_PENDING, STATUS_SUCCESS } from '../../../wire/ntstatus.ts';
import { CDB_BYTES, DataDirection, ScsiStatus, SENSE_BYTES, SrbStatus } from '../../../wire/storvsc.ts';
import { parseSense, type Sense } from '../target/sense.ts';

const NO_PFNS: readonly number[] = [];

export class ScsiIo {
  readonly cdb = new Uint8Array(CDB_BYTES);
  /** 6, 10, 12 or 16. */
  cdbBytes = 6;
  path = 0;
  target = 0;
  lun = 0;
  direction: DataDirection = DataDirection.None;
  /** Data that may move, bytes: what the host is offered of the pages. 0 for none. */
  dataBytes = 0;
  /** Whole pages that hold the data, in order; they are read by `submit` only. */
  pfns: ArrayLike<number> = NO_PFNS;
  pfnCount = 0;

  /** `STATUS_SUCCESS` if the host answered, whatever it answered; else why it will not. */
  status: NtStatus = STATUS_PENDING;
  /** The host's own NTSTATUS for the request. */
  hostStatus: NtStatus = STATUS_SUCCESS;
  srbStatus: number = SrbStatus.Pending;
  scsiStatus: number = ScsiStatus.Good;
  /** Bytes that moved, never more than `dataBytes`. */
  transferredBytes = 0;
  readonly senseData = new Uint8Array(SENSE_BYTES);
  /** Bytes of `senseData` that the host gave; 0 for none. */
  senseBytes = 0;

  /** Called once for each `submit`, with the answer in place. */
  onDone: ((io: ScsiIo) => void) | undefined;
  /** The next in the queue of those that wait for a free slot; the queue's own. */
  next: ScsiIo | undefined;

  /** True if the host did what it was asked. */
  get isGood(): boolean {
    return (
      this.status === STATUS_SUCCESS && this.srbStatus === SrbStatus.Success && this.scsiStatus === ScsiStatus.Good
    );
  }

  get sense(): Sense | undefined {
    return this.senseBytes === 0 ? undefined : parseSense(this.senseData.subarray(0, this.senseBytes));
  }

  /** Ends with an answer that is no answer of the host's. */
  end(status: NtStatus): void {
    this.status = status;
    this.onDone?.(this);
  }
}
