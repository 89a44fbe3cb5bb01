import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { parseGpaRanges } from '../../src/wire/gpa-range.ts';
import {
  DESCRIPTOR_BYTES,
  encodeCompletion,
  encodeGpaDirect,
  encodeGpaDirectPfns,
  encodeInBand,
  encodeSimple,
  encodeTrailer,
  encodeTransferPages,
  GpaDirectHeader,
  gpaDirectBytes,
  gpaDirectPfnsBytes,
  inBandBytes,
  MAX_PACKET_BYTES,
  PacketDescriptor,
  PacketTrailer,
  PacketType,
  PipeHeader,
  TRAILER_BYTES,
  TransferPageRange,
  TransferPagesHeader,
  transferPagesBytes,
} from '../../src/wire/packet.ts';
import { a5, concat, hex } from '../vectors/hex.ts';
import { counting } from '../vectors/ring-vectors.ts';

/** Two views of one buffer full of 0xa5. */
function someArea(byteCount = 4096) {
  const bytes = a5(byteCount);
  return { bytes, words: new Int32Array(bytes.buffer) };
}

// Source of the examples: Linux include/linux/hyperv.h, struct vmpacket_descriptor, vmdata_gpa_direct and gpa_range.
describe('worked examples, descriptor to trailer', () => {
  test('in-band, 20 bytes, completion requested, id 1, at ring offset 0x140', () => {
    const { bytes, words } = someArea();

    const packetBytes = encodeInBand(words, bytes, 0x140, 1, 1, 0, counting(20), 20);
    encodeTrailer(words, 0x140 + packetBytes, 0x140);

    expect(packetBytes).toBe(inBandBytes(20));
    expect(bytes.subarray(0x140, 0x170)).toEqual(
      hex(`06 00 | 02 00 | 05 00 | 01 00 | 01 00 00 00 00 00 00 00
           00 01 02 03 04 05 06 07 08 09 0a 0b 0c 0d 0e 0f 10 11 12 13 | 00 00 00 00
           00 00 00 00 40 01 00 00`),
    );
    expect(bytes.filter((byte) => byte !== 0xa5)).toHaveLength(48);
    expect(PacketDescriptor.parse(bytes, 0x140)).toEqual({
      packetType: PacketType.InBand,
      dataOffset8: 2,
      length8: 5,
      flags: 1,
      transactionId: 1n,
    });
    expect(PacketTrailer.parse(bytes, 0x168)).toEqual({ packetOffset: 0x140 });
  });

  test('GPA direct, 0x2100 bytes from offset 0x200, 24 bytes of payload, id 2, at ring offset 0x170', () => {
    const { bytes, words } = someArea();
    const ranges = [{ byteCount: 0x2100, byteOffset: 0x200, pfns: [0x1a2b0, 0x1a2b1, 0x3c4d5] }];

    const packetBytes = encodeGpaDirect(words, bytes, 0x170, 1, 2, 0, ranges, counting(24, 0xa0), 24);
    encodeTrailer(words, 0x170 + packetBytes, 0x170);

    expect(packetBytes).toBe(gpaDirectBytes(ranges, 24));
    expect(bytes.subarray(0x170, 0x170 + 88)).toEqual(
      hex(`09 00 07 00 0a 00 01 00 | 02 00 00 00 00 00 00 00 | 00 00 00 00 | 01 00 00 00 | 00 21 00 00 | 00 02 00 00
           b0 a2 01 00 00 00 00 00 | b1 a2 01 00 00 00 00 00 | d5 c4 03 00 00 00 00 00
           a0 a1 a2 a3 a4 a5 a6 a7 a8 a9 aa ab ac ad ae af b0 b1 b2 b3 b4 b5 b6 b7
           00 00 00 00 70 01 00 00`),
    );
    expect(GpaDirectHeader.parse(bytes, 0x180)).toEqual({ rangeCount: 1 });
    expect(parseGpaRanges(bytes, 0x188, 0x170 + 7 * 8, 1)).toEqual(ranges);
  });

  test('completion of that, 4 bytes of status 1, at offset 0', () => {
    const { bytes, words } = someArea(32);

    const packetBytes = encodeCompletion(words, bytes, 0, 2, 0, hex('01 00 00 00'), 4);
    encodeTrailer(words, packetBytes, 0);

    expect(bytes).toEqual(
      hex(`0b 00 02 00 03 00 00 00 | 02 00 00 00 00 00 00 00 | 01 00 00 00 | 00 00 00 00 | 00 00 00 00 00 00 00 00`),
    );
    expect(PacketDescriptor.parse(bytes).packetType).toBe(PacketType.Completion);
  });

  test('hvsock data "hello" in a pipe packet at offset 0', () => {
    const { bytes, words } = someArea(40);
    const payload = concat(PipeHeader.encode({ packetType: 1, byteLength: 5 }), hex('68 65 6c 6c 6f'));

    const packetBytes = encodeInBand(words, bytes, 0, 0, 0, 0, payload, payload.length);
    encodeTrailer(words, packetBytes, 0);

    expect(bytes).toEqual(
      hex(`06 00 02 00 04 00 00 00 | 8 x 00 | 01 00 00 00 | 05 00 00 00 | 68 65 6c 6c 6f 00 00 00 | 8 x 00`),
    );
    expect(PipeHeader.parse(bytes, DESCRIPTOR_BYTES)).toEqual({ packetType: 1, byteLength: 5 });
  });
});

