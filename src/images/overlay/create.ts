/** Making the delta file of an overlay. */
import { randomUUID } from 'node:crypto';
import { open, rename, rm } from 'node:fs/promises';
import { dirname } from 'node:path';
import type { BlockBackend } from '../../devices/scsi/block-backend.ts';
import { SystemError, UsageError } from '../../errors.ts';
import { ScatterView } from '../../memory/scatter-view.ts';
import type { BackingFile } from '../backing-file.ts';
import { crc32c, crc32cWithout } from '../crc32c.ts';
import { openNodeFile } from '../node-file.ts';
import {
  BASE_SAMPLE_BYTES,
  clusterBytesFor,
  layoutOf,
  MAX_CLUSTER_BYTES,
  MAX_CLUSTERS,
  MAX_DISK_BYTES,
  MIN_CLUSTER_BYTES,
  OverlayHeader,
  SIGNATURE,
  TABLE_OFFSET,
  VERSION,
} from './format.ts';

export interface CreateOverlayOptions {
  /** Power of two, 64 KiB .. 4 MiB. Default: the smallest that fits the disk. */
  readonly clusterBytes?: number;
  /** What the header says of the base, for people. */
  readonly basePath?: string;
}

/**
 * Makes an empty overlay over `base`. The file appears under its name when it is complete and on stable storage.
 * @throws SystemError `ERR_BACKEND` if it exists already or cannot be written
 * @throws UsageError `ERR_ARGUMENT` for a disk or cluster size that the format does not have
 */
export async function createOverlay(
  path: string,
  base: BlockBackend,
  options: CreateOverlayOptions = {},
): Promise<void> {
  // Claims the name first, so that two makers cannot both succeed.
  await (await openNodeFile(path, { create: true })).close();
  const unfinished = `${path}.${randomUUID()}.new`;
  try {
    const file = await openNodeFile(unfinished, { create: true });
    try {
      await writeEmptyOverlay(file, base, options);
    } finally {
      await file.close();
    }
    await rename(unfinished, path);
    await syncFolder(dirname(path));
  } catch (error) {
    await rm(unfinished, { force: true });
    await rm(path, { force: true });
    if (error instanceof SystemError || error instanceof UsageError) throw error;
    throw new SystemError('ERR_BACKEND', `making the overlay ${path} failed`, { cause: error });
  }
}

/** The same into an empty file that is open already. Ends with a `sync`. */
export async function writeEmptyOverlay(
  file: BackingFile,
  base: BlockBackend,
  options: CreateOverlayOptions = {},
): Promise<void> {
  const clusterBytes = options.clusterBytes ?? clusterBytesFor(base.sizeBytes);
  checkSizes(base.sizeBytes, clusterBytes);
  const layout = layoutOf(base.sizeBytes, clusterBytes);
  const basePath = new Uint8Array(1024);
  const { written } = new TextEncoder().encodeInto(options.basePath ?? '', basePath);
  const header = OverlayHeader.encode({
    signature: SIGNATURE,
    checksum: 0,
    version: VERSION,
    diskBytes: base.sizeBytes,
    tableOffset: TABLE_OFFSET,
    dataOffset: layout.dataOffset,
    clusterBytes,
    blockBytes: base.blockBytes,
    overlayId: randomUUID(),
    baseChecksum: await baseChecksum(base),
    basePathBytes: written,
    basePath,
  });
  new DataView(header.buffer).setUint32(OverlayHeader.offsets.checksum, crc32cWithout(header, 8), true);
  await file.resize(layout.fileBytes);
  await file.write(0, [header]);
  await file.sync();
}

/** A sample that tells one base from another: cheap, and not proof that nothing in the middle was changed. */
export async function baseChecksum(base: BlockBackend): Promise<number> {
  const sampleBytes = Math.min(BASE_SAMPLE_BYTES, base.sizeBytes);
  const sample = new Uint8Array(sampleBytes);
  await base.read(0, ScatterView.over([sample]));
  const first = crc32c(sample);
  await base.read(base.sizeBytes - sampleBytes, ScatterView.over([sample]));
  return crc32c(sample, first);
}

function checkSizes(diskBytes: number, clusterBytes: number): void {
  const isPowerOfTwo = Number.isInteger(Math.log2(clusterBytes));
  if (!isPowerOfTwo || clusterBytes < MIN_CLUSTER_BYTES || clusterBytes > MAX_CLUSTER_BYTES) {
    throw new UsageError(
      'ERR_ARGUMENT',
      `cluster size ${clusterBytes} is not a power of two in ${MIN_CLUSTER_BYTES}..${MAX_CLUSTER_BYTES}`,
    );
  }
  if (diskBytes > MAX_DISK_BYTES || Math.ceil(diskBytes / clusterBytes) > MAX_CLUSTERS) {
    throw new UsageError('ERR_ARGUMENT', `a disk of ${diskBytes} bytes needs larger clusters than ${clusterBytes}`);
  }
}

/** A name is on stable storage when its folder is. */
async function syncFolder(path: string): Promise<void> {
  const folder = await open(path, 'r');
  try {
    await folder.sync();
  } finally {
    await folder.close();
  }
}
