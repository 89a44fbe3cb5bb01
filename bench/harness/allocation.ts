/**
 * Counts the bytes that a piece of code allocates, by the heap statistics of V8.
 *
 * The heap is read before and after each slice of the work. A slice is short, so that what it allocates is still there
 * when it ends; slices in which the garbage collector ran show as a smaller heap and are left out. What the reading
 * itself allocates is measured with empty slices and taken off.
 */
import { getHeapStatistics } from 'node:v8';
import type { Way } from './measure.ts';

export interface Allocation {
  /** Bytes per operation on V8's heap. */
  readonly heapBytes: number;
  /** Bytes per operation outside it: the stores of array buffers. */
  readonly externalBytes: number;
  readonly operations: number;
  /** Slices left out because the collector ran. */
  readonly skippedSlices: number;
}

const SLICE_OPERATIONS = 1_024;

/** How `countAllocation` works, for the report. */
export const ALLOCATION_METHOD =
  `v8.getHeapStatistics() before and after each slice of ${SLICE_OPERATIONS} packets, after warm-up; ` +
  'the reading itself is taken off (median of empty slices), slices with a garbage collection are left out';

/** @param operations at least so many are counted */
export function countAllocation(way: Way, operations: number): Allocation {
  const own = ownCost();
  const slices = Math.ceil(operations / SLICE_OPERATIONS);
  let heapBytes = 0;
  let externalBytes = 0;
  let counted = 0;
  let skippedSlices = 0;
  globalThis.gc?.();
  while (counted < slices) {
    const before = getHeapStatistics();
    way.run(SLICE_OPERATIONS);
    const after = getHeapStatistics();
    const grown = after.used_heap_size - before.used_heap_size - own;
    if (grown < -own) {
      skippedSlices++;
      // Work that fills the heap in one slice could never be counted; a thousand misses are enough to see that.
      if (skippedSlices > 1_000 + slices) break;
      continue;
    }
    heapBytes += grown;
    externalBytes += after.external_memory - before.external_memory;
    counted++;
  }
  const total = Math.max(counted, 1) * SLICE_OPERATIONS;
  return {
    heapBytes: Math.max(heapBytes, 0) / total,
    externalBytes: Math.max(externalBytes, 0) / total,
    operations: total,
    skippedSlices,
  };
}

function ownCost(): number {
  const costs = new Float64Array(200);
  for (let index = 0; index < costs.length; index++) {
    const before = getHeapStatistics();
    const after = getHeapStatistics();
    costs[index] = after.used_heap_size - before.used_heap_size;
  }
  return costs.sort()[costs.length >>> 1] as number;
}
