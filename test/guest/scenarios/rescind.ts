/**
 * A device that is taken away while a program in the guest exchanges packets with it, and then comes back. The host acts
 * on what the guest prints.
 */
import type { HostVmbus } from '../../../src/channel/index.ts';
import { type EchoDevice, startEchoDevice } from './echo-device.ts';
import { noteBus } from './host-end.ts';
import type { Scenario } from './scenario.ts';

export const rescind: Scenario = {
  name: 'rescind',
  job: 'rescind',
  prepare: (context) => {
    let vmbus: HostVmbus | undefined;
    let device: EchoDevice | undefined;
    const start = (bus: HostVmbus) => startEchoDevice(bus, (reason) => context.note(`fault: ${reason}`));
    return {
      attach: (environment) => {
        vmbus = noteBus(environment, context);
        device = start(vmbus);
        return vmbus;
      },
      console: (line) => {
        if (line.includes('GUEST: take it away')) void device?.stop().then(() => context.note('the device is gone'));
        if (line.includes('GUEST: bring it back') && vmbus !== undefined) device = start(vmbus);
      },
    };
  },
};
