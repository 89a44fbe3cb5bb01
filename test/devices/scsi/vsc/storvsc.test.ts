import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterAll, afterEach, describe, expect, test } from 'vitest';
import type { BlockBackend } from '../../../../src/devices/scsi/block-backend.ts';
import { openFileBackend } from '../../../../src/devices/scsi/file-backend.ts';
import { MemoryBackend } from '../../../../src/devices/scsi/memory-backend.ts';
import { DiskUnit } from '../../../../src/devices/scsi/target/disk/disk-unit.ts';
import { reportLuns } from '../../../../src/devices/scsi/vsc/disk-facts.ts';
import { openDisk, type ScsiDisk } from '../../../../src/devices/scsi/vsc/scsi-disk.ts';
import { StorVsc, type StorVscOptions } from '../../../../src/devices/scsi/vsc/storvsc.ts';
import type { GatedBackend } from '../gated-backend.ts';
import { type Storage, type StorageOptions, someStorage } from '../some-storage.ts';

const PAGE = 4096;
const folder = mkdtempSync(join(tmpdir(), 'vmbus-storvsc-'));
afterAll(() => rmSync(folder, { recursive: true }));

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
  // The commands that a disk is opened with do not touch the store, so a gate does not hold them.
  return openDisk(vsc);
}

function bytesOf(pfns: readonly number[], byteCount = pfns.length * PAGE): Buffer {
  return Buffer.concat(pfns.map((pfn) => storage.memory.page(pfn))).subarray(0, byteCount);
}

test('a disk says what it is', async () => {
  const disk = await connected();

  expect(disk).toMatchObject({
    blockBytes: 512,
    blockCount: 1024,
    readOnly: false,
    hasWriteCache: false,
    vendor: 'Msft',
    product: 'Virtual Disk',
    revision: '1.0',
  });
  expect([vsc.version, vsc.maxTransferBytes, disk.sizeBytes]).toEqual([0x0602, 0x100000, 512 * 1024]);
});

test('a read fills the pages in the order given, through external page frame numbers', async () => {
  const disk = await connected();
  const pfns = storage.pages.allocateScattered(16);

  await disk.read(8, 128, pfns);

  expect(Buffer.compare(bytesOf(pfns), storage.contents.subarray(PAGE, 17 * PAGE))).toBe(0);
});

test('a read of less than a page leaves the rest of the page alone', async () => {
  const disk = await connected();
  const [pfn] = storage.pages.allocate(1) as [number];
  storage.memory.page(pfn).fill(0xa5);

  await disk.read(3, 1, [pfn]);

  expect(storage.memory.page(pfn).subarray(0, 512)).toEqual(storage.contents.subarray(1536, 2048));
  expect(storage.memory.page(pfn).subarray(512)).toEqual(new Uint8Array(PAGE - 512).fill(0xa5));
});

test('what is written is read back, and a flush ends well', async () => {
  const disk = await connected();
  const [from, to] = storage.pages.allocate(2) as [number, number];
  storage.memory.page(from).fill(0x5a);

  await disk.write(40, 8, [from]);
  await disk.flush();
  await disk.read(40, 8, [to]);

  expect(storage.memory.page(to)).toEqual(new Uint8Array(PAGE).fill(0x5a));
});

test('pages behind the last byte are not named to the host', async () => {
  const disk = await connected();
  const [pfn] = storage.pages.allocate(1) as [number];

  await disk.read(0, 8, [pfn, 2 ** 40]);

  expect(Buffer.compare(bytesOf([pfn]), storage.contents.subarray(0, PAGE))).toBe(0);
});

test.each([
  ['6.2', 0x0602],
  ['6.0', 0x0600],
  ['5.1', 0x0501],
  ['4.2', 0x0402],
  ['2.0', 0x0200],
])('storage version %s reads and fails alike', async (_name, version) => {
  const disk = await connected({}, { versions: [version] });
  const pfns = storage.pages.allocate(1);

  await disk.read(8, 8, pfns);
  const failure = disk.read(5000, 8, pfns);

  await expect(failure).rejects.toMatchObject({ sense: { key: 5, asc: 0x21, ascq: 0 } });
  expect(vsc.version).toBe(version);
  expect(Buffer.compare(bytesOf(pfns), storage.contents.subarray(PAGE, 2 * PAGE))).toBe(0);
});

