/**
 * The delta file of a copy-on-write overlay: what was written over a base image that stays as it is.
 *
 * ```
 * 0            header, 4096 bytes, little-endian, CRC-32C; never changes after creation
 * 4096         one state byte per cluster, padded to whole pages of 4096
 * dataOffset   cluster n at dataOffset + n * clusterBytes: the file is as long as the disk, and sparse
 * ```
 *
 * A cluster is where it would be in a plain file, so the states are all there is to keep consistent. A state byte is
 * written only when the cluster's bytes are on stable storage, and each byte means something whatever its neighbours
 * are: a page of states may reach the disk in any pieces. So a cut at any moment leaves every cluster either as it was
 * or as it became. Nothing needs repair at the next opening.
 */
import { bytes, guid, pad, struct, u32, u64 } from '../../wire/struct.ts';

export const OverlayHeader = struct('OverlayHeader', 4096, {
  signature: bytes(0, 8),
  checksum: u32(8), // CRC-32C of the 4096 bytes, this field as zero
  version: u32(12), // 1
  diskBytes: u64(16), // of the base and of this disk
  tableOffset: u64(24), // 4096
  dataOffset: u64(32), // multiple of clusterBytes or of 64 KiB, whichever is less
  clusterBytes: u32(40), // power of two, 64 KiB .. 4 MiB
  blockBytes: u32(44), // logical block of the base
  overlayId: guid(48),
  baseChecksum: u32(64), // CRC-32C of the base's first and last 64 KiB
  basePathBytes: u32(68), // 0..1024
  basePath: bytes(72, 1024), // UTF-8, for people only: nothing is ever opened by this name
  reserved: pad(1096, 3000),
});

export const SIGNATURE = new TextEncoder().encode('vmbuscow');
export const VERSION = 1;
export const TABLE_OFFSET = OverlayHeader.size;
export const TABLE_PAGE_BYTES = 4096;
export const MIN_CLUSTER_BYTES = 64 * 1024;
export const MAX_CLUSTER_BYTES = 4 * 1024 * 1024;
/** More clusters make the clusters larger: the states are kept in memory. */
export const MAX_CLUSTERS = 16 * 1024 * 1024;
export const MAX_DISK_BYTES = MAX_CLUSTERS * MAX_CLUSTER_BYTES;
/** How much of each end of the base `baseChecksum` covers. */
export const BASE_SAMPLE_BYTES = 64 * 1024;

/** Where a cluster's bytes are. The values differ in many bits, so that damage shows. */
export const ClusterState = {
  /** In the base. What a new file's zeros say. */
  Base: 0x00,
  /** In the delta file. */
  Stored: 0xa7,
  /** Nowhere: they are zeros. */
  Zero: 0x5c,
} as const;
export type ClusterState = (typeof ClusterState)[keyof typeof ClusterState];

export interface OverlayLayout {
  readonly clusterBytes: number;
  readonly clusterCount: number;
  readonly tableBytes: number;
  readonly dataOffset: number;
  /** Exact length of the delta file. */
  readonly fileBytes: number;
}

/** @param diskBytes 1..`MAX_DISK_BYTES` */
export function layoutOf(diskBytes: number, clusterBytes: number): OverlayLayout {
  const clusterCount = Math.ceil(diskBytes / clusterBytes);
  const tableBytes = Math.ceil(clusterCount / TABLE_PAGE_BYTES) * TABLE_PAGE_BYTES;
  const dataOffset = Math.ceil((TABLE_OFFSET + tableBytes) / MIN_CLUSTER_BYTES) * MIN_CLUSTER_BYTES;
  return { clusterBytes, clusterCount, tableBytes, dataOffset, fileBytes: dataOffset + clusterCount * clusterBytes };
}

/** The smallest cluster that keeps the table within bounds. */
export function clusterBytesFor(diskBytes: number): number {
  let clusterBytes = MIN_CLUSTER_BYTES;
  while (Math.ceil(diskBytes / clusterBytes) > MAX_CLUSTERS) clusterBytes *= 2;
  return clusterBytes;
}
