/** A disk as an array of bytes, and random commands that a real one must carry out the same way. */
import fc from 'fast-check';
import { expect } from 'vitest';
import type { DiscardingBackend } from '../../src/devices/scsi/block-backend.ts';
import { ScatterView } from '../../src/memory/scatter-view.ts';

export type DiskCommand =
  | {
      readonly do: 'write';
      readonly block: number;
      readonly blocks: number;
      readonly fill: number;
      readonly fua: boolean;
    }
  | { readonly do: 'read'; readonly block: number; readonly blocks: number }
  | { readonly do: 'discard'; readonly block: number; readonly blocks: number }
  | { readonly do: 'zero'; readonly block: number; readonly blocks: number; readonly mayDeallocate: boolean }
  | { readonly do: 'flush' }
  | { readonly do: 'reopen' };

/**
 * Commands on a disk of so many blocks: mostly short, some of whole clusters, some over several.
 * @param clusterBlocks the size that the format thinks in
 */
export function diskCommands(blockCount: number, clusterBlocks: number): fc.Arbitrary<DiskCommand[]> {
  return fc.oneof(fineCommands(blockCount, clusterBlocks), coarseCommands(blockCount, clusterBlocks));
}

/** Little writes into clusters that are discarded whole, over and over: space is freed, and used again. */
function coarseCommands(blockCount: number, clusterBlocks: number): fc.Arbitrary<DiskCommand[]> {
  const cluster = fc.integer({ min: 0, max: Math.ceil(blockCount / clusterBlocks) - 1 });
  const write = fc
    .tuple(cluster, fc.integer({ min: 0, max: 12 }), fc.integer({ min: 1, max: 255 }))
    .map(([number, skip, fill]) => {
      const block = Math.min(number * clusterBlocks + skip, blockCount - 2);
      return { do: 'write', block, blocks: 2, fill, fua: false } as const;
    });
  const discard = cluster.map((number) => {
    const block = number * clusterBlocks;
    return { do: 'discard', block, blocks: Math.min(clusterBlocks, blockCount - block) } as const;
  });
  return fc.array(fc.oneof(write, discard, fc.constant({ do: 'flush' } as const)), { minLength: 5, maxLength: 30 });
}

function fineCommands(blockCount: number, clusterBlocks: number): fc.Arbitrary<DiskCommand[]> {
  const length = fc.oneof(fc.integer({ min: 1, max: 9 }), fc.integer({ min: 1, max: 2 * clusterBlocks + 3 }));
  const start = fc.oneof(
    fc.integer({ min: 0, max: blockCount - 1 }),
    fc.integer({ min: 0, max: Math.floor((blockCount - 1) / clusterBlocks) }).map((cluster) => cluster * clusterBlocks),
  );
  const range = fc
    .tuple(start, fc.oneof(length, fc.constant(clusterBlocks)))
    .map(([block, blocks]) => ({ block, blocks: Math.min(blocks, blockCount - block) }));
  const write = fc
    .tuple(range, fc.integer({ min: 1, max: 255 }), fc.boolean())
    .map(([where, fill, fua]) => ({ do: 'write', ...where, fill, fua }) as const);
  const command: fc.Arbitrary<DiskCommand> = fc.oneof(
    { arbitrary: write, weight: 6 },
    { arbitrary: range.map((where) => ({ do: 'read', ...where }) as const), weight: 3 },
    { arbitrary: range.map((where) => ({ do: 'discard', ...where }) as const), weight: 3 },
    {
      arbitrary: fc
        .tuple(range, fc.boolean())
        .map(([where, mayDeallocate]) => ({ do: 'zero', ...where, mayDeallocate }) as const),
      weight: 1,
    },
    { arbitrary: fc.constant({ do: 'flush' } as const), weight: 2 },
    { arbitrary: fc.constant({ do: 'reopen' } as const), weight: 1 },
  );
  return fc.array(command, { minLength: 1, maxLength: 30 });
}

/** Bytes that tell their place, so that a misplaced block shows. */
export function pattern(fill: number, offsetBytes: number, byteCount: number): Uint8Array {
  const bytes = new Uint8Array(byteCount).fill(fill);
  for (let at = 0; at < byteCount; at += 512) {
    new DataView(bytes.buffer).setUint32(at, (offsetBytes + at) / 512, true);
  }
  return bytes;
}

export async function readAll(disk: { sizeBytes: number; read: DiscardingBackend['read'] }): Promise<Uint8Array> {
  const bytes = new Uint8Array(disk.sizeBytes);
  await disk.read(0, ScatterView.over([bytes]));
  return bytes;
}

/** The bytes in pages that lie apart, as a guest's would. */
export function scattered(bytes: Uint8Array): ScatterView {
  const pages: Uint8Array[] = [];
  for (let at = 0; at < bytes.length; at += 4096) pages.push(bytes.slice(at, at + 4096));
  return ScatterView.over(pages);
}

/** Carries commands out on a disk and on the array, and compares after each read and at the end. */
export async function runAgainstModel(
  commands: readonly DiskCommand[],
  open: () => Promise<DiscardingBackend>,
  model: Uint8Array,
): Promise<void> {
  let disk = await open();
  const { blockBytes } = disk;
  for (const command of commands) {
    if (command.do === 'flush') {
      await disk.flush();
    } else if (command.do === 'reopen') {
      await disk.close();
      disk = await open();
    } else {
      const at = command.block * blockBytes;
      const byteCount = command.blocks * blockBytes;
      if (command.do === 'write') {
        const bytes = pattern(command.fill, at, byteCount);
        model.set(bytes, at);
        await disk.write(at, scattered(bytes), command.fua);
      } else if (command.do === 'discard') {
        if (disk.discardReadsZeros) model.fill(0, at, at + byteCount);
        await disk.discard(at, byteCount);
      } else if (command.do === 'zero') {
        model.fill(0, at, at + byteCount);
        await disk.writeZeroes(at, byteCount, command.mayDeallocate, false);
      } else {
        const view = scattered(new Uint8Array(byteCount).fill(0xa5));
        await disk.read(at, view);
        expect(Buffer.compare(view.toBytes(), model.subarray(at, at + byteCount))).toBe(0);
        const extents = await disk.extents(at, byteCount, 1000);
        expect(extents.reduce((sum, extent) => sum + extent.byteCount, 0)).toBe(byteCount);
        for (const extent of extents.filter(({ isZero }) => isZero)) {
          const zeros = model.subarray(extent.offsetBytes, extent.offsetBytes + extent.byteCount);
          expect(zeros.every((byte) => byte === 0)).toBe(true);
        }
      }
    }
  }
  expect(Buffer.compare(await readAll(disk), model)).toBe(0);
  await disk.close();
}
