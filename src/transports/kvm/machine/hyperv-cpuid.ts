/**
 * What CPUID tells the guest: the processor KVM offers, our topology, and Hyper-V's leaves.
 *
 * Source: Hyper-V TLFS, "Feature and Interface Discovery"; which bits Linux needs: `arch/x86/kernel/cpu/mshyperv.c`
 * (`ms_hyperv_platform`, `ms_hyperv_init_platform`). Topology leaves: Intel SDM volume 2, CPUID; AMD APM volume 3.
 */

export interface CpuidEntry {
  readonly leaf: number;
  readonly subleaf: number;
  /** `kvm_cpuid_entry2.flags`; bit 0 means that the subleaf matters. */
  readonly flags: number;
  readonly eax: number;
  readonly ebx: number;
  readonly ecx: number;
  readonly edx: number;
}

const SUBLEAF_MATTERS = 1;

/** Leaf 0x40000003 EAX: which synthetic MSRs there are. */
const Feature = {
  ReferenceCounter: 1 << 1,
  Synic: 1 << 2,
  HypercallMsrs: 1 << 5,
  VpIndex: 1 << 6,
  ReferenceTscPage: 1 << 9,
  FrequencyMsrs: 1 << 11,
  TscInvariantControl: 1 << 15,
} as const;
/** EBX: what the partition may call. Anything more would have the guest make hypercalls that we do not answer. */
const Privilege = { PostMessages: 1 << 4, SignalEvents: 1 << 5 } as const;
/** EDX. */
const Misc = { FrequencyMsrs: 1 << 8, CrashMsrs: 1 << 10 } as const;
/** Leaf 0x40000004 EAX. Without "deprecate auto EOI" Linux leaves EOI to a SINT mode that an in-kernel APIC lacks. */
const Hint = { RelaxedTiming: 1 << 5, DeprecateAutoEoi: 1 << 9 } as const;
/** EBX of the same leaf: never tell us about spinning. */
const NEVER_NOTIFY_SPIN = 0xffffffff;

/** The build we claim to be (only printed by guests): Windows Server 2022, 10.0.20348. */
const HOST_BUILD = 20348;
const HOST_VERSION = 10 << 16;

const MAX_VPS = 64;

/** Hyper-V's own leaves. */
export function hypervLeaves(): CpuidEntry[] {
  const features =
    Feature.ReferenceCounter |
    Feature.Synic |
    Feature.HypercallMsrs |
    Feature.VpIndex |
    Feature.ReferenceTscPage |
    Feature.FrequencyMsrs |
    Feature.TscInvariantControl;
  return [
    leaf(0x40000000, 0x40000006, 0x7263694d, 0x666f736f, 0x76482074), // "Microsoft Hv"
    leaf(0x40000001, 0x31237648), // "Hv#1"
    leaf(0x40000002, HOST_BUILD, HOST_VERSION),
    leaf(0x40000003, features, Privilege.PostMessages | Privilege.SignalEvents, 0, Misc.FrequencyMsrs | Misc.CrashMsrs),
    leaf(0x40000004, Hint.RelaxedTiming | Hint.DeprecateAutoEoi, NEVER_NOTIFY_SPIN),
    leaf(0x40000005, MAX_VPS, MAX_VPS),
    leaf(0x40000006),
  ];
}

/**
 * The table for one virtual processor.
 * @param supported what the host's KVM offers
 * @param vpIndex also the APIC id, 0..vpCount-1
 */
export function guestCpuid(supported: readonly CpuidEntry[], vpIndex: number, vpCount: number): CpuidEntry[] {
  const entries: CpuidEntry[] = [];
  for (const entry of supported) {
    const adapted = adapt(entry, vpIndex, vpCount);
    if (adapted !== undefined) entries.push(adapted);
  }
  return [...entries, ...topologyLeaves(vpIndex, vpCount), ...hypervLeaves()];
}

const HYPERVISOR_PRESENT = 1 << 31;
const HYPER_THREADING = 1 << 28;
const AMD_TOPOLOGY_EXTENSIONS = 1 << 22;

function adapt(entry: CpuidEntry, vpIndex: number, vpCount: number): CpuidEntry | undefined {
  // A guest that finds KVM's own leaves prefers them to ours (the higher base wins).
  if (entry.leaf >= 0x40000000 && entry.leaf <= 0x4fffffff) return undefined;
  switch (entry.leaf) {
    case 0x1: {
      const ebx = (entry.ebx & 0xffff) | (vpCount << 16) | (vpIndex << 24);
      const edx = vpCount > 1 ? entry.edx | HYPER_THREADING : entry.edx & ~HYPER_THREADING;
      return { ...entry, ebx: ebx >>> 0, ecx: (entry.ecx | HYPERVISOR_PRESENT) >>> 0, edx: edx >>> 0 };
    }
    case 0x4: // Cache topology: the host's core counts would not fit our APIC ids.
      return { ...entry, eax: ((entry.eax & 0x3fff) | ((vpCount - 1) << 26)) >>> 0 };
    case 0xa: // No performance counters.
    case 0xb: // Both replaced by `topologyLeaves`.
    case 0x1f:
    case 0x8000001d: // AMD's cache and core topology go with the feature bit below.
    case 0x8000001e:
      return undefined;
    case 0x80000001:
      return { ...entry, ecx: (entry.ecx & ~AMD_TOPOLOGY_EXTENSIONS) >>> 0 };
    case 0x80000008:
      return { ...entry, ecx: ((apicIdBits(vpCount) << 12) | (vpCount - 1)) >>> 0 };
    default:
      return entry;
  }
}

/** One thread per core, all cores in one package. */
function topologyLeaves(vpIndex: number, vpCount: number): CpuidEntry[] {
  const threads = 1 << 8;
  const cores = (2 << 8) | 1;
  return [
    { leaf: 0xb, subleaf: 0, flags: SUBLEAF_MATTERS, eax: 0, ebx: 1, ecx: threads, edx: vpIndex },
    { leaf: 0xb, subleaf: 1, flags: SUBLEAF_MATTERS, eax: apicIdBits(vpCount), ebx: vpCount, ecx: cores, edx: vpIndex },
    { leaf: 0xb, subleaf: 2, flags: SUBLEAF_MATTERS, eax: 0, ebx: 0, ecx: 2, edx: vpIndex },
  ];
}

function apicIdBits(vpCount: number): number {
  return Math.ceil(Math.log2(vpCount));
}

function leaf(number: number, eax = 0, ebx = 0, ecx = 0, edx = 0): CpuidEntry {
  return { leaf: number, subleaf: 0, flags: 0, eax, ebx, ecx, edx };
}
