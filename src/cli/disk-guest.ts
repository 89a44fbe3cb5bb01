/** The guest's side of a disk: a bus, the storage driver on it, and the first disk behind that. */
import { type GuestEnvironment, GuestVmbus } from '../channel/index.ts';
import { openDisk, type ScsiDisk, StorVsc } from '../devices/scsi/index.ts';

export interface DiskGuestOptions {
  /** Most transfers with the host at once. */
  readonly outstanding: number;
  /** Largest transfer, bytes; whole pages. */
  readonly transferBytes: number;
}

export interface DiskGuest {
  readonly vmbus: GuestVmbus;
  readonly vsc: StorVsc;
  readonly disk: ScsiDisk;
  /** Closes the channel and ends the connection. */
  stop(): Promise<void>;
}

/** Makes contact, opens the controller and looks at its disk. @throws what either end of that may refuse */
export async function startDiskGuest(environment: GuestEnvironment, options: DiskGuestOptions): Promise<DiskGuest> {
  const vmbus = new GuestVmbus(environment);
  await vmbus.connect();
  const vsc = new StorVsc({
    vmbus,
    pages: vmbus.pages,
    maxOutstanding: options.outstanding,
    maxTransferBytes: options.transferBytes,
  });
  await vsc.open();
  return {
    vmbus,
    vsc,
    disk: await openDisk(vsc),
    async stop() {
      await vsc.close();
      await vmbus.disconnect();
    },
  };
}
