/** One way into all formats. */
import { lstat } from 'node:fs/promises';
import { resolve } from 'node:path';
import type { DiscardingBackend } from '../devices/scsi/block-backend.ts';
import { UsageError } from '../errors.ts';
import { detectFormat, type ImageFormat } from './detect-format.ts';
import { ImageError } from './image-error.ts';
import { type FileExtras, fileExtrasOf } from './node-file.ts';
import { createOverlay } from './overlay/create.ts';
import { openOverlay } from './overlay/overlay-image.ts';
import { openRawImage } from './raw-image.ts';
import { openVhdImage } from './vhd/vhd-image.ts';
import { openVhdxImage } from './vhdx/open.ts';

export interface ImageSpec extends FileExtras {
  readonly path: string;
  /** Default: found out, see `detectFormat`. */
  readonly format?: Exclude<ImageFormat, 'overlay'>;
  /** Default false. */
  readonly readOnly?: boolean;
  /** Logical block size of a raw image. Default 512. The other formats have their own. */
  readonly blockBytes?: number;
  /** Delta file: all writes go there, the image stays as it is. It is made if it does not exist. */
  readonly overlay?: string;
  /** See `BlockBackend.identity`. */
  readonly identity?: string;
}

/**
 * Opens a disk image, and an overlay over it if there is one.
 * @throws SystemError `ERR_BACKEND` with one line that says which file and what is wrong
 * @throws UsageError `ERR_ARGUMENT` for a spec that contradicts itself
 */
export async function openImage(spec: ImageSpec): Promise<DiscardingBackend> {
  const { path, overlay, readOnly = false } = spec;
  if (overlay === undefined) return openSingle(spec, readOnly);
  if (resolve(path) === resolve(overlay)) {
    throw new UsageError('ERR_ARGUMENT', `${path} cannot be its own overlay`);
  }
  const { identity, ...baseSpec } = spec;
  const base = await openSingle(baseSpec, true);
  const options = { readOnly, ...(identity && { identity }), ...fileExtrasOf(spec) };
  if (!readOnly && !(await exists(overlay))) {
    try {
      await createOverlay(overlay, base, { basePath: resolve(path) });
    } catch (error) {
      await base.close();
      throw error;
    }
  }
  return openOverlay(overlay, base, options);
}

async function openSingle(spec: ImageSpec, readOnly: boolean): Promise<DiscardingBackend> {
  const { path, blockBytes, identity } = spec;
  const format = spec.format ?? (await detectFormat(path));
  if (blockBytes !== undefined && format !== 'raw') {
    throw new UsageError('ERR_ARGUMENT', `${path} is a ${format} image, which has its own block size`);
  }
  const options = { readOnly, ...(identity && { identity }), ...fileExtrasOf(spec) };
  switch (format) {
    case 'raw':
      return openRawImage(path, { ...options, ...(blockBytes && { blockBytes }) });
    case 'vhd':
      return openVhdImage(path, options);
    case 'vhdx':
      return openVhdxImage(path, options);
    case 'overlay':
      throw new ImageError(path, 'is an overlay: name the image under it, and this one as its overlay');
    default:
      throw new ImageError(path, `is a ${format.slice('foreign:'.length)} image, which is not supported`);
  }
}

async function exists(path: string): Promise<boolean> {
  return (await lstat(path).catch(() => undefined)) !== undefined;
}
