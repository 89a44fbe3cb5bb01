/**
 * How plain data becomes saved bytes and back: one declaration gives both directions and every check.
 *
 * Nothing of what is read is trusted: lengths, counts and tags are bounded by the declaration before anything is
 * allocated, and what does not fit is a `PeerError` `ERR_SAVED_STATE`. The format is ours.
 */
import { formatGuid, GUID_BYTES, type Guid, parseGuid } from '../guid.ts';
import { badSavedState, SavedReader, SavedWriter } from './saved-bytes.ts';

export interface Codec<T> {
  write(out: SavedWriter, value: T): void;
  /** @throws PeerError `ERR_SAVED_STATE` */
  read(from: SavedReader): T;
}

export const u8: Codec<number> = { write: (out, value) => out.u8(value), read: (from) => from.u8() };
export const u16: Codec<number> = { write: (out, value) => out.u16(value), read: (from) => from.u16() };
export const u32: Codec<number> = { write: (out, value) => out.u32(value), read: (from) => from.u32() };
/** Two's complement. */
export const i32: Codec<number> = { write: (out, value) => out.u32(value >>> 0), read: (from) => from.u32() | 0 };
export const u64: Codec<bigint> = { write: (out, value) => out.u64(value), read: (from) => from.u64() };

/** A whole number from 0 to 2^53 - 1. */
export const u53: Codec<number> = {
  write: (out, value) => out.u64(BigInt(value)),
  read: (from) => {
    const value = Number(from.u64());
    if (!Number.isSafeInteger(value)) throw badSavedState(`${value} is no whole number below 2^53`);
    return value;
  },
};

export const bool: Codec<boolean> = {
  write: (out, value) => out.u8(value ? 1 : 0),
  read: (from) => {
    const value = from.u8();
    if (value > 1) throw badSavedState(`${value} where only 0 and 1 are allowed`);
    return value === 1;
  },
};

export const guid: Codec<Guid> = {
  write: (out, value) => out.raw(parseGuid(value)),
  read: (from) => formatGuid(from.raw(GUID_BYTES)),
};

/** At most `maxBytes` of them. */
export function bytes(maxBytes: number): Codec<Uint8Array> {
  return {
    write: (out, value) => {
      out.u32(bounded(value.length, maxBytes, 'bytes'));
      out.raw(value);
    },
    read: (from) => from.raw(bounded(from.u32(), maxBytes, 'bytes')),
  };
}

/** At most `maxCount` of them. */
export function list<T>(item: Codec<T>, maxCount: number): Codec<readonly T[]> {
  return {
    write: (out, values) => {
      out.u32(bounded(values.length, maxCount, 'items'));
      for (const value of values) item.write(out, value);
    },
    read: (from) => {
      const values: T[] = [];
      // Each item is read before the next is thought of, so a count that lies finds the end instead of memory.
      for (let left = bounded(from.u32(), maxCount, 'items'); left > 0; left--) values.push(item.read(from));
      return values;
    },
  };
}

/** May be undefined. */
export function optional<T>(codec: Codec<T>): Codec<T | undefined> {
  return {
    write: (out, value) => {
      bool.write(out, value !== undefined);
      if (value !== undefined) codec.write(out, value);
    },
    read: (from) => (bool.read(from) ? codec.read(from) : undefined),
  };
}

/** A codec for each property; those that may be missing have an `optional` one. */
export type Fields<T> = {
  readonly [K in keyof T]-?: Codec<T[K]> | Codec<T[K] | undefined> | Codec<Exclude<T[K], undefined> | undefined>;
};

/** Properties in the order in which they are declared. */
export function record<T extends object>(fields: Fields<T>): Codec<T> {
  // The mapped type has tied each codec to its property; from here on they are all alike.
  const entries = Object.entries(fields) as [keyof T & string, Codec<unknown>][];
  return {
    write: (out, value) => {
      for (const [name, codec] of entries) codec.write(out, value[name]);
    },
    read: (from) => {
      const value: Partial<Record<keyof T & string, unknown>> = {};
      for (const [name, codec] of entries) {
        const read = codec.read(from);
        if (read !== undefined) value[name] = read;
      }
      return value as T;
    },
  };
}

type Tagged<Tag extends string> = { readonly [T in Tag]: string };

/** One codec for each variant of a tagged union; a variant is saved as its place in this list. */
export function variants<Tag extends string, T extends Tagged<Tag>>(
  tag: Tag,
  codecs: { readonly [At in T[Tag]]: Codec<Omit<Extract<T, { readonly [K in Tag]: At }>, Tag>> },
): Codec<T> {
  const entries = Object.entries(codecs) as [string, Codec<object>][];
  return {
    write: (out, value) => {
      const index = entries.findIndex(([name]) => name === value[tag]);
      out.u8(index);
      entries[index]?.[1].write(out, value);
    },
    read: (from) => {
      const index = from.u8();
      const entry = entries[index];
      if (entry === undefined) throw badSavedState(`variant ${index} of ${entries.length}`);
      return { [tag]: entry[0], ...entry[1].read(from) } as T;
    },
  };
}

/** A record without properties. */
export const nothing: Codec<object> = { write: () => {}, read: () => ({}) };

export function encodeWith<T>(codec: Codec<T>, value: T): Uint8Array {
  const out = new SavedWriter();
  codec.write(out, value);
  return out.toBytes();
}

/** @throws PeerError `ERR_SAVED_STATE`, also for bytes behind the end */
export function decodeWith<T>(codec: Codec<T>, data: Uint8Array): T {
  const from = new SavedReader(data);
  const value = codec.read(from);
  if (!from.isAtEnd) throw badSavedState('bytes are left over');
  return value;
}

function bounded(count: number, most: number, what: string): number {
  if (count > most) throw badSavedState(`${count} ${what}, at most ${most} are allowed`);
  return count;
}
