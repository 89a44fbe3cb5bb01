/** Boots a busy guest with two processors, then leaves in the way that it was told. */
import { writeSync } from 'node:fs';
import { HostVmbus } from '../../../src/channel/index.ts';
import { bootVirtualMachine, TextWatch } from '../../../src/transports/kvm/index.ts';
import { machineOptions, readPlan } from './plan.ts';

const [planFile = '', way = ''] = process.argv.slice(2);
const busy = new TextWatch('GUEST: busy');
const machine = await bootVirtualMachine({
  ...machineOptions(readPlan(planFile), { job: 'spin', cpus: 2 }),
  attach: (environment) => new HostVmbus(environment),
  console: (bytes) => {
    if (busy.push(bytes) >= 0) leave();
  },
});

function leave(): void {
  writeSync(1, 'busy\n');
  if (way === 'exit') process.exit(7);
  if (way === 'throw') throw new Error('a fault of the program that runs the machine');
  // The event loop empties by itself once the machine is stopped.
  if (way === 'return') void machine.stop();
}
