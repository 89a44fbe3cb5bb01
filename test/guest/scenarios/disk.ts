/** A disk, mounted read-write; with one processor and with two. */
import { copyDisk, FIRST_DISK, noteBus } from './host-end.ts';
import type { Scenario } from './scenario.ts';

function diskScenario(name: string, cpus: number): Scenario {
  return {
    name,
    job: 'disk',
    cpus,
    prepare: async (context) => {
      const disk = await copyDisk(context, 'disk', FIRST_DISK, true);
      return {
        attach: (environment) => {
          const vmbus = noteBus(environment, context, { vpCount: cpus });
          disk.offer(vmbus);
          return vmbus;
        },
        finish: () => disk.close(),
      };
    },
  };
}

export const disk = diskScenario('disk', 1);
export const diskTwo = diskScenario('disk-two', 2);
