/**
 * A second disk that comes while the guest runs, and goes while it reads from it. The host acts on what the guest prints.
 */

import type { HostVmbus } from '../../../src/channel/index.ts';
import type { StorVsp } from '../../../src/devices/scsi/index.ts';
import { copyDisk, FIRST_DISK, noteBus, SECOND_DISK } from './host-end.ts';
import type { Scenario } from './scenario.ts';

export const hotPlug: Scenario = {
  name: 'hot-plug',
  job: 'hot-plug',
  prepare: async (context) => {
    const first = await copyDisk(context.diskImage, context, 'disk', FIRST_DISK);
    const second = await copyDisk(context.diskImage, context, 'second', SECOND_DISK);
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
        if (line.includes('GUEST: remove it') && added !== undefined) {
          context.note('removing the second disk');
          void added.stop().then(() => context.note('the second disk is gone'));
        }
      },
      finish: async () => {
        await first.close();
        await second.close();
      },
    };
  },
};
