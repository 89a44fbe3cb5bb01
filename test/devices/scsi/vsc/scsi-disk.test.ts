/** What a disk can do beside read and write: trim, zeros, stable storage, giving up. */
import { afterEach, describe, expect, test } from 'vitest';
import { MemoryBackend } from '../../../../src/devices/scsi/memory-backend.ts';
import { DiskUnit } from '../../../../src/devices/scsi/target/disk/disk-unit.ts';
import { encodeUnmap } from '../../../../src/devices/scsi/vsc/disk-trim.ts';
import { openDisk, type ScsiDisk } from '../../../../src/devices/scsi/vsc/scsi-disk.ts';
import { StorVsc, type StorVscOptions } from '../../../../src/devices/scsi/vsc/storvsc.ts';
import type { GatedBackend } from '../gated-backend.ts';
import { type Storage, type StorageOptions, someStorage } from '../some-storage.ts';
import { hex } from '../target/some-disk.ts';

const PAGE = 4096;

let storage: Storage;
let vsc: StorVsc;
afterEach(async () => {
  const closing = vsc.close();
  await storage.end();
  await closing;
});

async function connected(options: StorageOptions = {}, vscOptions: Partial<StorVscOptions> = {}): Promise<ScsiDisk> {
  storage = await someStorage(options);
  vsc = new StorVsc({ vmbus: storage.guest, ...vscOptions });
  await vsc.open();
  return openDisk(vsc);
}

/** 64 blocks of ones. */
function ones(isThin: boolean): { contents: Uint8Array; store: MemoryBackend } {
  const contents = new Uint8Array(64 * 512).fill(1);
  return { contents, store: new MemoryBackend(contents, { isThin }) };
}

const zeroBlocks = (contents: Uint8Array): number[] =>
  Array.from({ length: 64 }, (_, block) => block).filter((block) => contents[block * 512] === 0);

describe('trim', () => {
  test('gives blocks back, however many', async () => {
    const { contents, store } = ones(true);
    const disk = await connected({ store });

    await disk.trim(10, 20);

    expect(disk.canTrim).toBe(true);
    expect(zeroBlocks(contents)).toEqual(Array.from({ length: 20 }, (_, index) => 10 + index));
    expect(await disk.blockStatus(5)).toEqual([
      { lba: 5, blockCount: 5, isMapped: true },
      { lba: 10, blockCount: 20, isMapped: false },
      { lba: 30, blockCount: 34, isMapped: true },
    ]);
  });

  test('on a disk that gives nothing back does nothing', async () => {
    const { contents, store } = ones(false);
    const disk = await connected({ store });

    await disk.trim(10, 20);

    expect(disk.canTrim).toBe(false);
    expect(zeroBlocks(contents)).toEqual([]);
  });

  test('of blocks that are not there is refused by the host; of no number at all by us', async () => {
    const disk = await connected({ store: ones(true).store });

    await expect(disk.trim(60, 5)).rejects.toMatchObject({ sense: { key: 5, asc: 0x21 } });
    await expect(disk.trim(-1, 5)).rejects.toMatchObject({ code: 'ERR_ARGUMENT' });
    await expect(disk.trim(0, 0.5)).rejects.toMatchObject({ code: 'ERR_ARGUMENT' });
  });

  test('of two runs has the bytes of SBC-3', () => {
    const { cdb, list } = encodeUnmap([
      { lba: 0x1_0000_0002, blockCount: 3 },
      { lba: 7, blockCount: 0xffff_ffff },
    ]);

    expect(cdb).toEqual(hex('42 00 00 00 00 00 00 00 28 00'));
    expect(list).toEqual(
      hex(`00 26 00 20 00 00 00 00
           00 00 00 01 00 00 00 02 00 00 00 03 00 00 00 00
           00 00 00 00 00 00 00 07 ff ff ff ff 00 00 00 00`),
    );
  });
});

describe('zeros', () => {
  test.each([true, false])('are written, and space given back where both sides may (%s)', async (mayDeallocate) => {
    const { contents, store } = ones(true);
    const disk = await connected({ store });

    await disk.writeZeroes(3, 50, { mayDeallocate, forceUnitAccess: true });

    expect(zeroBlocks(contents)).toEqual(Array.from({ length: 50 }, (_, index) => 3 + index));
    expect((await disk.blockStatus(3))[0]).toEqual({
      lba: 3,
      blockCount: mayDeallocate ? 50 : 61,
      isMapped: !mayDeallocate,
    });
  });

  test('are sent block by block to a disk that knows no WRITE SAME', async () => {
    const { contents, store } = ones(false);
    const disk = await connected({ store });
    const unit = storage.controller.detach({}) as DiskUnit;
    const execute = unit.execute.bind(unit);
    let refusals = 0;
    unit.execute = (command) => {
      if (command.cdb[0] !== 0x93) return execute(command);
      refusals++;
      return command.refuse({ key: 5, asc: 0x20, ascq: 0 });
    };
    storage.controller.attach(unit);

    await disk.writeZeroes(3, 50);
    await disk.writeZeroes(60, 1);

    expect(zeroBlocks(contents)).toEqual([...Array.from({ length: 50 }, (_, index) => 3 + index), 60]);
    expect(refusals).toBe(1);
    const freePages = storage.pages.freePages;
    await storage.settle();
    expect(storage.pages.freePages).toBeGreaterThanOrEqual(freePages);
  });

  test('outside the disk are refused, and WRITE SAME is not taken for unknown', async () => {
    const { store } = ones(true);
    const disk = await connected({ store });

    await expect(disk.writeZeroes(60, 5)).rejects.toMatchObject({ sense: { key: 5, asc: 0x21 }, opcode: 0x93 });
  });
});

