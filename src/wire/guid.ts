/**
 * GUIDs in Windows order: a little-endian u32, two little-endian u16, then eight bytes as written.
 *
 * Source: Microsoft [MS-DTYP] section 2.3.4 (GUID), packet and curly-braced string representations.
 */
import { UsageError } from '../errors.ts';

/** Canonical text: lower case, hyphens, no braces. */
export type Guid = string;

export const GUID_BYTES = 16;

export const ZERO_GUID: Guid = '00000000-0000-0000-0000-000000000000';

const pattern = /^\{?([0-9a-f]{8})-([0-9a-f]{4})-([0-9a-f]{4})-([0-9a-f]{4})-([0-9a-f]{12})\}?$/i;

/** Where the byte at each place of the wire stands in the text's order. */
const textOrder = [3, 2, 1, 0, 5, 4, 7, 6, 8, 9, 10, 11, 12, 13, 14, 15] as const;

/**
 * The 16 bytes of a GUID.
 * @param text with or without braces, either case
 * @throws UsageError `ERR_ARGUMENT` if the text is no GUID
 */
export function parseGuid(text: Guid): Uint8Array<ArrayBuffer> {
  const digits = pattern.exec(text)?.slice(1).join('');
  if (digits === undefined) throw new UsageError('ERR_ARGUMENT', `${JSON.stringify(text)} is not a GUID`);
  return Uint8Array.from(textOrder, (place) => Number.parseInt(digits.slice(place * 2, place * 2 + 2), 16));
}

/**
 * The canonical text of the GUID at `bytes[at]`.
 * @param at index of its first byte; 16 bytes must be there
 */
export function formatGuid(bytes: Uint8Array, at = 0): Guid {
  if (at < 0 || bytes.length - at < GUID_BYTES) {
    throw new UsageError('ERR_SHORT', `a GUID needs ${GUID_BYTES} bytes at ${at}, the buffer has ${bytes.length}`);
  }
  let text = '';
  for (const [index, place] of textOrder.entries()) {
    if (index === 4 || index === 6 || index === 8 || index === 10) text += '-';
    text += (bytes[at + place] ?? 0).toString(16).padStart(2, '0');
  }
  return text;
}

/** The canonical text of the same GUID, so that two spellings compare equal. @throws UsageError `ERR_ARGUMENT` */
export function canonicalGuid(text: Guid): Guid {
  return formatGuid(parseGuid(text));
}
