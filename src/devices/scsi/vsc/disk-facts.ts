/** What a guest learns of a disk before it uses it. Source: SPC-4, SBC-3; the order is that of Linux `drivers/scsi/sd.c`. */
import { PeerError } from '../../../errors.ts';
import { BLOCK_SIZES } from '../block-backend.ts';
import { putU16be, putU32be, u16be, u32be, u64be } from '../target/big-endian.ts';
import type { ScsiAddress } from '../target/controller.ts';
import { Opcode, ServiceAction16 } from '../target/opcodes.ts';
import { SenseKey } from '../target/sense.ts';
import { pastAttentions, runCommand } from './run-command.ts';
import { ScsiError } from './scsi-error.ts';
import type { StorVsc } from './storvsc.ts';

export interface DiskFacts {
  /** Bytes: 512, 1024, 2048 or 4096. */
  readonly blockBytes: number;
  readonly blockCount: number;
  readonly readOnly: boolean;
  /** The host may hold completed writes in a cache: `flush` matters. */
  readonly hasWriteCache: boolean;
  readonly vendor: string;
  readonly product: string;
  readonly revision: string;
  /** A write can be forced to stable storage by itself. */
  readonly hasForceUnitAccess: boolean;
  /** What the disk can give back or fill by itself. */
  readonly provisioning: Provisioning;
}

export interface Provisioning {
  /** UNMAP works: see `ScsiDisk.trim`. */
  readonly canTrim: boolean;
  /** Blocks that were given back read as zeros. */
  readonly readsZerosAfterTrim: boolean;
  /** UNMAP gives space back in pieces of so many blocks, aligned to it. */
  readonly trimGranularityBlocks: number;
  /** Most blocks, and most runs of blocks, of one UNMAP. */
  readonly maxTrimBlocks: number;
  readonly maxTrimRuns: number;
  /** WRITE SAME may give space back. */
  readonly canWriteSameUnmap: boolean;
  /** Most blocks of one WRITE SAME. */
  readonly maxWriteSameBlocks: number;
}

const STANDARD_INQUIRY_BYTES = 36;
const DIRECT_ACCESS = 0x00;
const VERSION_SPC3 = 5;
const MAX_LUNS = 256;
const MODE_PAGE_CACHING = 0x08;

/** @throws PeerError `ERR_REFUSED` if there is no disk at the address, or one that we cannot use */
export async function learnDisk(vsc: StorVsc, address: ScsiAddress): Promise<DiskFacts> {
  const inquiry = await runCommand(vsc, address, inquiryCdb(), STANDARD_INQUIRY_BYTES);
  const where = `${address.path ?? 0}:${address.target ?? 0}:${address.lun ?? 0}`;
  if (inquiry.length < STANDARD_INQUIRY_BYTES || (inquiry[0] as number) !== DIRECT_ACCESS) {
    throw new PeerError('ERR_REFUSED', `there is no disk at ${where} (peripheral byte ${inquiry[0] ?? 'missing'})`);
  }
  await pastAttentions(() => runCommand(vsc, address, new Uint8Array(6), 0)); // TEST UNIT READY.
  const version = inquiry[2] as number;
  const { blockBytes, blockCount, isThin, readsZeros } = await learnCapacity(vsc, address, version);
  if (!BLOCK_SIZES.includes(blockBytes) || blockCount < 1) {
    throw new PeerError('ERR_REFUSED', `the disk at ${where} has ${blockCount} blocks of ${blockBytes} bytes`);
  }
  const mode = await learnMode(vsc, address);
  const provisioning = await learnProvisioning(vsc, address, version >= VERSION_SPC3, isThin, readsZeros);
  const text = new TextDecoder('latin1');
  return {
    blockBytes,
    blockCount,
    ...mode,
    provisioning,
    vendor: text.decode(inquiry.subarray(8, 16)).trimEnd(),
    product: text.decode(inquiry.subarray(16, 32)).trimEnd(),
    revision: text.decode(inquiry.subarray(32, 36)).trimEnd(),
  };
}

/** The LUNs of one path and target, in the host's order. */
export async function reportLuns(vsc: StorVsc, address: Omit<ScsiAddress, 'lun'> = {}): Promise<number[]> {
  const allocationBytes = 8 + 8 * MAX_LUNS;
  const cdb = new Uint8Array(12);
  cdb[0] = Opcode.ReportLuns;
  putU32be(cdb, 6, allocationBytes);
  const list = await runCommand(vsc, address, cdb, allocationBytes);
  if (list.length < 8) return [];
  const listBytes = Math.min(u32be(list, 0), list.length - 8);
  // Peripheral addressing: the LUN is the second byte of its eight. Others are not for an SRB, whose LUN is one byte.
  return Array.from({ length: Math.floor(listBytes / 8) }, (_, index) => u16be(list, 8 + 8 * index)).filter(
    (lun) => lun <= 0xff,
  );
}

interface Capacity {
  readonly blockBytes: number;
  readonly blockCount: number;
  /** LBPME and LBPRZ of READ CAPACITY(16). */
  readonly isThin: boolean;
  readonly readsZeros: boolean;
}

/** READ CAPACITY(16) first of a disk that knows it, (10) of an older one or when (16) is refused. */
async function learnCapacity(vsc: StorVsc, address: ScsiAddress, version: number): Promise<Capacity> {
  if (version >= VERSION_SPC3) {
    try {
      return await capacity16(vsc, address);
    } catch (error) {
      if (!(error instanceof ScsiError) || error.sense?.key !== SenseKey.IllegalRequest) throw error;
    }
  }
  const cdb = new Uint8Array(10);
  cdb[0] = Opcode.ReadCapacity10;
  const answer = await runCommand(vsc, address, cdb, 8);
  requireBytes(answer, 8, 'READ CAPACITY(10)');
  const lastLba = u32be(answer, 0);
  if (lastLba === 0xffff_ffff) return capacity16(vsc, address);
  return { blockBytes: u32be(answer, 4), blockCount: lastLba + 1, isThin: false, readsZeros: false };
}

