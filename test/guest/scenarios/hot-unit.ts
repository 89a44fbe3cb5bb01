/**
 * A second disk on the controller that the guest has already: attached while it runs, detached while it reads from it.
 */
import { copyDisk, FIRST_DISK, noteBus, openUnit } from './host-end.ts';
import type { Scenario } from './scenario.ts';

export const hotUnit: Scenario = {
  name: 'hot-unit',
  job: 'hot-unit',
  prepare: async (context) => {
    const disk = await copyDisk(context, 'disk', FIRST_DISK);
    const unit = await openUnit(context);
    return {
      attach: (environment) => {
        const vmbus = noteBus(environment, context);
        disk.offer(vmbus);
        return vmbus;
      },
      console: (line) => {
        if (line.includes('GUEST: add a disk')) disk.controller.attach(unit, { lun: 1 });
        if (line.includes('GUEST: remove it')) disk.controller.detach({ lun: 1 });
      },
      finish: async () => {
        await disk.close();
        await unit.close();
      },
    };
  },
};
