/** `vmbus attach PATH …`: a guest in a process of its own, with a host's disk to read, write, copy and measure. */
import { once } from 'node:events';
import { createReadStream } from 'node:fs';
import { type FileHandle, open } from 'node:fs/promises';
import { Command } from 'commander';
import type { ScatterView } from '../memory/index.ts';
import { benchCommand } from './attach-bench.ts';
import { type AttachedDisk, type DiskChoice, diskOption, withDisk } from './attach-guest.ts';
import { nbdCommand } from './attach-nbd.ts';
import type { DiskPlace } from './disk-spec.ts';
import {
  allocateSlots,
  type BlockRange,
  readBlocks,
  type TransferPlan,
  wholeDisk,
  writeBlocks,
} from './disk-transfer.ts';
import { CommandError, ExitCode } from './exit.ts';
import { interruptible } from './interruption.ts';
import { listOffers } from './ls.ts';
import { createProgress } from './progress.ts';
import { formatBytes, wholeNumber } from './quantity.ts';
import { SourceReader } from './source-reader.ts';

const PLAN: TransferPlan = { outstanding: 16, pagesPerTransfer: 256 };

export interface DiskOption {
  readonly disk: DiskPlace;
}

/**
 * `attach PATH read 0 8` is how a person says it, and `attach PATH --nbd SOCKET`; commander wants the action first.
 * @returns the same words with the action in front of the path
 */
export function actionFirst(args: readonly string[]): readonly string[] {
  const [command, path, action, ...rest] = args;
  if (command !== 'attach' || path === undefined || action === undefined) return args;
  if (ACTIONS.includes(action)) return [command, action, path, ...rest];
  const at = args.findIndex((word) => word === '--nbd' || word.startsWith('--nbd='));
  if (at < 2) return args;
  const [, socket] = (args[at] as string).split(/=(.*)/s);
  const others = args.slice(2, at);
  if (socket !== undefined) return [command, 'nbd', path, socket, ...others, ...args.slice(at + 1)];
  return [command, 'nbd', path, ...args.slice(at + 1, at + 2), ...others, ...args.slice(at + 2)];
}

const ACTIONS = ['ls', 'read', 'write', 'copy', 'bench', 'nbd'];

export function attachCommand(): Command {
  const path = ['<path>', "the host's socket"] as const;
  const attach = new Command('attach')
    .description(
      'be a guest of a host and use its disk: vmbus attach PATH read | write | copy | bench | ls | --nbd SOCKET',
    )
    .addHelpText('before', 'Example: vmbus attach /run/user/1000/vmbus/disk.sock read 0 8 > first-8-blocks\n');
  attach
    .command('ls')
    .description('list what the host offers')
    .argument(...path)
    .option('--json', 'print one JSON object', false)
    .action(listOffers);
  attach
    .command('read')
    .description('write blocks of the disk to stdout')
    .argument(...path)
    .argument('<lba>', 'first block', wholeNumber(0, Number.MAX_SAFE_INTEGER))
    .argument('<count>', 'blocks', wholeNumber(1, Number.MAX_SAFE_INTEGER))
    .addOption(diskOption())
    .action(read);
  attach
    .command('write')
    .description('write stdin to the disk, and flush it')
    .argument(...path)
    .argument('<lba>', 'first block', wholeNumber(0, Number.MAX_SAFE_INTEGER))
    .addOption(diskOption())
    .action(write);
  attach
    .command('copy')
    .description('copy the whole disk to a file, or a file over the disk, with progress')
    .argument(...path)
    .option('--to <file>', 'copy the disk to this file')
    .option('--from <file>', 'copy this file to the disk, from its first block on')
    .addOption(diskOption())
    .action(copy);
  attach.addCommand(benchCommand());
  attach.addCommand(nbdCommand());
  return attach;
}

async function read(path: string, lba: number, blockCount: number, { disk }: DiskOption): Promise<void> {
  await withDisk(path, choiceOf(disk), async (attached) => {
    checkRange(attached, { lba, blockCount });
    await interruptible((signal) =>
      readBlocks(attached.disk, slotsFor(attached), { lba, blockCount }, writeToStdout, signal),
    );
  });
}

async function write(path: string, lba: number, { disk }: DiskOption): Promise<void> {
  await withDisk(path, choiceOf(disk), async (attached) => {
    const source = new SourceReader(process.stdin);
    const bytes = await interruptible((signal) => writeFromSource(attached, source, { firstLba: lba, signal }));
    process.stderr.write(`vmbus: wrote ${bytes} bytes from block ${lba} on, and flushed them\n`);
  });
}

