/** Sizes as `64K` and times as `5s`, read from an option and written for people. */
import { InvalidArgumentError } from 'commander';

const SIZE_UNITS: Record<string, number> = { '': 1, K: 2 ** 10, M: 2 ** 20, G: 2 ** 30, T: 2 ** 40 };
const TIME_UNITS_MS: Record<string, number> = { ms: 1, s: 1000, m: 60_000, h: 3_600_000 };

/** @param text `4096`, `64K`, `1M`; the unit is a power of 1024 */
export function parseSize(text: string): number {
  const match = /^(\d+(?:\.\d+)?)([KMGT]?)$/i.exec(text);
  const bytes =
    match === null ? Number.NaN : Number(match[1]) * (SIZE_UNITS[(match[2] as string).toUpperCase()] as number);
  if (!Number.isSafeInteger(bytes)) throw new InvalidArgumentError(`"${text}" is not a size such as 4096, 64K or 1M.`);
  return bytes;
}

/** @returns milliseconds @param text `250ms`, `5s`, `2m`; a bare number is seconds */
export function parseTime(text: string): number {
  const match = /^(\d+(?:\.\d+)?)(ms|s|m|h|)$/.exec(text);
  if (match === null) throw new InvalidArgumentError(`"${text}" is not a time such as 250ms, 5s or 2m.`);
  return Number(match[1]) * (TIME_UNITS_MS[(match[2] as string) || 's'] as number);
}

/** An option parser for whole numbers in a range. */
export function wholeNumber(minimum: number, maximum: number): (text: string) => number {
  return (text) => {
    const value = /^\d+$/.test(text) ? Number(text) : Number.NaN;
    if (!(value >= minimum && value <= maximum)) {
      throw new InvalidArgumentError(`"${text}" is not a whole number from ${minimum} to ${maximum}.`);
    }
    return value;
  };
}

/** `95.4 MiB`: three digits that matter, powers of 1024. */
export function formatBytes(bytes: number): string {
  const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB'];
  let value = bytes;
  let unit = 0;
  while (value >= 1024 && unit < units.length - 1) {
    value /= 1024;
    unit++;
  }
  return `${unit === 0 ? value : value.toFixed(value < 10 ? 2 : 1)} ${units[unit]}`;
}

/** Digits in groups of three: `12,345`. */
export function formatCount(count: number): string {
  return count.toLocaleString('en-US');
}
