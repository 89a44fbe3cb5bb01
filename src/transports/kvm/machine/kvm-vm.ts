/**
 * One virtual machine as the kernel sees it: RAM, interrupt controllers, processors. System calls and nothing else.
 *
 * Every structure is encoded here once; what goes into it is decided elsewhere.
 *
 * Source: Linux `Documentation/virt/kvm/api.rst`; structure layouts from `include/uapi/linux/kvm.h` and
 * `arch/x86/include/uapi/asm/kvm.h`.
 */
import type { Libc, NativeMapping } from '../../native/index.ts';
import type { CpuidEntry } from './hyperv-cpuid.ts';
import { SYNTHETIC_MSR_COUNT, SYNTHETIC_MSR_FIRST } from './hyperv-registers.ts';
import {
  CPUID_ENTRY_BYTES,
  KvmCapability,
  KvmRequest,
  MSR_EXIT_REASON_FILTER,
  MSR_FILTER_READ_WRITE,
  REGISTERS_BYTES,
  RegisterOffset,
  SPECIAL_REGISTERS_BYTES,
  SpecialRegisterOffset,
} from './kvm-abi.ts';
import { KvmRun } from './kvm-run.ts';
import {
  BOOT_PARAMS_ADDRESS,
  GDT_ADDRESS,
  IDENTITY_MAP_ADDRESS,
  KERNEL_ADDRESS,
  TSS_ADDRESS,
} from './memory-layout.ts';

const MAX_CPUID_ENTRIES = 256;
const RFLAGS_RESERVED = 2;
const CR0_PROTECTED_MODE = 1;

export class KvmVm {
  readonly fd: number;
  readonly #libc: Libc;
  readonly #kvmFd: number;
  readonly #vcpus: KvmVcpu[] = [];
  #isClosed = false;
  readonly #msi = new Uint8Array(32);
  readonly #msiView = new DataView(this.#msi.buffer);
  readonly #irqLine: IrqLine;

  /** @param kvmFd open /dev/kvm; this object does not close it */
  constructor(libc: Libc, kvmFd: number) {
    this.#libc = libc;
    this.#kvmFd = kvmFd;
    this.fd = libc.ioctl(kvmFd, KvmRequest.CreateVm, 0, 'KVM_CREATE_VM');
    this.#irqLine = new IrqLine(libc, this.fd);
  }

  /** Interrupt controllers in the kernel, and the pages that Intel processors need before any vCPU exists. */
  createInterruptControllers(): void {
    this.#libc.ioctl(this.fd, KvmRequest.SetTssAddress, TSS_ADDRESS, 'KVM_SET_TSS_ADDR');
    const identityMap = new Uint8Array(8);
    new DataView(identityMap.buffer).setUint32(0, IDENTITY_MAP_ADDRESS, true);
    this.#libc.ioctlStruct(this.fd, KvmRequest.SetIdentityMapAddress, identityMap, 'KVM_SET_IDENTITY_MAP_ADDR');
    this.#libc.ioctl(this.fd, KvmRequest.CreateIrqchip, 0, 'KVM_CREATE_IRQCHIP');
  }

  /** RAM from guest physical address 0. */
  addRam(ram: NativeMapping): void {
    const region = new Uint8Array(32);
    const view = new DataView(region.buffer);
    view.setBigUint64(16, BigInt(ram.lengthBytes), true);
    view.setBigUint64(24, BigInt(ram.address), true);
    this.#libc.ioctlStruct(this.fd, KvmRequest.SetUserMemoryRegion, region, 'KVM_SET_USER_MEMORY_REGION');
  }

  /** The synthetic MSRs leave the guest and come to us, whatever KVM itself could do with them. */
  filterSyntheticMsrs(): void {
    const capability = new Uint8Array(104);
    const capabilityView = new DataView(capability.buffer);
    capabilityView.setUint32(0, KvmCapability.KVM_CAP_X86_USER_SPACE_MSR, true);
    capabilityView.setBigUint64(8, BigInt(MSR_EXIT_REASON_FILTER), true);
    this.#libc.ioctlStruct(this.fd, KvmRequest.EnableCapability, capability, 'KVM_CAP_X86_USER_SPACE_MSR');

    // One range; a bit of 0 denies its MSR. The kernel copies the bitmap during the call.
    const bitmap = this.#libc.mapAnonymous(4096);
    const filter = new Uint8Array(392);
    const view = new DataView(filter.buffer);
    view.setUint32(8, MSR_FILTER_READ_WRITE, true);
    view.setUint32(12, SYNTHETIC_MSR_COUNT, true);
    view.setUint32(16, SYNTHETIC_MSR_FIRST, true);
    view.setBigUint64(24, BigInt(bitmap.address), true);
    try {
      this.#libc.ioctlStruct(this.fd, KvmRequest.SetMsrFilter, filter, 'KVM_X86_SET_MSR_FILTER');
    } finally {
      bitmap.release();
    }
  }