test('a write that is forced to stable storage says so to the store', async () => {
  const { store } = ones(false);
  const forced: unknown[] = [];
  const plain = store.write.bind(store);
  Object.assign(store, {
    write: (offsetBytes: number, source: Parameters<typeof plain>[1], isFua: boolean) => {
      forced.push(isFua);
      return plain(offsetBytes, source);
    },
  });
  const disk = await connected({ store });
  const pfns = storage.pages.allocate(1);

  await disk.write(0, 8, pfns);
  await disk.write(0, 8, pfns, { forceUnitAccess: true });

  expect(disk.hasForceUnitAccess).toBe(true);
  expect(forced).toEqual([false, true]);
});

test('a unit attention that waits is passed over: the read is simply asked again', async () => {
  const disk = await connected();
  storage.controller.attach(new DiskUnit(new MemoryBackend(new Uint8Array(PAGE))), { lun: 4 });
  const [pfn] = storage.pages.allocate(1) as [number];

  await disk.read(8, 8, [pfn]);

  expect(storage.memory.page(pfn)).toEqual(storage.contents.subarray(PAGE, 2 * PAGE));
});

describe('a call that is aborted', () => {
  test('while the host works on it rejects at once; its pages are free when the disk has drained', async () => {
    const disk = await connected({ gated: true });
    const store = storage.store as GatedBackend;
    const [pfn] = storage.pages.allocate(1) as [number];
    const controller = new AbortController();
    let isDrained = false;

    const reading = disk.read(8, 8, [pfn], { signal: controller.signal });
    await storage.until(() => store.held.length === 1);
    controller.abort(new Error('enough'));
    await expect(reading).rejects.toThrow('enough');
    const drained = disk.drained().then(() => {
      isDrained = true;
    });
    await storage.settle();
    const wasDrained = isDrained;
    store.release();
    await drained;

    expect(wasDrained).toBe(false);
    expect(storage.memory.page(pfn)).toEqual(storage.contents.subarray(PAGE, 2 * PAGE));
  });

  test('while it waits for its turn is never sent, and the others go on', async () => {
    const disk = await connected({ gated: true }, { maxOutstanding: 1 });
    const store = storage.store as GatedBackend;
    const pfns = storage.pages.allocate(3);
    const controller = new AbortController();

    const first = disk.read(0, 8, [pfns[0] as number]);
    const second = disk.read(8, 8, [pfns[1] as number], { signal: controller.signal });
    const third = disk.read(16, 8, [pfns[2] as number]);
    await storage.until(() => store.held.length === 1);
    controller.abort();
    await expect(second).rejects.toMatchObject({ name: 'AbortError' });
    const offsets: number[] = [];
    while (offsets.length < 2) {
      await storage.until(() => store.held.length > 0);
      offsets.push(store.held[0]?.offsetBytes as number);
      store.release();
    }
    await Promise.all([first, third]);

    expect(offsets).toEqual([0, 2 * PAGE]);
    expect(vsc.inspect()).toMatchObject({ outstanding: 0, waiting: 0 });
  });

  test.each([
    ['read', (disk: ScsiDisk, signal: AbortSignal) => disk.read(0, 1, storage.pages.allocate(1), { signal })],
    ['write', (disk: ScsiDisk, signal: AbortSignal) => disk.write(0, 1, storage.pages.allocate(1), { signal })],
    ['flush', (disk: ScsiDisk, signal: AbortSignal) => disk.flush({ signal })],
    ['trim', (disk: ScsiDisk, signal: AbortSignal) => disk.trim(0, 1, { signal })],
    ['writeZeroes', (disk: ScsiDisk, signal: AbortSignal) => disk.writeZeroes(0, 1, { signal })],
  ])('before it began sends nothing (%s)', async (_what, call) => {
    const disk = await connected({ store: ones(true).store });
    const { requests: before } = storage.vsp.inspect();

    await expect(call(disk, AbortSignal.abort(new Error('enough')))).rejects.toThrow('enough');

    expect(storage.vsp.inspect()).toMatchObject({ requests: before });
  });

  test('and one that is not leaves no listener behind', async () => {
    const disk = await connected();
    const { signal } = new AbortController();
    let listeners = 0;
    const [add, remove] = [signal.addEventListener.bind(signal), signal.removeEventListener.bind(signal)];
    signal.addEventListener = (...args: Parameters<typeof add>) => {
      listeners++;
      add(...args);
    };
    signal.removeEventListener = (...args: Parameters<typeof remove>) => {
      listeners--;
      remove(...args);
    };

    await disk.read(0, 8, storage.pages.allocate(1), { signal });
    await disk.flush({ signal });

    expect(listeners).toBe(0);
  });
});