describe('errors are typed, and the disk lives on:', () => {
  test('a read past the end', async () => {
    const disk = await connected();
    const pfns = storage.pages.allocate(1);

    const failure = disk.read(1020, 8, pfns);

    await expect(failure).rejects.toMatchObject({
      name: 'ScsiError',
      code: 'ERR_REFUSED',
      status: 0xc0000185,
      opcode: 0x28,
      srbStatus: 4,
      scsiStatus: 2,
      sense: { key: 5, asc: 0x21, ascq: 0 },
      message:
        'Read10 at 0:0:0: 5/21/00 logical block address out of range (srb status Error, SCSI status CheckCondition)',
    });
    await disk.read(0, 8, pfns);
    expect(Buffer.compare(bytesOf(pfns), storage.contents.subarray(0, PAGE))).toBe(0);
  });

  test('a page outside guest memory', async () => {
    const disk = await connected();

    await expect(disk.read(0, 8, [0x7fff_ffff])).rejects.toMatchObject({ sense: { key: 5, asc: 0x24, ascq: 0 } });

    await disk.read(0, 8, storage.pages.allocate(1));
  });

  test('a write to a read-only disk', async () => {
    const disk = await connected({ readOnly: true });
    const pfns = storage.pages.allocate(1);

    await expect(disk.write(0, 8, pfns)).rejects.toMatchObject({ sense: { key: 7, asc: 0x27, ascq: 0 } });

    expect(disk.readOnly).toBe(true);
    await disk.read(0, 8, pfns);
  });

  test.each([
    ['more than one transfer holds', 0, 2049, 300],
    ['more than the pages hold', 0, 9, 1],
    ['a negative block', -1, 1, 1],
    ['half a block', 0, 0.5, 1],
  ])('%s is a usage error, and nothing is sent', async (_what, lba, blocks, pageCount) => {
    const disk = await connected();
    const { requests: before } = storage.vsp.inspect();

    await expect(disk.read(lba, blocks, new Array(pageCount).fill(0x200))).rejects.toMatchObject({
      name: 'UsageError',
      code: 'ERR_ARGUMENT',
    });

    expect(storage.vsp.inspect()).toMatchObject({ requests: before });
  });

  test('a transfer of no blocks moves nothing and ends well', async () => {
    const disk = await connected();

    await disk.read(0, 0, []);

    expect(storage.vsp.inspect()).toMatchObject({ inFlight: 0 });
  });

  test('a host that allows less sets the limit', async () => {
    const disk = await connected({ maxTransferBytes: 0x10000 });

    expect(disk.maxTransferBytes).toBe(0x10000);
    await expect(disk.read(0, 136, storage.pages.allocate(17))).rejects.toMatchObject({ code: 'ERR_ARGUMENT' });
    await disk.read(0, 128, storage.pages.allocate(16));
  });

  test('nobody at the address', async () => {
    await connected();

    await expect(openDisk(vsc, { lun: 9 })).rejects.toMatchObject({ code: 'ERR_REFUSED', message: /no disk at 0:0:9/ });
  });
});

test('the LUNs of a path are listed, and each is its own disk', async () => {
  await connected();
  storage.controller.attach(new DiskUnit(new MemoryBackend(new Uint8Array(PAGE).fill(9))), { lun: 4 });
  const [pfn] = storage.pages.allocate(1) as [number];

  const luns = await reportLuns(vsc);
  const second = await openDisk(vsc, { lun: 4 });
  await second.read(0, 8, [pfn]);

  expect(luns).toEqual([0, 4]);
  expect(await reportLuns(vsc, { path: 3 })).toEqual([]);
  expect(storage.memory.page(pfn)).toEqual(new Uint8Array(PAGE).fill(9));
});