  /** What the host's processor and KVM can give a guest. */
  supportedCpuid(): CpuidEntry[] {
    const table = new Uint8Array(8 + CPUID_ENTRY_BYTES * MAX_CPUID_ENTRIES);
    const view = new DataView(table.buffer);
    view.setUint32(0, MAX_CPUID_ENTRIES, true);
    this.#libc.ioctlStruct(this.#kvmFd, KvmRequest.GetSupportedCpuid, table, 'KVM_GET_SUPPORTED_CPUID');
    const count = Math.min(view.getUint32(0, true), MAX_CPUID_ENTRIES);
    const word = (entry: number, index: number) => view.getUint32(8 + CPUID_ENTRY_BYTES * entry + 4 * index, true);
    return Array.from({ length: count }, (_, entry) => ({
      leaf: word(entry, 0),
      subleaf: word(entry, 1),
      flags: word(entry, 2),
      eax: word(entry, 3),
      ebx: word(entry, 4),
      ecx: word(entry, 5),
      edx: word(entry, 6),
    }));
  }

  /** @param index VP index and APIC id */
  createVcpu(index: number): KvmVcpu {
    const runBytes = this.#libc.ioctl(this.#kvmFd, KvmRequest.GetVcpuMmapSize, 0, 'KVM_GET_VCPU_MMAP_SIZE');
    const fd = this.#libc.ioctl(this.fd, KvmRequest.CreateVcpu, index, 'KVM_CREATE_VCPU');
    const vcpu = new KvmVcpu(this.#libc, fd, this.#libc.mapShared(fd, runBytes));
    this.#vcpus.push(vcpu);
    return vcpu;
  }

  /** An edge on a processor's local APIC; nothing once closed. Source: Intel SDM volume 3, "Message Signalled Interrupts". */
  interrupt(apicId: number, vector: number): void {
    if (this.#isClosed) return;
    this.#msiView.setUint32(0, (0xfee00000 | (apicId << 12)) >>> 0, true);
    this.#msiView.setUint32(8, vector, true);
    this.#libc.ioctlStruct(this.fd, KvmRequest.SignalMsi, this.#msi, 'KVM_SIGNAL_MSI');
  }

  /** A pulse on an input of the I/O APIC; nothing once closed. @param gsi global interrupt number, 0..23 */
  pulseIrq(gsi: number): void {
    if (!this.#isClosed) this.#irqLine.pulse(gsi);
  }

  /** Call when no processor runs any more. RAM is not part of it. */
  close(): void {
    this.#isClosed = true;
    for (const vcpu of this.#vcpus) vcpu.close();
    this.#libc.close(this.fd);
  }
}

export class KvmVcpu {
  readonly fd: number;
  readonly runMapping: NativeMapping;
  readonly run: KvmRun;
  readonly #libc: Libc;

  constructor(libc: Libc, fd: number, runMapping: NativeMapping) {
    this.#libc = libc;
    this.fd = fd;
    this.runMapping = runMapping;
    this.run = new KvmRun(new Uint8Array(runMapping.buffer));
  }

  setCpuid(entries: readonly CpuidEntry[]): void {
    const table = new Uint8Array(8 + CPUID_ENTRY_BYTES * entries.length);
    const view = new DataView(table.buffer);
    view.setUint32(0, entries.length, true);
    for (const [index, entry] of entries.entries()) {
      const words = [entry.leaf, entry.subleaf, entry.flags, entry.eax, entry.ebx, entry.ecx, entry.edx];
      for (const [word, value] of words.entries()) {
        view.setUint32(8 + CPUID_ENTRY_BYTES * index + 4 * word, value >>> 0, true);
      }
    }
    this.#libc.ioctlStruct(this.fd, KvmRequest.SetCpuid2, table, 'KVM_SET_CPUID2');
  }

  /** Frequency of the guest's time stamp counter. */
  tscHz(): bigint {
    return BigInt(this.#libc.ioctl(this.fd, KvmRequest.GetTscKhz, 0, 'KVM_GET_TSC_KHZ')) * 1000n;
  }

  /**
   * 32-bit protected mode with flat segments at the kernel's entry, boot parameters in RSI, interrupts off. The other
   * processors stay as they are after reset: the kernel's APIC starts them when the guest says so.
   */
  startAtKernel(entry: number = KERNEL_ADDRESS): void {
    const special = new Uint8Array(SPECIAL_REGISTERS_BYTES);
    const view = new DataView(special.buffer);
    this.#libc.ioctlStruct(this.fd, KvmRequest.GetSpecialRegisters, special, 'KVM_GET_SREGS');
    const { cs, ds, es, fs, gs, ss, gdt, cr0 } = SpecialRegisterOffset;
    putSegment(view, cs, 0x10, 0xb);
    for (const at of [ds, es, fs, gs, ss]) putSegment(view, at, 0x18, 0x3);
    view.setBigUint64(gdt, BigInt(GDT_ADDRESS), true);
    view.setUint16(gdt + 8, 4 * 8 - 1, true);
    view.setUint8(cr0, view.getUint8(cr0) | CR0_PROTECTED_MODE);
    this.#libc.ioctlStruct(this.fd, KvmRequest.SetSpecialRegisters, special, 'KVM_SET_SREGS');

    const registers = new Uint8Array(REGISTERS_BYTES);
    const registersView = new DataView(registers.buffer);
    registersView.setUint32(RegisterOffset.rip, entry, true);
    registersView.setUint32(RegisterOffset.rsi, BOOT_PARAMS_ADDRESS, true);
    registersView.setUint32(RegisterOffset.rflags, RFLAGS_RESERVED, true);
    this.#libc.ioctlStruct(this.fd, KvmRequest.SetRegisters, registers, 'KVM_SET_REGS');
  }

  close(): void {
    this.runMapping.release();
    this.#libc.close(this.fd);
  }
}

/** The inputs of the I/O APIC; a vCPU thread makes its own from the machine's descriptor. */
export class IrqLine {
  readonly #libc: Libc;
  readonly #vmFd: number;
  readonly #bytes = new Uint8Array(8);
  readonly #view = new DataView(this.#bytes.buffer);

  constructor(libc: Libc, vmFd: number) {
    this.#libc = libc;
    this.#vmFd = vmFd;
  }

  /** Up and down again: an edge. */
  pulse(gsi: number): void {
    this.#set(gsi, 1);
    this.#set(gsi, 0);
  }

  #set(gsi: number, level: 0 | 1): void {
    this.#view.setUint32(0, gsi, true);
    this.#view.setUint32(4, level, true);
    this.#libc.ioctlStruct(this.#vmFd, KvmRequest.IrqLine, this.#bytes, 'KVM_IRQ_LINE');
  }
}

const IA32_TIME_STAMP_COUNTER = 0x10;

/** The guest's time stamp counter, from its processor's own thread. */
export function readTsc(libc: Libc, vcpuFd: number): bigint {
  const list = new Uint8Array(8 + 16);
  const view = new DataView(list.buffer);
  view.setUint32(0, 1, true);
  view.setUint32(8, IA32_TIME_STAMP_COUNTER, true);
  libc.ioctlStruct(vcpuFd, KvmRequest.GetMsrs, list, 'KVM_GET_MSRS');
  return view.getBigUint64(16, true);
}

/** `struct kvm_segment`: base 0, limit 4 GiB, 32-bit, present, code or data. */
function putSegment(view: DataView, at: number, selector: number, type: number): void {
  for (let index = 0; index < 24; index++) view.setUint8(at + index, 0);
  view.setUint32(at + 8, 0xffffffff, true);
  view.setUint16(at + 12, selector, true);
  view.setUint8(at + 14, type);
  const present = 15;
  const is32Bit = 17;
  const isCodeOrData = 18;
  const limitInPages = 20;
  for (const flag of [present, is32Bit, isCodeOrData, limitInPages]) view.setUint8(at + flag, 1);
}
