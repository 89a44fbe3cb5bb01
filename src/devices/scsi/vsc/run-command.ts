/** Commands with a little data, through pages borrowed for the time of the call. Not for disk blocks. */
import { PAGE_BYTES, spanPages } from '../../../memory/page.ts';
import { ScatterView } from '../../../memory/scatter-view.ts';
import { DataDirection } from '../../../wire/storvsc.ts';
import type { ScsiAddress } from '../target/controller.ts';
import { SenseKey } from '../target/sense.ts';
import { failureOf } from './failure.ts';
import { ScsiError } from './scsi-error.ts';
import { ScsiIo } from './scsi-io.ts';
import type { StorVsc } from './storvsc.ts';

/**
 * Runs a command that returns data, or none.
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
  const direction = dataBytes === 0 ? DataDirection.None : DataDirection.Read;
  return await withPages(vsc, dataBytes, async (view, pfns) => {
    // A host that answers "good" without writing must not show us what the page held before.
    view.fill(0);
    const transferredBytes = await exchange(vsc, address, cdb, { direction, dataBytes, pfns });
    return view.slice(0, transferredBytes).toBytes();
  });
}

/** Runs a command that takes data. Throws as `runCommand` does. */
export async function sendCommand(
  vsc: StorVsc,
  address: ScsiAddress,
  cdb: Uint8Array,
  data: Uint8Array,
): Promise<void> {
  await withPages(vsc, data.length, async (view, pfns) => {
    view.write(0, data);
    await exchange(vsc, address, cdb, { direction: DataDirection.Write, dataBytes: data.length, pfns });
  });
}

/** A unit that was reset or changed says so once to each command; a few may have piled up. */
export const UNIT_ATTENTION_TRIES = 5;

/** Runs a command again while the unit only has something to report first. */
export async function pastAttentions<Result>(run: () => Promise<Result>): Promise<Result> {
  for (let left = UNIT_ATTENTION_TRIES; ; left--) {
    try {
      return await run();
    } catch (error) {
      const isAttention = error instanceof ScsiError && error.sense?.key === SenseKey.UnitAttention;
      if (!isAttention || left === 1) throw error;
    }
  }
}

async function withPages<Result>(
  vsc: StorVsc,
  dataBytes: number,
  work: (view: ScatterView, pfns: readonly number[]) => Promise<Result>,
): Promise<Result> {
  const pfns = dataBytes === 0 ? [] : vsc.pages.allocate(spanPages(0, dataBytes));
  try {
    return await work(new ScatterView(vsc.pages.memory, pfns, 0, pfns.length * PAGE_BYTES), pfns);
  } finally {
    if (pfns.length > 0) vsc.pages.free(pfns);
  }
}

interface Data {
  readonly direction: DataDirection;
  readonly dataBytes: number;
  readonly pfns: readonly number[];
}

/** @returns bytes moved */
async function exchange(vsc: StorVsc, address: ScsiAddress, cdb: Uint8Array, data: Data): Promise<number> {
  const io = new ScsiIo();
  io.path = address.path ?? 0;
  io.target = address.target ?? 0;
  io.lun = address.lun ?? 0;
  io.cdb.set(cdb);
  io.cdbBytes = cdb.length;
  io.direction = data.direction;
  io.dataBytes = data.dataBytes;
  io.pfns = data.pfns;
  io.pfnCount = data.pfns.length;
  await new Promise<void>((resolve, reject) => {
    io.onDone = () => (io.isGood ? resolve() : reject(failureOf(io)));
    vsc.submit(io);
  });
  return io.transferredBytes;
}
