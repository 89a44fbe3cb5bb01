/** Random control messages: fields drawn from the declarations, then cut, padded or flipped now and then. */
import fc from 'fast-check';
import { MESSAGES, type MessageInfo } from '../../src/wire/messages/index.ts';
import type { NamedField } from '../../src/wire/struct.ts';
import { ALL_VERSIONS } from '../../src/wire/versions.ts';

/** Small numbers make messages that name the same things. */
const SMALL_ID = fc.oneof(
  { weight: 8, arbitrary: fc.integer({ min: 0, max: 5 }) },
  fc.constantFrom(2047, 2048, 0xffff_ffff),
);

/** Fields whose interesting values are known. */
const byName: Readonly<Record<string, fc.Arbitrary<number>>> = {
  version: fc.oneof(fc.constantFrom(...ALL_VERSIONS), fc.integer({ min: 0, max: 0x0007_0000 })),
  versionSupported: fc.constantFrom(0, 1, 1, 1),
  connectionState: fc.constantFrom(0, 0, 0, 2),
  status: fc.constantFrom(0, 0, 0, 0x103, 0x8000_ffff),
  features: fc.integer({ min: 0, max: 0xff }),
  targetSint: fc.constantFrom(2, 2, 2, 7),
  targetVtl: fc.constantFrom(0, 0, 0, 2),
  downstreamPageOffset: fc.constantFrom(0, 1, 2, 4, 8),
  rangeBytes: fc.constantFrom(0, 8, 16, 24, 40, 23, 72, 240, 0xfff8, 0xffff),
  rangeCount: fc.constantFrom(0, 1, 1, 1, 2, 0xffff),
  subchannelIndex: fc.constantFrom(0, 0, 0, 1, 2),
  connectionId: fc.oneof(SMALL_ID, fc.constantFrom(0x2001, 0x2002)),
  eventFlag: fc.constantFrom(0, 1, 2047, 2048),
};

/** GPA ranges that are often good, of few pages. */
const RANGE_DATA = fc
  .tuple(fc.integer({ min: 0, max: 4 }), fc.constantFrom(0, 0, 0, 8, 4095, 4096), fc.integer({ min: 0, max: 8 }))
  .map(([pages, byteOffset, pfns]) => {
    const words = [pages * 4096, byteOffset, ...Array.from({ length: pfns }, (_, n) => [0x100 + n, 0]).flat()];
    return new Uint8Array(new Uint32Array(words).buffer);
  });

function fieldBytes(field: NamedField): fc.Arbitrary<Uint8Array> {
  const { kind, size, name, constant } = field;
  const number = (value: number) => {
    const bytes = new Uint8Array(Math.max(size, 4));
    new DataView(bytes.buffer).setUint32(0, value, true);
    return bytes.subarray(0, size);
  };
  switch (kind) {
    case 'tag':
      return fc.constant(number(constant));
    case 'u8':
    case 'u16':
    case 'u32':
    case 'i32':
      return (byName[name] ?? SMALL_ID).map(number);
    case 'u64':
      return fc.constantFrom(0, 0, 0x1000, 0x1001).map((gpa) => {
        const bytes = new Uint8Array(8);
        bytes.set(number(gpa).subarray(0, 4));
        return bytes;
      });
    case 'guid':
      // Few different ones, so that offers and requests meet.
      return fc.integer({ min: 0, max: 3 }).map((n) => new Uint8Array(16).fill(n));
    default:
      return fc.constant(new Uint8Array(size));
  }
}

function ofType(info: MessageInfo): fc.Arbitrary<Uint8Array> {
  const forms = info.forms.map(({ struct }) =>
    fc
      .tuple(...struct.fields.map(fieldBytes), info.hasData ? RANGE_DATA : fc.constant(new Uint8Array(0)))
      .map((parts) => {
        const message = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
        let at = 0;
        for (const part of parts) {
          message.set(part, at);
          at += part.length;
        }
        return message;
      }),
  );
  return fc.oneof(...forms);
}

function spoilt(message: fc.Arbitrary<Uint8Array>): fc.Arbitrary<Uint8Array> {
  const cut = fc.tuple(message, fc.nat(240)).map(([bytes, length]) => bytes.slice(0, length));
  const padded = fc.tuple(message, fc.nat(260)).map(([bytes, length]) => {
    const longer = new Uint8Array(Math.max(bytes.length, length)).fill(0xa5);
    longer.set(bytes);
    return longer;
  });
  const flipped = fc.tuple(message, fc.nat(240), fc.nat(7)).map(([bytes, at, bit]) => {
    const copy = bytes.slice();
    if (at < copy.length) copy[at] = (copy[at] as number) ^ (1 << bit);
    return copy;
  });
  return fc.oneof(
    { weight: 10, arbitrary: message },
    { weight: 1, arbitrary: cut },
    { weight: 1, arbitrary: padded },
    { weight: 1, arbitrary: flipped },
    { weight: 1, arbitrary: fc.uint8Array({ maxLength: 300 }) },
  );
}

/** Any message, mostly of the right direction. @param rare messages that end everything, and so come less often */
export function randomMessage(direction: MessageInfo['direction'], rare: readonly string[]): fc.Arbitrary<Uint8Array> {
  const entries = MESSAGES.map((info) => ({
    weight: info.direction !== direction ? 1 : rare.includes(info.name) ? 1 : 12,
    arbitrary: ofType(info),
  }));
  return spoilt(fc.oneof(...entries));
}
