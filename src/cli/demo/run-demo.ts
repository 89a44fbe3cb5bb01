/** The main job: a guest reads a whole disk from a host over VMBus, every block by page frame numbers. */
import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { pipeline } from 'node:stream/promises';
import type { ChannelEndpoint } from '../../channel/index.ts';
import { PAGE_BYTES, type ScatterView } from '../../memory/index.ts';
import { className } from '../../wire/class-ids.ts';
import { gpaDirectPfnsBytes } from '../../wire/packet.ts';
import { formatStorVersion, VSTOR_PACKET_BYTES } from '../../wire/storvsc.ts';
import { formatVersion } from '../../wire/versions.ts';
import { type DiskGuest, startDiskGuest } from '../disk-guest.ts';
import type { DiskSpec } from '../disk-spec.ts';
import { allocateSlots, readBlocks, type TransferPlan, wholeDisk } from '../disk-transfer.ts';
import { openDiskFile } from '../images.ts';

import type { DemoReport, Totals, WriteReport } from './demo-report.ts';
import { type DemoTransport, overTransport } from './demo-transport.ts';
import { withScratchCopy, writePattern } from './scratch-write.ts';
import { TransactionCapture } from './transaction-capture.ts';

export interface DemoOptions extends TransferPlan {
  readonly file: string;
  readonly transport: DemoTransport;
  /** Also write a pattern to a scratch copy of the file, read it back and compare. */
  readonly writes: boolean;
  /** Bytes read so far. */
  readonly onProgress?: (bytes: number, totalBytes: number) => void;
}

/** Pages for rings and the small buffers of the storage driver. */
const SPARE_PAGES = 256;

/** @throws CommandError for a file that cannot be a disk, and whatever a broken bus would throw */
export async function runDemo(options: DemoOptions): Promise<DemoReport> {
  // Looked at here, too, so that a file that cannot be a disk is told once, before any host is started.
  const file = await openDiskFile(options.file, { readOnly: true });
  await file.close();
  const read = await overBus(options, { path: options.file, readOnly: true, format: 'raw' }, (guest) =>
    readAndHash(guest, file.fileBytes, options),
  );
  const write = options.writes ? await writeScratch(options) : undefined;
  const fileHash = await hashFile(options.file);
  return { ...read, sha256: { file: fileHash, disk: read.sha256 }, ...(write === undefined ? {} : { write }) };
}

/** Brings both ends up on a transport, runs `job` in the guest, takes both down whatever becomes of it. */
export async function overBus<Result>(
  plan: TransferPlan & { readonly transport: DemoTransport },
  disk: DiskSpec,
  job: (guest: DiskGuest) => Promise<Result>,
): Promise<Result> {
  const pageCount = plan.outstanding * plan.pagesPerTransfer + SPARE_PAGES;
  return await overTransport(plan.transport, disk, pageCount, async (environment) => {
    const guest = await startDiskGuest(environment, {
      outstanding: plan.outstanding,
      transferBytes: plan.pagesPerTransfer * PAGE_BYTES,
    });
    try {
      return await job(guest);
    } finally {
      await guest.stop();
    }
  });
}

type ReadReport = Omit<DemoReport, 'sha256' | 'write'> & { readonly sha256: string };

async function readAndHash(guest: DiskGuest, fileBytes: number, options: DemoOptions): Promise<ReadReport> {
  const { vmbus, disk } = guest;
  const [channel] = vmbus.channels as readonly [ChannelEndpoint];
  // The whole first transfer of data: the INQUIRY and its kin before it name one page.
  const firstPages = Math.ceil(Math.min(options.pagesPerTransfer * PAGE_BYTES, disk.sizeBytes) / PAGE_BYTES);
  const capture = new TransactionCapture(gpaDirectPfnsBytes(firstPages, VSTOR_PACKET_BYTES));
  channel.tap = capture;
  const before = { ...channel.statistics };

  const hash = createHash('sha256');
  const slots = allocateSlots(vmbus.pages, options);
  const started = performance.now();
  await readBlocks(disk, slots, wholeDisk(disk), (bytes, offsetBytes) => {
    // The padding behind the file's end is the disk's, not the file's.
    hashView(hash, bytes, fileBytes - offsetBytes);
    options.onProgress?.(Math.min(offsetBytes + bytes.byteLength, fileBytes), fileBytes);
  });
  const elapsedMs = performance.now() - started;

  const { transaction } = capture;
  if (transaction === undefined) throw new Error('no transaction went over the channel');
  return {
    file: options.file,
    fileBytes,
    paddingBytes: disk.sizeBytes - fileBytes,
    transport: options.transport,
    version: formatVersion(vmbus.bus.version),
    features: vmbus.bus.features,
    storageVersion: formatStorVersion(guest.vsc.version),
    disk: { product: `${disk.vendor} ${disk.product}`, blockBytes: disk.blockBytes, blockCount: disk.blockCount },
    offers: [...vmbus.bus.offers()].map((offer) => ({
      relid: offer.relid,
      class: className(offer.interfaceId) ?? offer.interfaceId,
      interfaceId: offer.interfaceId,
      instanceId: offer.instanceId,
      subchannelIndex: offer.subchannelIndex,
      connectionId: offer.connectionId,
    })),
    transaction,
    totals: totalsOf(channel, before, elapsedMs),
    sha256: hash.digest('hex'),
  };
}

function totalsOf(channel: ChannelEndpoint, before: ChannelEndpoint['statistics'], elapsedMs: number): Totals {
  const now = channel.statistics;
  const packets = now.packetsSent - before.packetsSent;
  const doorbells = now.doorbellsRung - before.doorbellsRung + (now.doorbellsReceived - before.doorbellsReceived);
  const bytesByPfn = now.externalBytesSent - before.externalBytesSent;
  return {
    packets,
    completions: now.completionsReceived - before.completionsReceived,
    doorbells,
    doorbellsPerPacket: doorbells / packets,
    bytesByPfn,
    ringBytes: now.ringBytesSent - before.ringBytesSent + (now.ringBytesReceived - before.ringBytesReceived),
    elapsedMs,
    megabytesPerSecond: bytesByPfn / 1e3 / elapsedMs,
  };
}

function hashView(hash: ReturnType<typeof createHash>, bytes: ScatterView, maxBytes: number): void {
  let left = maxBytes;
  for (const segment of bytes.segments) {
    if (left <= 0) return;
    hash.update(left >= segment.length ? segment : segment.subarray(0, left));
    left -= segment.length;
  }
}

async function hashFile(path: string): Promise<string> {
  const hash = createHash('sha256');
  await pipeline(createReadStream(path, { highWaterMark: 1 << 20 }), hash);
  return hash.digest('hex');
}

async function writeScratch(options: DemoOptions): Promise<WriteReport> {
  return await withScratchCopy(options.file, (path) =>
    overBus(options, { path, readOnly: false, format: 'raw' }, ({ vmbus, disk }) =>
      writePattern(disk, allocateSlots(vmbus.pages, options)),
    ),
  );
}
