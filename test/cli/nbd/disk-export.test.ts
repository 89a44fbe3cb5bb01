/** The export's own part, over a disk that a host serves in this process. */
import { expect, onTestFinished, test } from 'vitest';
import { HostVmbus } from '../../../src/channel/index.ts';
import { startDiskGuest } from '../../../src/cli/disk-guest.ts';
import { exportOfDisk } from '../../../src/cli/nbd/disk-export.ts';
import { TransferPool } from '../../../src/cli/nbd/transfer-pool.ts';
import { BackendFault, DiskUnit, MemoryBackend, ScsiController, StorVsp } from '../../../src/devices/scsi/index.ts';
import { type FaultRule, FaultyBackend } from '../../../src/images/index.ts';
import { GuestMemory, type ScatterView } from '../../../src/memory/index.ts';
import { NbdErrno, type NbdExport } from '../../../src/nbd/index.ts';
import { createLoopback } from '../../../src/transports/loopback/index.ts';
import { turn } from '../../transports/until.ts';

const DISK_BYTES = 256 * 1024;
const POOL = { smallCount: 2, smallPages: 1, largeCount: 2, largePages: 4 };

/** A disk in memory that takes its time, and counts who waits. */
class SlowMemory extends MemoryBackend {
  #atOnce = 0;
  most = 0;

  override async read(offsetBytes: number, target: ScatterView): Promise<void> {
    this.most = Math.max(this.most, ++this.#atOnce);
    await turn();
    await super.read(offsetBytes, target);
    this.#atOnce--;
  }
}

interface SomeExport {
  readonly store: NbdExport;
  readonly bytes: Uint8Array;
  readonly memory: SlowMemory;
}

async function someExport(rules: readonly FaultRule[] = []): Promise<SomeExport> {
  const bytes = Uint8Array.from({ length: DISK_BYTES }, (_, index) => ((index >>> 9) & 0x7f) + 1);
  const memory = new SlowMemory(bytes, { isThin: true });
  const loopback = createLoopback({ memory: GuestMemory.allocate(512) });
  const controller = new ScsiController();
  controller.attach(new DiskUnit(new FaultyBackend(memory, rules)));
  const instanceId = '11111111-2222-3333-4444-555555555555';
  const vsp = new StorVsp({ vmbus: new HostVmbus(loopback.host), controller, instanceId });
  vsp.start();
  const guest = await startDiskGuest(loopback.guest, { outstanding: 16, transferBytes: 16 * 1024 });
  onTestFinished(async () => {
    await guest.stop();
    await vsp.stop();
  });
  return { store: exportOfDisk(guest.disk, new TransferPool(guest.vmbus.pages, POOL), 'for tests'), bytes, memory };
}

test('a request longer than a transfer is read whole, in as many transfers as there are pages for', async () => {
  const { store, bytes, memory } = await someExport();
  const target = Buffer.alloc(DISK_BYTES);

  await store.read(0, target);

  expect(target.equals(bytes)).toBe(true);
  expect(memory.most).toBe(POOL.largeCount);
});

test('any number of requests share the pages, and each gets its own bytes', async () => {
  const { store, bytes, memory } = await someExport();
  const targets = Array.from({ length: 200 }, () => Buffer.alloc(512));

  await Promise.all(targets.map((target, index) => store.read(index * 512, target)));

  for (const [index, target] of targets.entries()) {
    expect(target.equals(bytes.subarray(index * 512, (index + 1) * 512))).toBe(true);
  }
  expect(memory.most).toBe(POOL.smallCount);
});

test('a long write ends where it should, and nowhere else', async () => {
  const { store, bytes } = await someExport();
  const source = Buffer.alloc(100 * 512, 0xee);

  await store.write(10 * 512, source, true);

  expect(bytes.subarray(10 * 512, 110 * 512).every((byte) => byte === 0xee)).toBe(true);
  expect([bytes[10 * 512 - 1], bytes[110 * 512]]).toEqual([10, 111]);
});

test('trim and zeros reach the disk, and the disk says where its holes are', async () => {
  const { store, bytes } = await someExport();

  await store.trim?.(8 * 512, 16 * 512, true);
  await store.writeZeroes?.(100 * 512, 4 * 512, false, true);
  const extents = await store.extents?.(0, 64 * 512, 10);
  const first = await store.extents?.(10 * 512, 64 * 512, 1);

  expect(bytes.subarray(8 * 512, 24 * 512).every((byte) => byte === 0)).toBe(true);
  expect(bytes.subarray(100 * 512, 104 * 512).every((byte) => byte === 0)).toBe(true);
  expect(extents).toEqual([
    { byteCount: 8 * 512, isHole: false, isZero: false },
    { byteCount: 16 * 512, isHole: true, isZero: true },
    { byteCount: 40 * 512, isHole: false, isZero: false },
  ]);
  expect(first).toEqual([{ byteCount: 14 * 512, isHole: true, isZero: true }]);
});

test.each([
  [BackendFault.NoSpace, NbdErrno.NoSpace],
  [BackendFault.ReadOnly, NbdErrno.NotPermitted],
  [BackendFault.OutOfRange, NbdErrno.Invalid],
  [BackendFault.Write, NbdErrno.Io],
])('a store that says "%s" is told as NBD error %i, once every transfer has ended', async (fault, errno) => {
  const { store, bytes } = await someExport([{ what: 'error', on: 'write', fault, times: 1 }]);
  const source = Buffer.alloc(32 * 1024, 0xee);

  const error = await store.write(0, source, false).catch((caught: unknown) => caught);

  expect(store.errnoOf?.(error)).toBe(errno);
  // The first transfer failed, the second did not, and had ended before the client was told.
  expect(bytes[16 * 1024]).toBe(0xee);
});

test('what is no answer of the disk at all is an I/O error', async () => {
  const { store } = await someExport();

  expect(store.errnoOf?.(new Error('the channel is gone'))).toBe(NbdErrno.Io);
});
