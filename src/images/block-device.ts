/**
 * What a block device says of itself. Node has no `ioctl`, and a device's file has no length; the kernel says the same
 * under /sys.
 *
 * Source: Linux `Documentation/ABI/stable/sysfs-block` (size in sectors of 512 bytes, ro, queue/…).
 */
import { readFile, realpath } from 'node:fs/promises';
import { join } from 'node:path';
import { ImageError } from './image-error.ts';

export interface BlockDeviceFacts {
  readonly sizeBytes: number;
  readonly logicalBlockBytes: number;
  readonly isReadOnly: boolean;
}

/** Unit of `size`, whatever the device's own block is. */
const SECTOR_BYTES = 512;

/**
 * @param path of the device, for messages
 * @param deviceNumber `st_rdev`
 * @param sysfsPath where the kernel lists devices by number; another folder only in tests
 * @throws ImageError if the kernel does not list it, or lists nonsense
 */
export async function blockDeviceFacts(
  path: string,
  deviceNumber: number,
  sysfsPath = '/sys/dev/block',
): Promise<BlockDeviceFacts> {
  const listed = join(sysfsPath, deviceName(deviceNumber));
  // The list holds links; what lies above a partition is found only from its real place.
  const folder = await realpath(listed).catch(() => listed);
  const number = async (file: string): Promise<number | undefined> => {
    const text = await readFile(join(folder, file), 'utf8').catch(() => '');
    return /^\d+\n?$/.test(text) ? Number(text) : undefined;
  };
  const sectors = await number('size');
  if (sectors === undefined || sectors === 0 || sectors > Number.MAX_SAFE_INTEGER / SECTOR_BYTES) {
    throw new ImageError(path, `is a device of unknown size: ${folder}/size names none`);
  }
  // A partition has no queue of its own; its disk is the folder above.
  const blockFile = 'queue/logical_block_size';
  const logicalBlockBytes = (await number(blockFile)) ?? (await number(join('..', blockFile))) ?? SECTOR_BYTES;
  return { sizeBytes: sectors * SECTOR_BYTES, logicalBlockBytes, isReadOnly: (await number('ro')) === 1 };
}

/** `major:minor`. Source: glibc `sys/sysmacros.h`, gnu_dev_major and gnu_dev_minor. */
export function deviceName(deviceNumber: number): string {
  const high = Math.floor(deviceNumber / 2 ** 32);
  const low = deviceNumber >>> 0;
  const major = ((low >>> 8) & 0xfff) | (high & ~0xfff);
  const minor = ((low & 0xff) | ((low >>> 12) & ~0xff)) >>> 0;
  return `${major}:${minor}`;
}
