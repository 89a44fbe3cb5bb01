/** A disk read by page frame numbers over VMBus, beside plain `fs` reads and NBD, same file, same chunks. */
import { read as fsRead } from 'node:fs';
import { mkdtemp, open, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type GuestEnvironment, HostVmbus } from '../../src/channel/index.ts';
import { overTransport } from '../../src/cli/demo/demo-transport.ts';
import { startDiskGuest } from '../../src/cli/disk-guest.ts';
import { controllerId } from '../../src/cli/served-disks.ts';
import { DiskUnit, MemoryBackend, ScsiController, StorVsp } from '../../src/devices/scsi/index.ts';
import { GuestMemory } from '../../src/memory/index.ts';
import { createLoopback } from '../../src/transports/loopback/index.ts';
import { NbdClient } from '../disk/nbd-client.ts';
import { NBD_SERVERS, startNbdServer } from '../disk/nbd-server.ts';
import { medianRatio, quantile } from '../harness/measure.ts';
import { type Row, round } from '../harness/report.ts';
import type { Suite, SuiteContext } from '../harness/suite.ts';

const FILE = process.execPath;
const PAGE_BYTES = 4096;
const ROUNDS = 21;
/** The compiler takes some thousand packets to settle; a round of the largest chunks is some dozen. */
const WARM_UP_READS = 6000;
/** Transfers under way at once, whichever the way. */
const OUTSTANDING = 32;
/** Pages for rings and the small buffers of the storage driver. */
const SPARE_PAGES = 256;

interface Load {
  readonly name: string;
  readonly pagesPerTransfer: number;
  readonly transfers: number;
  readonly isRandom: boolean;
}

const LOADS: readonly Load[] = [
  { name: '1 MiB chunks', pagesPerTransfer: 256, transfers: 80, isRandom: false },
  { name: '64 KiB chunks', pagesPerTransfer: 16, transfers: 640, isRandom: false },
  { name: '4 KiB at random', pagesPerTransfer: 1, transfers: 4_000, isRandom: true },
];

/** One way to read: begins a transfer into a slot's pages, says when it is done. */
interface Reader {
  readonly way: string;
  read(slot: number, offsetBytes: number, done: (error: unknown) => void): void;
  /** Around a burst of reads. */
  burst?(begin: () => void): void;
}

export const diskSuite: Suite = {
  name: 'disk',
  title: 'a disk read by page frame numbers, beside plain fs reads and NBD servers, same file, same chunks',
  async run(context) {
    const rows: Row[] = [];
    const loads = LOADS.filter(({ name }) => context.wants(name));
    for (const load of loads) {
      context.progress(load.name);
      rows.push(...(await runLoad(load, context)));
    }
    if (rows.length > 0) {
      context.note(`${FILE} from the page cache, ${OUTSTANDING} transfers under way; ${ROUNDS} rounds, ways in turns`);
      context.note('"x first": multiple of the plain reads\' speed, median of the rounds; p99 is the slowest round');
    }
    return rows;
  },
};

async function runLoad(load: Load, context: SuiteContext): Promise<Row[]> {
  const offsets = await offsetsOf(load, context);
  return await withPlain(load, (plain) =>
    withNbd(load, context, (nbd) =>
      withBus('loopback', load, (loopback) =>
        withMemoryDisk(load, (memory) =>
          withShm(load, context, (shm) => contend(load, offsets, [plain, loopback, memory, ...shm, ...nbd], context)),
        ),
      ),
    ),
  );
}

async function contend(
  load: Load,
  offsets: readonly number[],
  readers: readonly Reader[],
  { isQuick }: SuiteContext,
): Promise<Row[]> {
  const [rounds, warmUpRounds] = isQuick ? [3, 1] : [ROUNDS, Math.max(4, Math.ceil(WARM_UP_READS / offsets.length))];
  const speeds = readers.map(() => new Float64Array(rounds));
  const megabytes = (offsets.length * load.pagesPerTransfer * PAGE_BYTES) / 1e6;
  for (let turn = -warmUpRounds; turn < rounds; turn++) {
    // Who goes first alternates, so that nobody always finds the caches as another left them.
    const order = [...readers.entries()];
    for (const [index, reader] of turn % 2 === 0 ? order : order.reverse()) {
      const started = performance.now();
      await readAll(reader, offsets);
      if (turn >= 0) (speeds[index] as Float64Array)[turn] = (megabytes * 1000) / (performance.now() - started);
    }
  }
  const first = speeds[0] as Float64Array;
  return readers.map(({ way }, index) => {
    const own = speeds[index] as Float64Array;
    return {
      suite: diskSuite.name,
      contest: load.name,
      way,
      unit: 'MB/s',
      median: Math.round(quantile(own, 0.5)),
      p99: Math.round(quantile(own, 0.01)),
      best: Math.round(quantile(own, 1)),
      ratio: round(medianRatio(own, first)),
      details: {
        rounds,
        readsPerSecond: Math.round((quantile(own, 0.5) * 1e6) / (load.pagesPerTransfer * PAGE_BYTES)),
      },
    };
  });
}

/** Keeps all slots busy until every offset was read. */
function readAll(reader: Reader, offsets: readonly number[]): Promise<void> {
  let begun = 0;
  let done = 0;
  return new Promise((resolve, reject) => {
    const next = (slot: number): void => {
      if (begun === offsets.length) return;
      reader.read(slot, offsets[begun++] as number, (error) => {
        if (error !== null) reject(error);
        else if (++done === offsets.length) resolve();
        else next(slot);
      });
    };
    const begin = (): void => {
      for (let slot = 0; slot < OUTSTANDING; slot++) next(slot);
    };
    if (reader.burst === undefined) begin();
    else reader.burst(begin);
  });
}

