/**
 * The units behind one SCSI controller, and the answers for addresses where there is none.
 *
 * Two rules keep Linux storvsc sane. It takes every failed INQUIRY for a good one, so an absent LUN answers INQUIRY with
 * "no device here" (byte 0 = 0x7f) or Linux invents a disk. And it answers srb status INVALID_LUN by removing
 * channel 0's LUN of that target and number, so REPORT LUNS to an absent path gets an empty list, never INVALID_LUN.
 * Source: SPC-4 sections 6.6 and 6.33; Linux `drivers/scsi/storvsc_drv.c`, storvsc_on_io_completion and storvsc_handle_error.
 */
import { UsageError } from '../../../errors.ts';
import { DataDirection } from '../../../wire/storvsc.ts';
import { u16be, u32be } from './big-endian.ts';
import type { Answered, ScsiCommand } from './command.ts';
import { STANDARD_INQUIRY_BYTES } from './inquiry.ts';
import type { LogicalUnit } from './logical-unit.ts';
import { Opcode } from './opcodes.ts';
import { respond } from './respond.ts';
import { SENSE } from './sense.ts';

/** Where a unit lives; each number 0..255. Linux looks at paths 0..7 and targets 0..1. */
export interface ScsiAddress {
  readonly path?: number;
  readonly target?: number;
  readonly lun?: number;
}

/** Told where a unit came or went, when it has. */
export type UnitsListener = (at: Required<ScsiAddress>) => void;

/** INQUIRY byte 0: peripheral qualifier 3 (nothing can be here), device type 0x1f. */
const NOTHING_HERE = 0x7f;
const MIN_INQUIRY_ALLOCATION_BYTES = 5;

/** SELECT REPORT of REPORT LUNS: ordinary units, well-known ones only (there are none), all. */
const SELECT_ORDINARY = 0;
const SELECT_WELL_KNOWN = 1;
const SELECT_ALL = 2;

export class ScsiController {
  /** Indexed by path, target, LUN: three array look-ups per command. */
  readonly #paths: (LogicalUnit | undefined)[][][] = [];
  readonly #watchers = new Set<UnitsListener>();

  /**
   * Adds a unit, also while guests use the others: they are told.
   * @throws UsageError `ERR_ARGUMENT` for an address outside 0..255 or one that is taken
   */
  attach(unit: LogicalUnit, address: ScsiAddress = {}): void {
    const { path, target, lun } = checkAddress(address);
    this.#paths[path] ??= [];
    const targets = this.#paths[path] as (LogicalUnit | undefined)[][];
    targets[target] ??= [];
    const luns = targets[target] as (LogicalUnit | undefined)[];
    if (luns[lun] !== undefined) {
      throw new UsageError('ERR_ARGUMENT', `path ${path}, target ${target}, LUN ${lun} is taken`);
    }
    luns[lun] = unit;
    for (const listener of this.#watchers) listener({ path, target, lun });
  }

  /** Takes a unit away, and tells the guests; commands under way still end. @returns the unit, `undefined` if there is none */
  detach(address: ScsiAddress): LogicalUnit | undefined {
    const { path, target, lun } = checkAddress(address);
    const luns = this.#paths[path]?.[target];
    const unit = luns?.[lun];
    if (luns === undefined || unit === undefined) return undefined;
    luns[lun] = undefined;
    for (const listener of this.#watchers) listener({ path, target, lun });
    return unit;
  }

  /** Calls `listener` whenever a unit came or went. @returns what ends it */
  watch(listener: UnitsListener): () => void {
    this.#watchers.add(listener);
    return () => this.#watchers.delete(listener);
  }

  /** The guest closed its channels or is gone. */
  nexusLost(): void {
    for (const { unit } of this.units()) unit.nexusLost();
  }

  unitAt(path: number, target: number, lun: number): LogicalUnit | undefined {
    return this.#paths[path]?.[target]?.[lun];
  }

  /** Runs a command at the address in it. REPORT LUNS is answered here, whoever is addressed. */
  execute(command: ScsiCommand): Answered {
    if (command.cdb[0] === Opcode.ReportLuns) return this.#reportLuns(command);
    const unit = this.unitAt(command.path, command.target, command.lun);
    if (unit !== undefined) return unit.execute(command);
    return command.cdb[0] === Opcode.Inquiry ? this.#inquiryOfNobody(command) : command.absent();
  }

  /** Closes every unit, whatever becomes of the others. @throws the first failure, once all are closed */
  async close(): Promise<void> {
    const endings = await Promise.allSettled(this.units().map(({ unit }) => unit.close()));
    const failed = endings.find((ending) => ending.status === 'rejected');
    if (failed !== undefined) throw failed.reason;
  }

  /** All units in the order of their addresses. */
  units(): { path: number; target: number; lun: number; unit: LogicalUnit }[] {
    return this.#paths.flatMap((targets, path) =>
      targets.flatMap((luns, target) =>
        luns.flatMap((unit, lun) => (unit === undefined ? [] : [{ path, target, lun, unit }])),
      ),
    );
  }

  inspect(): Record<string, unknown> {
    return Object.fromEntries(
      this.units().map(({ path, target, lun, unit }) => [`${path}:${target}:${lun}`, unit.inspect()]),
    );
  }

  #inquiryOfNobody(command: ScsiCommand): Answered {
    const isVital = ((command.cdb[1] as number) & 1) !== 0;
    const allocationBytes = u16be(command.cdb, 3);
    if (isVital || command.direction === DataDirection.Write || allocationBytes < MIN_INQUIRY_ALLOCATION_BYTES) {
      return command.absent();
    }
    const answer = new Uint8Array(STANDARD_INQUIRY_BYTES);
    answer[0] = NOTHING_HERE;
    answer[2] = 0x05;
    answer[3] = 0x02;
    answer[4] = STANDARD_INQUIRY_BYTES - 5;
    // Linux goes on to REPORT LUNS only if LUN 0 answers with a name.
    if (command.lun === 0) answer.set(new TextEncoder().encode('Msft    Virtual Disk    1.0 '), 8);
    return respond(command, answer, allocationBytes);
  }

  #reportLuns(command: ScsiCommand): Answered {
    const select = command.cdb[2] as number;
    if (select !== SELECT_ORDINARY && select !== SELECT_WELL_KNOWN && select !== SELECT_ALL) {
      return command.refuse(SENSE.InvalidFieldInCdb);
    }
    const luns: number[] = [];
    if (select !== SELECT_WELL_KNOWN) {
      this.#paths[command.path]?.[command.target]?.forEach((unit, lun) => {
        if (unit !== undefined) luns.push(lun);
      });
    }
    const answer = new Uint8Array(8 + 8 * luns.length);
    new DataView(answer.buffer).setUint32(0, 8 * luns.length);
    luns.forEach((lun, index) => {
      answer[8 + 8 * index + 1] = lun; // Peripheral addressing: byte 0 is the bus (0), byte 1 the LUN.
    });
    // Cut to the buffer as to the allocation length; less than a header says nothing, and that is no error.
    const roomBytes = Math.min(u32be(command.cdb, 6), command.dataBytes);
    return respond(command, answer, roomBytes < 8 ? 0 : roomBytes);
  }
}

function checkAddress(address: ScsiAddress): { path: number; target: number; lun: number } {
  const { path = 0, target = 0, lun = 0 } = address;
  for (const [name, value] of Object.entries({ path, target, lun })) {
    if (!Number.isInteger(value) || value < 0 || value > 255) {
      throw new UsageError('ERR_ARGUMENT', `${name} ${value} is outside 0..255`);
    }
  }
  return { path, target, lun };
}
