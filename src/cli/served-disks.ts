/** Disk images as a host serves them: each on a controller of its own, open for as long as the host lives. */
import { type HostEnvironment, HostVmbus, type HostVmbusOptions } from '../channel/index.ts';
import { DiskUnit, type FileBackend, ScsiController, StorVsp } from '../devices/scsi/index.ts';
import type { Guid } from '../wire/guid.ts';
import { CommandError, ExitCode } from './exit.ts';
import { openDiskFile } from './images.ts';

/** `FILE[,ro]`. */
export interface DiskSpec {
  readonly path: string;
  readonly readOnly: boolean;
}

/** @throws CommandError for a word behind the comma that we do not know */
export function parseDiskSpec(text: string): DiskSpec {
  const [path = '', ...words] = text.split(',');
  const unknown = words.find((word) => word !== 'ro');
  if (path === '' || unknown !== undefined) {
    throw new CommandError(ExitCode.WrongUsage, `"${text}" is no disk: say FILE or FILE,ro`);
  }
  return { path, readOnly: words.includes('ro') };
}

/** The controller of disk `index`: fixed, so that a guest finds the same disks after a restart. */
export function controllerId(index: number): Guid {
  return `6b1a3f5e-2c47-4d09-9a61-${(index + 1).toString(16).padStart(12, '0')}`;
}

/** One guest's bus with the disks on it. */
export interface ServedGuest {
  readonly vmbus: HostVmbus;
  readonly vsps: readonly StorVsp[];
  /** Takes the offers back. Resolves when no request is under way: the guest's memory is not touched any more. */
  stop(): Promise<void>;
}

export class ServedDisks {
  readonly backends: readonly FileBackend[];
  readonly #guests = new Set<ServedGuest>();

  constructor(backends: readonly FileBackend[]) {
    this.backends = backends;
  }

  /** Opens all images or none. @throws CommandError */
  static async open(specs: readonly DiskSpec[]): Promise<ServedDisks> {
    const backends: FileBackend[] = [];
    try {
      for (const { path, readOnly } of specs) backends.push(await openDiskFile(path, { readOnly }));
    } catch (error) {
      await Promise.allSettled(backends.map((backend) => backend.close()));
      throw error;
    }
    return new ServedDisks(backends);
  }

  /** Puts a bus on a guest's environment and offers every disk on it. */
  offerTo(environment: HostEnvironment, options: HostVmbusOptions = {}): ServedGuest {
    const vmbus = new HostVmbus(environment, options);
    const vsps = this.backends.map((backend, index) => {
      const controller = new ScsiController();
      controller.attach(new DiskUnit(backend));
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

  /** Ends every guest's disks and closes the images; what was written is on stable storage then. */
  async close(): Promise<void> {
    await Promise.all([...this.#guests].map((guest) => guest.stop()));
    for (const backend of this.backends) {
      if (!backend.readOnly) await backend.flush();
      await backend.close();
    }
  }
}
