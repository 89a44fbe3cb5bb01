/**
 * A second controller with a disk that comes while the guest runs, and goes again. The host acts on what the guest prints.
 *
 * The disk has no write cache and is idle when it goes: Linux storvsc never completes a command that it sends after its
 * controller was rescinded (`storvsc_queuecommand` drops -ENODEV), not even the flush with which it ends itself.
 */
import type { HostVmbus } from '../../../src/channel/index.ts';
import type { StorVsp } from '../../../src/devices/scsi/index.ts';
import { copyDisk, FIRST_DISK, noteBus, openReadOnlyDisk, SECOND_DISK } from './host-end.ts';
import type { Scenario } from './scenario.ts';

export const hotPlug: Scenario = {
  name: 'hot-plug',
  job: 'hot-plug',
  prepare: async (context) => {
    const first = await copyDisk(context, 'disk', FIRST_DISK);
    const second = await openReadOnlyDisk(context, 'second', SECOND_DISK);
    let vmbus: HostVmbus | undefined;
    let added: StorVsp | undefined;
    return {
      attach: (environment) => {
        vmbus = noteBus(environment, context);
        first.offer(vmbus);
        return vmbus;
      },
      console: (line) => {
        if (line.includes('GUEST: add a disk') && vmbus !== undefined) added = second.offer(vmbus);
        if (line.includes('GUEST: remove it')) void added?.stop().then(() => context.note('the second disk is gone'));
      },
      finish: async () => {
        await first.close();
        await second.close();
      },
    };
  },
};
