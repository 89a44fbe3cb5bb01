/** The host end of a scenario: a bus whose doings are noted, and disks on it. */
import { copyFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import type { HostEnvironment } from '../../../src/channel/index.ts';
import { HostVmbus, type HostVmbusOptions } from '../../../src/channel/index.ts';
import { DiskUnit, openFileBackend, ScsiController, StorVsp } from '../../../src/devices/scsi/index.ts';
import { findMessage, formatVersion } from '../../../src/wire/index.ts';
import type { ScenarioContext } from './scenario.ts';

export const FIRST_DISK = '11111111-2222-3333-4444-000000000001';
export const SECOND_DISK = '11111111-2222-3333-4444-000000000002';

/** A bus that notes every connect, disconnect, dropped message, and the name of each control message. */
export function noteBus(
  environment: HostEnvironment,
  context: ScenarioContext,
  options: HostVmbusOptions = {},
): HostVmbus {
  const { note } = context;
  return new HostVmbus(environment, {
    ...options,
    events: {
      connected: (version) => note(`connected ${formatVersion(version)}`),
      disconnected: () => note('disconnected'),
      dropped: (reason) => note(`dropped: ${reason}`),
      message: (direction, message) => note(`${direction} ${nameOf(message)}`),
      lost: (reason) => note(`lost: ${reason}`),
    },
  });
}

export interface ScenarioDisk {
  readonly controller: ScsiController;
  /** Offers the disk on a controller of its own. */
  offer(vmbus: HostVmbus): StorVsp;
  close(): Promise<void>;
}

/** A writable copy of the plan's image, in the scenario's folder; it goes with the scenario unless it is a result. */
export async function copyDisk(
  context: ScenarioContext,
  name: string,
  instanceId: string,
  isResult = false,
): Promise<ScenarioDisk> {
  const path = join(context.folder, `${name}.img`);
  copyFileSync(context.diskImage, path);
  const disk = await openDisk(context, path, false, name, instanceId);
  return {
    ...disk,
    close: async () => {
      await disk.close();
      if (!isResult) rmSync(path);
    },
  };
}

/** The plan's image itself, for reading: a disk without a write cache. */
export function openReadOnlyDisk(context: ScenarioContext, name: string, instanceId: string): Promise<ScenarioDisk> {
  return openDisk(context, context.diskImage, true, name, instanceId);
}

async function openDisk(
  context: ScenarioContext,
  path: string,
  readOnly: boolean,
  name: string,
  instanceId: string,
): Promise<ScenarioDisk> {
  const controller = new ScsiController();
  const onFault = (error: unknown) => context.note(`disk fault: ${(error as Error).message}`);
  controller.attach(new DiskUnit(await openFileBackend(path, { readOnly }), { onFault }));
  let vsp: StorVsp | undefined;
  return {
    controller,
    offer: (vmbus) => {
      vsp = new StorVsp({ vmbus, controller, instanceId, name });
      vsp.start();
      return vsp;
    },
    close: async () => {
      if (vsp !== undefined) context.note(`${name}: ${JSON.stringify(vsp.inspect())}`);
      await vsp?.stop();
      await controller.close();
    },
  };
}

function nameOf(message: Uint8Array): string {
  const type = new DataView(message.buffer, message.byteOffset, message.byteLength).getUint32(0, true);
  return findMessage(type)?.name ?? `message ${type}`;
}

/** The plan's image once more, as a unit that nobody has attached yet. */
export async function openUnit(context: ScenarioContext): Promise<DiskUnit> {
  return new DiskUnit(await openFileBackend(context.diskImage, { readOnly: true, identity: 'a second unit' }));
}
