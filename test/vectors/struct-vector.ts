import type { InputValues, Layout, Struct } from '../../src/wire/struct.ts';
import { hex } from './hex.ts';

/** One struct as bytes and as values; the bytes were written down by hand from the source named, not by our code. */
export interface StructVector {
  readonly name: string;
  readonly struct: { readonly name: string };
  readonly source: string;
  readonly bytes: Uint8Array;
  parse(bytes: Uint8Array): unknown;
  encode(): Uint8Array;
  write(target: Uint8Array, at: number): void;
  readonly values: unknown;
}

export function vector<L extends Layout>(
  struct: Struct<L>,
  source: string,
  hexText: string,
  values: InputValues<L>,
): StructVector {
  return {
    name: struct.name,
    struct,
    source,
    bytes: hex(hexText),
    parse: (bytes) => struct.parse(bytes),
    encode: () => struct.encode(values),
    write: (target, at) => struct.write(target, at, values),
    values,
  };
}
