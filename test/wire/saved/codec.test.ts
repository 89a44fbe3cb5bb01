import fc from 'fast-check';
import { expect, test } from 'vitest';
import {
  bool,
  bytes,
  decodeWith,
  encodeWith,
  guid,
  i32,
  list,
  nothing,
  optional,
  record,
  u8,
  u16,
  u32,
  u53,
  u64,
  variants,
} from '../../../src/wire/saved/index.ts';
import { hex } from '../../kmcl/two-endpoints.ts';

interface Busy {
  readonly at: 'busy';
  readonly id: number;
  readonly name?: string;
}
type State = { readonly at: 'idle' } | Busy;

interface Everything {
  readonly flag: boolean;
  readonly small: number;
  readonly signed: number;
  readonly big: bigint;
  readonly exact: number;
  readonly data: Uint8Array;
  readonly states: readonly State[];
}

const state = variants<'at', State>('at', {
  idle: nothing,
  busy: record<Omit<Busy, 'at'>>({ id: u16, name: optional(guid) }),
});
const everything = record<Everything>({
  flag: bool,
  small: u8,
  signed: i32,
  big: u64,
  exact: u53,
  data: bytes(100),
  states: list(state, 10),
});

const refused = expect.objectContaining({ code: 'ERR_SAVED_STATE' });

test('fields lie one behind the other, little-endian', () => {
  const encoded = encodeWith(record<{ a: number; b: Uint8Array; c: State }>({ a: u32, b: bytes(4), c: state }), {
    a: 0x01020304,
    b: Uint8Array.of(9, 8),
    c: { at: 'busy', id: 0x0506 },
  });

  expect(encoded).toEqual(hex('04030201 02000000 0908 01 0605 00'));
});

test('what was written is read again', () => {
  const arbitrary = fc.record({
    flag: fc.boolean(),
    small: fc.nat(255),
    signed: fc.integer(),
    big: fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }),
    exact: fc.maxSafeNat(),
    data: fc.uint8Array({ maxLength: 100 }),
    states: fc.array(
      fc.oneof(
        fc.constant<State>({ at: 'idle' }),
        fc.record({ at: fc.constant('busy' as const), id: fc.nat(65_535) }),
        fc.record({ at: fc.constant('busy' as const), id: fc.nat(65_535), name: fc.uuid() }),
      ),
      { maxLength: 10 },
    ),
  });

  fc.assert(
    fc.property(arbitrary, (value) => {
      expect(decodeWith(everything, encodeWith(everything, value))).toEqual(value);
    }),
  );
});

test.each([
  ['a flag of 2', bool, '02'],
  ['a variant that does not exist', state, '02'],
  ['a length beyond the end', bytes(100), '05000000 01'],
  ['a length beyond the limit', bytes(3), '04000000 01020304'],
  ['a count beyond the limit', list(u8, 2), '03000000 010203'],
  ['a count that lies', list(u8, 2 ** 30), '00000040 01'],
  ['a number that is not exact', u53, '0000000000002000'],
  ['bytes behind the end', u8, '0102'],
  ['nothing at all', u8, ''],
])('%s is refused', (_what, codec, text) => {
  expect(() => decodeWith(codec as typeof u8, hex(text))).toThrow(refused);
});

test('random bytes are read or refused, never anything else', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 80 }), (data) => {
      try {
        const value = decodeWith(everything, data);
        expect(encodeWith(everything, value)).toEqual(data);
      } catch (error) {
        expect(error).toEqual(refused);
      }
    }),
    { numRuns: 2000 },
  );
});
