/** Disk images as a host serves them: open for as long as the host lives, on controllers that every guest finds again. */
import { type HostEnvironment, HostVmbus, type HostVmbusOptions } from '../channel/index.ts';
import { CdUnit, DiskUnit, ScsiController, StorVsp } from '../devices/scsi/index.ts';
import type { Guid } from '../wire/guid.ts';
import { type DiskPlace, type DiskSpec, placeDisks } from './disk-spec.ts';
import { type OpenDisk, openDiskImage } from './images.ts';

/** Controller `index`, counted from 0: fixed, so that a guest finds the same disks after a restart. */
export function controllerId(index: number): Guid {
  return `6b1a3f5e-2c47-4d09-9a61-${(index + 1).toString(16).padStart(12, '0')}`;
}

export interface ServedDisk extends OpenDisk {
  readonly place: DiskPlace;
}

/** One guest's bus with the disks on it. */
export interface ServedGuest {
  readonly vmbus: HostVmbus;
  readonly vsps: readonly StorVsp[];
  /** Takes the offers back. Resolves when no request is under way: the guest's memory is not touched any more. */
  stop(): Promise<void>;
}

export class ServedDisks {
  readonly disks: readonly ServedDisk[];
  /** Told when a store fails; the guest gets sense data. */
  onFault: (disk: ServedDisk, error: unknown) => void = () => {};
  readonly #guests = new Set<ServedGuest>();

  /** Use `ServedDisks.open`. */
  constructor(disks: readonly ServedDisk[]) {
    this.disks = disks;
  }

  /** Opens all images or none. @throws CommandError */
  static async open(specs: readonly DiskSpec[]): Promise<ServedDisks> {
    const places = placeDisks(specs);
    const disks: ServedDisk[] = [];
    try {
      for (const [index, spec] of specs.entries()) {
        disks.push({ ...(await openDiskImage(spec)), place: places[index] as DiskPlace });
      }
    } catch (error) {
      await Promise.allSettled(disks.map((disk) => disk.close()));
      throw error;
    }
    return new ServedDisks(disks);
  }

  /** Puts a bus on a guest's environment and offers every disk on it. */
  offerTo(environment: HostEnvironment, options: HostVmbusOptions = {}): ServedGuest {
    const vmbus = new HostVmbus(environment, options);
    const vsps = this.#controllers().map((controller, index) => {
      const vsp = new StorVsp({ vmbus, controller, instanceId: controllerId(index), name: `SCSI ${index}` });
      vsp.start();
      return vsp;
    });
    const guest: ServedGuest = {
      vmbus,
      vsps,
      stop: async () => {
        await Promise.all(vsps.map((vsp) => vsp.stop()));
        this.#guests.delete(guest);
      },
    };
    this.#guests.add(guest);
    return guest;
  }

  /**
   * Ends every guest's disks and closes the images; what was written is on stable storage then.
   * @throws (rejects) the first failure, with all else done nevertheless
   */
  async close(): Promise<void> {
    const ended = await Promise.allSettled([...this.#guests].map((guest) => guest.stop()));
    const closed = await Promise.allSettled(this.disks.map((disk) => disk.close()));
    const failed = [...ended, ...closed].find(({ status }) => status === 'rejected');
    if (failed?.status === 'rejected') throw failed.reason;
  }

  #controllers(): ScsiController[] {
    const controllers: ScsiController[] = [];
    for (const disk of this.disks) {
      const { controller: index, lun } = disk.place;
      controllers[index] ??= new ScsiController();
      const options = { onFault: (error: unknown) => this.onFault(disk, error) };
      const { backend, spec } = disk;
      const unit = spec.isCd ? new CdUnit(backend, options) : new DiskUnit(backend, options);
      controllers[index].attach(unit, { lun });
    }
    return controllers;
  }
}
