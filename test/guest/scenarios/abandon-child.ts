/**
 * Boots a guest with two processors and leaves in the way that it was told as soon as the kernel speaks: one processor is
 * running then, the other waits to be started.
 */
import { writeSync } from 'node:fs';
import { HostVmbus } from '../../../src/channel/index.ts';
import { bootVirtualMachine, TextWatch } from '../../../src/transports/kvm/index.ts';
import { machineOptions, readPlan } from './plan.ts';

const [planFile = '', way = ''] = process.argv.slice(2);
const alive = new TextWatch('Linux version');
const machine = await bootVirtualMachine({
  ...machineOptions(readPlan(planFile), { job: 'bare', cpus: 2 }),
  attach: (environment) => new HostVmbus(environment),
  console: (bytes) => {
    if (alive.push(bytes) >= 0) leave();
  },
});

function leave(): void {
  writeSync(1, 'running\n');
  if (way === 'exit') process.exit(7);
  if (way === 'throw') throw new Error('a fault of the program that runs the machine');
  // The event loop empties by itself once the machine is stopped.
  if (way === 'return') void machine.stop();
}
