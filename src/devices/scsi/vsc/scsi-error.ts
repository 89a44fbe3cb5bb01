/** A SCSI command that the host answered, and not with success. */
import { VmbusError } from '../../../errors.ts';
import { ScsiStatus, srbStatusName } from '../../../wire/storvsc.ts';
import { opcodeName } from '../target/opcodes.ts';
import { formatSense, type Sense } from '../target/sense.ts';
import type { ScsiIo } from './scsi-io.ts';

/** Code `ERR_REFUSED`; `status` is the host's NTSTATUS for the request. */
export class ScsiError extends VmbusError {
  readonly opcode: number;
  /** Low 6 bits: one of `SrbStatus`. */
  readonly srbStatus: number;
  readonly scsiStatus: number;
  /** Why, if the host said it. */
  readonly sense: Sense | undefined;

  constructor(io: ScsiIo) {
    super('ERR_REFUSED', describe(io), { status: io.hostStatus });
    this.opcode = io.cdb[0] as number;
    this.srbStatus = io.srbStatus;
    this.scsiStatus = io.scsiStatus;
    this.sense = io.sense;
  }
}

/** `Read10 at 0:0:0: 5/21/00 logical block address out of range (srb status Error, SCSI status CheckCondition)` */
function describe(io: ScsiIo): string {
  const { sense } = io;
  const scsi = Object.entries(ScsiStatus).find(([, value]) => value === io.scsiStatus)?.[0] ?? `${io.scsiStatus}`;
  const why = io.isGood
    ? `moved ${io.transferredBytes} bytes of ${io.dataBytes}`
    : sense === undefined
      ? 'failed without sense data'
      : formatSense(sense);
  const states = `srb status ${srbStatusName(io.srbStatus)}, SCSI status ${scsi}`;
  return `${opcodeName(io.cdb[0] as number)} at ${io.path}:${io.target}:${io.lun}: ${why} (${states})`;
}
