/**
 * The fields that a struct declaration is made of: where each stands, how it is read, written and checked.
 *
 * All integers are little-endian. What is here runs on cold paths; cursors (`struct.ts`) have accessors of their own.
 */
import { hex, UsageError } from '../errors.ts';
import { formatGuid, GUID_BYTES, parseGuid } from './guid.ts';

export type FieldKind = 'u8' | 'u16' | 'u32' | 'i32' | 'u64' | 'tag' | 'guid' | 'bytes' | 'pad';

/** One field of a declaration. */
export interface Field<K extends FieldKind = FieldKind> {
  readonly kind: K;
  /** Bytes from the start of the struct. */
  readonly offset: number;
  /** Bytes. */
  readonly size: number;
  /** The format packs this field; the self-check does not ask for its natural alignment. */
  readonly isUnaligned: boolean;
  /** What a `tag` holds; 0 for every other kind. */
  readonly constant: number;
  /** Names of the values, for printing. */
  readonly names: Readonly<Record<string, number>>;
}

/** One line of a struct's field list. */
export interface NamedField extends Field {
  readonly name: string;
}

export interface FieldOptions {
  readonly unaligned?: boolean;
  /** Names of the values, for printing: an `as const` object such as `PacketType`. */
  readonly names?: Readonly<Record<string, number>>;
}

/** What `parse` returns for a field. */
export type FieldValue = number | bigint | string | Uint8Array;

function field<K extends FieldKind>(kind: K, offset: number, size: number, options: FieldOptions = {}, constant = 0) {
  return { kind, offset, size, isUnaligned: options.unaligned === true, constant, names: options.names ?? {} } as const;
}

export const u8 = (offset: number, options?: FieldOptions): Field<'u8'> => field('u8', offset, 1, options);
export const u16 = (offset: number, options?: FieldOptions): Field<'u16'> => field('u16', offset, 2, options);
export const u32 = (offset: number, options?: FieldOptions): Field<'u32'> => field('u32', offset, 4, options);
export const i32 = (offset: number, options?: FieldOptions): Field<'i32'> => field('i32', offset, 4, options);
export const u64 = (offset: number, options?: FieldOptions): Field<'u64'> => field('u64', offset, 8, options);
export const guid = (offset: number, options?: FieldOptions): Field<'guid'> =>
  field('guid', offset, GUID_BYTES, options);

/** Bytes that this layer does not look into. */
export const bytes = (offset: number, size: number): Field<'bytes'> => field('bytes', offset, size);

/** Reserved bytes: written as zero, ignored when read (peers leave garbage there). */
export const pad = (offset: number, size: number): Field<'pad'> => field('pad', offset, size);

/** A u32 that says which struct this is: always written as `value`, and not part of a parsed object. */
export const tag = (offset: number, value: number, options?: FieldOptions): Field<'tag'> =>
  field('tag', offset, 4, options, value);

/** Natural alignment in bytes. A GUID begins with a u32. */
export const alignments: Readonly<Record<FieldKind, number>> = {
  u8: 1,
  u16: 2,
  u32: 4,
  i32: 4,
  u64: 8,
  tag: 4,
  guid: 4,
  bytes: 1,
  pad: 1,
};

/** Reads the field of a struct that starts at `base`; the caller has checked the length. Never throws then. */
export function readField(field: Field, view: DataView, base: number): FieldValue {
  const at = base + field.offset;
  switch (field.kind) {
    case 'u8':
      return view.getUint8(at);
    case 'u16':
      return view.getUint16(at, true);
    case 'u32':
    case 'tag':
      return view.getUint32(at, true);
    case 'i32':
      return view.getInt32(at, true);
    case 'u64':
      return view.getBigUint64(at, true);
    case 'guid':
      return formatGuid(bytesOf(view, at, GUID_BYTES));
    case 'bytes':
    case 'pad':
      return bytesOf(view, at, field.size).slice();
  }
}

/**
 * Writes the field of a struct that starts at `base`; the caller has checked the length.
 * @throws UsageError `ERR_ARGUMENT` if the value does not fit the field; nothing of it was written
 */
export function writeField(field: Field, view: DataView, base: number, value: unknown, where: string): void {
  const at = base + field.offset;
  switch (field.kind) {
    case 'u8':
      view.setUint8(at, integer(value, 0, 0xff, where));
      return;
    case 'u16':
      view.setUint16(at, integer(value, 0, 0xffff, where), true);
      return;
    case 'u32':
      view.setUint32(at, integer(value, 0, 0xffff_ffff, where), true);
      return;
    case 'i32':
      view.setInt32(at, integer(value, -0x8000_0000, 0x7fff_ffff, where), true);
      return;
    case 'u64':
      view.setBigUint64(at, bigInteger(value, where), true);
      return;
    case 'tag':
      view.setUint32(at, field.constant, true);
      return;
    case 'guid':
      bytesOf(view, at, GUID_BYTES).set(parseGuid(text(value, where)));
      return;
    case 'bytes':
      bytesOf(view, at, field.size).set(exactBytes(value, field.size, where));
      return;
    case 'pad':
      bytesOf(view, at, field.size).fill(0);
      return;
  }
}

function bytesOf(view: DataView, at: number, size: number): Uint8Array {
  return new Uint8Array(view.buffer, view.byteOffset + at, size);
}

function integer(value: unknown, least: number, most: number, where: string): number {
  if (typeof value === 'number' && Number.isInteger(value) && value >= least && value <= most) return value;
  throw new UsageError('ERR_ARGUMENT', `${where} is ${String(value)}, it must be ${hex(least)}..${hex(most)}`);
}

function bigInteger(value: unknown, where: string): bigint {
  if (typeof value === 'number' && Number.isSafeInteger(value) && value >= 0) return BigInt(value);
  if (typeof value === 'bigint' && value >= 0n && value <= 0xffff_ffff_ffff_ffffn) return value;
  throw new UsageError('ERR_ARGUMENT', `${where} is ${String(value)}, it must be 0..0xffffffffffffffff`);
}

function text(value: unknown, where: string): string {
  if (typeof value === 'string') return value;
  throw new UsageError('ERR_ARGUMENT', `${where} must be a GUID as text`);
}

function exactBytes(value: unknown, size: number, where: string): Uint8Array {
  if (value instanceof Uint8Array && value.length === size) return value;
  const found = value instanceof Uint8Array ? `${value.length} bytes` : String(value);
  throw new UsageError('ERR_ARGUMENT', `${where} is ${found}, it must be ${size} bytes`);
}
