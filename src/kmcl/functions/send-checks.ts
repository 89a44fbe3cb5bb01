/** What the send functions check before they send. */
import { PAGE_BYTES } from '../../memory/index.ts';
import { align8 } from '../../wire/align.ts';
import { type GpaRange, gpaRangeBytes } from '../../wire/gpa-range.ts';
import {
  type NtStatus,
  STATUS_INVALID_PARAMETER_2,
  STATUS_INVALID_PARAMETER_3,
  STATUS_INVALID_PARAMETER_4,
  STATUS_INVALID_PARAMETER_5,
  STATUS_SUCCESS,
} from '../../wire/ntstatus.ts';
import { gpaDirectPfnsBytes, MAX_PACKET_BYTES, MAX_PIPE_PAYLOAD_BYTES } from '../../wire/packet.ts';
import type { ChannelObject } from '../objects/channel-object.ts';

/** The wire keeps 52 bits of a page frame number: 64 bits of address. */
const PFN_LIMIT = 2 ** 52;
/** Descriptor and GPA-direct header, before the first range. */
const RANGES_AT_BYTES = 24;

/** The inline buffer, which is the second and third argument of every send function. */
export function checkBuffer(channel: ChannelObject, buffer: Uint8Array | null, bufferLength: number): NtStatus {
  if (!Number.isInteger(bufferLength) || bufferLength < 0) return STATUS_INVALID_PARAMETER_3;
  const { maxPacketBytes, isPipe } = channel.endpoint.settings;
  if (bufferLength > Math.min(maxPacketBytes, isPipe ? MAX_PIPE_PAYLOAD_BYTES : MAX_PACKET_BYTES)) {
    return STATUS_INVALID_PARAMETER_3;
  }
  if (bufferLength > 0 && (buffer === null || buffer.length < bufferLength)) return STATUS_INVALID_PARAMETER_2;
  return STATUS_SUCCESS;
}

/** The array and its length, which are the fourth and fifth argument. */
export function checkPfns(pfns: ArrayLike<number> | null, pfnLength: number): NtStatus {
  if (!Number.isInteger(pfnLength) || pfnLength < 0) return STATUS_INVALID_PARAMETER_5;
  if (pfnLength === 0) return STATUS_SUCCESS;
  if (pfns === null || pfns.length < pfnLength) return STATUS_INVALID_PARAMETER_4;
  for (let index = 0; index < pfnLength; index++) {
    const pfn = pfns[index] as number;
    if (!(pfn >= 0 && pfn < PFN_LIMIT && Number.isInteger(pfn))) return STATUS_INVALID_PARAMETER_4;
  }
  return STATUS_SUCCESS;
}

/** External data goes from guest to host, and a pipe has no place for it. */
export function mayReferToMemory(channel: ChannelObject): boolean {
  return !channel.isServer && !channel.endpoint.settings.isPipe;
}

/** Whether that many whole pages and bytes may go into one packet of this channel. */
export function isPageCountAllowed(channel: ChannelObject, pfnLength: number, bufferLength: number): boolean {
  if (pfnLength * PAGE_BYTES > channel.endpoint.settings.maxExternalBytes) return false;
  const packetBytes = gpaDirectPfnsBytes(pfnLength, bufferLength);
  return packetBytes <= MAX_PACKET_BYTES && channel.endpoint.canCarry(packetBytes);
}

/** Whether these ranges and that many bytes may go into one packet of this channel. */
export function areRangesAllowed(channel: ChannelObject, ranges: readonly GpaRange[], bufferLength: number): boolean {
  let externalBytes = 0;
  for (const range of ranges) externalBytes += range.byteCount;
  if (externalBytes > channel.endpoint.settings.maxExternalBytes) return false;
  const packetBytes = rangesPacketBytes(ranges, bufferLength);
  return packetBytes <= MAX_PACKET_BYTES && channel.endpoint.canCarry(packetBytes);
}

/** Bytes of the packet that describes these ranges; no range is checked. */
export function rangesPacketBytes(ranges: readonly GpaRange[], bufferLength: number): number {
  let packetBytes = RANGES_AT_BYTES + align8(bufferLength);
  for (const range of ranges) packetBytes += gpaRangeBytes(range.pfns.length);
  return packetBytes;
}
