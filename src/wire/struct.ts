/**
 * A wire struct, declared once: the declaration gives offsets, size check, cursor, parser, encoder, printer, field list.
 *
 * ```ts
 * const PacketDescriptor = struct('PacketDescriptor', 16, { packetType: u16(0), …, transactionId: u64(8) });
 * ```
 *
 * Two ways in: a *cursor* for paths that run often (no allocation, no bigint, no judgement), and `parse`/`encode` for
 * the rest (plain objects, every value checked).
 */
import { AssertionError, PeerError, UsageError } from '../errors.ts';
import type { Field, FieldKind, NamedField } from './field.ts';
import { alignments, readField, writeField } from './field.ts';
import { printFields } from './print.ts';

export type { Field, FieldKind, FieldOptions, FieldValue, NamedField } from './field.ts';
export { bytes, guid, i32, pad, tag, u8, u16, u32, u64 } from './field.ts';

/** Fields by name, in the order in which they lie in memory. */
export type Layout = Readonly<Record<string, Field>>;

type NamesOf<L extends Layout, K extends FieldKind> = {
  [N in keyof L]: L[N] extends Field<infer F> ? (F extends K ? N : never) : never;
}[keyof L] &
  string;

type WordKind = 'u8' | 'u16' | 'u32' | 'i32';
type NumberKind = WordKind | 'tag';

/** A parsed field: a number, a u64 as `bigint`, a GUID as canonical text, bytes as a copy. Pads and tags have none. */
type ValueOf<F> =
  F extends Field<infer K>
    ? { u8: number; u16: number; u32: number; i32: number; u64: bigint; guid: string; bytes: Uint8Array }[K & ValueKind]
    : never;
type ValueKind = Exclude<FieldKind, 'tag' | 'pad'>;

/** A parsed struct. */
export type Values<L extends Layout> = { readonly [N in NamesOf<L, ValueKind>]: ValueOf<L[N]> };

/** What `encode` takes: as `Values`, and a u64 may also be a safe integer. */
export type InputValues<L extends Layout> = {
  readonly [N in NamesOf<L, ValueKind>]: ValueOf<L[N]> | (L[N] extends Field<'u64'> ? number : never);
};

/**
 * A reusable window on one struct in a buffer. Reading and writing never throw after `at`, and never judge:
 * a value too large for its field is cut to the field's bits. A u64 is two u32 words.
 */
export type Cursor<L extends Layout> = {
  /**
   * Moves the window to the struct at `base` (bytes from the start of `view`); returns the cursor itself.
   * @throws UsageError `ERR_SHORT` if the struct does not lie inside the view
   */
  at(view: DataView, base: number): Cursor<L>;
} & { [N in NamesOf<L, NumberKind>]: number } & { [N in `${NamesOf<L, 'u64'>}${'Lo' | 'Hi'}`]: number };

/** The struct of a type that does not say which fields it has: enough for tables and printers. */
export interface AnyStruct {
  readonly name: string;
  /** Bytes. */
  readonly size: number;
  readonly fields: readonly NamedField[];
  check(bytesLength: number, where?: string): void;
  print(bytes: Uint8Array, at?: number): string;
}

export interface Struct<L extends Layout> extends AnyStruct {
  /** Offset of each field, bytes from the start of the struct. */
  readonly offsets: { readonly [N in keyof L]: number };

  /** A new cursor; make it once, move it with `at`. */
  cursor(): Cursor<L>;

  /**
   * @param bytesLength bytes that there are; more than the struct is fine
   * @param where what is being read, for the message
   * @throws PeerError `ERR_SHORT` if they are fewer than the struct
   */
  check(bytesLength: number, where?: string): void;

  /**
   * The struct at `bytes[at]` as a plain object, which shares no memory with `bytes`.
   * @throws PeerError `ERR_SHORT`
   */
  parse(bytes: Uint8Array, at?: number): Values<L>;

  /**
   * Writes every byte of the struct at `target[at]`, pads as zero.
   * @throws UsageError `ERR_ARGUMENT` if a value does not fit its field, `ERR_SHORT` if the struct does not fit
   */
  write(target: Uint8Array, at: number, values: InputValues<L>): void;

  /** A fresh buffer of exactly the struct's size. @throws UsageError `ERR_ARGUMENT` */
  encode(values: InputValues<L>): Uint8Array<ArrayBuffer>;

  /** One line per field: offset, name, hex, value. Never throws, whatever the bytes and however few. */
  print(bytes: Uint8Array, at?: number): string;
}

/** What `parse` of that struct returns: `ValuesOf<typeof OfferChannel>`. */
export type ValuesOf<S> = S extends Struct<infer L> ? Values<L> : never;

/** What `encode` of that struct takes. */
export type InputValuesOf<S> = S extends Struct<infer L> ? InputValues<L> : never;

/** The cursor of that struct. */
export type CursorOf<S> = S extends Struct<infer L> ? Cursor<L> : never;

/**
 * Declares a struct. The declaration checks itself here, when the module loads: fields in memory order without gap
 * (unless a `pad`) or overlap, naturally aligned (unless `unaligned`), and in total `size` bytes.
 * @param size bytes
 * @throws AssertionError naming the field that is wrong
 */
