/** VHD images of the fixed type: the disk's bytes, then a footer that no guest can reach. */
import { randomUUID } from 'node:crypto';
import { UsageError } from '../../errors.ts';
import { type BackingFile, readBytes } from '../backing-file.ts';
import { FlatImage } from '../flat-image.ts';
import { ImageError } from '../image-error.ts';
import { type FileExtras, fileExtrasOf, openNodeFile } from '../node-file.ts';
import { DiskType, encodeFixedFooter, FOOTER_BYTES, parseFooter } from './footer.ts';

export interface VhdImageOptions extends FileExtras {
  /** Default false. */
  readonly readOnly?: boolean;
  /** See `BlockBackend.identity`. Default `vhd:` and the unique id in the footer, which survives a move. */
  readonly identity?: string;
}

/** @throws SystemError `ERR_BACKEND` for a file that cannot be opened or is no sound fixed VHD */
export async function openVhdImage(path: string, options: VhdImageOptions = {}): Promise<FlatImage> {
  const { readOnly = false } = options;
  const file = await openNodeFile(path, { readOnly, ...fileExtrasOf(options) });
  try {
    return await openVhdFile(file, options.identity);
  } catch (error) {
    await file.close();
    throw error;
  }
}

/** The same over a file that is open already; on failure it stays open. */
export async function openVhdFile(file: BackingFile, identity?: string): Promise<FlatImage> {
  const fileBytes = await file.sizeBytes();
  const refuse = (why: string): never => {
    throw new ImageError(file.path, why);
  };
  if (fileBytes < FOOTER_BYTES) refuse(`is no VHD: ${fileBytes} bytes are too few for its footer`);
  const footer =
    parseFooter(await readBytes(file, fileBytes - FOOTER_BYTES, FOOTER_BYTES)) ??
    refuse('is no VHD, or a truncated one: its last 512 bytes are no footer');
  if (!footer.isChecksumRight) refuse('is corrupt: the checksum of its VHD footer is wrong');
  if (footer.formatVersion >>> 16 !== 1) refuse(`is a VHD of version 0x${footer.formatVersion.toString(16)}, not 1.0`);
  if (footer.diskType === DiskType.Dynamic) refuse('is a dynamic VHD; only fixed VHDs and VHDX files are supported');
  if (footer.diskType === DiskType.Differencing) {
    refuse('is a differencing VHD; only fixed VHDs and VHDX files are supported');
  }
  if (footer.diskType !== DiskType.Fixed) refuse(`is corrupt: VHD disk type ${footer.diskType} does not exist`);
  const dataBytes = fileBytes - FOOTER_BYTES;
  if (footer.currentBytes !== BigInt(dataBytes)) {
    const what = footer.currentBytes > BigInt(dataBytes) ? 'is truncated' : 'is corrupt';
    refuse(`${what}: its footer names a disk of ${footer.currentBytes} bytes, the file holds ${dataBytes}`);
  }
  if (dataBytes === 0 || dataBytes % 512 !== 0) refuse(`is corrupt: ${dataBytes} bytes do not make a disk`);
  if (footer.hasSavedState && !file.readOnly) {
    refuse('belongs to a suspended machine, which a write would ruin: open it read-only');
  }
  return new FlatImage(file, { dataBytes, blockBytes: 512, identity: identity ?? `vhd:${footer.uniqueId}` });
}

/**
 * Makes a fixed VHD of zeros, which takes no space until it is written.
 * @param diskBytes multiple of 512, at most 2040 GiB
 * @param createdS for the footer, seconds since the Unix epoch
 * @throws SystemError `ERR_BACKEND` if the file exists already or cannot be written
 * @throws UsageError `ERR_ARGUMENT` for a size that the format does not have
 */
export async function createVhdImage(path: string, diskBytes: number, createdS: number): Promise<void> {
  if (!Number.isSafeInteger(diskBytes) || diskBytes <= 0 || diskBytes % 512 !== 0 || diskBytes > MAX_DISK_BYTES) {
    throw new UsageError('ERR_ARGUMENT', `a VHD has a multiple of 512 bytes, at most 2040 GiB, not ${diskBytes}`);
  }
  const file = await openNodeFile(path, { create: true });
  try {
    await file.resize(diskBytes + FOOTER_BYTES);
    await file.write(diskBytes, [encodeFixedFooter(diskBytes, randomUUID(), createdS)]);
    await file.sync();
  } finally {
    await file.close();
  }
}

/** What Windows accepts for a VHD. Source: MSDN, "CreateVirtualDisk function": 2040 GB. */
const MAX_DISK_BYTES = 2040 * 2 ** 30;
