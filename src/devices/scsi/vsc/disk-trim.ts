/** How a disk gives blocks back, fills them with zeros, and says which it has: UNMAP, WRITE SAME, GET LBA STATUS. */
import { PAGE_BYTES } from '../../../memory/page.ts';
import { putU16be, putU32be, putU64be, u32be, u64be } from '../target/big-endian.ts';
import type { ScsiAddress } from '../target/controller.ts';
import { Opcode, ServiceAction16 } from '../target/opcodes.ts';
import { SenseKey } from '../target/sense.ts';
import type { Provisioning } from './disk-facts.ts';
import { pastAttentions, runCommand, sendCommand } from './run-command.ts';
import { ScsiError } from './scsi-error.ts';
import type { StorVsc } from './storvsc.ts';

/** Blocks in a row. */
export interface BlockRun {
  readonly lba: number;
  readonly blockCount: number;
}

/** How a run of blocks is stored. */
export interface BlockStatus extends BlockRun {
  /** The blocks have space of their own. */
  readonly isMapped: boolean;
}

const HEADER_BYTES = 8;
const DESCRIPTOR_BYTES = 16;
/** What one page of UNMAP list holds. */
const RUNS_PER_PAGE = Math.floor((PAGE_BYTES - HEADER_BYTES) / DESCRIPTOR_BYTES);

/** The bytes of one UNMAP: its CDB and its list. */
export function encodeUnmap(runs: readonly BlockRun[]): { cdb: Uint8Array; list: Uint8Array } {
  const list = new Uint8Array(HEADER_BYTES + DESCRIPTOR_BYTES * runs.length);
  putU16be(list, 0, list.length - 2);
  putU16be(list, 2, list.length - HEADER_BYTES);
  runs.forEach(({ lba, blockCount }, index) => {
    putU64be(list, HEADER_BYTES + DESCRIPTOR_BYTES * index, lba);
    putU32be(list, HEADER_BYTES + DESCRIPTOR_BYTES * index + 8, blockCount);
  });
  const cdb = new Uint8Array(10);
  cdb[0] = Opcode.Unmap;
  putU16be(cdb, 7, list.length);
  return { cdb, list };
}

/** Sends one UNMAP after another, each within the limits that the disk has told. */
export async function unmapAll(
  vsc: StorVsc,
  address: ScsiAddress,
  run: BlockRun,
  limits: Provisioning,
  signal: AbortSignal | undefined,
): Promise<void> {
  const maxRuns = Math.min(limits.maxTrimRuns, RUNS_PER_PAGE);
  let { lba, blockCount } = run;
  while (blockCount > 0) {
    signal?.throwIfAborted();
    let budget = limits.maxTrimBlocks;
    const runs: BlockRun[] = [];
    while (blockCount > 0 && budget > 0 && runs.length < maxRuns) {
      const count = Math.min(blockCount, budget, 0xffff_ffff);
      runs.push({ lba, blockCount: count });
      lba += count;
      blockCount -= count;
      budget -= count;
    }
    const { cdb, list } = encodeUnmap(runs);
    await abortable(
      pastAttentions(() => sendCommand(vsc, address, cdb, list)),
      signal,
    );
  }
}

/**
 * Fills blocks with zeros by WRITE SAME(16).
 * @returns false if the disk does not know the command; nothing was written then
 */
export async function writeSameZeros(
  vsc: StorVsc,
  address: ScsiAddress,
  run: BlockRun,
  limits: Provisioning,
  blockBytes: number,
  mayDeallocate: boolean,
  signal: AbortSignal | undefined,
): Promise<boolean> {
  const zeros = new Uint8Array(blockBytes);
  const cdb = new Uint8Array(16);
  cdb[0] = Opcode.WriteSame16;
  if (mayDeallocate && limits.canWriteSameUnmap) cdb[1] = 0x08;
  for (let done = 0; done < run.blockCount; ) {
    signal?.throwIfAborted();
    const count = Math.min(run.blockCount - done, limits.maxWriteSameBlocks, 0xffff_ffff);
    putU64be(cdb, 2, run.lba + done);
    putU32be(cdb, 10, count);
    try {
      await abortable(
        pastAttentions(() => sendCommand(vsc, address, cdb, zeros)),
        signal,
      );
    } catch (error) {
      const isUnknown = error instanceof ScsiError && error.sense?.key === SenseKey.IllegalRequest;
      // A range that is not there is a fault of the caller's, not of the command's.
      if (done === 0 && isUnknown && error.sense?.asc !== 0x21) return false;
      throw error;
    }
    done += count;
  }
  return true;
}

/** GET LBA STATUS from a block on: at most as many runs as a page holds, perhaps only the first. */
export async function readBlockStatus(vsc: StorVsc, address: ScsiAddress, lba: number): Promise<BlockStatus[]> {
  const cdb = new Uint8Array(16);
  cdb[0] = Opcode.ServiceActionIn16;
  cdb[1] = ServiceAction16.GetLbaStatus;
  putU64be(cdb, 2, lba);
  putU32be(cdb, 10, PAGE_BYTES);
  const answer = await pastAttentions(() => runCommand(vsc, address, cdb, PAGE_BYTES));
  if (answer.length < HEADER_BYTES) return [];
  const listBytes = Math.min(u32be(answer, 0) - 4, answer.length - HEADER_BYTES);
  return Array.from({ length: Math.max(0, Math.floor(listBytes / DESCRIPTOR_BYTES)) }, (_, index) => {
    const at = HEADER_BYTES + DESCRIPTOR_BYTES * index;
    return {
      lba: u64be(answer, at),
      blockCount: u32be(answer, at + 8),
      isMapped: ((answer[at + 12] ?? 0) & 0xf) === 0,
    };
  });
}

/** Rejects as soon as the signal aborts; the command goes on and gives its own pages back when it ends. */
async function abortable(work: Promise<void>, signal: AbortSignal | undefined): Promise<void> {
  if (signal === undefined) return await work;
  await new Promise<void>((resolve, reject) => {
    const onAbort = (): void => reject(signal.reason);
    signal.addEventListener('abort', onAbort, { once: true });
    work.then(resolve, reject).finally(() => signal.removeEventListener('abort', onAbort));
  });
}