export function struct<const L extends Layout>(name: string, size: number, layout: L): Struct<L> {
  const fields: readonly NamedField[] = Object.entries(layout).map(([fieldName, f]) => ({ name: fieldName, ...f }));
  checkDeclaration(name, size, fields);
  const CursorClass = cursorClass(name, size, fields);

  const check = (bytesLength: number, where = name): void => {
    if (bytesLength >= size) return;
    throw new PeerError('ERR_SHORT', `${where} has ${Math.max(0, bytesLength)} bytes, ${name} needs ${size}`);
  };

  const write = (target: Uint8Array, at: number, values: Readonly<Record<string, unknown>>): void => {
    if (!(at >= 0 && target.length - at >= size)) {
      throw new UsageError('ERR_SHORT', `${name} needs ${size} bytes at ${at}, the buffer has ${target.length}`);
    }
    const view = viewOf(target);
    for (const f of fields) writeField(f, view, at, values[f.name], `${name}.${f.name}`);
  };

  return {
    name,
    size,
    fields,
    offsets: Object.fromEntries(fields.map((f) => [f.name, f.offset])) as Struct<L>['offsets'],
    cursor: () => new CursorClass() as unknown as Cursor<L>,
    check,
    parse(source, at = 0) {
      check(at >= 0 ? source.length - at : 0);
      const view = viewOf(source);
      const present = fields.filter((f) => f.kind !== 'pad' && f.kind !== 'tag');
      return Object.fromEntries(present.map((f) => [f.name, readField(f, view, at)])) as Values<L>;
    },
    write,
    encode(values) {
      const target = new Uint8Array(size);
      write(target, 0, values);
      return target;
    },
    print: (source, at = 0) => printFields(name, size, fields, source, at),
  };
}

function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

/** Names that a cursor itself uses, or whose order in an object is not the order of declaration. */
const allowedName = /^(?!(?:at|view|base|constructor)$)[a-z][A-Za-z0-9]*$/;

function checkDeclaration(name: string, size: number, fields: readonly NamedField[]): void {
  let next = 0;
  for (const f of fields) {
    const wrong = (what: string): never => {
      throw new AssertionError(`struct ${name}, field ${f.name} at ${f.offset}: ${what}`);
    };
    if (!allowedName.test(f.name)) wrong('not a name that a field may have');
    if (f.offset > next) wrong(`leaves a gap from ${next} that no pad fills`);
    if (f.offset < next) wrong(`overlaps the field before it, which ends at ${next}`);
    if (f.size <= 0) wrong(`has ${f.size} bytes`);
    if (!f.isUnaligned && f.offset % alignments[f.kind] !== 0) wrong(`not aligned to ${alignments[f.kind]}`);
    next += f.size;
  }
  if (next !== size) throw new AssertionError(`struct ${name}: fields end at ${next}, the size given is ${size}`);
}

/** What every cursor holds. The accessors stand on the prototype of one class per struct, so call sites see one shape. */
class CursorBase {
  view: DataView = new DataView(new ArrayBuffer(0));
  base = 0;
}

function cursorClass(name: string, size: number, fields: readonly NamedField[]): new () => CursorBase {
  class StructCursor extends CursorBase {
    at(view: DataView, base: number): this {
      // Written so that NaN fails too.
      if (!(base >= 0 && view.byteLength - base >= size)) {
        throw new UsageError('ERR_SHORT', `${name} needs ${size} bytes at ${base}, the view has ${view.byteLength}`);
      }
      this.view = view;
      this.base = base;
      return this;
    }
  }
  const define = (fieldName: string, accessors: Accessors): void => {
    Object.defineProperty(StructCursor.prototype, fieldName, { ...accessors, enumerable: true });
  };
  for (const f of fields) {
    if (f.kind === 'u64') {
      define(`${f.name}Lo`, accessors.u32(f.offset));
      define(`${f.name}Hi`, accessors.u32(f.offset + 4));
    } else if (f.kind === 'tag') {
      define(f.name, accessors.u32(f.offset));
    } else if (f.kind === 'u8' || f.kind === 'u16' || f.kind === 'u32' || f.kind === 'i32') {
      define(f.name, accessors[f.kind](f.offset));
    }
  }
  return StructCursor;
}

interface Accessors {
  get(this: CursorBase): number;
  set(this: CursorBase, value: number): void;
}

const accessors: Readonly<Record<WordKind, (offset: number) => Accessors>> = {
  u8: (offset) => ({
    get() {
      return this.view.getUint8(this.base + offset);
    },
    set(value) {
      this.view.setUint8(this.base + offset, value);
    },
  }),
  u16: (offset) => ({
    get() {
      return this.view.getUint16(this.base + offset, true);
    },
    set(value) {
      this.view.setUint16(this.base + offset, value, true);
    },
  }),
  u32: (offset) => ({
    get() {
      return this.view.getUint32(this.base + offset, true);
    },
    set(value) {
      this.view.setUint32(this.base + offset, value, true);
    },
  }),
  i32: (offset) => ({
    get() {
      return this.view.getInt32(this.base + offset, true);
    },
    set(value) {
      this.view.setInt32(this.base + offset, value, true);
    },
  }),
};
