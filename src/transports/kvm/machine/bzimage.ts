/**
 * Reads the header of a Linux kernel image ("bzImage") and says whether and how it can be started.
 *
 * Source: Linux `Documentation/arch/x86/boot.rst`, "The Real-Mode Kernel Header".
 */
import { hex, UsageError } from '../../../errors.ts';

const SETUP_HEADER = 0x1f1;
const SECTOR_BYTES = 512;
const MAGIC = 0x53726448; // "HdrS"
const BOOT_FLAG = 0xaa55;
/** 2.10: preferred address and memory needed are in the header (Linux 2.6.31, 2009). */
const OLDEST_PROTOCOL = 0x020a;
const LOADED_HIGH = 1;

/** Offsets in the image. */
const At = {
  setupSectors: 0x1f1,
  protectedModeParagraphs: 0x1f4,
  bootFlag: 0x1fe,
  jump: 0x200,
  magic: 0x202,
  protocol: 0x206,
  loadFlags: 0x211,
  initrdAddressMax: 0x22c,
  commandLineBytes: 0x238,
  preferredAddress: 0x258,
  initBytes: 0x260,
} as const;
const HEADER_END = 0x268;

export interface BzImage {
  /** The setup header, to be copied to the same offset (`SETUP_HEADER`) of the boot parameters. */
  readonly setupHeader: Uint8Array;
  /** What runs in protected mode, loaded at 1 MiB. */
  readonly code: Uint8Array;
  /** Longest command line the kernel takes, without its terminating zero. */
  readonly maxCommandLineBytes: number;
  /** Highest address that a byte of the initial RAM disk may have. */
  readonly maxInitrdAddress: number;
  /** End of the memory that the kernel unpacks itself into, before it reads any memory map. */
  readonly unpackedEnd: number;
}

export { SETUP_HEADER as SETUP_HEADER_OFFSET };

/** @throws UsageError `ERR_ARGUMENT`: not a kernel image, cut off, too old, or not loadable at 1 MiB */
export function parseBzImage(image: Uint8Array): BzImage {
  if (image.length < HEADER_END) throw refused(`it has ${image.length} bytes, its header alone needs ${HEADER_END}`);
  const view = new DataView(image.buffer, image.byteOffset, image.byteLength);
  if (view.getUint16(At.bootFlag, true) !== BOOT_FLAG || view.getUint32(At.magic, true) !== MAGIC) {
    throw refused(
      'the boot flag or the magic number is missing; is it an uncompressed vmlinux, or another architecture?',
    );
  }
  const protocol = view.getUint16(At.protocol, true);
  if (protocol < OLDEST_PROTOCOL)
    throw refused(`its boot protocol ${hex(protocol)} is older than ${hex(OLDEST_PROTOCOL)}`);
  if ((view.getUint8(At.loadFlags) & LOADED_HIGH) === 0) throw refused('it wants to be loaded below 1 MiB (zImage)');

  // 0 means 4, for the sake of very old kernels.
  const setupSectors = view.getUint8(At.setupSectors) || 4;
  const codeAt = (setupSectors + 1) * SECTOR_BYTES;
  const codeBytes = view.getUint32(At.protectedModeParagraphs, true) * 16;
  if (codeAt > image.length || codeBytes > image.length - codeAt) {
    throw refused(
      `it names ${codeBytes} bytes of code at ${hex(codeAt)} but has ${image.length} bytes; is it cut off?`,
    );
  }
  // The header's length is the target of its jump.
  const headerEnd = At.magic + view.getUint8(At.jump + 1);
  if (headerEnd < HEADER_END || headerEnd > codeAt) throw refused(`its header would end at ${hex(headerEnd)}`);
  const preferred = view.getUint32(At.preferredAddress, true) + 2 ** 32 * view.getUint32(At.preferredAddress + 4, true);
  return {
    setupHeader: image.subarray(SETUP_HEADER, headerEnd),
    code: image.subarray(codeAt),
    maxCommandLineBytes: view.getUint32(At.commandLineBytes, true),
    maxInitrdAddress: view.getUint32(At.initrdAddressMax, true),
    unpackedEnd: preferred + view.getUint32(At.initBytes, true),
  };
}

function refused(reason: string): UsageError {
  return new UsageError('ERR_ARGUMENT', `this is not a kernel image that can be started: ${reason}`);
}
