/** The client with several channels. */
import { afterEach, expect, test } from 'vitest';
import { openDisk } from '../../../../src/devices/scsi/vsc/scsi-disk.ts';
import { StorVsc, type StorVscOptions } from '../../../../src/devices/scsi/vsc/storvsc.ts';
import type { GatedBackend } from '../gated-backend.ts';
import { type Storage, type StorageOptions, someStorage } from '../some-storage.ts';

const PAGE = 4096;

let storage: Storage;
let vsc: StorVsc;
afterEach(async () => {
  const closing = vsc.close();
  await storage.end();
  await closing;
});

async function connected(vscOptions: Partial<StorVscOptions>, options: StorageOptions = {}) {
  storage = await someStorage(options);
  vsc = new StorVsc({ vmbus: storage.guest, ...vscOptions });
  await vsc.open();
  return openDisk(vsc);
}

/** Data packets that the host has taken, by channel. */
function received(): number[] {
  return storage.host.channels.map((channel) => channel.statistics.packetsReceived);
}

test('requests go round over all channels', async () => {
  const disk = await connected({ subChannels: 3 });
  await storage.until(() => vsc.channelCount === 4);
  const before = received();
  const pfns = storage.pages.allocate(16);

  await Promise.all(pfns.map((pfn, index) => disk.read(8 * index, 8, [pfn])));

  expect(received().map((count, index) => count - (before[index] as number))).toEqual([4, 4, 4, 4]);
  pfns.forEach((pfn, index) => {
    expect(storage.memory.page(pfn)).toEqual(storage.contents.subarray(index * PAGE, (index + 1) * PAGE));
  });
});

test('each channel has its own limit of requests under way; the rest waits and is served in order', async () => {
  const disk = await connected({ subChannels: 1, maxOutstanding: 2 }, { gated: true });
  const store = storage.store as GatedBackend;
  await storage.until(() => vsc.channelCount === 2);

  const reads = storage.pages.allocate(7).map((pfn, index) => disk.read(8 * index, 8, [pfn]));
  await storage.until(() => store.held.length === 4);
  await storage.settle();
  const atFirst = { held: store.held.length, ...vsc.inspect() };
  while (store.held.length > 0) {
    store.release();
    await storage.settle();
  }
  await Promise.all(reads);

  expect(atFirst).toMatchObject({ held: 4, outstanding: 4, waiting: 3, channels: 2 });
});

test.each([
  ['allows fewer', { maxSubChannels: 1 }, 2],
  ['allows none', { maxSubChannels: 0 }, 1],
])('a host that %s is asked for no more', async (_what, options, channels) => {
  const disk = await connected({ subChannels: 5 }, options);

  await storage.settle();
  await disk.read(0, 8, storage.pages.allocate(1));

  expect(vsc.channelCount).toBe(channels);
  expect(storage.vsp.inspect()).toMatchObject({ refusedPackets: 0 });
});

test('below storage version 5.1 there are none', async () => {
  await connected({ subChannels: 5, versions: [0x0402] });

  await storage.settle();

  expect(vsc.channelCount).toBe(1);
});

test('each request ends exactly once when the guest closes with all channels busy', async () => {
  const disk = await connected({ subChannels: 2, maxOutstanding: 2 }, { gated: true });
  const store = storage.store as GatedBackend;
  await storage.until(() => vsc.channelCount === 3);
  const endings: string[] = [];
  for (const pfn of storage.pages.allocate(9)) {
    disk.read(0, 8, [pfn]).then(
      () => endings.push('done'),
      (error) => endings.push(error.code),
    );
  }
  await storage.until(() => store.held.length === 6);

  const closing = vsc.close();
  await storage.settle();
  store.releaseAll();
  await closing;
  await storage.settle();

  expect(endings).toHaveLength(9);
  expect(storage.vsp.inspect()).toMatchObject({ inFlight: 0, subChannels: 0 });
});

test('a host that vanishes ends every request once, and the disk can be opened anew on a bus that lives', async () => {
  const disk = await connected({ subChannels: 2, maxOutstanding: 2 }, { gated: true });
  const store = storage.store as GatedBackend;
  await storage.until(() => vsc.channelCount === 3);
  const endings: string[] = [];
  for (const pfn of storage.pages.allocate(9)) {
    disk.read(0, 8, [pfn]).then(
      () => endings.push('done'),
      (error) => endings.push(error.code),
    );
  }
  await storage.until(() => store.held.length === 6);

  storage.loopback.loseHost('the test says so');
  await storage.settle();

  expect(endings).toHaveLength(9);
  expect(endings).not.toContain('done');
  expect(vsc.isReady).toBe(false);
});

test('closed and opened again, the channels come back', async () => {
  await connected({ subChannels: 2 });
  await storage.until(() => vsc.channelCount === 3);

  await vsc.close();
  await vsc.open();
  await storage.until(() => vsc.channelCount === 3);
  const disk = await openDisk(vsc);
  const [pfn] = storage.pages.allocate(1) as [number];
  await disk.read(8, 8, [pfn]);

  expect(storage.memory.page(pfn)).toEqual(storage.contents.subarray(PAGE, 2 * PAGE));
});
