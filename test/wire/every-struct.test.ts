/** What holds for every struct of the layer: its vector both ways, every shorter length, random values, printing. */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import * as wire from '../../src/wire/index.ts';
import type { AnyStruct, NamedField } from '../../src/wire/struct.ts';
import { a5 } from '../vectors/hex.ts';
import { messageVectors } from '../vectors/message-vectors.ts';
import { ringVectors } from '../vectors/ring-vectors.ts';
import { storageVectors } from '../vectors/storage-vectors.ts';

const vectors = [...messageVectors, ...ringVectors, ...storageVectors];

/** A struct without the types of its fields: what these tests draw, they draw from the field list. */
interface LooseStruct extends AnyStruct {
  parse(bytes: Uint8Array, at?: number): Readonly<Record<string, unknown>>;
  encode(values: Readonly<Record<string, unknown>>): Uint8Array;
}

function isStruct(value: unknown): value is LooseStruct {
  return typeof value === 'object' && value !== null && 'fields' in value && 'parse' in value && 'print' in value;
}

const structs = Object.values<unknown>(wire).filter(isStruct);

/** Any value that a field may have; nothing for pads and tags, which have none. */
function anyValue(field: NamedField): fc.Arbitrary<unknown> | undefined {
  switch (field.kind) {
    case 'u8':
      return fc.nat(0xff);
    case 'u16':
      return fc.nat(0xffff);
    case 'u32':
      return fc.nat(0xffff_ffff);
    case 'i32':
      return fc.integer();
    case 'u64':
      return fc.bigInt({ min: 0n, max: 0xffff_ffff_ffff_ffffn });
    case 'guid':
      return fc.uint8Array({ minLength: 16, maxLength: 16 }).map((bytes) => wire.formatGuid(bytes));
    case 'bytes':
      return fc.uint8Array({ minLength: field.size, maxLength: field.size, size: 'max' });
    case 'pad':
    case 'tag':
      return undefined;
  }
}

function anyValues(struct: AnyStruct): fc.Arbitrary<Readonly<Record<string, unknown>>> {
  const drawn = struct.fields.map((field) => [field.name, anyValue(field)] as const);
  return fc.record(
    Object.fromEntries(drawn.filter((pair) => pair[1] !== undefined)) as Record<string, fc.Arbitrary<unknown>>,
    {
      noNullPrototype: true,
    },
  );
}

test('every struct that the layer exports has a vector', () => {
  expect(new Set(vectors.map((v) => v.struct))).toEqual(new Set(structs));
});

describe.each(vectors)('$name, $source', (v) => {
  test('the bytes decode to the values', () => {
    expect(v.parse(v.bytes)).toEqual(v.values);
  });

  test('the values encode to the bytes, each of them set', () => {
    const target = a5(v.bytes.length + 2);

    v.write(target, 1);

    expect(target.subarray(1, -1)).toEqual(v.bytes);
    expect([target[0], target.at(-1)]).toEqual([0xa5, 0xa5]);
    expect(v.encode()).toEqual(v.bytes);
  });
});

describe.each(structs)('$name', (struct) => {
  test('refuses every shorter length', () => {
    const short = expect.objectContaining({ name: 'PeerError', code: 'ERR_SHORT' });

    for (let byteCount = 0; byteCount < struct.size; byteCount++) {
      expect(() => struct.check(byteCount)).toThrow(short);
      expect(() => struct.parse(new Uint8Array(byteCount))).toThrow(short);
    }
    expect(() => struct.parse(new Uint8Array(struct.size), -1)).toThrow(short);
    expect(() => struct.parse(new Uint8Array(struct.size), 1)).toThrow(short);
  });

  test('random values come back from their bytes', () => {
    fc.assert(
      fc.property(anyValues(struct), (values) => {
        expect(struct.parse(struct.encode(values))).toEqual(values);
      }),
      { numRuns: struct.size > 1000 ? 10 : 100 },
    );
  });

  test('prints any bytes, the same each time', () => {
    fc.assert(
      fc.property(
        fc.uint8Array({ maxLength: struct.size + 8, size: 'max' }),
        fc.integer({ min: -2, max: 9 }),
        (bytes, at) => {
          const text = struct.print(bytes, at);

          expect(text).toContain(struct.name);
          expect(struct.print(bytes.slice(), at)).toBe(text);
        },
      ),
      { numRuns: struct.size > 1000 ? 10 : 50 },
    );
  });
});
