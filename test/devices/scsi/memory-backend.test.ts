import { expect, test } from 'vitest';
import { BackendFault } from '../../../src/devices/scsi/block-backend.ts';
import { MemoryBackend } from '../../../src/devices/scsi/memory-backend.ts';
import { ScatterView } from '../../../src/memory/scatter-view.ts';

test('what is written is what is read, over views of several pieces', async () => {
  const disk = new MemoryBackend(new Uint8Array(2048));
  const source = ScatterView.over([new Uint8Array(300).fill(1), new Uint8Array(212).fill(2)]);
  const target = ScatterView.over([new Uint8Array(12), new Uint8Array(500)]);

  await disk.write(512, source);
  await disk.read(512, target);

  expect(target.toBytes()).toEqual(source.toBytes());
});

test('a range outside, and a write to a read-only disk, are refused', async () => {
  const disk = new MemoryBackend(new Uint8Array(1024), { readOnly: true });
  const view = ScatterView.over([new Uint8Array(1024)]);

  await expect(disk.read(512, view)).rejects.toMatchObject({ fault: BackendFault.OutOfRange });
  await expect(disk.write(0, view)).rejects.toMatchObject({ fault: BackendFault.ReadOnly });
});

test.each([0, 511, 513])('%i bytes make no disk', (byteCount) => {
  expect(() => new MemoryBackend(new Uint8Array(byteCount))).toThrow(expect.objectContaining({ code: 'ERR_ARGUMENT' }));
});
