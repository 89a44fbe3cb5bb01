/** The ordinary case: host and guest on the loopback, a controller with one disk of 512 KiB at 0:0:0. */
import { GuestVmbus, type GuestVmbusOptions, HostVmbus, type PagePinner } from '../../../src/channel/index.ts';
import type { BlockBackend } from '../../../src/devices/scsi/block-backend.ts';
import { MemoryBackend } from '../../../src/devices/scsi/memory-backend.ts';
import { ScsiController } from '../../../src/devices/scsi/target/controller.ts';
import { DiskUnit } from '../../../src/devices/scsi/target/disk/disk-unit.ts';
import { StorVsp } from '../../../src/devices/scsi/vsp/storvsp.ts';
import { GuestMemory } from '../../../src/memory/guest-memory.ts';
import { createLoopback } from '../../../src/transports/loopback/index.ts';
import { GatedBackend } from './gated-backend.ts';

export const INSTANCE_ID = '11111111-2222-3333-4444-555555555555';
/** 1024 blocks whose bytes differ from place to place. */
const CONTENTS = Uint8Array.from({ length: 512 * 1024 }, (_, index) => (index * 7 + (index >>> 9) * 13) & 0xff);

export interface StorageOptions {
  /** The store waits for the test: see `GatedBackend`. */
  gated?: boolean;
  /** Any store instead of the usual disk in memory. */
  store?: BlockBackend;
  readOnly?: boolean;
  maxInFlight?: number;
  maxTransferBytes?: number;
  maxSubChannels?: number;
  /** For the guest's bus. */
  guest?: GuestVmbusOptions;
  /** Makes the guest's pages absent for the host until it says so. */
  pinner?: PagePinner;
}

export type Storage = Awaited<ReturnType<typeof someStorage>>;

export async function someStorage(options: StorageOptions = {}) {
  const memory = GuestMemory.allocate(2048, { firstPfn: 0x100 });
  const loopback = createLoopback({ memory });
  const host = new HostVmbus(loopback.host, options.pinner === undefined ? {} : { pinner: options.pinner });
  const guest = new GuestVmbus(loopback.guest, options.guest);
  const contents = CONTENTS.slice();
  const plain =
    options.store ?? new MemoryBackend(contents, { readOnly: options.readOnly ?? false, identity: 'disk of the test' });
  const store = options.gated === true ? new GatedBackend(plain) : plain;
  const controller = new ScsiController();
  controller.attach(new DiskUnit(store));
  const vsp = new StorVsp({
    vmbus: host,
    controller,
    instanceId: INSTANCE_ID,
    ...(options.maxInFlight === undefined ? {} : { maxInFlight: options.maxInFlight }),
    ...(options.maxSubChannels === undefined ? {} : { maxSubChannels: options.maxSubChannels }),
    ...(options.maxTransferBytes === undefined ? {} : { maxTransferBytes: options.maxTransferBytes }),
  });
  vsp.start();
  await guest.connect();
  return {
    memory,
    loopback,
    host,
    guest,
    pages: guest.pages,
    contents,
    store,
    controller,
    vsp,
    /** Turns of the event loop until `condition` holds. @throws Error if it never does */
    async until(condition: () => boolean): Promise<void> {
      for (let turns = 0; !condition(); turns++) {
        if (turns > 10_000) throw new Error(`never came true: ${condition}`);
        await turn();
      }
    },
    /** Enough turns for everything that can happen now to happen. */
    async settle(): Promise<void> {
      for (let turns = 0; turns < 50; turns++) await turn();
    },
    /** Ends what the test left open; the stores are let go first. */
    async end(): Promise<void> {
      if (store instanceof GatedBackend) store.releaseAll();
      await vsp.stop();
    },
  };
}

function turn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}
