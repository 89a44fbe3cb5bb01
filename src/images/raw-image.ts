/**
 * A disk in an ordinary file or on a block device, byte for byte.
 *
 * Sparse files stay sparse: a range that was never written takes no space, and a discarded one gives its space back if
 * whoever opens the image hands in `punchHole`. Without it a discard does nothing, and the guest is told so.
 */
import { resolve } from 'node:path';
import { checkBlockBytes } from '../devices/scsi/block-backend.ts';
import { blockDeviceFacts } from './block-device.ts';
import { FlatImage } from './flat-image.ts';
import { ImageError } from './image-error.ts';
import { type FileExtras, fileExtrasOf, openNodeFile } from './node-file.ts';

export interface RawImageOptions extends FileExtras {
  /** Default 512, or the device's own. */
  readonly blockBytes?: number;
  /** Open for reading only; a file may then end inside a block, which is padded with zeros. Default false. */
  readonly readOnly?: boolean;
  /** See `BlockBackend.identity`. Default `file:` and the absolute path. */
  readonly identity?: string;
  /** Where the kernel describes block devices. Default /sys/dev/block. */
  readonly sysfsPath?: string;
}

/**
 * @throws SystemError `ERR_BACKEND` if it cannot be opened, is empty, ends inside a block though writable, ...
 * @throws UsageError `ERR_ARGUMENT` for a block size that guests do not accept
 */
export async function openRawImage(path: string, options: RawImageOptions = {}): Promise<FlatImage> {
  if (options.blockBytes !== undefined) checkBlockBytes(options.blockBytes);
  const readOnly = options.readOnly ?? false;
  const file = await openNodeFile(path, {
    readOnly,
    allowDevice: true,
    ...fileExtrasOf(options),
  });
  try {
    const isDevice = file.deviceNumber !== undefined;
    const device = isDevice ? await blockDeviceFacts(path, file.deviceNumber, options.sysfsPath) : undefined;
    const dataBytes = device?.sizeBytes ?? (await file.sizeBytes());
    const blockBytes = options.blockBytes ?? device?.logicalBlockBytes ?? 512;
    checkBlockBytes(blockBytes);
    if (device?.isReadOnly && !readOnly) throw new ImageError(path, 'is a read-only device: open it read-only');
    if (device !== undefined && blockBytes < device.logicalBlockBytes) {
      throw new ImageError(path, `has blocks of ${device.logicalBlockBytes} bytes, larger than ${blockBytes}`);
    }
    if (dataBytes === 0) throw new ImageError(path, 'is empty: a disk needs at least one byte');
    if (!readOnly && dataBytes % blockBytes !== 0) {
      throw new ImageError(
        path,
        `has ${dataBytes} bytes, not a multiple of ${blockBytes}: make it whole blocks or open it read-only`,
      );
    }
    return new FlatImage(file, { dataBytes, blockBytes, identity: options.identity ?? `file:${resolve(path)}` });
  } catch (error) {
    await file.close();
    throw error;
  }
}
