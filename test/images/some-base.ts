/** A read-only disk in memory whose every block tells its number. */
import { MemoryBackend } from '../../src/devices/scsi/memory-backend.ts';
import { pattern } from './disk-model.ts';

export function someBase(blockCount: number, blockBytes = 512): MemoryBackend & { readonly bytes: Uint8Array } {
  const bytes = pattern(0xba, 0, blockCount * blockBytes);
  return Object.assign(new MemoryBackend(bytes, { readOnly: true, blockBytes }), { bytes });
}
