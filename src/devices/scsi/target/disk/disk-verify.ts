/**
 * The commands that compare: VERIFY, WRITE AND VERIFY, COMPARE AND WRITE.
 *
 * Source: SBC-3 sections 5.2 (COMPARE AND WRITE), 5.29 (VERIFY), 5.36 (WRITE AND VERIFY).
 */

import { ScatterView } from '../../../../memory/scatter-view.ts';
import { DataDirection } from '../../../../wire/storvsc.ts';
import { blockCountOf, lbaOf } from '../cdb.ts';
import type { Answered, ScsiCommand } from '../command.ts';
import { SENSE } from '../sense.ts';
import { hasBadFlags, isInside, refusedWrite } from './disk-blocks.ts';
import type { DiskUnit } from './disk-unit.ts';

const FUA = 0x08;

/** BYTCHK: nothing is sent; as much as is verified; one block, for each of those verified. */
const ByteCheck = { None: 0, All: 1, OneBlock: 3 } as const;

/** Most bytes of a store that are looked at in one go. */
const PIECE_BYTES = 0x4_0000;

/** VERIFY 10, 12, 16. Without data only the range is checked: the store keeps no sums that could be wrong. */
export function verifyBlocks(disk: DiskUnit, command: ScsiCommand): Answered {
  const byteCheck = byteCheckOf(command);
  const blockCount = blockCountOf(command.cdb);
  if (hasBadFlags(command) || byteCheck === 2) return command.refuse(SENSE.InvalidFieldInCdb);
  if (!isInside(disk, lbaOf(command.cdb), blockCount)) return command.fail(SENSE.LbaOutOfRange);
  if (byteCheck === ByteCheck.None || blockCount === 0) return command.good(0);
  const dataBytes = (byteCheck === ByteCheck.OneBlock ? 1 : blockCount) * disk.blockBytes;
  if (dataBytes > command.dataBytes || command.direction === DataDirection.Read) {
    return command.refuse(SENSE.InvalidFieldInCdb);
  }
  return command.awaitWork(verifyAgainstData(disk, command, blockCount * disk.blockBytes, dataBytes));
}

/** WRITE AND VERIFY 10, 12, 16: what was written is read back from behind every cache that we know of. */
export function writeAndVerify(disk: DiskUnit, command: ScsiCommand): Answered {
  const byteCount = blockCountOf(command.cdb) * disk.blockBytes;
  if (byteCheckOf(command) > ByteCheck.All) return command.refuse(SENSE.InvalidFieldInCdb);
  const refusal = refusedWrite(disk, command, byteCount);
  if (refusal !== undefined) return refusal;
  if (byteCount === 0) return command.good(0);
  return command.awaitWork(storeAndVerify(disk, command, byteCount));
}

/**
 * COMPARE AND WRITE: one half of the data is what the blocks must hold, the other half what they hold then. No other
 * write comes between, from whichever guest.
 */
export function compareAndWrite(disk: DiskUnit, command: ScsiCommand): Answered {
  const { cdb } = command;
  const blockCount = cdb[13] as number;
  const byteCount = blockCount * disk.blockBytes;
  if (hasBadFlags(command)) return command.refuse(SENSE.InvalidFieldInCdb);
  if (disk.backend.readOnly) return command.fail(SENSE.WriteProtected);
  if (!isInside(disk, lbaOf(cdb), blockCount)) return command.fail(SENSE.LbaOutOfRange);
  if (blockCount === 0) return command.good(0);
  if (blockCount > disk.maxCompareAndWriteBlocks) return command.refuse(SENSE.InvalidFieldInCdb);
  if (2 * byteCount > command.dataBytes || command.direction === DataDirection.Read) {
    return command.refuse(SENSE.InvalidFieldInCdb);
  }
  return command.awaitWork(compareThenStore(disk, command, byteCount));
}

async function verifyAgainstData(
  disk: DiskUnit,
  command: ScsiCommand,
  byteCount: number,
  dataBytes: number,
): Promise<Answered> {
  const expected = dataOf(command, 0, dataBytes);
  const differsAt = await firstDifference(disk, lbaOf(command.cdb) * disk.blockBytes, byteCount, expected);
  if (differsAt === undefined) return command.good(dataBytes);
  return command.fail({ ...SENSE.Miscompare, information: differsAt });
}

async function storeAndVerify(disk: DiskUnit, command: ScsiCommand, byteCount: number): Promise<Answered> {
  const { gate } = disk.share;
  const offsetBytes = lbaOf(command.cdb) * disk.blockBytes;
  await gate.enter();
  command.gate = gate;
  // The guest may change its pages at any time: what is compared must be what was written.
  const written = dataOf(command, 0, byteCount);
  await disk.backend.write(offsetBytes, ScatterView.over([written]), true);
  const differsAt = await firstDifference(disk, offsetBytes, byteCount, written);
  disk.movedBytes.write += byteCount;
  if (differsAt === undefined) return command.good(byteCount);
  return command.fail({ ...SENSE.Miscompare, information: differsAt });
}

async function compareThenStore(disk: DiskUnit, command: ScsiCommand, byteCount: number): Promise<Answered> {
  const { gate } = disk.share;
  const offsetBytes = lbaOf(command.cdb) * disk.blockBytes;
  const isFua = ((command.cdb[1] as number) & FUA) !== 0;
  await gate.enterAlone();
  let differsAt: number | undefined;
  try {
    differsAt = await firstDifference(disk, offsetBytes, byteCount, dataOf(command, 0, byteCount));
    if (differsAt === undefined) {
      await disk.backend.write(offsetBytes, ScatterView.over([dataOf(command, byteCount, byteCount)]), isFua);
    }
  } finally {
    gate.leaveAlone();
  }
  if (differsAt !== undefined) return command.fail({ ...SENSE.Miscompare, information: differsAt });
  disk.movedBytes.write += byteCount;
  return command.good(2 * byteCount);
}

/**
 * The first byte of the store's range that is not as `expected`, which repeats until the end.
 * @returns counted from the start of the range; `undefined` if all are alike
 */
async function firstDifference(
  disk: DiskUnit,
  offsetBytes: number,
  byteCount: number,
  expected: Uint8Array,
): Promise<number | undefined> {
  // Whole repetitions in each piece, so that both begin at the same place.
  const pieceBytes = expected.length < PIECE_BYTES ? PIECE_BYTES - (PIECE_BYTES % expected.length) : PIECE_BYTES;
  for (let done = 0; done < byteCount; done += pieceBytes) {
    const piece = new Uint8Array(Math.min(pieceBytes, byteCount - done));
    await disk.backend.read(offsetBytes + done, ScatterView.over([piece]));
    for (let at = 0; at < piece.length; at++) {
      if (piece[at] !== expected[(done + at) % expected.length]) return done + at;
    }
  }
  return undefined;
}

/** A private copy of some of the initiator's data. */
function dataOf(command: ScsiCommand, at: number, byteCount: number): Uint8Array {
  const bytes = new Uint8Array(byteCount);
  command.data?.read(at, bytes);
  return bytes;
}

function byteCheckOf(command: ScsiCommand): number {
  return ((command.cdb[1] as number) >>> 1) & 3;
}
