/** A guest's disk as an NBD export: offsets become blocks, buffers go through the guest's pages, senses become errnos. */
import { type ScsiDisk, ScsiError, SENSE, type Sense, SenseKey } from '../../devices/scsi/index.ts';
import { NbdErrno, type NbdExport, type NbdExtent } from '../../nbd/index.ts';
import type { TransferPool } from './transfer-pool.ts';

/** @param description for people, in what `nbdinfo` shows */
export function exportOfDisk(disk: ScsiDisk, pool: TransferPool, description: string): NbdExport {
  const { blockBytes, readOnly, sizeBytes } = disk;
  const pieceBytes = Math.min(pool.maxBytes, disk.maxTransferBytes);
  // Commands without data of ours wait for a turn like the others, so that their number is bounded, too.
  const inTurn = (work: () => Promise<void>): Promise<void> => pool.run(0, work);

  return {
    sizeBytes,
    blockBytes,
    readOnly,
    canFlush: disk.hasWriteCache && !readOnly,
    description,
    read: (offsetBytes, target) =>
      inPieces(offsetBytes, target.length, pieceBytes, (at, byteCount) =>
        pool.run(byteCount, async (slot) => {
          await disk.read(at / blockBytes, byteCount / blockBytes, slot.pfns);
          const done = at - offsetBytes;
          slot.view.read(0, target.subarray(done, done + byteCount));
        }),
      ),
    write: (offsetBytes, source, forceUnitAccess) =>
      inPieces(offsetBytes, source.length, pieceBytes, (at, byteCount) =>
        pool.run(byteCount, async (slot) => {
          const done = at - offsetBytes;
          slot.view.write(0, source.subarray(done, done + byteCount));
          await disk.write(at / blockBytes, byteCount / blockBytes, slot.pfns, { forceUnitAccess });
        }),
      ),
    flush: () => disk.flush(),
    ...(disk.canTrim && {
      trim: (offsetBytes: number, byteCount: number, forceUnitAccess: boolean) =>
        inTurn(async () => {
          await disk.trim(offsetBytes / blockBytes, byteCount / blockBytes);
          if (forceUnitAccess) await disk.flush();
        }),
    }),
    writeZeroes: (offsetBytes, byteCount, mayDeallocate, forceUnitAccess) =>
      inTurn(() =>
        disk.writeZeroes(offsetBytes / blockBytes, byteCount / blockBytes, { mayDeallocate, forceUnitAccess }),
      ),
    ...(disk.canTrim && {
      async extents(offsetBytes: number, byteCount: number, maxExtents: number) {
        let found: NbdExtent[] = [];
        await inTurn(async () => {
          found = await extentsOf(disk, offsetBytes / blockBytes, byteCount / blockBytes, maxExtents);
        });
        return found;
      },
    }),
    errnoOf,
  };
}

/**
 * Carries a request out in transfers that the disk takes, all under way at once as far as there are pages.
 * Waits for every one of them before it fails: until then the pages and the client's buffer are in use.
 */
async function inPieces(
  offsetBytes: number,
  byteCount: number,
  pieceBytes: number,
  transfer: (offsetBytes: number, byteCount: number) => Promise<void>,
): Promise<void> {
  if (byteCount <= pieceBytes) return await transfer(offsetBytes, byteCount);
  const pieces: Promise<void>[] = [];
  for (let done = 0; done < byteCount; done += pieceBytes) {
    pieces.push(transfer(offsetBytes + done, Math.min(pieceBytes, byteCount - done)));
  }
  for (const result of await Promise.allSettled(pieces)) if (result.status === 'rejected') throw result.reason;
}

/**
 * What the disk says of a range, as far as one answer goes. A disk that gives space back is asked; it may not know.
 * @param maxExtents 1 or more
 */
async function extentsOf(disk: ScsiDisk, lba: number, blockCount: number, maxExtents: number): Promise<NbdExtent[]> {
  const runs = await disk.blockStatus(lba);
  const extents: NbdExtent[] = [];
  let left = blockCount;
  for (const run of runs.slice(0, maxExtents)) {
    // The host's numbers: runs that do not follow one another say nothing that could be passed on.
    if (run.blockCount < 1 || run.lba !== lba + blockCount - left) break;
    const count = Math.min(run.blockCount, left);
    const isZero = !run.isMapped && disk.provisioning.readsZerosAfterTrim;
    extents.push({ byteCount: count * disk.blockBytes, isHole: !run.isMapped, isZero });
    left -= count;
    if (left === 0) break;
  }
  if (extents.length > 0) return extents;
  return [{ byteCount: blockCount * disk.blockBytes, isHole: false, isZero: false }];
}

/** What the client is told of a failure. */
export function errnoOf(error: unknown): NbdErrno {
  if (!(error instanceof ScsiError) || error.sense === undefined) return NbdErrno.Io;
  if (isSame(error.sense, SENSE.SpaceAllocationFailed)) return NbdErrno.NoSpace;
  if (isSame(error.sense, SENSE.LbaOutOfRange)) return NbdErrno.Invalid;
  return error.sense.key === SenseKey.DataProtect ? NbdErrno.NotPermitted : NbdErrno.Io;
}

function isSame(one: Sense, other: Sense): boolean {
  return one.key === other.key && one.asc === other.asc && one.ascq === other.ascq;
}
