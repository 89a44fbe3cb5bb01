/** The one memory-manager call that KMCL drivers make on an MDL. */
import type { Mdl, ScatterView } from '../../memory/index.ts';

/**
 * The bytes that an MDL chain describes, as one view. In Windows: a system address for one MDL.
 *
 * @param mdl first MDL of a chain; all of the chain is mapped
 * @returns a view that ends when the MDL does (for external data: at `VmbChannelPacketComplete`)
 * @throws UsageError `ERR_STATE` for an MDL that its owner took back; AddressError for pages outside guest memory
 * Source: WDK `wdm.h`, MmGetSystemAddressForMdlSafe.
 * Differs from Windows: the pages need not be contiguous in anybody's address space, so a view comes back, not an
 * address.
 */
export function MmGetSystemAddressForMdlSafe(mdl: Mdl): ScatterView {
  return mdl.chainView();
}
