/** The ordinary memory of these tests, and the same memory as plain bytes. */
import { GuestMemory } from '../../src/memory/guest-memory.ts';
import { PAGE_BYTES } from '../../src/memory/page.ts';

/**
 * Three regions in two buffers: pages 16..19 and 20..22 are adjacent in one buffer, page 19's neighbour in it; pages
 * 40..43 lie in another. Every page starts out filled with its own frame number.
 */
export function someMemory(): GuestMemory {
  const low = new ArrayBuffer(8 + 7 * PAGE_BYTES);
  const high = new SharedArrayBuffer(4 * PAGE_BYTES);
  const memory = new GuestMemory([
    { firstPfn: 40, bytes: new Uint8Array(high) },
    { firstPfn: 20, bytes: new Uint8Array(low, 8 + 4 * PAGE_BYTES, 3 * PAGE_BYTES) },
    { firstPfn: 16, bytes: new Uint8Array(low, 8, 4 * PAGE_BYTES) },
  ]);
  for (const pfn of SOME_PFNS) memory.page(pfn).fill(pfn);
  return memory;
}

/** Every page of `someMemory`. */
export const SOME_PFNS: readonly number[] = [16, 17, 18, 19, 20, 21, 22, 40, 41, 42, 43];

/** What `byteCount` bytes at `byteOffset` of these pages are while every page holds its frame number. */
export function bytesOfPages(pfns: readonly number[], byteOffset: number, byteCount: number): Uint8Array {
  const all = new Uint8Array(pfns.length * PAGE_BYTES);
  pfns.forEach((pfn, index) => {
    all.fill(pfn, index * PAGE_BYTES, (index + 1) * PAGE_BYTES);
  });
  return all.slice(byteOffset, byteOffset + byteCount);
}
