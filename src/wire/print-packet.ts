/**
 * Prints one ring packet for people: descriptor, ranges, payload. The text depends on the bytes alone, and there is a
 * text for any bytes, also for hostile ones.
 */
import { parseGpaRanges } from './gpa-range.ts';
import {
  DESCRIPTOR_BYTES,
  GpaDirectHeader,
  PacketDescriptor,
  PacketType,
  TransferPageRange,
  TransferPagesHeader,
} from './packet.ts';
import { hexBytes } from './print.ts';

export interface PrintPacketOptions {
  /** Prints the payload; hex unless given. It gets the padding too: the wire does not say where the payload ends. */
  readonly payload?: (payload: Uint8Array) => string;
  /** Page frame numbers shown of one range; the ones in the middle are counted. Default 8. */
  readonly maxPfns?: number;
}

const RANGES_AT = DESCRIPTOR_BYTES + GpaDirectHeader.size;

/** @param packet descriptor to padding, without the trailer */
export function printPacket(packet: Uint8Array, options: PrintPacketOptions = {}): string {
  const parts = [PacketDescriptor.print(packet)];
  if (packet.length < DESCRIPTOR_BYTES) return parts.join('\n');
  const { packetType, dataOffset8 } = PacketDescriptor.parse(packet);
  const payloadAt = Math.min(dataOffset8 * 8, packet.length);
  if (packetType === PacketType.GpaDirect) parts.push(printGpaDirect(packet, payloadAt, options.maxPfns ?? 8));
  if (packetType === PacketType.TransferPages) parts.push(printTransferPages(packet, payloadAt));
  const payload = packet.subarray(payloadAt);
  if (payload.length > 0)
    parts.push(options.payload?.(payload) ?? `payload (${payload.length} bytes)\n  ${hexBytes(payload)}`);
  return parts.join('\n');
}

function printGpaDirect(packet: Uint8Array, payloadAt: number, maxPfns: number): string {
  const lines = [GpaDirectHeader.print(packet, DESCRIPTOR_BYTES)];
  if (payloadAt < RANGES_AT) return lines.join('\n');
  try {
    const { rangeCount } = GpaDirectHeader.parse(packet, DESCRIPTOR_BYTES);
    for (const { byteCount, byteOffset, pfns } of parseGpaRanges(packet, RANGES_AT, payloadAt, rangeCount)) {
      lines.push(`GpaRange  ${byteCount} bytes from offset ${byteOffset}, ${pfns.length} pages`);
      lines.push(`  PFNs ${printPfns(pfns, maxPfns)}`);
    }
  } catch (error) {
    lines.push(`ranges are malformed: ${error instanceof Error ? error.message : String(error)}`);
  }
  return lines.join('\n');
}

function printTransferPages(packet: Uint8Array, payloadAt: number): string {
  const lines = [TransferPagesHeader.print(packet, DESCRIPTOR_BYTES)];
  for (let at = RANGES_AT; payloadAt - at >= TransferPageRange.size; at += TransferPageRange.size) {
    const { byteCount, byteOffset } = TransferPageRange.parse(packet, at);
    lines.push(`TransferPageRange  ${byteCount} bytes at ${byteOffset} of the shared buffer`);
  }
  return lines.join('\n');
}

function printPfns(pfns: ArrayLike<number>, maxPfns: number): string {
  const shown = Array.from(pfns, (pfn) => `0x${pfn.toString(16)}`);
  if (shown.length <= maxPfns) return shown.join(' ');
  const head = Math.ceil(maxPfns / 2);
  const tail = maxPfns - head;
  return [...shown.slice(0, head), `… ${shown.length - head - tail} more …`, ...shown.slice(shown.length - tail)].join(
    ' ',
  );
}
