/**
 * Where things lie in the guest's physical address space.
 *
 *     0x0000_0000  RAM; below 1 MiB the boot parameters, the command line and (0xe0000) the firmware tables
 *     0x0010_0000  kernel image; the initial RAM disk ends at the end of RAM
 *     0xf800_0000  window for devices that need address space
 *     0xfec0_0000  I/O APIC, 0xfee0_0000 local APIC, 0xfffb_c000 pages that KVM needs on Intel processors
 *
 * Source: Linux `Documentation/arch/x86/boot.rst`; Intel SDM (APIC addresses); KVM api.rst, KVM_SET_TSS_ADDR.
 */
import { UsageError } from '../../../errors.ts';
import { PAGE_BYTES } from '../../../memory/page.ts';

const MIB = 1024 * 1024;

/** A descriptor table for the first instructions. */
export const GDT_ADDRESS = 0x6000;
export const BOOT_PARAMS_ADDRESS = 0x7000;
export const COMMAND_LINE_ADDRESS = 0x20000;
/** One page less than the firmware tables' start would allow; the kernel's own limit is below it. */
export const COMMAND_LINE_MAX_BYTES = 64 * 1024;
/** Below it a PC's conventional memory ends. */
export const LOW_MEMORY_END = 0x9fc00;
export const FIRMWARE_ADDRESS = 0xe0000;
export const KERNEL_ADDRESS = 0x100000;

export const MMIO_WINDOW_FIRST = 0xf8000000;
export const MMIO_WINDOW_LAST = 0xfebfffff;
export const IO_APIC_ADDRESS = 0xfec00000;
export const LOCAL_APIC_ADDRESS = 0xfee00000;
export const IDENTITY_MAP_ADDRESS = 0xfffbc000;
export const TSS_ADDRESS = 0xfffbd000;

/** Too little for any kernel with its initial RAM disk. */
export const MIN_MEMORY_BYTES = 32 * MIB;
/** RAM is one run that ends below the device window. */
export const MAX_MEMORY_BYTES = 3072 * MIB;

/** @throws UsageError `ERR_ARGUMENT` unless it is whole pages within the limits */
export function checkMemoryBytes(memoryBytes: number): void {
  if (!Number.isInteger(memoryBytes) || memoryBytes % PAGE_BYTES !== 0) {
    throw new UsageError('ERR_ARGUMENT', `memory must be a multiple of ${PAGE_BYTES} bytes, got ${memoryBytes}`);
  }
  if (memoryBytes < MIN_MEMORY_BYTES || memoryBytes > MAX_MEMORY_BYTES) {
    throw new UsageError('ERR_ARGUMENT', `memory must be 32 MiB to 3 GiB, got ${memoryBytes / MIB} MiB`);
  }
}

/** Kinds of `MemoryMapEntry`. Source: ACPI 6.4, table 15.2. */
export const MemoryKind = { Ram: 1, Reserved: 2 } as const;

export interface MemoryMapEntry {
  readonly address: number;
  readonly byteCount: number;
  readonly kind: number;
}

/** What the guest may use. */
export function memoryMap(memoryBytes: number): MemoryMapEntry[] {
  return [
    { address: 0, byteCount: LOW_MEMORY_END, kind: MemoryKind.Ram },
    { address: FIRMWARE_ADDRESS, byteCount: KERNEL_ADDRESS - FIRMWARE_ADDRESS, kind: MemoryKind.Reserved },
    { address: KERNEL_ADDRESS, byteCount: memoryBytes - KERNEL_ADDRESS, kind: MemoryKind.Ram },
  ];
}
