/**
 * The commands that give space back or fill it without sending it: UNMAP, WRITE SAME, GET LBA STATUS.
 *
 * Source: SBC-3 sections 5.6 (GET LBA STATUS), 5.28 (UNMAP), 5.43 and 5.44 (WRITE SAME); SBC-4 for NDOB.
 */
import { ScatterView } from '../../../../memory/scatter-view.ts';
import { DataDirection } from '../../../../wire/storvsc.ts';
import { putU32be, putU64be, u16be, u32be, u64be } from '../big-endian.ts';
import { blockCountOf, lbaOf } from '../cdb.ts';
import type { Answered, ScsiCommand } from '../command.ts';
import { Opcode } from '../opcodes.ts';
import { parameterList } from '../parameter-list.ts';
import { respond } from '../respond.ts';
import { SENSE } from '../sense.ts';
import { hasBadFlags, isInside } from './disk-blocks.ts';
import { MAX_UNMAP_DESCRIPTORS } from './disk-limits.ts';
import type { DiskUnit } from './disk-unit.ts';

/** Byte 1 of WRITE SAME; of UNMAP only ANCHOR, in bit 0. */
const SAME_ANCHOR = 0x10;
const SAME_UNMAP = 0x08;
/** PBDATA and LBDATA, obsolete: the block is not written as it is. */
const SAME_LABELS = 0x06;
/** WRITE SAME(16): no data-out buffer, the block is zeros. */
const SAME_NO_DATA = 0x01;
const UNMAP_ANCHOR = 0x01;

const UNMAP_HEADER_BYTES = 8;
const UNMAP_DESCRIPTOR_BYTES = 16;

/** Largest write of a repeated block, bytes. */
const PIECE_BYTES = 0x10_0000;

interface BlockRun {
  readonly lba: number;
  readonly blockCount: number;
}

/** UNMAP: all of the list is checked before anything is given up. An empty list is no error. */
export function unmap(disk: DiskUnit, command: ScsiCommand): Answered {
  const { cdb } = command;
  const listBytes = u16be(cdb, 7);
  if (((cdb[1] as number) & UNMAP_ANCHOR) !== 0) return command.refuse(SENSE.InvalidFieldInCdb);
  if (disk.backend.readOnly) return command.fail(SENSE.WriteProtected);
  if (listBytes === 0) return command.good(0);
  if (listBytes < UNMAP_HEADER_BYTES) return command.refuse(SENSE.ParameterListLength);
  const list = parameterList(command, listBytes);
  if (list === undefined) return command.refuse(SENSE.InvalidFieldInCdb);
  const dataBytes = u16be(list, 0);
  const descriptorBytes = u16be(list, 2);
  const isWhole =
    dataBytes === listBytes - 2 &&
    descriptorBytes === listBytes - UNMAP_HEADER_BYTES &&
    descriptorBytes % UNMAP_DESCRIPTOR_BYTES === 0;
  const count = descriptorBytes / UNMAP_DESCRIPTOR_BYTES;
  if (!isWhole || count > MAX_UNMAP_DESCRIPTORS) return command.refuse(SENSE.InvalidFieldInParameterList);
  const runs: BlockRun[] = [];
  for (let index = 0; index < count; index++) {
    const at = UNMAP_HEADER_BYTES + index * UNMAP_DESCRIPTOR_BYTES;
    const run = { lba: u64be(list, at), blockCount: u32be(list, at + 8) };
    if (!isInside(disk, run.lba, run.blockCount)) return command.fail(SENSE.LbaOutOfRange);
    if (run.blockCount > 0) runs.push(run);
  }
  return command.awaitWork(discardAll(disk, command, runs, listBytes));
}

async function discardAll(
  disk: DiskUnit,
  command: ScsiCommand,
  runs: readonly BlockRun[],
  listBytes: number,
): Promise<Answered> {
  await disk.share.gate.enter();
  command.gate = disk.share.gate;
  const { backend, blockBytes } = disk;
  for (const { lba, blockCount } of runs) await backend.discard?.(lba * blockBytes, blockCount * blockBytes);
  return command.good(listBytes);
}

