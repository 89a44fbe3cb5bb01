import { PAGE_BYTES, spanPages } from '../../../memory/page.ts';
import { ScatterView } from '../../../memory/scatter-view.ts';
import { DataDirection } from '../../../wire/storvsc.ts';
import type { ScsiAddress } from '../target/controller.ts';
import { failureOf } from './failure.ts';
import { ScsiIo } from './scsi-io.ts';
import type { StorVsc } from './storvsc.ts';

/**
 * Runs a command that returns a little data, through pages borrowed for the time of the call. Not for disk blocks.
 * @param cdb 6, 10, 12 or 16 bytes
 * @param dataBytes most bytes of data to return; 0 for a command without
 * @returns the bytes that the host returned, at most `dataBytes`
 * @throws ScsiError if the host refuses; PeerError if the channel goes away
 */
export async function runCommand(
  vsc: StorVsc,
  address: ScsiAddress,
  cdb: Uint8Array,
  dataBytes: number,
): Promise<Uint8Array> {
  const pfns = dataBytes === 0 ? [] : vsc.pages.allocate(spanPages(0, dataBytes));
  try {
    const view = new ScatterView(vsc.pages.memory, pfns, 0, pfns.length * PAGE_BYTES);
    // A host that answers "good" without writing must not show us what the page held before.
    view.fill(0);
    const io = new ScsiIo();
    io.path = address.path ?? 0;
    io.target = address.target ?? 0;
    io.lun = address.lun ?? 0;
    io.cdb.set(cdb);
    io.cdbBytes = cdb.length;
    io.direction = dataBytes === 0 ? DataDirection.None : DataDirection.Read;
    io.dataBytes = dataBytes;
    io.pfns = pfns;
    io.pfnCount = pfns.length;
    await new Promise<void>((resolve, reject) => {
      io.onDone = () => (io.isGood ? resolve() : reject(failureOf(io)));
      vsc.submit(io);
    });
    return view.slice(0, io.transferredBytes).toBytes();
  } finally {
    if (pfns.length > 0) vsc.pages.free(pfns);
  }
}
