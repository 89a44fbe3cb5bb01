/**
 * The real-time clock, as much of it as a guest reads at boot: the time in UTC, no alarm, no memory.
 *
 * Source: Motorola MC146818A data sheet, "Registers"; the century register 0x32 as ACPI's FADT allows it.
 */

export const CMOS_INDEX_PORT = 0x70;
export const CMOS_DATA_PORT = 0x71;

/** Register A: divider on 32768 Hz, default rate, no update under way. */
const REGISTER_A = 0x26;
/** Register B: 24 hours, BCD. */
const REGISTER_B = 0x02;
/** Register D: the contents are valid. */
const REGISTER_D = 0x80;

/** @param index as written to the index port; bit 7 (NMI mask) is not part of it */
export function readCmos(index: number, now: Date): number {
  switch (index & 0x7f) {
    case 0x00:
      return bcd(now.getUTCSeconds());
    case 0x02:
      return bcd(now.getUTCMinutes());
    case 0x04:
      return bcd(now.getUTCHours());
    case 0x06:
      return now.getUTCDay() + 1;
    case 0x07:
      return bcd(now.getUTCDate());
    case 0x08:
      return bcd(now.getUTCMonth() + 1);
    case 0x09:
      return bcd(now.getUTCFullYear() % 100);
    case 0x32:
      return bcd(Math.floor(now.getUTCFullYear() / 100));
    case 0x0a:
      return REGISTER_A;
    case 0x0b:
      return REGISTER_B;
    case 0x0d:
      return REGISTER_D;
    default:
      return 0;
  }
}

/** Two decimal digits, one per half byte. */
function bcd(value: number): number {
  return (Math.floor(value / 10) << 4) | (value % 10);
}
