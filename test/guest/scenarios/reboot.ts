/** The guest restarts itself, with its disk in use: the bus starts over, on the same machine object. */
import { copyDisk, FIRST_DISK, noteBus } from './host-end.ts';
import type { Scenario } from './scenario.ts';

export const reboot: Scenario = {
  name: 'reboot',
  job: 'reboot',
  onReset: 'restart',
  prepare: async (context) => {
    const disk = await copyDisk(context, 'disk', FIRST_DISK);
    return {
      attach: (environment) => {
        const vmbus = noteBus(environment, context);
        disk.offer(vmbus);
        return vmbus;
      },
      finish: () => disk.close(),
    };
  },
};