async function offsetsOf(load: Load, { isQuick }: SuiteContext): Promise<number[]> {
  const handle = await open(FILE, 'r');
  const { size } = await handle.stat();
  await handle.close();
  const chunkBytes = load.pagesPerTransfer * PAGE_BYTES;
  // Whole chunks only: the ways differ in what they do with a file's end.
  const chunks = Math.floor(size / chunkBytes);
  const count = Math.min(isQuick ? 64 : load.transfers, load.isRandom ? load.transfers : chunks);
  let state = 1;
  return Array.from({ length: count }, (_, index) => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return (load.isRandom ? state % chunks : index) * chunkBytes;
  });
}

/** The floor: callbacks only, nothing checked. */
async function withPlain<Result>(load: Load, job: (reader: Reader) => Promise<Result>): Promise<Result> {
  const handle = await open(FILE, 'r');
  const chunkBytes = load.pagesPerTransfer * PAGE_BYTES;
  const slots = someSlots(chunkBytes);
  try {
    return await job({
      way: 'plain fs.read',
      read: (slot, offsetBytes, done) => {
        fsRead(handle.fd, slots[slot] as Uint8Array, 0, chunkBytes, offsetBytes, done);
      },
    });
  } finally {
    await handle.close();
  }
}

async function withBus<Result>(
  transport: 'loopback' | 'shm',
  load: Load,
  job: (reader: Reader) => Promise<Result>,
): Promise<Result> {
  const pageCount = OUTSTANDING * load.pagesPerTransfer + SPARE_PAGES;
  return await overTransport(transport, { path: FILE, readOnly: true }, pageCount, (environment) =>
    asGuest(environment, `VMBus by PFN over ${transport}`, load, job),
  );
}

/** The same without a file: what is left is the bus, the storage protocol and one copy. */
async function withMemoryDisk<Result>(load: Load, job: (reader: Reader) => Promise<Result>): Promise<Result> {
  const memory = GuestMemory.allocate(OUTSTANDING * load.pagesPerTransfer + SPARE_PAGES);
  const loopback = createLoopback({ memory });
  const contents = await readFile(FILE);
  const wholeBytes = contents.length - (contents.length % PAGE_BYTES);
  const controller = new ScsiController();
  controller.attach(new DiskUnit(new MemoryBackend(contents.subarray(0, wholeBytes))));
  const vsp = new StorVsp({ vmbus: new HostVmbus(loopback.host), controller, instanceId: controllerId(0) });
  vsp.start();
  try {
    return await asGuest(loopback.guest, 'the same, disk in memory', load, job);
  } finally {
    await vsp.stop();
    await controller.close();
  }
}

async function asGuest<Result>(
  environment: GuestEnvironment,
  way: string,
  load: Load,
  job: (reader: Reader) => Promise<Result>,
): Promise<Result> {
  const guest = await startDiskGuest(environment, {
    outstanding: OUTSTANDING,
    transferBytes: load.pagesPerTransfer * PAGE_BYTES,
  });
  const { disk, vmbus } = guest;
  const slots = Array.from({ length: OUTSTANDING }, () => vmbus.pages.allocate(load.pagesPerTransfer));
  const blocks = (load.pagesPerTransfer * PAGE_BYTES) / disk.blockBytes;
  try {
    return await job({
      way,
      read: (slot, offsetBytes, done) => {
        disk.read(offsetBytes / disk.blockBytes, blocks, slots[slot] as number[]).then(() => done(null), done);
      },
    });
  } finally {
    await guest.stop();
  }
}

async function withShm<Result>(
  load: Load,
  context: SuiteContext,
  job: (readers: readonly Reader[]) => Promise<Result>,
): Promise<Result> {
  if (process.platform === 'linux') return await withBus('shm', load, (reader) => job([reader]));
  context.note('without shm: it needs Linux');
  return await job([]);
}

async function withNbd<Result>(
  load: Load,
  context: SuiteContext,
  job: (readers: readonly Reader[]) => Promise<Result>,
): Promise<Result> {
  const directory = await mkdtemp(join(tmpdir(), 'vmbus-bench-'));
  const slots = someSlots(load.pagesPerTransfer * PAGE_BYTES);
  const readers: Reader[] = [];
  const ends: (() => void)[] = [];
  try {
    for (const kind of NBD_SERVERS) {
      try {
        const socket = join(directory, `${kind.name}.sock`);
        const server = await startNbdServer(kind, FILE, socket);
        ends.push(() => server.kill());
        const client = await NbdClient.connect(socket, OUTSTANDING);
        ends.push(() => client.close());
        readers.push({
          way: `NBD, ${kind.name}`,
          read: (slot, offsetBytes, done) =>
            client.read(slot, offsetBytes, slots[slot] as Uint8Array, () => done(null)),
          burst: (begin) => {
            client.cork();
            begin();
            client.uncork();
          },
        });
      } catch (error) {
        context.note(`${load.name} without NBD: ${(error as Error).message}`);
      }
    }
    return await job(readers);
  } finally {
    for (const end of ends.reverse()) end();
    await rm(directory, { recursive: true, force: true });
  }
}

function someSlots(byteCount: number): Uint8Array[] {
  return Array.from({ length: OUTSTANDING }, () => new Uint8Array(byteCount));
}
