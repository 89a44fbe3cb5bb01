/**
 * Cuts a host off with `kill -9` under a load of writes and flushes, again and again, and looks at its disks through the
 * next host: a raw file, an overlay and a VHDX, each of which must open, and hold what was promised to be kept.
 *
 * The killed process loses whatever it had in memory: states of an overlay, tables and the log of a VHDX, writes that it
 * had taken and not made. What a cut of the power may lose beyond that, because the system still had it in memory, is
 * tried out without hardware in `test/images` (files that forget what was not synced).
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { GuestVmbus } from '../../src/channel/index.ts';
import { TransferSlot } from '../../src/cli/disk-transfer.ts';
import { openDisk, type ScsiDisk, StorVsc } from '../../src/devices/scsi/index.ts';
import { createVhdxImage } from '../../src/images/index.ts';
import { connectShm, type ShmConnection } from '../../src/transports/shm/index.ts';
import { type Beginning, BlockLedger, fillUnit, UNIT_BYTES } from './block-ledger.ts';

export interface PowerCutOptions {
  /** The compiled `src/cli/main.ts`. */
  readonly main: string;
  /** An empty folder for images and socket. */
  readonly folder: string;
  readonly rounds: number;
  readonly seed: number;
  /** Called after each round, for a progress line. */
  readonly onRound?: (round: number) => void;
}

export interface PowerCutResult {
  readonly cuts: number;
  /** Writes and discards that ended well, over all rounds and disks. */
  readonly writes: number;
  readonly flushes: number;
  /** Requests that were under way when the host was killed. */
  readonly cutOff: number;
  /** Units of 4 KiB that a flush had covered and that were found kept; each checked after each cut. */
  readonly keptUnits: number;
}

const MIB = 2 ** 20;
const DISK_BYTES = 8 * MIB;
const WRITERS = 8;
const PAGES_EACH = 16;
/** A flush after so many writes, on average. */
const WRITES_PER_FLUSH = 6;
const WRITES_PER_DISCARD = 10;
const WRITES_PER_FUA = 10;

interface DiskUnderTest {
  readonly spec: string;
  readonly ledger: BlockLedger;
}

/** @throws Error that says which disk holds what it must not, or does not open */
export async function cutPower(options: PowerCutOptions): Promise<PowerCutResult> {
  const random = randomFrom(options.seed);
  const disks = await makeDisks(options.folder);
  const socket = join(options.folder, 'run', 'host.sock');
  const totals = { writes: 0, flushes: 0, cutOff: 0 };
  for (let round = 0; round <= options.rounds; round++) {
    const host = await startHost(options.main, disks, socket);
    const guest = await connect(socket, disks.length);
    for (const [index, disk] of guest.disks.entries()) await checkDisk(disk, disks[index] as DiskUnderTest, guest);
    if (round === options.rounds) {
      await guest.close();
      await host.stop('SIGINT');
      break;
    }
    // Sometimes after ten requests, sometimes after a thousand requests.
    let left = Math.floor(10 ** (1 + random() * 2));
    const count = (kind: 'writes' | 'flushes' | 'cutOff'): void => {
      totals[kind]++;
      if (kind !== 'cutOff' && left-- === 0) host.kill();
    };
    const loads = guest.disks.flatMap((disk, index) => {
      const { ledger } = disks[index] as DiskUnderTest;
      return Array.from({ length: WRITERS }, () => writeUntilCut(disk, ledger, guest, random, count));
    });
    await Promise.all(loads);
    await host.ended;
    await guest.close();
    options.onRound?.(round);
  }
  const keptUnits = disks.reduce((sum, { ledger }) => sum + ledger.keptUnits, 0);
  return { cuts: options.rounds, ...totals, keptUnits };
}

async function makeDisks(folder: string): Promise<DiskUnderTest[]> {
  const [raw, base, vhdx] = ['raw.img', 'base.img', 'disk.vhdx'].map((name) => join(folder, name)) as [
    string,
    string,
    string,
  ];
  writeFileSync(raw, '');
  truncateSync(raw, DISK_BYTES);
  const numbered = new Uint8Array(DISK_BYTES);
  for (let unit = 0; unit * UNIT_BYTES < DISK_BYTES; unit++) fillUnit(numbered, unit * UNIT_BYTES, unit, 0);
  writeFileSync(base, numbered);
  await createVhdxImage(vhdx, { diskBytes: DISK_BYTES, blockBytes: MIB });
  const disk = (spec: string, beginning: Beginning): DiskUnderTest => ({
    spec,
    ledger: new BlockLedger(DISK_BYTES / UNIT_BYTES, beginning),
  });
  return [
    disk(`${raw},format=raw`, 'zeros'),
    disk(`${base},lun=1,format=raw,overlay=${join(folder, 'delta.overlay')}`, 'numbered'),
    disk(`${vhdx},lun=2`, 'zeros'),
  ];
}

interface Host {
  readonly ended: Promise<void>;
  kill(): void;
  stop(signal: NodeJS.Signals): Promise<void>;
}

