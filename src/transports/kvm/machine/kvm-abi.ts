/**
 * Numbers of the KVM interface on x86-64: ioctl requests, capabilities, exit reasons, structure offsets.
 *
 * Source: Linux `include/uapi/linux/kvm.h` and `arch/x86/include/uapi/asm/kvm.h`; `Documentation/virt/kvm/api.rst`.
 */

/** The only version that was ever released as stable. */
export const KVM_API_VERSION = 12;

/** Requests on /dev/kvm (system), on a virtual machine and on a virtual processor. */
export const KvmRequest = {
  GetApiVersion: 0xae00,
  CreateVm: 0xae01,
  CheckExtension: 0xae03,
  GetVcpuMmapSize: 0xae04,
  GetSupportedCpuid: 0xc008ae05,

  CreateVcpu: 0xae41,
  SetUserMemoryRegion: 0x4020ae46,
  SetTssAddress: 0xae47,
  SetIdentityMapAddress: 0x4008ae48,
  CreateIrqchip: 0xae60,
  IrqLine: 0x4008ae61,
  EnableCapability: 0x4068aea3,
  SignalMsi: 0x4020aea5,
  SetMsrFilter: 0x4188aec6,

  Run: 0xae80,
  SetRegisters: 0x4090ae82,
  GetSpecialRegisters: 0x8138ae83,
  SetSpecialRegisters: 0x4138ae84,
  GetMsrs: 0xc008ae88,
  SetCpuid2: 0x4008ae90,
  GetTscKhz: 0xaea3,
} as const;

/** A capability that we cannot do without, by number. */
export const KvmCapability = {
  KVM_CAP_IRQCHIP: 0,
  KVM_CAP_USER_MEMORY: 3,
  KVM_CAP_GET_TSC_KHZ: 61,
  KVM_CAP_SYNC_REGS: 74,
  KVM_CAP_SIGNAL_MSI: 77,
  KVM_CAP_IMMEDIATE_EXIT: 136,
  KVM_CAP_X86_USER_SPACE_MSR: 188,
  KVM_CAP_X86_MSR_FILTER: 189,
} as const;

/** Why KVM_RUN returned. The kernel may say others, so a switch needs its `default`. */
export const KvmExit = {
  Unknown: 0,
  Io: 2,
  Hlt: 5,
  Mmio: 6,
  IrqWindowOpen: 7,
  Shutdown: 8,
  FailEntry: 9,
  Interrupted: 10,
  InternalError: 17,
  SystemEvent: 24,
  ReadMsr: 29,
  WriteMsr: 30,
} as const;

/** `kvm_enable_cap.args[0]` of KVM_CAP_X86_USER_SPACE_MSR: exit for what the filter denies. */
export const MSR_EXIT_REASON_FILTER = 4;
/** `kvm_msr_filter_range.flags`: the bitmap holds for reads and for writes. */
export const MSR_FILTER_READ_WRITE = 3;

/** Field offsets in `struct kvm_run`. */
export const RunOffset = {
  immediateExit: 1,
  exitReason: 8,
  /** The union of what each exit says; the rows below start here. */
  exit: 32,
  ioDirection: 32,
  ioSizeBytes: 33,
  ioPort: 34,
  ioCount: 36,
  ioDataOffset: 40,
  mmioAddress: 32,
  mmioData: 40,
  mmioLengthBytes: 48,
  mmioIsWrite: 52,
  msrError: 32,
  msrIndex: 44,
  msrData: 48,
  internalSuberror: 32,
  hardwareReason: 32,
  /** Which register sets the kernel stores on exit, and which of ours it loads on entry: KVM_SYNC_X86_REGS. */
  validRegisters: 288,
  dirtyRegisters: 296,
  registers: 304,
} as const;

/** `kvm_valid_regs` and `kvm_dirty_regs`: the general registers. */
export const SYNC_REGISTERS = 1;

/** `struct kvm_run` without what follows it (port data page, coalesced ring). */
export const KVM_RUN_BYTES = 2352;

/** Field offsets in `struct kvm_regs`. */
export const RegisterOffset = { rax: 0, rcx: 16, rdx: 24, rsi: 32, r8: 64, rip: 128, rflags: 136 } as const;
export const REGISTERS_BYTES = 144;

/** Field offsets in `struct kvm_sregs`; a segment is 24 bytes. */
export const SpecialRegisterOffset = { cs: 0, ds: 24, es: 48, fs: 72, gs: 96, ss: 120, gdt: 192, cr0: 224 } as const;
export const SPECIAL_REGISTERS_BYTES = 312;

export const CPUID_ENTRY_BYTES = 40;