async function copy(path: string, options: DiskOption & { to?: string; from?: string }): Promise<void> {
  const { to, from } = options;
  if ((to === undefined) === (from === undefined)) {
    throw new CommandError(ExitCode.WrongUsage, 'copy goes one way: give either --to FILE or --from FILE');
  }
  const started = performance.now();
  const bytes = await withDisk(path, choiceOf(options.disk), (attached) =>
    to === undefined ? copyFrom(attached, from as string) : copyTo(attached, to),
  );
  const seconds = (performance.now() - started) / 1000;
  process.stderr.write(
    `vmbus: copied ${bytes} bytes (${formatBytes(bytes)}) in ${seconds.toFixed(2)} s, ${(bytes / 1e6 / seconds).toFixed(0)} MB/s\n`,
  );
}

async function copyTo(attached: AttachedDisk, file: string): Promise<number> {
  const { disk } = attached;
  const handle = await openFile(file, 'w');
  const progress = createProgress('copying');
  const store = async (bytes: ScatterView, offsetBytes: number): Promise<void> => {
    await handle.writev(bytes.segments as Uint8Array[], offsetBytes);
    progress.show(offsetBytes + bytes.byteLength, disk.sizeBytes);
  };
  try {
    await interruptible((signal) => readBlocks(disk, slotsFor(attached), wholeDisk(disk), store, signal));
    await handle.datasync();
    return disk.sizeBytes;
  } finally {
    progress.stop();
    await handle.close();
  }
}

async function copyFrom(attached: AttachedDisk, file: string): Promise<number> {
  const handle = await openFile(file, 'r');
  const { size } = await handle.stat();
  await handle.close();
  if (size > attached.disk.sizeBytes) {
    throw new CommandError(
      ExitCode.Failed,
      `${file} has ${size} bytes, the disk only ${attached.disk.sizeBytes}; nothing was written`,
    );
  }
  const progress = createProgress('copying');
  try {
    const source = new SourceReader(createReadStream(file, { highWaterMark: 1 << 20 }));
    const onProgress = (bytes: number): void => progress.show(bytes, size);
    return await interruptible((signal) => writeFromSource(attached, source, { firstLba: 0, onProgress, signal }));
  } finally {
    progress.stop();
  }
}

interface SourceWrite {
  readonly firstLba: number;
  readonly signal: AbortSignal;
  /** Bytes written so far. */
  readonly onProgress?: (bytes: number) => void;
}

/**
 * Writes all of a source whose length may be unknown. Ends with a flush, also when it is interrupted.
 * @returns bytes written @throws CommandError if it does not end with a block, or the disk ends before it
 */
async function writeFromSource(
  attached: AttachedDisk,
  source: SourceReader,
  { firstLba, signal, onProgress }: SourceWrite,
): Promise<number> {
  const { disk } = attached;
  const slots = slotsFor(attached);
  const slotBytes = PLAN.pagesPerTransfer * 4096;
  let done = 0;
  for (let lba = firstLba; !signal.aborted; ) {
    // As much as all slots hold, or what is left; a source tells only at its end how long it is.
    const chunk = await source.take(slots.length * slotBytes);
    if (chunk.length === 0) break;
    if (chunk.length % disk.blockBytes !== 0) {
      throw new CommandError(
        ExitCode.Failed,
        `the input ends inside a block: ${done + chunk.length} bytes are no multiple of ${disk.blockBytes}; the whole blocks before it are on the disk`,
      );
    }
    const range = { lba, blockCount: chunk.length / disk.blockBytes };
    checkRange(attached, range);
    await writeBlocks(disk, slots, range, (bytes: ScatterView, offsetBytes) => {
      const at = offsetBytes - range.lba * disk.blockBytes;
      bytes.write(0, chunk.subarray(at, at + bytes.byteLength));
    });
    lba += range.blockCount;
    done += chunk.length;
    onProgress?.(done);
  }
  await disk.flush();
  signal.throwIfAborted();
  return done;
}

function slotsFor({ vmbus }: AttachedDisk) {
  return allocateSlots(vmbus.pages, PLAN);
}

function choiceOf(disk: DiskPlace): DiskChoice {
  return { disk, ...PLAN };
}

function checkRange({ disk }: AttachedDisk, { lba, blockCount }: BlockRange): void {
  if (blockCount <= disk.blockCount - lba) return;
  throw new CommandError(
    ExitCode.Failed,
    `blocks ${lba} to ${lba + blockCount - 1} are not all on the disk, which has ${disk.blockCount}`,
  );
}

async function writeToStdout(bytes: ScatterView): Promise<void> {
  // A copy: the pages are read into again before a slow reader has taken them from the pipe.
  if (!process.stdout.write(bytes.toBytes())) await once(process.stdout, 'drain');
}

async function openFile(path: string, flags: string): Promise<FileHandle> {
  try {
    return await open(path, flags);
  } catch (cause) {
    throw new CommandError(ExitCode.Failed, `cannot open ${path}: ${(cause as Error).message}`, { cause });
  }
}
