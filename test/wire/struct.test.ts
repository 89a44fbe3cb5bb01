import { describe, expect, expectTypeOf, test } from 'vitest';
import type { CursorOf, InputValuesOf, ValuesOf } from '../../src/wire/struct.ts';
import { bytes, guid, i32, pad, struct, tag, u8, u16, u32, u64 } from '../../src/wire/struct.ts';
import { a5, hex } from '../vectors/hex.ts';

const Sample = struct('Sample', 64, {
  kind: tag(0, 0x11223344, { names: { Ours: 0x11223344 } }),
  small: u8(4, { names: { One: 1, Two: 2 } }),
  reserved: pad(5, 1),
  medium: u16(6),
  large: u32(8),
  signed: i32(12),
  huge: u64(16),
  id: guid(24),
  blob: bytes(40, 24),
});

const someValues = {
  small: 2,
  medium: 0xbeef,
  large: 0xdead_beef,
  signed: -2,
  huge: 0x0102_0304_0506_0708n,
  id: '00112233-4455-6677-8899-aabbccddeeff',
  blob: new Uint8Array(24).fill(7),
};

const someBytes = hex(`
  44 33 22 11 | 02 | 00 | ef be | ef be ad de | fe ff ff ff | 08 07 06 05 04 03 02 01
  33 22 11 00 55 44 77 66 88 99 aa bb cc dd ee ff | 24 x 07`);

describe('declaring a struct', () => {
  test.each([
    ['leaves a gap', () => struct('Bad', 8, { a: u16(0), b: u32(4) })],
    ['overlaps', () => struct('Bad', 6, { a: u32(0), b: u32(2) })],
    ['leaves a gap', () => struct('Bad', 8, { b: u32(4), a: u32(0) })],
    ['not aligned to 4', () => struct('Bad', 6, { a: u16(0), b: u32(2) })],
    ['not aligned to 8', () => struct('Bad', 12, { a: u32(0), b: u64(4) })],
    ['fields end at 4', () => struct('Bad', 8, { a: u32(0) })],
    ['fields end at 8', () => struct('Bad', 6, { a: u32(0), b: u32(4) })],
    ['has 0 bytes', () => struct('Bad', 0, { a: bytes(0, 0) })],
    ['not a name', () => struct('Bad', 1, { view: u8(0) })],
    ['not a name', () => struct('Bad', 1, { 7: u8(0) })],
  ])('fails at once when a field %s', (what, declare) => {
    expect(declare).toThrow(what);
  });

  test('a field that the format packs may say so', () => {
    const Packed = struct('Packed', 6, { a: u16(0), b: u32(2, { unaligned: true }) });

    expect(Packed.encode({ a: 1, b: 2 })).toEqual(hex('01 00 02 00 00 00'));
  });

  test('lists its fields in memory order with offset, size and kind', () => {
    expect(Sample.fields.map((f) => [f.name, f.offset, f.size, f.kind])).toEqual([
      ['kind', 0, 4, 'tag'],
      ['small', 4, 1, 'u8'],
      ['reserved', 5, 1, 'pad'],
      ['medium', 6, 2, 'u16'],
      ['large', 8, 4, 'u32'],
      ['signed', 12, 4, 'i32'],
      ['huge', 16, 8, 'u64'],
      ['id', 24, 16, 'guid'],
      ['blob', 40, 24, 'bytes'],
    ]);
    expect(Sample.offsets.huge).toBe(16);
  });
});

describe('a cursor', () => {
  test('reads every number where it stands, a u64 as two words', () => {
    const h = Sample.cursor().at(new DataView(someBytes.buffer), 0);

    expect([h.kind, h.small, h.medium, h.large, h.signed, h.hugeLo, h.hugeHi]).toEqual([
      0x1122_3344, 2, 0xbeef, 0xdead_beef, -2, 0x0506_0708, 0x0102_0304,
    ]);
  });

  test('writes only the field that is set, cut to its bits', () => {
    const buffer = a5(66);
    const h = Sample.cursor().at(new DataView(buffer.buffer), 2);

    h.medium = 0x1_0002;
    h.hugeHi = -1;

    expect(buffer.subarray(8, 10)).toEqual(hex('02 00'));
    expect(buffer.subarray(18, 26)).toEqual(hex('a5 a5 a5 a5 ff ff ff ff'));
    expect(buffer.filter((byte) => byte !== 0xa5)).toHaveLength(6);
  });

  test('moves between structs of one buffer', () => {
    const view = new DataView(new Uint8Array([...someBytes, ...someBytes.map((byte) => byte ^ 0xff)]).buffer);
    const h = Sample.cursor();

    expect([h.at(view, 0).small, h.at(view, 64).small, h.at(view, 0).small]).toEqual([2, 0xfd, 2]);
  });

  test.each([-1, 1, 64, Number.NaN])('refuses to stand at %d of 64 bytes', (base) => {
    const view = new DataView(new ArrayBuffer(64));

    expect(() => Sample.cursor().at(view, base)).toThrow(expect.objectContaining({ code: 'ERR_SHORT' }));
  });

  test('has types that follow from the declaration', () => {
    const h = Sample.cursor();

    expectTypeOf(h).toHaveProperty('hugeLo').toEqualTypeOf<number>();
    expectTypeOf(h).toHaveProperty('kind').toEqualTypeOf<number>();
    expectTypeOf(h).not.toHaveProperty('huge');
    expectTypeOf(h).not.toHaveProperty('reserved');
    expectTypeOf(h).toEqualTypeOf<CursorOf<typeof Sample>>();
    expectTypeOf(Sample.parse(someBytes)).toEqualTypeOf<ValuesOf<typeof Sample>>();
    expectTypeOf<InputValuesOf<typeof Sample>['huge']>().toEqualTypeOf<bigint | number>();
    expectTypeOf(Sample.parse(someBytes)).toEqualTypeOf<{
      readonly small: number;
      readonly medium: number;
      readonly large: number;
      readonly signed: number;
      readonly huge: bigint;
      readonly id: string;
      readonly blob: Uint8Array;
    }>();
  });
});

