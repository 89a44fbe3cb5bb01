/** The ordinary case for tests of the SCSI target: a small disk, a command, its answer. */
import { expect } from 'vitest';
import type { BlockBackend } from '../../../../src/devices/scsi/block-backend.ts';
import { MemoryBackend } from '../../../../src/devices/scsi/memory-backend.ts';
import { ScsiCommand } from '../../../../src/devices/scsi/target/command.ts';
import { DiskUnit, type DiskUnitOptions } from '../../../../src/devices/scsi/target/disk/disk-unit.ts';
import type { Sense } from '../../../../src/devices/scsi/target/sense.ts';
import { ScatterView } from '../../../../src/memory/scatter-view.ts';
import { DataDirection } from '../../../../src/wire/storvsc.ts';

export function hex(text: string): Uint8Array {
  const digits = text.replace(/\s+/g, '');
  return Uint8Array.from({ length: digits.length / 2 }, (_, index) =>
    Number.parseInt(digits.slice(index * 2, index * 2 + 2), 16),
  );
}

export interface SomeDisk extends DiskUnitOptions {
  blocks?: number;
  blockBytes?: number;
  readOnly?: boolean;
  /** The disk can give space back. */
  isThin?: boolean;
}

/** A memory disk whose block n is filled with n mod 256. */
export function someDisk(options: SomeDisk = {}) {
  const { blocks = 16, blockBytes = 512, readOnly = false, isThin = false, ...unitOptions } = options;
  const bytes = new Uint8Array(blocks * blockBytes);
  for (let block = 0; block < blocks; block++) bytes.fill(block, block * blockBytes, (block + 1) * blockBytes);
  const backend: BlockBackend = new MemoryBackend(bytes, {
    blockBytes,
    readOnly,
    isThin,
    identity: 'disk of the test',
  });
  return { bytes, backend, unit: new DiskUnit(backend, unitOptions) };
}

export interface Answer {
  srbStatus: number;
  scsiStatus: number;
  sense: Sense | undefined;
  transferredBytes: number;
  /** The initiator's buffer afterwards; it was filled with 0xa5 before, unless given. */
  data: Uint8Array;
}

export interface Asked {
  /** Size of the buffer, or its contents for a write; no buffer if left out. */
  data?: number | Uint8Array;
  /** Default: `Read` with a buffer size, `Write` with contents, `None` without. */
  direction?: number;
  path?: number;
  target?: number;
  lun?: number;
}

/** Runs one CDB to its answer. */
export function ask(
  unit: { execute(command: ScsiCommand): void },
  cdb: string | Uint8Array,
  asked: Asked = {},
): Promise<Answer> {
  const command = new ScsiCommand();
  command.cdb.set(typeof cdb === 'string' ? hex(cdb) : cdb);
  command.path = asked.path ?? 0;
  command.target = asked.target ?? 0;
  command.lun = asked.lun ?? 0;
  const data = typeof asked.data === 'number' ? new Uint8Array(asked.data).fill(0xa5) : asked.data?.slice();
  const usual =
    asked.data === undefined
      ? DataDirection.None
      : typeof asked.data === 'number'
        ? DataDirection.Read
        : DataDirection.Write;
  command.direction = asked.direction ?? usual;
  command.data = data === undefined ? undefined : ScatterView.over([data]);
  return new Promise((resolve) => {
    command.onDone = ({ srbStatus, scsiStatus, sense, transferredBytes }) =>
      resolve({ srbStatus, scsiStatus, sense, transferredBytes, data: data ?? new Uint8Array(0) });
    command.begin();
    unit.execute(command);
  });
}

/** What a good answer looks like. */
export function good(transferredBytes: number) {
  return expect.objectContaining({ srbStatus: 1, scsiStatus: 0, sense: undefined, transferredBytes });
}

/** CHECK CONDITION with this srb status and sense; nothing was moved. */
export function refused(srbStatus: number, key: number, asc: number, ascq: number) {
  return expect.objectContaining({ srbStatus, scsiStatus: 2, sense: { key, asc, ascq }, transferredBytes: 0 });
}

/** A buffer that nobody touched. */
export function untouched(bytes: number): Uint8Array {
  return new Uint8Array(bytes).fill(0xa5);
}

/** srb status values as the wire has them. */
export const SRB = { success: 0x01, error: 0x04, invalidRequest: 0x06, dataOverrun: 0x12, invalidLun: 0x20 } as const;