describe('many requests', () => {
  test('beyond the limit wait their turn, first come first served', async () => {
    const disk = await connected({ gated: true }, { maxOutstanding: 2 });
    const store = storage.store as GatedBackend;
    const pfns = storage.pages.allocate(6);
    const offsets: number[] = [];

    const reads = pfns.map((pfn, index) => disk.read(index * 8, 8, [pfn]));
    await storage.settle();
    const heldAtFirst = store.held.length;
    const { waiting: waitingAtFirst } = vsc.inspect();
    while (offsets.length < 6) {
      await storage.until(() => store.held.length > 0);
      offsets.push(store.held[0]?.offsetBytes as number);
      store.release();
    }
    await Promise.all(reads);

    expect([heldAtFirst, waitingAtFirst]).toEqual([2, 4]);
    expect(offsets).toEqual([0, 1, 2, 3, 4, 5].map((index) => index * PAGE));
  });

  test('end in the order in which the host finishes', async () => {
    const disk = await connected({ gated: true });
    const store = storage.store as GatedBackend;
    const pfns = storage.pages.allocate(3);
    const finished: number[] = [];

    const reads = pfns.map((pfn, index) => disk.read(index * 8, 8, [pfn]).then(() => finished.push(index)));
    await storage.until(() => store.held.length === 3);
    for (const index of [1, 1, 0]) {
      store.release(index);
      await storage.settle();
    }
    await Promise.all(reads);

    expect(finished).toEqual([1, 2, 0]);
    pfns.forEach((pfn, index) => {
      expect(storage.memory.page(pfn)).toEqual(storage.contents.subarray(index * PAGE, (index + 1) * PAGE));
    });
  });
});

describe('each request ends exactly once when the channel goes away:', () => {
  /** Five reads, of which the host has two; counts how each ends. */
  async function fiveReads() {
    const disk = await connected({ gated: true }, { maxOutstanding: 2 });
    const store = storage.store as GatedBackend;
    const endings: string[] = [];
    for (const pfn of storage.pages.allocate(5)) {
      disk.read(0, 8, [pfn]).then(
        () => endings.push('done'),
        (error) => endings.push(error.code),
      );
    }
    await storage.until(() => store.held.length === 2);
    return { disk, store, endings };
  }

  test('the guest closes', async () => {
    const { disk, store, endings } = await fiveReads();

    const closing = vsc.close();
    await storage.settle();
    store.releaseAll();
    await closing;
    await storage.settle();

    expect(endings).toHaveLength(5);
    expect(endings.filter((ending) => ending === 'ERR_CLOSED').length).toBeGreaterThanOrEqual(3);
    await expect(disk.read(0, 8, storage.pages.allocate(1))).rejects.toMatchObject({ code: 'ERR_CLOSED' });
  });

  test('the host takes the controller back', async () => {
    const { store, endings } = await fiveReads();

    const stopping = storage.vsp.stop();
    await storage.settle();
    store.releaseAll();
    await stopping;
    await storage.settle();

    expect(endings).toHaveLength(5);
    expect(vsc.isReady).toBe(false);
  });

  test('the host vanishes', async () => {
    const { endings } = await fiveReads();

    storage.loopback.loseHost('the test says so');
    await storage.settle();

    expect(endings).toHaveLength(5);
    expect(endings).not.toContain('done');
  });

  test('the guest opens anew afterwards', async () => {
    const { store } = await fiveReads();
    const closing = vsc.close();
    store.releaseAll();
    await closing;

    await vsc.open();
    const disk = await openDisk(vsc);

    expect(disk.blockCount).toBe(1024);
  });
});

test('an open that waits for its offer is ended by close', async () => {
  storage = await someStorage();
  vsc = new StorVsc({
    vmbus: storage.guest,
    instanceId: '99999999-2222-3333-4444-555555555555',
  });

  const opening = vsc.open();
  const failure = expect(opening).rejects.toMatchObject({ code: 'ERR_CLOSED' });
  await storage.settle();
  await vsc.close();

  await failure;
  expect(vsc.isReady).toBe(false);
});

