/** A guest of the commands: attached to a host's socket, with its bus up, gone without a trace at the end. */
import { resolve } from 'node:path';
import { Option } from 'commander';
import { GuestVmbus } from '../channel/index.ts';
import { openDisk, type ScsiDisk, StorVsc } from '../devices/scsi/index.ts';
import { connectShm } from '../transports/shm/index.ts';
import { CommandError, ExitCode } from './exit.ts';
import { wholeNumber } from './quantity.ts';
import { controllerId } from './served-disks.ts';

/** Pages for rings and the small buffers of the storage driver. */
export const SPARE_PAGES = 256;

/** How long a host may take to say that all its offers are delivered, ms. */
const OFFERS_TIMEOUT_MS = 5000;

/** Runs `job` as a guest of the host that listens on `path`. */
export async function withGuest<Result>(
  path: string,
  pageCount: number,
  job: (vmbus: GuestVmbus) => Promise<Result>,
): Promise<Result> {
  const connection = await connectShm(socketUrl(path), { pageCount });
  let lostBecause: string | undefined;
  let allOffered = (): void => {};
  const offered = new Promise<void>((resolve) => {
    allOffered = resolve;
  });
  const vmbus = new GuestVmbus(connection.environment, {
    events: {
      allOffersDelivered: () => allOffered(),
      lost: (reason) => {
        lostBecause = reason;
        allOffered();
      },
    },
  });
  try {
    await vmbus.connect();
    const timer = vmbus.scheduler.timer(OFFERS_TIMEOUT_MS, allOffered);
    await offered;
    timer.cancel();
    return await job(vmbus);
  } catch (error) {
    if (lostBecause === undefined) throw error;
    throw new CommandError(ExitCode.Failed, `the host is gone: ${lostBecause}`, { cause: error });
  } finally {
    await vmbus.disconnect();
    connection.close();
  }
}

export interface AttachedDisk {
  readonly vmbus: GuestVmbus;
  readonly disk: ScsiDisk;
}

export interface DiskChoice {
  /** Which disk of the host, counted from 0 as it was named to `vmbus serve`. */
  readonly disk: number;
  readonly outstanding: number;
  /** Pages of one transfer. */
  readonly pagesPerTransfer: number;
}

/** Which of the host's disks. */
export function diskOption(): Option {
  return new Option('--disk <number>', 'which disk of the host, counted from 0')
    .argParser(wholeNumber(0, 254))
    .default(0);
}

/** Runs `job` with a disk of the host. @throws CommandError if the host has no such disk */
export async function withDisk<Result>(
  path: string,
  choice: DiskChoice,
  job: (attached: AttachedDisk) => Promise<Result>,
): Promise<Result> {
  const pageCount = choice.outstanding * choice.pagesPerTransfer + SPARE_PAGES;
  return await withGuest(path, pageCount, async (vmbus) => {
    const instanceId = controllerId(choice.disk);
    if (![...vmbus.bus.offers()].some((offer) => offer.instanceId === instanceId)) {
      throw new CommandError(
        ExitCode.Failed,
        `${path} offers no disk ${choice.disk}; vmbus ls ${path} shows what it offers`,
      );
    }
    const vsc = new StorVsc({
      vmbus,
      pages: vmbus.pages,
      instanceId,
      maxOutstanding: choice.outstanding,
      maxTransferBytes: choice.pagesPerTransfer * 4096,
    });
    await vsc.open();
    try {
      return await job({ vmbus, disk: await openDisk(vsc) });
    } finally {
      await vsc.close();
    }
  });
}

/** @throws CommandError for another scheme */
export function socketUrl(path: string): string {
  const bare = path.startsWith('shm:') ? path.slice('shm:'.length) : path;
  if (/^[a-z]+:/.test(bare)) {
    throw new CommandError(ExitCode.WrongUsage, `"${path}" is no socket path: say PATH or shm:PATH`);
  }
  return `shm:${resolve(bare)}`;
}
