/** The host cuts the power of a guest whose two processors are busy. */
import { copyDisk, FIRST_DISK, noteBus } from './host-end.ts';
import type { Scenario } from './scenario.ts';

export const stop: Scenario = {
  name: 'stop',
  job: 'busy',
  cpus: 2,
  prepare: async (context) => {
    const disk = await copyDisk(context, 'disk', FIRST_DISK);
    return {
      attach: (environment) => {
        const vmbus = noteBus(environment, context, { vpCount: 2 });
        disk.offer(vmbus);
        return vmbus;
      },
      console: (line, machine) => {
        if (line.includes('GUEST: busy')) void machine.stop();
      },
      finish: () => disk.close(),
    };
  },
};
