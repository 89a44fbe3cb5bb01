/**
 * GPADLs: lists of guest pages that the host maps for longer than one packet. A long list is cut into one header
 * message and as many bodies as it takes.
 */
import { UsageError } from '../../errors.ts';
import type { GpaRange } from '../gpa-range.ts';
import { checkGpaRange, encodeGpaRange, gpaRangeBytes } from '../gpa-range.ts';
import { u16, u32 } from '../struct.ts';
import { MAX_MESSAGE_BYTES, MessageType, message } from './message.ts';

/** Range data follows at byte 20. Source: Linux `include/linux/hyperv.h`, `struct vmbus_channel_gpadl_header`. */
export const GpadlHeader = message('GpadlHeader', MessageType.GpadlHeader, 20, {
  channelId: u32(8),
  gpadlId: u32(12), // chosen by the guest, unique on the connection
  rangeBytes: u16(16), // bytes of range data in the whole GPADL, not in this message
  rangeCount: u16(18),
});

/** Range data continues at byte 16. Source: Linux `include/linux/hyperv.h`, `struct vmbus_channel_gpadl_body`. */
export const GpadlBody = message('GpadlBody', MessageType.GpadlBody, 16, {
  messageNumber: u32(8), // senders leave 0, nobody reads it
  gpadlId: u32(12),
});

/** Source: Linux `include/linux/hyperv.h`, `struct vmbus_channel_gpadl_created`. */
export const GpadlCreated = message('GpadlCreated', MessageType.GpadlCreated, 20, {
  channelId: u32(8),
  gpadlId: u32(12),
  status: u32(16), // NTSTATUS
});

/** Source: Linux `include/linux/hyperv.h`, `struct vmbus_channel_gpadl_teardown`. */
export const GpadlTeardown = message('GpadlTeardown', MessageType.GpadlTeardown, 16, {
  channelId: u32(8),
  gpadlId: u32(12),
});

/** Names no channel. Source: Linux `include/linux/hyperv.h`, `struct vmbus_channel_gpadl_torndown`. */
export const GpadlTorndown = message('GpadlTorndown', MessageType.GpadlTorndown, 12, {
  gpadlId: u32(8),
});

/** Range data in a full header message: 27 words of 8 bytes, that is a range header and 26 page frame numbers. */
export const GPADL_HEADER_DATA_BYTES = (MAX_MESSAGE_BYTES - GpadlHeader.size) & ~7;
/** Range data in a full body message: 28 page frame numbers. */
export const GPADL_BODY_DATA_BYTES = (MAX_MESSAGE_BYTES - GpadlBody.size) & ~7;
/** `rangeBytes` is a u16, so one range has at most 8190 pages. */
export const MAX_GPADL_RANGE_BYTES = 0xffff & ~7;

/**
 * The messages that create a GPADL, header first; they go out in this order.
 * @throws UsageError `ERR_ARGUMENT` for no range, a malformed range, or more pages than a GPADL can name
 */
export function encodeGpadl(channelId: number, gpadlId: number, ranges: readonly GpaRange[]): Uint8Array[] {
  const data = encodeRangeData(ranges);
  const first = data.subarray(0, GPADL_HEADER_DATA_BYTES);
  const header = new Uint8Array(GpadlHeader.size + first.length);
  GpadlHeader.write(header, 0, { channelId, gpadlId, rangeBytes: data.length, rangeCount: ranges.length });
  header.set(first, GpadlHeader.size);

  const messages = [header];
  for (let at = GPADL_HEADER_DATA_BYTES; at < data.length; at += GPADL_BODY_DATA_BYTES) {
    const next = data.subarray(at, at + GPADL_BODY_DATA_BYTES);
    const body = new Uint8Array(GpadlBody.size + next.length);
    GpadlBody.write(body, 0, { messageNumber: 0, gpadlId });
    body.set(next, GpadlBody.size);
    messages.push(body);
  }
  return messages;
}

function encodeRangeData(ranges: readonly GpaRange[]): Uint8Array {
  let dataBytes = 0;
  for (const range of ranges) {
    checkGpaRange(range);
    dataBytes += gpaRangeBytes(range.pfns.length);
  }
  if (ranges.length === 0 || dataBytes > MAX_GPADL_RANGE_BYTES) {
    throw new UsageError(
      'ERR_ARGUMENT',
      `a GPADL of ${ranges.length} ranges and ${dataBytes} bytes; 1 range or more, ${MAX_GPADL_RANGE_BYTES} bytes or less`,
    );
  }
  const words = new Int32Array(dataBytes / 4);
  let wordAt = 0;
  for (const { byteCount, byteOffset, pfns } of ranges) {
    wordAt = encodeGpaRange(words, wordAt, byteCount, byteOffset, pfns, pfns.length);
  }
  return new Uint8Array(words.buffer);
}
