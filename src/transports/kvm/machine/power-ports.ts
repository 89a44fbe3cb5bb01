/**
 * Where the guest turns itself off or resets itself; the firmware tables tell it these ports.
 *
 * Source: ACPI 6.4, 4.8.3.7 "Sleep Control and Status Registers", 4.8.3.6 "Reset Register".
 */
export const SLEEP_CONTROL_PORT = 0x600;
export const SLEEP_STATUS_PORT = 0x601;
export const RESET_PORT = 0x602;

/** Written to the reset port. */
export const RESET_VALUE = 1;
/** Sleep type of S5, as the DSDT's `_S5` names it. */
export const SLEEP_TYPE_S5 = 5;

const SLEEP_ENABLE = 0x20;
const SLEEP_TYPE_SHIFT = 2;

/** Whether this write to the sleep control port turns the machine off. */
export function isPowerOff(value: number): boolean {
  return (value & SLEEP_ENABLE) !== 0 && ((value >> SLEEP_TYPE_SHIFT) & 7) === SLEEP_TYPE_S5;
}
