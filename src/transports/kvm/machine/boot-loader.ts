/**
 * Puts kernel, initial RAM disk, command line, boot parameters and firmware tables into RAM: the 32-bit boot protocol.
 *
 * Source: Linux `Documentation/arch/x86/boot.rst` ("32-bit Boot Protocol"), `arch/x86/include/uapi/asm/bootparam.h`
 * (`struct boot_params`).
 */
import { UsageError } from '../../../errors.ts';
import { PAGE_BYTES } from '../../../memory/page.ts';
import { acpiTables } from './acpi-tables.ts';
import { type BzImage, parseBzImage, SETUP_HEADER_OFFSET } from './bzimage.ts';
import type { GuestRam } from './guest-ram.ts';
import {
  BOOT_PARAMS_ADDRESS,
  COMMAND_LINE_ADDRESS,
  COMMAND_LINE_MAX_BYTES,
  FIRMWARE_ADDRESS,
  GDT_ADDRESS,
  KERNEL_ADDRESS,
  memoryMap,
} from './memory-layout.ts';

import { RESET_CODE, RESET_VECTOR_ADDRESS } from './reset-vector.ts';

/** Offsets in `struct boot_params`. */
const At = {
  rsdpAddress: 0x70,
  memoryMapEntries: 0x1e8,
  bootLoader: 0x210,
  loadFlags: 0x211,
  initrdAddress: 0x218,
  initrdBytes: 0x21c,
  commandLineAddress: 0x228,
  memoryMap: 0x2d0,
} as const;
const MEMORY_MAP_ENTRY_BYTES = 20;
const UNKNOWN_LOADER = 0xff;
const LOADED_HIGH = 1;

/** Flat 4 GiB segments: code (selector 0x10) and data (selector 0x18). */
const FLAT_CODE = 0x00cf9b000000ffffn;
const FLAT_DATA = 0x00cf93000000ffffn;

export interface BootImage {
  /** A bzImage. */
  readonly kernel: Uint8Array;
  readonly initrd?: Uint8Array | undefined;
  readonly commandLine: string;
}

/**
 * Fills RAM for the first instruction at `KERNEL_ADDRESS`.
 * @throws UsageError `ERR_ARGUMENT`: not a kernel, too long a command line, or RAM too small for all of it
 */
export function loadKernel(ram: GuestRam, image: BootImage, vpCount: number): void {
  const kernel = parseBzImage(image.kernel);
  const kernelEnd = KERNEL_ADDRESS + kernel.code.length;
  if (Math.max(kernelEnd, kernel.unpackedEnd) > ram.byteLength) {
    throw tooSmall(`the kernel needs memory up to ${mib(Math.max(kernelEnd, kernel.unpackedEnd))}`, ram);
  }
  ram.bytes.set(kernel.code, KERNEL_ADDRESS);

  const parameters = ram.slice(BOOT_PARAMS_ADDRESS, PAGE_BYTES);
  const view = new DataView(parameters.buffer, parameters.byteOffset, PAGE_BYTES);
  parameters.fill(0);
  parameters.set(kernel.setupHeader, SETUP_HEADER_OFFSET);
  parameters[At.bootLoader] = UNKNOWN_LOADER;
  parameters[At.loadFlags] = (parameters[At.loadFlags] ?? 0) | LOADED_HIGH;
  if (image.initrd !== undefined && image.initrd.length > 0) {
    view.setUint32(At.initrdAddress, placeInitrd(ram, kernel, kernelEnd, image.initrd), true);
    view.setUint32(At.initrdBytes, image.initrd.length, true);
  }
  view.setUint32(At.commandLineAddress, placeCommandLine(ram, kernel, image.commandLine), true);
  placeMemoryMap(view, ram.byteLength);

  ram.bytes.set(acpiTables(FIRMWARE_ADDRESS, vpCount), FIRMWARE_ADDRESS);
  view.setBigUint64(At.rsdpAddress, BigInt(FIRMWARE_ADDRESS), true);
  ram.bytes.set(RESET_CODE, RESET_VECTOR_ADDRESS);
  ram.view.setBigUint64(GDT_ADDRESS + 0x10, FLAT_CODE, true);
  ram.view.setBigUint64(GDT_ADDRESS + 0x18, FLAT_DATA, true);
}

/** As high as the kernel allows, in whole pages, above all that the kernel unpacks into. */
function placeInitrd(ram: GuestRam, kernel: BzImage, kernelEnd: number, initrd: Uint8Array): number {
  const end = Math.min(ram.byteLength, kernel.maxInitrdAddress + 1);
  const address = Math.floor((end - initrd.length) / PAGE_BYTES) * PAGE_BYTES;
  const lowest = Math.max(kernelEnd, kernel.unpackedEnd);
  if (address < lowest) {
    throw tooSmall(`the initial RAM disk (${mib(initrd.length)}) does not fit above the kernel's ${mib(lowest)}`, ram);
  }
  ram.bytes.set(initrd, address);
  return address;
}

function placeCommandLine(ram: GuestRam, kernel: BzImage, commandLine: string): number {
  const text = new TextEncoder().encode(commandLine);
  const limit = Math.min(kernel.maxCommandLineBytes, COMMAND_LINE_MAX_BYTES - 1);
  if (text.length > limit) {
    throw new UsageError(
      'ERR_ARGUMENT',
      `the kernel takes a command line of at most ${limit} bytes, got ${text.length}`,
    );
  }
  ram.bytes.set(text, COMMAND_LINE_ADDRESS);
  ram.bytes[COMMAND_LINE_ADDRESS + text.length] = 0;
  return COMMAND_LINE_ADDRESS;
}

function placeMemoryMap(view: DataView, memoryBytes: number): void {
  const entries = memoryMap(memoryBytes);
  view.setUint8(At.memoryMapEntries, entries.length);
  for (const [index, entry] of entries.entries()) {
    const at = At.memoryMap + MEMORY_MAP_ENTRY_BYTES * index;
    view.setBigUint64(at, BigInt(entry.address), true);
    view.setBigUint64(at + 8, BigInt(entry.byteCount), true);
    view.setUint32(at + 16, entry.kind, true);
  }
}

function tooSmall(reason: string, ram: GuestRam): UsageError {
  return new UsageError('ERR_ARGUMENT', `${mib(ram.byteLength)} of memory is too small: ${reason}`);
}

function mib(byteCount: number): string {
  return `${Math.ceil(byteCount / 2 ** 20)} MiB`;
}
