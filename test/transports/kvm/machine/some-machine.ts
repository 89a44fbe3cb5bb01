/** Parts of a machine without KVM: RAM, registers, and what the device thread would see. */
import { GuestRam } from '../../../../src/transports/kvm/machine/guest-ram.ts';
import { HypervMsrs } from '../../../../src/transports/kvm/machine/hyperv-msrs.ts';
import { HypervMsr, HypervRegisters } from '../../../../src/transports/kvm/machine/hyperv-registers.ts';
import { Synic } from '../../../../src/transports/kvm/machine/synic.ts';

export const RAM_BYTES = 1024 * 1024;
export const SIMP = 0x10000;
export const SIEFP = 0x11000;
export const VECTOR = 0xf3;
/** Where VMBus' message slot and event flags are on the pages above. */
export const SLOT = SIMP + 0x200;
export const FLAGS = SIEFP + 0x200;
export const TSC_HZ = 2_000_000_000n;

export interface SomeMachine {
  readonly ram: GuestRam;
  readonly registers: HypervRegisters;
  readonly synic: Synic;
  readonly interrupts: { vp: number; vector: number }[];
  /** One per processor. */
  readonly msrs: readonly HypervMsrs[];
  readonly crashes: { parameters: readonly bigint[]; message: string | undefined }[];
  /** How often the device thread was told to look at the SynIC. */
  synicChanges: number;
  tsc: bigint;
}

/** A machine as after power-on. */
export function someMachine(vpCount = 1): SomeMachine {
  const ram = new GuestRam(new ArrayBuffer(RAM_BYTES));
  const registers = HypervRegisters.allocate(vpCount);
  const interrupts: SomeMachine['interrupts'] = [];
  const synic = new Synic(ram, registers, { interrupt: (vp, vector) => interrupts.push({ vp, vector }) });
  const crashes: SomeMachine['crashes'] = [];
  const machine: SomeMachine = { ram, registers, synic, interrupts, msrs: [], crashes, synicChanges: 0, tsc: 0n };
  const msrs = Array.from({ length: vpCount }, (_, vp) => {
    return new HypervMsrs(vp, ram, registers, TSC_HZ, {
      readTsc: () => machine.tsc,
      synicChanged: () => {
        machine.synicChanges++;
      },
      crashed: (parameters, message) => crashes.push({ parameters, message }),
    });
  });
  return Object.assign(machine, { msrs });
}

/** The guest of processor `vp` turns its SynIC on, as Linux does. */
export function enableSynic(machine: SomeMachine, vp = 0): void {
  const msrs = machine.msrs[vp];
  if (msrs === undefined) throw new Error(`no processor ${vp}`);
  const offset = BigInt(vp * 0x2000);
  msrs.write(HypervMsr.Simp, (BigInt(SIMP) + offset) | 1n);
  msrs.write(HypervMsr.Siefp, (BigInt(SIEFP) + offset) | 1n);
  msrs.write(HypervMsr.Sint0 + 2, BigInt(VECTOR));
  msrs.write(HypervMsr.Scontrol, 1n);
}
