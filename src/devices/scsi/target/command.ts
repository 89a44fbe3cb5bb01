/**
 * One SCSI command on its way through a logical unit: the question above, the answer below.
 *
 * The object is reused for command after command, so that a request allocates nothing here. Whoever runs it fills in the
 * question and sets `onDone`; the unit answers exactly once, at once or whenever its store is ready.
 */
import { assert } from '../../../errors.ts';
import type { ScatterView } from '../../../memory/scatter-view.ts';
import { CDB_BYTES, DataDirection, ScsiStatus, SrbStatus } from '../../../wire/storvsc.ts';
import { BackendError, BackendFault } from '../block-backend.ts';
import { SENSE, type Sense } from './sense.ts';
import type { WriteGate } from './write-gate.ts';

declare const answered: unique symbol;

/** What every answer returns, so that a handler with a path that does not answer does not compile. */
export interface Answered {
  readonly [answered]: true;
}

/** The only value of that type; it says nothing. */
const ANSWERED = {} as Answered;

export class ScsiCommand {
  /** Private copy; bytes beyond the CDB's own length are zero. */
  readonly cdb = new Uint8Array(CDB_BYTES);
  path = 0;
  target = 0;
  lun = 0;
  /** What the initiator says about `data`: `None` and any unknown value allow both ways. */
  direction: number = DataDirection.None;
  /** The initiator's buffer, exactly as long as it offered; `undefined` if it offered none. Dead after the answer. */
  data: ScatterView | undefined;

  /** Entered by a unit for a write; left when the command is answered. */
  gate: WriteGate | undefined;

  srbStatus: number = SrbStatus.Pending;
  scsiStatus: number = ScsiStatus.Good;
  /** Why, with CHECK CONDITION; `undefined` if there is nothing to say. */
  sense: Sense | undefined;
  /** Bytes of `data` that were filled or taken. */
  transferredBytes = 0;

  /** Called with the answer in place. */
  onDone: ((command: ScsiCommand) => void) | undefined;
  /** Told what made a store fail, for the host's own log: the guest sees sense data only. */
  onFault: ((error: unknown) => void) | undefined;

  #isRunning = false;
  #storeBytes = 0;
  readonly #storeDone = (): void => void this.good(this.#storeBytes);
  readonly #storeFailed = (error: unknown): void => this.#failFromStore(error);

  /** Bytes that the initiator offered. */
  get dataBytes(): number {
    return this.data === undefined ? 0 : this.data.byteLength;
  }

  get isRunning(): boolean {
    return this.#isRunning;
  }

  /** Marks the question as asked; call once per command, before the unit sees it. */
  begin(): void {
    assert(!this.#isRunning, 'a SCSI command is started while it runs');
    this.#isRunning = true;
    this.srbStatus = SrbStatus.Pending;
    this.scsiStatus = ScsiStatus.Good;
    this.sense = undefined;
    this.transferredBytes = 0;
  }

  /** Done, with `transferredBytes` moved. */
  good(transferredBytes: number): Answered {
    return this.#finish(SrbStatus.Success, ScsiStatus.Good, undefined, transferredBytes);
  }

  /** The command itself is wrong. */
  refuse(sense: Sense): Answered {
    return this.#finish(SrbStatus.InvalidRequest, ScsiStatus.CheckCondition, sense, 0);
  }

  /** The command is fine and cannot be done. */
  fail(sense: Sense): Answered {
    return this.#finish(SrbStatus.Error, ScsiStatus.CheckCondition, sense, 0);
  }

  /** The answer does not fit the buffer. */
  overrun(): Answered {
    return this.#finish(SrbStatus.DataOverrun, ScsiStatus.CheckCondition, SENSE.InvalidFieldInCdb, 0);
  }

  /** Somebody else has reserved the unit. */
  conflict(): Answered {
    return this.#finish(SrbStatus.Error, ScsiStatus.ReservationConflict, undefined, 0);
  }

  /** Nobody lives at this address. */
  absent(): Answered {
    return this.#finish(SrbStatus.InvalidLun, ScsiStatus.CheckCondition, undefined, 0);
  }

  /** Answers when the store does: good with `transferredBytes`, or with what its error means to a guest. */
  awaitStore(work: Promise<void>, transferredBytes: number): Answered {
    this.#storeBytes = transferredBytes;
    work.then(this.#storeDone, this.#storeFailed);
    return ANSWERED;
  }

  /** Answers when `work` does, which ends in an answer; what it throws is a failure of the store. */
  awaitWork(work: Promise<Answered>): Answered {
    work.catch(this.#storeFailed);
    return ANSWERED;
  }

  /** Another write excludes this one for now: `start` is called when it may begin, and answers then. */
  awaitGate(gate: WriteGate, start: () => Answered): Answered {
    gate.whenOpen(() => void start());
    return ANSWERED;
  }

  #finish(srbStatus: number, scsiStatus: number, sense: Sense | undefined, transferredBytes: number): Answered {
    assert(this.#isRunning, 'a SCSI command is answered twice');
    this.#isRunning = false;
    if (this.gate !== undefined) this.#leaveGate(this.gate);
    this.srbStatus = srbStatus;
    this.scsiStatus = scsiStatus;
    this.sense = sense;
    this.transferredBytes = transferredBytes;
    this.onDone?.(this);
    return ANSWERED;
  }

  #leaveGate(gate: WriteGate): void {
    this.gate = undefined;
    gate.leave();
  }

  #failFromStore(error: unknown): void {
    this.onFault?.(error);
    this.fail(error instanceof BackendError ? FAULT_SENSE[error.fault] : SENSE.IoError);
  }
}

const FAULT_SENSE: Record<BackendFault, Sense> = {
  [BackendFault.OutOfRange]: SENSE.LbaOutOfRange,
  [BackendFault.ReadOnly]: SENSE.WriteProtected,
  [BackendFault.Read]: SENSE.UnrecoveredRead,
  [BackendFault.Write]: SENSE.WriteFault,
  [BackendFault.NoSpace]: SENSE.SpaceAllocationFailed,
};