describe('GPA-direct packets', () => {
  test('several ranges follow each other without padding', () => {
    const { bytes, words } = someArea(104);
    const ranges = [
      { byteCount: 1, byteOffset: 4095, pfns: [7] },
      { byteCount: 2, byteOffset: 4095, pfns: Float64Array.of(2 ** 52 - 1, 2 ** 32) },
      { byteCount: 4096, byteOffset: 0, pfns: [9] },
    ];

    const packetBytes = encodeGpaDirect(words, bytes, 0, 1, -1, -1, ranges, Uint8Array.of(0xee), 1);

    expect(packetBytes).toBe(24 + 16 + 24 + 16 + 8);
    expect(bytes).toEqual(
      hex(`09 00 0a 00 0b 00 01 00 | ff ff ff ff ff ff ff ff | 00 00 00 00 | 03 00 00 00
           01 00 00 00 | ff 0f 00 00 | 07 00 00 00 00 00 00 00
           02 00 00 00 | ff 0f 00 00 | ff ff ff ff ff ff 0f 00 | 00 00 00 00 01 00 00 00
           00 10 00 00 | 00 00 00 00 | 09 00 00 00 00 00 00 00
           ee 00 00 00 00 00 00 00 | 16 x a5`),
    );
  });

  test('a list of whole pages is one range, completion requested, and equals the general encoder', () => {
    const one = someArea(256);
    const general = someArea(256);
    const pfns = [5, 0x8000_0000, 0xffff_ffff, 2 ** 32, 2 ** 52 - 1];
    const range = { byteCount: 5 * 4096, byteOffset: 0, pfns };
    const payload = counting(13);

    const packetBytes = encodeGpaDirectPfns(one.words, one.bytes, 8, 3, 4, [...pfns, 99], 5, payload, 13);

    expect(packetBytes).toBe(gpaDirectPfnsBytes(5, 13));
    expect(encodeGpaDirect(general.words, general.bytes, 8, 1, 3, 4, [range], payload, 13)).toBe(packetBytes);
    expect(one.bytes).toEqual(general.bytes);
    expect(parseGpaRanges(one.bytes, 32, 80, 1)).toEqual([range]);
  });

  test('a packet without a range, or with a malformed one, has no size', () => {
    const refused = expect.objectContaining({ name: 'UsageError', code: 'ERR_ARGUMENT' });

    expect(() => gpaDirectBytes([], 0)).toThrow(refused);
    expect(() => gpaDirectBytes([{ byteCount: 4097, byteOffset: 0, pfns: [1] }], 0)).toThrow(refused);
  });
});

test('a transfer-pages packet carries the page set and byte ranges in it', () => {
  const { bytes, words } = someArea(64);
  const ranges = [
    { byteCount: 1514, byteOffset: 0 },
    { byteCount: 60, byteOffset: 1728 },
  ];

  const packetBytes = encodeTransferPages(words, bytes, 0, 1, 9, 0, 0xcafe, ranges, hex('6b 00 00 00'), 4);

  expect(packetBytes).toBe(transferPagesBytes(2, 4));
  expect(bytes).toEqual(
    hex(`07 00 05 00 06 00 01 00 | 09 00 00 00 00 00 00 00 | fe ca | 00 00 | 02 00 00 00
         ea 05 00 00 00 00 00 00 | 3c 00 00 00 c0 06 00 00 | 6b 00 00 00 00 00 00 00 | 16 x a5`),
  );
  expect(TransferPagesHeader.parse(bytes, 16)).toEqual({ pageSetId: 0xcafe, rangeCount: 2 });
  expect(TransferPageRange.parse(bytes, 32)).toEqual(ranges[1]);
});

describe('payloads', () => {
  test('any payload at any place is copied whole and padded with zeros, and nothing else is touched', () => {
    fc.assert(
      fc.property(
        fc.uint8Array({ maxLength: 3000, size: 'max' }),
        fc.nat(100),
        fc.nat(40),
        fc.constantFrom(PacketType.InBand, PacketType.Completion),
        fc.nat(0xffff_ffff),
        fc.nat(0xffff_ffff),
        (payload, tail, at8, type, idLo, idHi) => {
          const { bytes, words } = someArea();
          const at = at8 * 8;
          const source = concat(payload, a5(tail));

          const packetBytes = encodeSimple(type, words, bytes, at, 1, idLo, idHi, source, payload.length);

          const padBytes = packetBytes - DESCRIPTOR_BYTES - payload.length;
          const descriptor = PacketDescriptor.encode({
            packetType: type,
            dataOffset8: 2,
            length8: packetBytes / 8,
            flags: 1,
            transactionId: (BigInt(idHi) << 32n) | BigInt(idLo),
          });
          const expected = concat(a5(at), descriptor, payload, new Uint8Array(padBytes));
          expect(padBytes).toBeLessThan(8);
          expect(bytes).toEqual(concat(expected, a5(4096 - expected.length)));
        },
      ),
    );
  });

  test('a null payload leaves its bytes to the caller; only the padding is written', () => {
    const { bytes, words } = someArea(40);

    expect(encodeInBand(words, bytes, 0, 0, 1, 0, null, 12)).toBe(32);

    expect(bytes.subarray(16)).toEqual(hex('12 x a5 | 00 00 00 00 | 8 x a5'));
  });

  test('the longest packet that a descriptor can describe is 65535 units long, one more byte is refused', () => {
    const { bytes, words } = someArea(MAX_PACKET_BYTES + TRAILER_BYTES);
    const most = MAX_PACKET_BYTES - DESCRIPTOR_BYTES;

    expect(encodeInBand(words, bytes, 0, 0, 1, 0, null, most)).toBe(MAX_PACKET_BYTES);
    expect(PacketDescriptor.parse(bytes).length8).toBe(0xffff);

    const tooBig = expect.objectContaining({ name: 'UsageError', code: 'ERR_PACKET_TOO_BIG' });
    expect(() => encodeInBand(words, bytes, 0, 0, 1, 0, null, most + 1)).toThrow(tooBig);
  });
});