/** WRITE SAME 10 and 16: one block again and again; with UNMAP, zeros give their space back. */
export function writeSame(disk: DiskUnit, command: ScsiCommand): Answered {
  const { cdb } = command;
  const flags = cdb[1] as number;
  const isLong = cdb[0] === Opcode.WriteSame16;
  const hasData = !isLong || (flags & SAME_NO_DATA) === 0;
  const lba = lbaOf(cdb);
  const blockCount = blockCountOf(cdb);
  const mayUnmap = (flags & SAME_UNMAP) !== 0;
  const isRefused = hasBadFlags(command) || (flags & (SAME_ANCHOR | SAME_LABELS)) !== 0 || (mayUnmap && !disk.isThin);
  if (isRefused) return command.refuse(SENSE.InvalidFieldInCdb);
  if (disk.backend.readOnly) return command.fail(SENSE.WriteProtected);
  // WSNZ in page B0: no blocks would mean all that follow.
  if (blockCount === 0 || blockCount > disk.maxWriteSameBlocks) return command.refuse(SENSE.InvalidFieldInCdb);
  if (!isInside(disk, lba, blockCount)) return command.fail(SENSE.LbaOutOfRange);
  const block = hasData ? parameterList(command, disk.blockBytes) : new Uint8Array(disk.blockBytes);
  if (block === undefined) return command.refuse(SENSE.InvalidFieldInCdb);
  return command.awaitWork(fillBlocks(disk, command, { lba, blockCount }, block, mayUnmap));
}

async function fillBlocks(
  disk: DiskUnit,
  command: ScsiCommand,
  run: BlockRun,
  block: Uint8Array,
  mayUnmap: boolean,
): Promise<Answered> {
  const { backend, blockBytes } = disk;
  const transferredBytes = command.direction === DataDirection.None ? 0 : Math.min(command.dataBytes, blockBytes);
  await disk.share.gate.enter();
  command.gate = disk.share.gate;
  const offsetBytes = run.lba * blockBytes;
  const byteCount = run.blockCount * blockBytes;
  if (backend.writeZeroes !== undefined && block.every((byte) => byte === 0)) {
    await backend.writeZeroes(offsetBytes, byteCount, mayUnmap, false);
  } else {
    const piece = repeated(block, Math.min(byteCount, PIECE_BYTES));
    for (let done = 0; done < byteCount; done += piece.length) {
      const pieceBytes = Math.min(piece.length, byteCount - done);
      await backend.write(offsetBytes + done, ScatterView.over([piece.subarray(0, pieceBytes)]), false);
    }
  }
  return command.good(transferredBytes);
}

function repeated(block: Uint8Array, byteCount: number): Uint8Array {
  const bytes = new Uint8Array(byteCount);
  for (let at = 0; at < byteCount; at += block.length) bytes.set(block, at);
  return bytes;
}

/** Provisioning status of GET LBA STATUS. */
const MAPPED = 0;
const DEALLOCATED = 1;
const STATUS_HEADER_BYTES = 8;
const STATUS_DESCRIPTOR_BYTES = 16;
const MAX_RUN_BLOCKS = 0xffff_ffff;
/** Ours: the list goes through memory once. */
const MAX_STATUS_DESCRIPTORS = 256;

/** GET LBA STATUS: which blocks have space of their own, from the one named on. A store that cannot tell has it for all. */
export function getLbaStatus(disk: DiskUnit, command: ScsiCommand): Answered {
  const lba = lbaOf(command.cdb);
  if (lba >= disk.blockCount) return command.fail(SENSE.LbaOutOfRange);
  return command.awaitWork(reportStatus(disk, command, lba));
}

async function reportStatus(disk: DiskUnit, command: ScsiCommand, lba: number): Promise<Answered> {
  const allocationBytes = u32be(command.cdb, 10);
  const asked = Math.floor((allocationBytes - STATUS_HEADER_BYTES) / STATUS_DESCRIPTOR_BYTES);
  const count = Math.min(Math.max(asked, 1), MAX_STATUS_DESCRIPTORS);
  const { backend, blockBytes } = disk;
  const fromBytes = lba * blockBytes;
  const byteCount = Math.min(disk.blockCount - lba, MAX_RUN_BLOCKS) * blockBytes;
  const extents = (await backend.extents?.(fromBytes, byteCount, count)) ?? [
    { offsetBytes: fromBytes, byteCount, isAllocated: true },
  ];
  const answer = new Uint8Array(STATUS_HEADER_BYTES + STATUS_DESCRIPTOR_BYTES * extents.length);
  putU32be(answer, 0, answer.length - 4);
  extents.forEach((extent, index) => {
    const at = STATUS_HEADER_BYTES + STATUS_DESCRIPTOR_BYTES * index;
    putU64be(answer, at, extent.offsetBytes / blockBytes);
    putU32be(answer, at + 8, extent.byteCount / blockBytes);
    answer[at + 12] = extent.isAllocated ? MAPPED : DEALLOCATED;
  });
  return respond(command, answer, allocationBytes);
}