async function capacity16(vsc: StorVsc, address: ScsiAddress): Promise<Capacity> {
  const cdb = new Uint8Array(16);
  cdb[0] = Opcode.ServiceActionIn16;
  cdb[1] = ServiceAction16.ReadCapacity16;
  putU32be(cdb, 10, 32);
  const answer = await runCommand(vsc, address, cdb, 32);
  requireBytes(answer, 12, 'READ CAPACITY(16)');
  const flags = answer[14] ?? 0;
  return {
    blockBytes: u32be(answer, 8),
    blockCount: u64be(answer, 0) + 1,
    isThin: (flags & 0x80) !== 0,
    readsZeros: (flags & 0x40) !== 0,
  };
}

interface Mode {
  readonly readOnly: boolean;
  readonly hasWriteCache: boolean;
  readonly hasForceUnitAccess: boolean;
}

const NO_MODE: Mode = { readOnly: false, hasWriteCache: false, hasForceUnitAccess: false };

/** Write protection and cache. A disk that knows no mode pages is taken for writable and uncached. */
async function learnMode(vsc: StorVsc, address: ScsiAddress): Promise<Mode> {
  const allocationBytes = 255;
  const cdb = new Uint8Array(10);
  cdb[0] = Opcode.ModeSense10;
  cdb[2] = MODE_PAGE_CACHING;
  putU16be(cdb, 7, allocationBytes);
  let answer: Uint8Array;
  try {
    answer = await runCommand(vsc, address, cdb, allocationBytes);
  } catch (error) {
    if (!(error instanceof ScsiError)) throw error;
    return NO_MODE;
  }
  if (answer.length < 8) return NO_MODE;
  const pageAt = 8 + u16be(answer, 6);
  const isCaching = ((answer[pageAt] ?? 0) & 0x3f) === MODE_PAGE_CACHING;
  return {
    readOnly: ((answer[3] as number) & 0x80) !== 0,
    hasWriteCache: isCaching && ((answer[pageAt + 2] ?? 0) & 0x04) !== 0,
    hasForceUnitAccess: ((answer[3] as number) & 0x10) !== 0,
  };
}

const PAGE_BLOCK_LIMITS = 0xb0;
const PAGE_PROVISIONING = 0xb2;
/** Of page B2, byte 5: UNMAP; WRITE SAME(16) with UNMAP. */
const LBPU = 0x80;
const LBPWS = 0x40;
/** What is sent at a time to a disk that names no limit. */
const UNTOLD_WRITE_SAME_BLOCKS = 0xffff;

/** As Linux does, UNMAP is used only if READ CAPACITY(16), page B2 and page B0 all speak for it. */
async function learnProvisioning(
  vsc: StorVsc,
  address: ScsiAddress,
  hasPages: boolean,
  isThin: boolean,
  readsZeros: boolean,
): Promise<Provisioning> {
  const pages = hasPages ? await vitalPage(vsc, address, 0) : [];
  const limits = pages.includes(PAGE_BLOCK_LIMITS) ? await vitalPage(vsc, address, PAGE_BLOCK_LIMITS) : [];
  const isTold = isThin && pages.includes(PAGE_PROVISIONING);
  const flags = (isTold ? await vitalPage(vsc, address, PAGE_PROVISIONING) : [])[1] ?? 0;
  const body = Uint8Array.from(limits);
  const hasLimits = body.length >= 0x3c;
  const maxTrimBlocks = hasLimits ? u32be(body, 16) : 0;
  const maxTrimRuns = hasLimits ? u32be(body, 20) : 0;
  return {
    canTrim: (flags & LBPU) !== 0 && maxTrimBlocks > 0 && maxTrimRuns > 0,
    readsZerosAfterTrim: readsZeros,
    trimGranularityBlocks: Math.max(1, hasLimits ? u32be(body, 24) : 1),
    maxTrimBlocks,
    maxTrimRuns,
    canWriteSameUnmap: (flags & LBPWS) !== 0,
    maxWriteSameBlocks: (hasLimits ? u64be(body, 32) : 0) || UNTOLD_WRITE_SAME_BLOCKS,
  };
}

/** What stands behind the header of a vital product data page; nothing if the disk does not give it. */
async function vitalPage(vsc: StorVsc, address: ScsiAddress, page: number): Promise<number[]> {
  const allocationBytes = 252;
  const cdb = Uint8Array.of(Opcode.Inquiry, 1, page, 0, allocationBytes, 0);
  try {
    const answer = await runCommand(vsc, address, cdb, allocationBytes);
    if (answer.length < 4 || answer[1] !== page) return [];
    return [...answer.subarray(4, 4 + u16be(answer, 2))];
  } catch (error) {
    if (!(error instanceof ScsiError)) throw error;
    return [];
  }
}

function inquiryCdb(): Uint8Array {
  const cdb = new Uint8Array(6);
  cdb[0] = Opcode.Inquiry;
  putU16be(cdb, 3, STANDARD_INQUIRY_BYTES);
  return cdb;
}

function requireBytes(answer: Uint8Array, leastBytes: number, command: string): void {
  if (answer.length < leastBytes) {
    throw new PeerError('ERR_SHORT', `${command} returned ${answer.length} bytes, fewer than ${leastBytes}`);
  }
}
