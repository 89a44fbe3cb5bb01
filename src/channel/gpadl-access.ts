/**
 * Which GPADLs were shared for reading only.
 *
 * GPADL messages have no place for it, and how Windows tells the host is not public. When both ends are in one process
 * they find each other through the guest's memory; of a foreign guest nothing is known, and its GPADLs count as
 * writable. The mark is advice (it makes live migration cheaper), no barrier.
 */
import type { GuestMemory } from '../memory/index.ts';

const readOnly = new WeakMap<ArrayBufferLike, Set<number>>();

/** Both ends see the same buffer, even where each has a `GuestMemory` of its own. */
function bufferOf(memory: GuestMemory): ArrayBufferLike | undefined {
  return memory.regions[0]?.bytes.buffer;
}

export function markReadOnly(memory: GuestMemory, gpadlId: number): void {
  const buffer = bufferOf(memory);
  if (buffer === undefined) return;
  const marked = readOnly.get(buffer) ?? new Set();
  readOnly.set(buffer, marked.add(gpadlId));
}

export function unmarkReadOnly(memory: GuestMemory, gpadlId: number): void {
  const buffer = bufferOf(memory);
  if (buffer !== undefined) readOnly.get(buffer)?.delete(gpadlId);
}

export function isReadOnly(memory: GuestMemory, gpadlId: number): boolean {
  const buffer = bufferOf(memory);
  return buffer !== undefined && readOnly.get(buffer)?.has(gpadlId) === true;
}
