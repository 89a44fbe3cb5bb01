/** What a guest learns of a disk before it uses it. Source: SPC-4, SBC-3; the order is that of Linux `drivers/scsi/sd.c`. */
import { PeerError } from '../../../errors.ts';
import { BLOCK_SIZES } from '../block-backend.ts';
import { putU16be, putU32be, u16be, u32be } from '../target/big-endian.ts';
import type { ScsiAddress } from '../target/controller.ts';
import { Opcode, ServiceAction16 } from '../target/opcodes.ts';
import { SenseKey } from '../target/sense.ts';
import { runCommand } from './run-command.ts';
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
}

const STANDARD_INQUIRY_BYTES = 36;
const DIRECT_ACCESS = 0x00;
const VERSION_SPC3 = 5;
const MAX_LUNS = 256;
const MODE_PAGE_CACHING = 0x08;
/** A unit that was reset or changed says so once to each command; a few may have piled up. */
const UNIT_ATTENTION_TRIES = 5;

/** @throws PeerError `ERR_REFUSED` if there is no disk at the address, or one that we cannot use */
export async function learnDisk(vsc: StorVsc, address: ScsiAddress): Promise<DiskFacts> {
  const inquiry = await runCommand(vsc, address, inquiryCdb(), STANDARD_INQUIRY_BYTES);
  const where = `${address.path ?? 0}:${address.target ?? 0}:${address.lun ?? 0}`;
  if (inquiry.length < STANDARD_INQUIRY_BYTES || (inquiry[0] as number) !== DIRECT_ACCESS) {
    throw new PeerError('ERR_REFUSED', `there is no disk at ${where} (peripheral byte ${inquiry[0] ?? 'missing'})`);
  }
  await becomeReady(vsc, address);
  const { blockBytes, blockCount } = await learnCapacity(vsc, address, inquiry[2] as number);
  if (!BLOCK_SIZES.includes(blockBytes) || blockCount < 1) {
    throw new PeerError('ERR_REFUSED', `the disk at ${where} has ${blockCount} blocks of ${blockBytes} bytes`);
  }
  const mode = await learnMode(vsc, address);
  const text = new TextDecoder('latin1');
  return {
    blockBytes,
    blockCount,
    ...mode,
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

async function becomeReady(vsc: StorVsc, address: ScsiAddress): Promise<void> {
  for (let left = UNIT_ATTENTION_TRIES; ; left--) {
    try {
      await runCommand(vsc, address, new Uint8Array(6), 0);
      return;
    } catch (error) {
      const isAttention = error instanceof ScsiError && error.sense?.key === SenseKey.UnitAttention;
      if (!isAttention || left === 1) throw error;
    }
  }
}

/** READ CAPACITY(16) first of a disk that knows it, (10) of an older one or when (16) is refused. */
async function learnCapacity(
  vsc: StorVsc,
  address: ScsiAddress,
  version: number,
): Promise<{ blockBytes: number; blockCount: number }> {
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
  return { blockBytes: u32be(answer, 4), blockCount: lastLba + 1 };
}

async function capacity16(vsc: StorVsc, address: ScsiAddress): Promise<{ blockBytes: number; blockCount: number }> {
  const cdb = new Uint8Array(16);
  cdb[0] = Opcode.ServiceActionIn16;
  cdb[1] = ServiceAction16.ReadCapacity16;
  putU32be(cdb, 10, 32);
  const answer = await runCommand(vsc, address, cdb, 32);
  requireBytes(answer, 12, 'READ CAPACITY(16)');
  return { blockBytes: u32be(answer, 8), blockCount: u32be(answer, 0) * 0x1_0000_0000 + u32be(answer, 4) + 1 };
}

/** Write protection and cache. A disk that knows no mode pages is taken for writable and uncached. */
async function learnMode(vsc: StorVsc, address: ScsiAddress): Promise<{ readOnly: boolean; hasWriteCache: boolean }> {
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
    return { readOnly: false, hasWriteCache: false };
  }
  if (answer.length < 8) return { readOnly: false, hasWriteCache: false };
  const pageAt = 8 + u16be(answer, 6);
  const isCaching = ((answer[pageAt] ?? 0) & 0x3f) === MODE_PAGE_CACHING;
  return {
    readOnly: ((answer[3] as number) & 0x80) !== 0,
    hasWriteCache: isCaching && ((answer[pageAt + 2] ?? 0) & 0x04) !== 0,
  };
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
