/** Reading and judging a delta file: nothing in it is believed before it is checked. */
import type { BlockBackend } from '../../devices/scsi/block-backend.ts';
import type { Guid } from '../../wire/guid.ts';
import { type BackingFile, readBytes } from '../backing-file.ts';
import { crc32cWithout } from '../crc32c.ts';
import { ImageError } from '../image-error.ts';
import { baseChecksum } from './create.ts';
import {
  ClusterState,
  layoutOf,
  MAX_CLUSTER_BYTES,
  MAX_CLUSTERS,
  MIN_CLUSTER_BYTES,
  OverlayHeader,
  type OverlayLayout,
  SIGNATURE,
  TABLE_OFFSET,
  VERSION,
} from './format.ts';

export interface LoadedOverlay {
  readonly layout: OverlayLayout;
  readonly overlayId: Guid;
  /** One `ClusterState` per cluster; padded to whole pages with zeros. */
  readonly states: Uint8Array;
}

/** @throws ImageError naming the first thing that is wrong, whether with the file or with the base under it */
export async function loadOverlay(file: BackingFile, base: BlockBackend): Promise<LoadedOverlay> {
  const fileBytes = await file.sizeBytes();
  const refuse = (why: string): never => {
    throw new ImageError(file.path, why);
  };
  if (fileBytes < OverlayHeader.size) refuse(`is no overlay: ${fileBytes} bytes are too few for its header`);
  const page = await readBytes(file, 0, OverlayHeader.size);
  const header = OverlayHeader.parse(page);
  if (Buffer.compare(header.signature, SIGNATURE) !== 0) refuse('is no overlay: it does not begin as one');
  if (crc32cWithout(page, OverlayHeader.offsets.checksum) !== header.checksum) {
    refuse('is corrupt: the checksum of its header is wrong');
  }
  if (header.version !== VERSION) refuse(`is an overlay of version ${header.version}; this program knows ${VERSION}`);
  const { clusterBytes } = header;
  const isPowerOfTwo = Number.isInteger(Math.log2(clusterBytes));
  if (!isPowerOfTwo || clusterBytes < MIN_CLUSTER_BYTES || clusterBytes > MAX_CLUSTER_BYTES) {
    refuse(`is corrupt: its cluster size is ${clusterBytes}`);
  }
  if (header.diskBytes !== BigInt(base.sizeBytes)) {
    refuse(`belongs to another base: it is of a disk of ${header.diskBytes} bytes, this base has ${base.sizeBytes}`);
  }
  if (header.blockBytes !== base.blockBytes) {
    refuse(
      `belongs to another base: its blocks have ${header.blockBytes} bytes, those of this base ${base.blockBytes}`,
    );
  }
  const layout = layoutOf(base.sizeBytes, clusterBytes);
  if (layout.clusterCount > MAX_CLUSTERS) refuse(`is corrupt: clusters of ${clusterBytes} bytes are too many`);
  if (header.tableOffset !== BigInt(TABLE_OFFSET) || header.dataOffset !== BigInt(layout.dataOffset)) {
    refuse('is corrupt: its header names impossible places');
  }
  if (fileBytes !== layout.fileBytes) {
    refuse(`is ${fileBytes < layout.fileBytes ? 'truncated' : 'too long'}: ${fileBytes} of ${layout.fileBytes} bytes`);
  }
  if ((await baseChecksum(base)) !== header.baseChecksum) {
    refuse('belongs to another base, or the base was written to since: the two no longer fit together');
  }
  const states = await readBytes(file, TABLE_OFFSET, layout.tableBytes);
  for (const [cluster, state] of states.entries()) {
    const isKnown = state === ClusterState.Base || state === ClusterState.Stored || state === ClusterState.Zero;
    if (!isKnown || (cluster >= layout.clusterCount && state !== 0)) {
      refuse(`is corrupt: cluster ${cluster} has the state 0x${state.toString(16)}`);
    }
  }
  return { layout, overlayId: header.overlayId, states };
}
