/** Virtual machines on /dev/kvm whose guest finds Hyper-V, with our host end of VMBus behind it. */
export { type KvmReport, probeKvm } from './doctor.ts';
export { TextWatch } from './text-watch.ts';
export {
  type BootOptions,
  bootVirtualMachine,
  MAX_CPUS,
  type VirtualMachine,
  type VirtualMachineClient,
  type VirtualMachineExit,
} from './virtual-machine.ts';
