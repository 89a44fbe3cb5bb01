/** How large the rings of a channel are when nobody says. */
import { PAGE_BYTES, spanPages } from '../../memory/index.ts';
import { align8 } from '../../wire/align.ts';
import { gpaRangeBytes } from '../../wire/gpa-range.ts';
import { DESCRIPTOR_BYTES, MAX_PACKET_BYTES, PipeHeader, TRAILER_BYTES } from '../../wire/packet.ts';
import type { ChannelSettings } from '../settings.ts';

/** Data pages below which no ring is made. */
const LEAST_PAGES = 4;
/** A ring never fills: OpenVMM's writer leaves this many bytes free. Source: OpenVMM `vmbus_ring` `lib.rs`. */
const GAP_BYTES = 16;

/** Data pages that a ring needs for one packet of the largest payload with the largest external data. */
export function pagesForLargestPacket(settings: ChannelSettings, carriesExternalData: boolean): number {
  const { maxPacketBytes, maxExternalBytes, maxExternalRanges } = settings;
  let packetBytes = DESCRIPTOR_BYTES + PipeHeader.size + align8(Math.min(maxPacketBytes, MAX_PACKET_BYTES));
  if (carriesExternalData && maxExternalBytes > 0) {
    // Each range may begin and end inside a page that no other range can use.
    packetBytes += gpaRangeBytes(1) * maxExternalRanges + 8 * spanPages(0, maxExternalBytes);
  }
  // No descriptor can say more than that, whatever the driver asked for.
  const largestBytes = Math.min(packetBytes, MAX_PACKET_BYTES) + TRAILER_BYTES + GAP_BYTES;
  return Math.max(LEAST_PAGES, Math.ceil(largestBytes / PAGE_BYTES));
}
