/**
 * A device of our own, driven from user space in the guest; then the same channel with a guest that writes garbage over
 * its rings, while a disk on another channel goes on working.
 */
import { ECHO_CLASS, startEchoDevice } from './echo-device.ts';
import { copyDisk, FIRST_DISK, noteBus } from './host-end.ts';
import type { Scenario } from './scenario.ts';

export { ECHO_CLASS };

export const customDevice: Scenario = {
  name: 'custom-device',
  job: 'custom-device',
  prepare: async (context) => {
    const disk = await copyDisk(context, 'disk', FIRST_DISK);
    let faults = 0;
    return {
      attach: (environment) => {
        const vmbus = noteBus(environment, context);
        disk.offer(vmbus);
        startEchoDevice(vmbus, (reason) => {
          faults++;
          context.note(`fault ${faults}: ${reason}`);
        });
        return vmbus;
      },
      finish: async () => {
        context.note(`faults: ${faults}`);
        await disk.close();
      },
    };
  },
};