describe('parsing and encoding', () => {
  test('parsed values leave out pads and tags, and share no memory with the buffer', () => {
    const source = someBytes.slice();

    const parsed = Sample.parse(source);

    source.fill(0xff);
    expect(parsed).toEqual(someValues);
  });

  test('parses at an offset, also over shared memory', () => {
    const shared = new Uint8Array(new SharedArrayBuffer(72), 1);
    shared.set(someBytes, 3);

    expect(Sample.parse(shared, 3)).toEqual(someValues);
  });

  test('writes every byte of its own and none besides', () => {
    const target = a5(70);

    Sample.write(target, 3, someValues);

    expect(target).toEqual(Uint8Array.from([...a5(3), ...someBytes, ...a5(3)]));
  });

  test('takes a u64 as a safe integer too', () => {
    expect(Sample.encode({ ...someValues, huge: 2 ** 52 }).subarray(16, 24)).toEqual(hex('00 00 00 00 00 00 10 00'));
  });

  test.each([
    ['small', { small: 256 }],
    ['small', { small: -1 }],
    ['small', { small: 1.5 }],
    ['medium', { medium: 0x1_0000 }],
    ['large', { large: 2 ** 32 }],
    ['large', { large: Number.NaN }],
    ['signed', { signed: 2 ** 31 }],
    ['signed', { signed: -(2 ** 31) - 1 }],
    ['huge', { huge: -1n }],
    ['huge', { huge: 2n ** 64n }],
    ['huge', { huge: 2 ** 53 }],
    ['id', { id: 'not a guid' }],
    ['blob', { blob: new Uint8Array(23) }],
  ])('refuses a value that does not fit %s', (_, wrong) => {
    expect(() => Sample.encode({ ...someValues, ...wrong })).toThrow(
      expect.objectContaining({ name: 'UsageError', code: 'ERR_ARGUMENT' }),
    );
  });

  test.each([-1, 1, 64, Number.NaN])('refuses to be written at %d of 64 bytes', (at) => {
    const target = a5(64);

    expect(() => Sample.write(target, at, someValues)).toThrow(
      expect.objectContaining({ name: 'UsageError', code: 'ERR_SHORT' }),
    );
    expect(target).toEqual(a5(64));
  });

  test('check says what is short and by how much', () => {
    expect(() => Sample.check(12, 'packet 7')).toThrow('packet 7 has 12 bytes, Sample needs 64');
    expect(() => Sample.check(64)).not.toThrow();
  });
});

describe('printing', () => {
  test('shows offset, name, bytes and value of every field', () => {
    expect(Sample.print(someBytes).split('\n')).toEqual([
      'Sample (64 bytes)',
      '     0  kind      44 33 22 11              287454020 (0x11223344) Ours',
      '     4  small     02                       2 Two',
      '     5  reserved  00                       (reserved)',
      '     6  medium    ef be                    48879 (0xbeef)',
      '     8  large     ef be ad de              3735928559 (0xdeadbeef)',
      '    12  signed    fe ff ff ff              -2 (0xfffffffe)',
      '    16  huge      08 07 06 05 04 03 02 01  72623859790382856 (0x102030405060708)',
      '    24  id        33 22 11 00 55 44 77 66 88 99 aa bb cc dd ee ff  00112233-4455-6677-8899-aabbccddeeff',
      '    40  blob      24 x 07',
    ]);
  });

  test('shows the fields that are there when bytes are missing, and says so', () => {
    expect(Sample.print(someBytes.subarray(0, 7))).toBe(
      [
        'Sample (64 bytes, only 7 there)',
        '     0  kind      44 33 22 11              287454020 (0x11223344) Ours',
        '     4  small     02                       2 Two',
        '     5  reserved  00                       (reserved)',
      ].join('\n'),
    );
  });

  test('cuts a long run of different bytes', () => {
    const mixed = someBytes.slice();
    mixed[63] = 8;

    expect(Sample.print(mixed)).toContain('07 07 07 07 07 07 07 07 07 07 07 07 07 07 07 07 … 24 bytes');
  });
});
