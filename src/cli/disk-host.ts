/** The host's side of a disk: one SCSI controller with one file on one guest's bus. */
import { type HostEnvironment, HostVmbus } from '../channel/index.ts';
import { type BlockBackend, DiskUnit, ScsiController, StorVsp } from '../devices/scsi/index.ts';
import type { Guid } from '../wire/guid.ts';

/** The controller that the commands of this program serve. Any GUID does; a fixed one is the same after a restart. */
export const DEMO_CONTROLLER_ID: Guid = '6b1a3f5e-2c47-4d09-9a61-0f5e2b7d4c83';

export interface DiskHost {
  readonly vmbus: HostVmbus;
  readonly vsp: StorVsp;
  /** Takes the offer back and closes the disk. */
  stop(): Promise<void>;
}

export function startDiskHost(environment: HostEnvironment, backend: BlockBackend): DiskHost {
  const vmbus = new HostVmbus(environment);
  const controller = new ScsiController();
  controller.attach(new DiskUnit(backend));
  const vsp = new StorVsp({ vmbus, controller, instanceId: DEMO_CONTROLLER_ID });
  vsp.start();
  return {
    vmbus,
    vsp,
    async stop() {
      await vsp.stop();
      await controller.close();
    },
  };
}
