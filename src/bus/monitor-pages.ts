/**
 * Monitor pages: two guest pages in which a bit stands for "signal this channel", looked at a little later instead of
 * at once. The bus only agrees on them; who polls them is not its business.
 *
 * Source: Linux `drivers/hv/connection.c` (`vmbus_connection.monitor_pages`); OpenVMM `vmcore` `monitor.rs`.
 */
import { PAGE_BYTES } from '../memory/page.ts';

export interface MonitorPages {
  /** Host to guest; a full byte address. Zero only in pages that a host supplies. */
  readonly parentToChildGpa: bigint;
  /** Guest to host. */
  readonly childToParentGpa: bigint;
}

/** What makes a guest's pair of addresses unusable, or undefined. Both zero is fine: no monitor pages then. */
export function pagesFault(pages: MonitorPages): string | undefined {
  if ((pages.parentToChildGpa === 0n) !== (pages.childToParentGpa === 0n)) return 'exactly one monitor page is zero';
  for (const gpa of [pages.parentToChildGpa, pages.childToParentGpa]) {
    if (gpa % BigInt(PAGE_BYTES) !== 0n) return `monitor page 0x${gpa.toString(16)} is not page aligned`;
  }
  return undefined;
}

/** The pair, or undefined when the guest gave none. */
export function pagesOrNone(pages: MonitorPages): MonitorPages | undefined {
  return pages.childToParentGpa === 0n && pages.parentToChildGpa === 0n ? undefined : pages;
}
