import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { parseGpaRanges } from '../../../src/wire/gpa-range.ts';
import {
  encodeGpadl,
  GPADL_BODY_DATA_BYTES,
  GPADL_HEADER_DATA_BYTES,
  GpadlBody,
  GpadlHeader,
} from '../../../src/wire/messages/gpadl.ts';
import { concat } from '../../vectors/hex.ts';
import { gpadlExample } from '../../vectors/message-vectors.ts';

function pages(count: number) {
  return { byteCount: count * 4096, byteOffset: 0, pfns: Array.from({ length: count }, (_, index) => index) };
}

function rangeData(messages: readonly Uint8Array[]): Uint8Array {
  const [header, ...bodies] = messages;
  return concat(
    header?.subarray(GpadlHeader.size) ?? new Uint8Array(),
    ...bodies.map((b) => b.subarray(GpadlBody.size)),
  );
}

describe('a GPADL', () => {
  // Source: Linux include/linux/hyperv.h, struct vmbus_channel_gpadl_header and vmbus_channel_gpadl_body.
  test('of 40 pages is a header with 26 of them and a body with 14', () => {
    const { channelId, gpadlId, range, header, body } = gpadlExample;

    expect(encodeGpadl(channelId, gpadlId, [range])).toEqual([header, body]);
  });

  test('of 40 pages is read back from its two messages', () => {
    const { channelId, gpadlId, range, header, body } = gpadlExample;

    expect(GpadlHeader.parse(header)).toEqual({ channelId, gpadlId, rangeBytes: 328, rangeCount: 1 });
    expect(GpadlBody.parse(body)).toEqual({ messageNumber: 0, gpadlId });
    expect(parseGpaRanges(rangeData([header, body]), 0, 328, 1)).toEqual([range]);
  });

  test.each([
    [1, 1],
    [26, 1],
    [27, 2],
    [54, 2],
    [55, 3],
    [8190, 293],
  ])('of %d pages takes %d messages of at most 240 bytes', (pageCount, messageCount) => {
    const messages = encodeGpadl(1, 1, [pages(pageCount)]);

    expect(messages).toHaveLength(messageCount);
    for (const message of messages) expect(message.length).toBeLessThanOrEqual(240);
    expect(rangeData(messages)).toHaveLength(8 + 8 * pageCount);
  });

  test('a full header is 236 bytes long, a full body 240', () => {
    expect(GpadlHeader.size + GPADL_HEADER_DATA_BYTES).toBe(236);
    expect(GpadlBody.size + GPADL_BODY_DATA_BYTES).toBe(240);
  });

  test('of 8191 pages, of no range or of a malformed range is refused', () => {
    const refused = expect.objectContaining({ name: 'UsageError', code: 'ERR_ARGUMENT' });

    expect(() => encodeGpadl(1, 1, [pages(8191)])).toThrow(refused);
    expect(() => encodeGpadl(1, 1, [])).toThrow(refused);
    expect(() => encodeGpadl(1, 1, [{ ...pages(2), byteCount: 1 }])).toThrow(refused);
  });

  test('of any ranges comes back from its messages', () => {
    fc.assert(
      fc.property(fc.array(fc.integer({ min: 1, max: 60 }), { minLength: 1, maxLength: 20 }), (counts) => {
        const ranges = counts.map(pages);

        const messages = encodeGpadl(3, 4, ranges);

        const { rangeBytes, rangeCount } = GpadlHeader.parse(messages[0] as Uint8Array);
        expect(rangeCount).toBe(counts.length);
        expect(parseGpaRanges(rangeData(messages), 0, rangeBytes, rangeCount)).toEqual(ranges);
      }),
    );
  });
});
