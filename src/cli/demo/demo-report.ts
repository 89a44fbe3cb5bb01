/** What the demo found, once for machines and once for people. */
import Table from 'cli-table3';
import { hexBytes } from '../../wire/print.ts';
import { printPacket } from '../../wire/print-packet.ts';
import { printVstorPacket } from '../../wire/storvsc.ts';
import { formatBytes, formatCount } from '../quantity.ts';
import type { CapturedTransaction } from './transaction-capture.ts';

export interface OfferRow {
  readonly relid: number;
  readonly class: string;
  readonly interfaceId: string;
  readonly instanceId: string;
  readonly subchannelIndex: number;
  readonly connectionId: number;
}

export interface Totals {
  /** Data packets that the guest sent and got completions for. */
  readonly packets: number;
  readonly completions: number;
  /** Doorbells rung, both directions. */
  readonly doorbells: number;
  readonly doorbellsPerPacket: number;
  /** Bytes that moved by page frame number. */
  readonly bytesByPfn: number;
  /** Bytes that went through the two rings: headers, commands, page frame numbers, completions. */
  readonly ringBytes: number;
  /** Milliseconds. */
  readonly elapsedMs: number;
  readonly megabytesPerSecond: number;
}

export interface WriteReport {
  readonly bytesWritten: number;
  readonly matches: boolean;
  readonly elapsedMs: number;
}

export interface DemoReport {
  readonly file: string;
  readonly fileBytes: number;
  /** Zero bytes behind the file's own end, up to the last block's. */
  readonly paddingBytes: number;
  readonly transport: string;
  readonly version: string;
  readonly features: number;
  readonly storageVersion: string;
  readonly disk: { readonly product: string; readonly blockBytes: number; readonly blockCount: number };
  readonly offers: readonly OfferRow[];
  readonly transaction: CapturedTransaction;
  readonly totals: Totals;
  readonly sha256: { readonly file: string; readonly disk: string };
  readonly write?: WriteReport;
}

/** Versioned shape of `--json`. */
export function toJson(report: DemoReport): Record<string, unknown> {
  const { transaction, sha256, totals, ...rest } = report;
  return {
    schema: 'vmbus.demo/1',
    ...rest,
    transaction: { request: toHex(transaction.request), completion: toHex(transaction.completion) },
    totals,
    ringBytesPerDiskByte: totals.ringBytes / totals.bytesByPfn,
    sha256,
    hashMatches: sha256.file === sha256.disk,
  };
}

export function printReport(report: DemoReport): string {
  const { totals, disk, sha256 } = report;
  const features = report.features === 0 ? '' : `, features 0x${report.features.toString(16)}`;
  const sections = [
    `Bus: VMBus ${report.version}${features}, over ${report.transport}. Disk: storage protocol ${report.storageVersion}, ` +
      `"${disk.product}", ${formatCount(disk.blockCount)} blocks of ${disk.blockBytes} bytes.`,
    `Offers\n${printOffers(report.offers)}`,
    printTransaction(report.transaction),
    `Totals\n${printTotals(totals)}`,
  ];
  if (report.write !== undefined) {
    const { bytesWritten, matches, elapsedMs } = report.write;
    sections.push(
      `Write: ${formatBytes(bytesWritten)} of a pattern written to a scratch copy, flushed and read back in ` +
        `${Math.round(elapsedMs)} ms: ${matches ? 'the same' : 'NOT THE SAME'}`,
    );
  }
  sections.push(
    sha256.file === sha256.disk
      ? `SHA-256 of file and disk: ${sha256.file}, the same`
      : `SHA-256 of the file: ${sha256.file}\nSHA-256 of the disk: ${sha256.disk}, NOT THE SAME`,
  );
  return `${sections.join('\n\n')}\n`;
}

function printOffers(offers: readonly OfferRow[]): string {
  const table = new Table({
    head: ['relid', 'class', 'instance', 'sub', 'connection'],
    style: { head: [], border: [] },
  });
  for (const offer of offers) {
    table.push([
      offer.relid,
      offer.class,
      offer.instanceId,
      offer.subchannelIndex,
      `0x${offer.connectionId.toString(16)}`,
    ]);
  }
  return table.toString();
}

function printTransaction({ request, completion }: CapturedTransaction): string {
  return [
    `One transaction, as VmbPacketSendWithExternalPfns put it into the ring (${request.length} bytes)`,
    indent(hexDump(request)),
    indent(printPacket(request, { payload: printVstorPacket })),
    `and its completion (${completion.length} bytes)`,
    indent(hexDump(completion)),
    indent(printPacket(completion, { payload: printVstorPacket })),
  ].join('\n');
}

function printTotals(totals: Totals): string {
  const rows: [string, string][] = [
    ['packets', `${formatCount(totals.packets)} sent, ${formatCount(totals.completions)} completed`],
    ['doorbells', `${formatCount(totals.doorbells)}, ${totals.doorbellsPerPacket.toFixed(3)} per packet`],
    ['bytes by PFN', `${formatCount(totals.bytesByPfn)} (${formatBytes(totals.bytesByPfn)})`],
    [
      'bytes through the rings',
      `${formatCount(totals.ringBytes)} (${((100 * totals.ringBytes) / totals.bytesByPfn).toFixed(3)} % of those by PFN)`,
    ],
    ['time', `${Math.round(totals.elapsedMs)} ms, SHA-256 included: ${Math.round(totals.megabytesPerSecond)} MB/s`],
  ];
  return rows.map(([name, value]) => `  ${name.padEnd(24)}${value}`).join('\n');
}

/** Lines of 16 bytes with their offset; the middle of a long packet (page frame numbers) is left out. */
function hexDump(bytes: Uint8Array): string {
  const lines: string[] = [];
  for (let at = 0; at < bytes.length; at += 16) {
    lines.push(`${at.toString(16).padStart(4, '0')}  ${hexBytes(bytes.subarray(at, at + 16))}`);
  }
  if (lines.length <= 12) return lines.join('\n');
  return [...lines.slice(0, 4), `      … ${lines.length - 9} lines …`, ...lines.slice(-5)].join('\n');
}

function indent(text: string): string {
  return text.replace(/^/gm, '  ');
}

function toHex(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString('hex');
}