test('a host that speaks none of our versions fails the open', async () => {
  storage = await someStorage();
  vsc = new StorVsc({ vmbus: storage.guest, versions: [0x0100] });

  await expect(vsc.open()).rejects.toMatchObject({ code: 'ERR_REFUSED', message: /none of the storage versions 1\.0/ });

  expect(vsc.inspect()).toMatchObject({ stage: 'closed' });
});

describe('random reads and writes equal a plain array', () => {
  const move = fc.record({
    isWrite: fc.boolean(),
    lba: fc.nat(63),
    blocks: fc.integer({ min: 1, max: 32 }),
    fill: fc.nat(255),
  });

  async function compare(makeStore: (contents: Uint8Array) => Promise<BlockBackend>, isReadOnly = false) {
    await fc.assert(
      fc.asyncProperty(fc.array(move, { maxLength: 30 }), fc.integer({ min: 1, max: 8 }), async (moves, depth) => {
        const contents = Uint8Array.from({ length: 64 * 512 }, (_, index) => (index * 11) & 0xff);
        const model = contents.slice();
        const disk = await connected({ store: await makeStore(contents) }, { maxOutstanding: 4 });

        // Moves of one batch are under way at once, so a batch holds no two that overlap unless both read.
        for (const batch of batches(moves, depth)) {
          await Promise.all(
            batch.map(async ({ isWrite, lba, blocks, fill }) => {
              const count = Math.min(blocks, 64 - lba);
              const pfns = storage.pages.allocateScattered(Math.ceil((count * 512) / PAGE));
              if (isWrite && !isReadOnly) {
                for (const pfn of pfns) storage.memory.page(pfn).fill(fill);
                await disk.write(lba, count, pfns);
                model.fill(fill, lba * 512, (lba + count) * 512);
              } else {
                await disk.read(lba, count, pfns);
                expect(Buffer.compare(bytesOf(pfns, count * 512), model.subarray(lba * 512, (lba + count) * 512))).toBe(
                  0,
                );
              }
              storage.pages.free(pfns);
            }),
          );
        }
        await disk.flush();
        await vsc.close();
        await storage.end();
        await storage.controller.close();
      }),
      { numRuns: 15 },
    );
  }

  test('on a disk in memory', async () => {
    await compare(async (contents) => new MemoryBackend(contents));
  });

  test('on a file', async () => {
    const path = join(folder, 'disk.img');
    await compare(async (contents) => {
      writeFileSync(path, contents);
      return openFileBackend(path);
    });
  });

  test('on a read-only file', async () => {
    const path = join(folder, 'read-only.img');
    await compare(async (contents) => {
      writeFileSync(path, contents);
      return openFileBackend(path, { readOnly: true });
    }, true);
    expect(readFileSync(path)).toHaveLength(64 * 512);
  });
});

interface Move {
  isWrite: boolean;
  lba: number;
  blocks: number;
}

function batches<M extends Move>(moves: readonly M[], depth: number): M[][] {
  const result: M[][] = [];
  for (const move of moves) {
    const last = result.at(-1);
    const clashes = (other: M): boolean =>
      (move.isWrite || other.isWrite) && move.lba < other.lba + other.blocks && other.lba < move.lba + move.blocks;
    if (last === undefined || last.length === depth || last.some(clashes)) result.push([move]);
    else last.push(move);
  }
  return result;
}

test('a file that ends inside a block is read to its last byte and zeros', async () => {
  const path = join(folder, 'odd.img');
  const bytes = Buffer.from(Array.from({ length: 1000 }, (_, index) => index & 0xff));
  writeFileSync(path, bytes);
  const disk = await connected({ store: await openFileBackend(path, { readOnly: true }) });
  const pfns = storage.pages.allocate(1);

  await disk.read(0, 2, pfns);

  expect(disk.blockCount).toBe(2);
  expect(bytesOf(pfns, 1024)).toEqual(Buffer.concat([bytes, Buffer.alloc(24)]));
  await storage.controller.close();
});
