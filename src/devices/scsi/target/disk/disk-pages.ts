/** Vital product data that only disks have: B0, B1, B2. Source: SBC-3 sections 6.6.3 to 6.6.5. */
import { putU16be, putU32be, putU64be } from '../big-endian.ts';
import { MAX_UNMAP_DESCRIPTORS } from './disk-limits.ts';
import type { DiskUnit } from './disk-unit.ts';

const BLOCK_PAGE_BYTES = 0x3c;
/** Page B0: WRITE SAME of no blocks is refused. */
const WSNZ = 0x01;
/** Page B0: the alignment says something; it is 0. */
const UNMAP_ALIGNMENT_VALID = 0x8000_0000;
const NO_LIMIT = 0xffff_ffff;
/** Page B2, byte 5. */
const LBPU = 0x80;
const LBPWS = 0x40;
const LBPWS10 = 0x20;
const LBPRZ = 0x04;
const THIN = 2;
const NON_ROTATING = 1;

/** Page B0, block limits: how much one command may do. UNMAP has limits only where it is there. */
export function blockLimitsPage(disk: DiskUnit): Uint8Array {
  const data = new Uint8Array(BLOCK_PAGE_BYTES);
  const maxBlocks = Math.floor(disk.maxTransferBytes / disk.blockBytes);
  data[0] = WSNZ;
  data[1] = disk.maxCompareAndWriteBlocks;
  putU16be(data, 2, 1); // Optimal transfer length granularity, blocks.
  putU32be(data, 4, maxBlocks);
  putU32be(data, 8, maxBlocks);
  if (disk.isThin) {
    putU32be(data, 16, NO_LIMIT);
    putU32be(data, 20, MAX_UNMAP_DESCRIPTORS);
    putU32be(data, 24, disk.discardGranularityBlocks);
    putU32be(data, 28, UNMAP_ALIGNMENT_VALID);
  }
  putU64be(data, 32, disk.maxWriteSameBlocks);
  return data;
}

/** Page B1, block device characteristics: no rotation. Linux takes a disk without this page for a rotating one. */
export function characteristicsPage(): Uint8Array {
  const data = new Uint8Array(BLOCK_PAGE_BYTES);
  putU16be(data, 0, NON_ROTATING);
  return data;
}

/** Page B2, logical block provisioning. */
export function provisioningPage(disk: DiskUnit): Uint8Array {
  const data = new Uint8Array(4);
  if (!disk.isThin) return data;
  data[1] = LBPU | LBPWS | LBPWS10 | (disk.readsZerosWhereUnmapped ? LBPRZ : 0);
  data[2] = THIN;
  return data;
}