/** @throws Error with what the host said, if it does not come up: an image that does not open, above all */
async function startHost(main: string, disks: readonly DiskUnderTest[], socket: string): Promise<Host> {
  const args = ['serve', 'scsi', ...disks.map(({ spec }) => spec), '--listen', socket, '--json'];
  const child: ChildProcess = spawn(process.execPath, [main, ...args], { stdio: ['ignore', 'pipe', 'pipe'] });
  let stderr = '';
  child.stderr?.setEncoding('utf8').on('data', (text: string) => {
    stderr += text;
  });
  const ended = new Promise<void>((resolve) => child.once('close', () => resolve()));
  const listening = new Promise<void>((resolve) => {
    createInterface({ input: child.stdout as NodeJS.ReadableStream }).on('line', (line) => {
      if ((JSON.parse(line) as { event: string }).event === 'listening') resolve();
    });
  });
  await Promise.race([
    listening,
    ended.then(() => {
      throw new Error(`the host does not come up after a cut: ${stderr}`);
    }),
  ]);
  return {
    ended,
    kill: () => void child.kill('SIGKILL'),
    stop: (signal) => {
      child.kill(signal);
      return ended;
    },
  };
}

interface Guest {
  readonly vmbus: GuestVmbus;
  readonly disks: readonly ScsiDisk[];
  close(): Promise<void>;
}

async function connect(socket: string, diskCount: number): Promise<Guest> {
  const pageCount = (WRITERS * diskCount + 1) * PAGES_EACH + 256;
  const connection: ShmConnection = await connectShm(`shm:${socket}`, { pageCount });
  const vmbus = new GuestVmbus(connection.environment);
  await vmbus.connect();
  const maxOutstanding = (WRITERS + 1) * diskCount;
  const vsc = new StorVsc({ vmbus, maxOutstanding, maxTransferBytes: PAGES_EACH * UNIT_BYTES });
  await vsc.open();
  const disks: ScsiDisk[] = [];
  for (let lun = 0; lun < diskCount; lun++) disks.push(await openDisk(vsc, { lun }));
  return {
    vmbus,
    disks,
    async close() {
      await vsc.close();
      await vmbus.disconnect();
      connection.close();
    },
  };
}

async function checkDisk(disk: ScsiDisk, { spec, ledger }: DiskUnderTest, { vmbus }: Guest): Promise<void> {
  const slot = new TransferSlot(vmbus.pages, PAGES_EACH);
  try {
    for (let unit = 0; unit < ledger.unitCount; unit += PAGES_EACH) {
      await disk.read((unit * UNIT_BYTES) / disk.blockBytes, (PAGES_EACH * UNIT_BYTES) / disk.blockBytes, slot.pfns);
      ledger.settle(unit, slot.view.toBytes());
    }
  } catch (error) {
    throw new Error(`${spec}: ${(error as Error).message}`, { cause: error });
  } finally {
    vmbus.pages.free(slot.pfns);
  }
}

/** Writes, discards and flushes until a request fails because the host is gone. */
async function writeUntilCut(
  disk: ScsiDisk,
  ledger: BlockLedger,
  { vmbus }: Guest,
  random: () => number,
  count: (kind: 'writes' | 'flushes' | 'cutOff') => void,
): Promise<void> {
  const slot = new TransferSlot(vmbus.pages, PAGES_EACH);
  const bytes = new Uint8Array(PAGES_EACH * UNIT_BYTES);
  const blocksPerUnit = UNIT_BYTES / disk.blockBytes;
  try {
    for (;;) {
      if (random() * WRITES_PER_FLUSH < 1) {
        const kept = ledger.beginFlush();
        await disk.flush();
        kept();
        count('flushes');
        continue;
      }
      const unitCount = 1 + Math.floor(random() ** 2 * PAGES_EACH);
      const first = Math.floor(random() * (ledger.unitCount - unitCount + 1));
      if (!ledger.claim(first, unitCount)) continue;
      if (disk.canTrim && random() * WRITES_PER_DISCARD < 1) {
        ledger.beginDiscard(first, unitCount);
        await disk.trim(first * blocksPerUnit, unitCount * blocksPerUnit);
        ledger.end(first, unitCount, false);
      } else {
        const forceUnitAccess = random() * WRITES_PER_FUA < 1;
        ledger.beginWrite(first, unitCount, bytes);
        slot.view.write(0, bytes.subarray(0, unitCount * UNIT_BYTES));
        await disk.write(first * blocksPerUnit, unitCount * blocksPerUnit, slot.pfns, { forceUnitAccess });
        ledger.end(first, unitCount, forceUnitAccess);
      }
      count('writes');
    }
  } catch (error) {
    if (!isHostGone(error)) throw error;
    count('cutOff');
  }
}

function isHostGone(error: unknown): boolean {
  const { code } = (error ?? {}) as { code?: unknown };
  return code === 'ERR_CLOSED' || code === 'ERR_RESCINDED';
}

/** xorshift32; numbers from 0 to 1. */
function randomFrom(seed: number): () => number {
  let state = seed | 1;
  return () => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return (state >>> 0) / 2 ** 32;
  };
}
