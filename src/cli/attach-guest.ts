/** A guest of the commands: attached to a host's socket, with its bus up, gone without a trace at the end. */
import { resolve } from 'node:path';
import { Option } from 'commander';
import { GuestVmbus } from '../channel/index.ts';
import { openDisk, reportLuns, type ScsiDisk, StorVsc } from '../devices/scsi/index.ts';
import { connectShm } from '../transports/shm/index.ts';
import { type DiskPlace, formatPlace, parsePlace } from './disk-spec.ts';
import { CommandError, ExitCode } from './exit.ts';
import { controllerId } from './served-disks.ts';

/** Pages for rings and the small buffers of the storage driver. */
export const SPARE_PAGES = 256;

/** How long a host may take to say that all its offers are delivered, ms. */
const OFFERS_TIMEOUT_MS = 5000;

/**
 * Runs `job` as a guest of the host that listens on `path`.
 * @param job its second argument resolves, with the reason, if the host goes away meanwhile
 */
export async function withGuest<Result>(
  path: string,
  pageCount: number,
  job: (vmbus: GuestVmbus, lost: Promise<string>) => Promise<Result>,
): Promise<Result> {
  const connection = await connectShm(socketUrl(path), { pageCount });
  let lostBecause: string | undefined;
  let allOffered = (): void => {};
  const offered = new Promise<void>((resolve) => {
    allOffered = resolve;
  });
  let tellLost: (reason: string) => void = () => {};
  const lost = new Promise<string>((resolve) => {
    tellLost = resolve;
  });
  const vmbus = new GuestVmbus(connection.environment, {
    events: {
      allOffersDelivered: () => allOffered(),
      lost: (reason) => {
        lostBecause = reason;
        tellLost(reason);
        allOffered();
      },
    },
  });
  try {
    await vmbus.connect();
    const timer = vmbus.scheduler.timer(OFFERS_TIMEOUT_MS, allOffered);
    await offered;
    timer.cancel();
    return await job(vmbus, lost);
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
  /** Resolves, with the reason, when the host is gone or takes the disk back: every request fails from then on. */
  readonly lost: Promise<string>;
}

export interface DiskChoice {
  readonly disk: DiskPlace;
  readonly outstanding: number;
  /** Pages of one transfer. */
  readonly pagesPerTransfer: number;
  /** Pages for all of them; default `outstanding` times `pagesPerTransfer`. */
  readonly pageCount?: number;
}

/** Which of the host's disks. */
export function diskOption(): Option {
  return new Option('--disk <place>', 'controller, or controller:LUN, counted from 0')
    .argParser(parsePlace)
    .default({ controller: 0, lun: 0 }, '0:0');
}

/** Runs `job` with a disk of the host. @throws CommandError if the host has no such disk */
export async function withDisk<Result>(
  path: string,
  choice: DiskChoice,
  job: (attached: AttachedDisk) => Promise<Result>,
): Promise<Result> {
  const pageCount = choice.pageCount ?? choice.outstanding * choice.pagesPerTransfer;
  return await withGuest(path, pageCount + SPARE_PAGES, async (vmbus, hostLost) => {
    const { controller, lun } = choice.disk;
    const instanceId = controllerId(controller);
    const nothingThere = (): CommandError =>
      new CommandError(
        ExitCode.Failed,
        `${path} offers no disk ${formatPlace(choice.disk)}; vmbus ls ${path} shows its controllers`,
      );
    if (![...vmbus.bus.offers()].some((offer) => offer.instanceId === instanceId)) throw nothingThere();
    let tellClosed: (reason: string) => void = () => {};
    const closed = new Promise<string>((resolve) => {
      tellClosed = resolve;
    });
    const vsc = new StorVsc({
      vmbus,
      pages: vmbus.pages,
      instanceId,
      maxOutstanding: choice.outstanding,
      maxTransferBytes: choice.pagesPerTransfer * 4096,
      onClosed: () => tellClosed('it took the disk back'),
    });
    await vsc.open();
    try {
      const luns = await reportLuns(vsc);
      if (!luns.includes(lun)) throw nothingThere();
      // A host that is gone closes the channel first; then that is the reason, not what it looks like from here.
      const lost = Promise.race([hostLost, closed.then((reason) => Promise.race([hostLost, soon(reason)]))]);
      return await job({ vmbus, disk: await openDisk(vsc, { lun }), lost });
    } finally {
      await vsc.close();
    }
  });
}

/** A turn of the event loop later. */
function soon<Value>(value: Value): Promise<Value> {
  return new Promise((resolve) => setImmediate(() => resolve(value)));
}

/** @throws CommandError for another scheme */
export function socketUrl(path: string): string {
  const bare = path.startsWith('shm:') ? path.slice('shm:'.length) : path;
  if (/^[a-z]+:/.test(bare)) {
    throw new CommandError(ExitCode.WrongUsage, `"${path}" is no socket path: say PATH or shm:PATH`);
  }
  return `shm:${resolve(bare)}`;
}
