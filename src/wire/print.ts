/**
 * Prints a struct for people: one line per field with its offset, name, bytes and value. The text depends on the bytes
 * alone, and there is a text for any bytes, also for too few.
 */
import type { Field, NamedField } from './field.ts';
import { readField } from './field.ts';

/** Longest run of bytes that is shown in full. */
const SHOWN_BYTES = 16;

/**
 * @param size bytes of the whole struct
 * @param at index in `source` where the struct starts; may lie outside
 */
export function printFields(
  name: string,
  size: number,
  fields: readonly NamedField[],
  source: Uint8Array,
  at: number,
): string {
  const available = at >= 0 ? Math.max(0, source.length - at) : 0;
  const view = new DataView(source.buffer, source.byteOffset, source.byteLength);
  const nameWidth = Math.max(...fields.map((f) => f.name.length));
  const lines = [available < size ? `${name} (${size} bytes, only ${available} there)` : `${name} (${size} bytes)`];
  for (const f of fields) {
    if (available - f.offset < f.size) break;
    const shown = source.subarray(at + f.offset, at + f.offset + f.size);
    const text = printValue(f, view, at);
    const columns = [String(f.offset).padStart(6), f.name.padEnd(nameWidth), hexBytes(shown).padEnd(23), text];
    lines.push(columns.join('  ').trimEnd());
  }
  return lines.join('\n');
}

/** Space-separated hex; a long run is cut, a long run of one value is counted. */
export function hexBytes(bytes: Uint8Array): string {
  if (bytes.length > SHOWN_BYTES) {
    const first = bytes[0] ?? 0;
    if (bytes.every((byte) => byte === first)) return `${bytes.length} x ${hexByte(first)}`;
    return `${hexBytes(bytes.subarray(0, SHOWN_BYTES))} … ${bytes.length} bytes`;
  }
  return Array.from(bytes, hexByte).join(' ');
}

function hexByte(byte: number): string {
  return byte.toString(16).padStart(2, '0');
}

function printValue(field: Field, view: DataView, base: number): string {
  const value = readField(field, view, base);
  if (field.kind === 'pad') return '(reserved)';
  if (typeof value === 'string') return value;
  if (typeof value === 'bigint') return value < 10n ? `${value}` : `${value} (0x${value.toString(16)})`;
  if (typeof value !== 'number') return '';
  const known = Object.keys(field.names).find((key) => field.names[key] === value);
  const number = value >= 0 && value < 10 ? `${value}` : `${value} (0x${(value >>> 0).toString(16)})`;
  return known === undefined ? number : `${number} ${known}`;
}
