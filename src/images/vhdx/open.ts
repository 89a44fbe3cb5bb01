/** Opening a VHDX file: every structure is checked before one is used, and a log that is owed is replayed first. */

import { ZERO_GUID } from '../../wire/guid.ts';
import type { BackingFile } from '../backing-file.ts';
import { ImageError } from '../image-error.ts';
import { type FileExtras, fileExtrasOf, openNodeFile } from '../node-file.ts';
import { loadBlockTable } from './block-table.ts';
import { FreeSpace } from './free-space.ts';
import { VhdxHeaders } from './headers.ts';
import { loadMetadata } from './metadata.ts';
import { loadRegions } from './regions.ts';
import { readLog, replayLog } from './replay.ts';
import { VhdxImage } from './vhdx-image.ts';

export interface VhdxImageOptions extends FileExtras {
  /** A file whose log must be replayed cannot be opened so. Default false. */
  readonly readOnly?: boolean;
  /** See `BlockBackend.identity`. Default `vhdx:` and the disk's id in the file, which survives a move. */
  readonly identity?: string;
}

/** @throws SystemError `ERR_BACKEND` for a file that cannot be opened, is damaged, or needs what we do not have */
export async function openVhdxImage(path: string, options: VhdxImageOptions = {}): Promise<VhdxImage> {
  const { readOnly = false } = options;
  const file = await openNodeFile(path, { readOnly, ...fileExtrasOf(options) });
  try {
    return await openVhdxFile(file, options.identity);
  } catch (error) {
    await file.close();
    throw error;
  }
}

/** The same over a file that is open already; on failure it stays open. */
export async function openVhdxFile(file: BackingFile, identity?: string): Promise<VhdxImage> {
  let fileBytes = await file.sizeBytes();
  const headers = await VhdxHeaders.load(file, fileBytes);
  const log = { what: 'the log', at: headers.logOffset, byteCount: headers.logBytes };
  if (headers.hasLog) {
    const { logGuid, logOffset, logBytes } = headers;
    const sequence = await readLog(file, { logGuid, logOffset, logBytes }, fileBytes);
    if (file.readOnly) {
      throw new ImageError(file.path, 'was not closed and has a log to replay: open it for writing once');
    }
    await headers.update({ newFileWriteGuid: true });
    await replayLog(file, sequence, fileBytes);
    await headers.update({ logGuid: ZERO_GUID });
    fileBytes = await file.sizeBytes();
  }
  const regions = await loadRegions(file, fileBytes);
  const disk = await loadMetadata(file, regions.metadata);
  const { table, used } = await loadBlockTable(file, fileBytes, disk, regions, log);
  const space = new FreeSpace(disk.blockBytes, used, fileBytes);
  const parts = { file, headers, disk, table, space, batOffset: regions.bat.at, fileBytes };
  return new VhdxImage(parts, identity ?? `vhdx:${disk.diskId}`);
}
