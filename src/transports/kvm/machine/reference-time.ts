/**
 * Hyper-V's reference time: 100 ns units since the machine started, computed from the guest's TSC so that the page that
 * the guest reads without us and the counter register agree.
 *
 *     time = (tsc * scale) >> 64
 *
 * Source: Hyper-V TLFS, "Partition Reference Time Enlightenment"; Linux `include/clocksource/hyperv_timer.h`.
 */
import { PAGE_BYTES } from '../../../memory/page.ts';

const UNITS_PER_SECOND = 10_000_000n;

/** @param tscHz 10^7 or more, else the scale does not fit 64 bits */
export function referenceScale(tscHz: bigint): bigint {
  return BigInt.asUintN(64, (UNITS_PER_SECOND << 64n) / tscHz);
}

export function referenceTime(tsc: bigint, scale: bigint): bigint {
  return BigInt.asUintN(64, (tsc * scale) >> 64n);
}

/** Fills a reference TSC page: sequence (non-zero: valid), scale, offset 0. */
export function writeReferenceTscPage(page: Uint8Array, scale: bigint): void {
  const view = new DataView(page.buffer, page.byteOffset, PAGE_BYTES);
  page.fill(0);
  view.setBigUint64(8, scale, true);
  // The sequence last: a processor that reads the page meanwhile sees 0, "use the register".
  view.setUint32(0, 1, true);
}
