/** What a VHDX does when the file under it fails. */
import { expect, test } from 'vitest';
import { openVhdxFile } from '../../../src/images/vhdx/open.ts';
import { pattern, readAll, scattered } from '../disk-model.ts';
import { JournalFile } from '../journal-file.ts';
import { MIB, someVhdx } from './some-vhdx.ts';

async function someDisk() {
  const file = new JournalFile(await someVhdx());
  return { file, disk: await openVhdxFile(file) };
}

/** What is found after a cut at this moment that loses all that it may. */
async function afterCut(file: JournalFile): Promise<Uint8Array> {
  return readAll(await openVhdxFile(new JournalFile(file.cut(file.changeCount, () => false))));
}

test.each(['write', 'sync', 'resize'] as const)(
  'a first write whose %s fails changes nothing, the next may succeed',
  async (failing) => {
    const { file, disk } = await someDisk();
    file.failing = failing;
    await expect(disk.write(MIB, scattered(pattern(1, MIB, 512)), false)).rejects.toThrow(`${failing} fails`);
    file.failing = undefined;
    expect((await readAll(disk)).every((byte) => byte === 0)).toBe(true);

    await disk.write(MIB, scattered(pattern(2, MIB, 512)), true);

    expect((await afterCut(file)).slice(MIB, MIB + 512)).toEqual(pattern(2, MIB, 512));
  },
);

test('a block whose place could not be filled leaves the place to the next', async () => {
  const { file, disk } = await someDisk();
  await disk.write(0, scattered(pattern(1, 0, 512)), true);
  file.failing = 'write';
  await expect(disk.write(MIB, scattered(pattern(2, MIB, 512)), false)).rejects.toThrow('write fails');
  file.failing = undefined;

  await disk.write(2 * MIB, scattered(pattern(3, 2 * MIB, 512)), true);

  expect(file.now.sizeBytes).toBe(6 * MIB);
  const bytes = await afterCut(file);
  expect(bytes.slice(2 * MIB, 2 * MIB + 512)).toEqual(pattern(3, 2 * MIB, 512));
  expect(bytes.slice(MIB, 2 * MIB).every((byte) => byte === 0)).toBe(true);
});

test.each(['write', 'sync'] as const)('a flush whose %s fails is made good by the next', async (failing) => {
  const { file, disk } = await someDisk();
  await disk.write(0, scattered(pattern(1, 0, 512)), false);
  await disk.discard(2 * MIB, MIB);
  file.failing = failing;
  await expect(disk.flush()).rejects.toThrow(`${failing} fails`);
  file.failing = undefined;

  await disk.flush();

  expect((await afterCut(file)).slice(0, 512)).toEqual(pattern(1, 0, 512));
});

test('space that a discard freed is used again only after a flush', async () => {
  const { file, disk } = await someDisk();
  await disk.write(0, scattered(pattern(1, 0, 512)), true);
  await disk.discard(0, MIB);

  await disk.write(MIB, scattered(pattern(2, MIB, 512)), false);
  expect(file.now.sizeBytes).toBe(6 * MIB);
  await disk.flush();
  await disk.write(2 * MIB, scattered(pattern(3, 2 * MIB, 512)), false);

  expect(file.now.sizeBytes).toBe(6 * MIB);
});

test('more changed blocks than one log entry holds are logged in several', async () => {
  // 512 table entries of 8 bytes are one sector of the log; 126 of those fit an entry. 64513 blocks need 127 sectors.
  const file = new JournalFile(await someVhdx({ diskBytes: 65536 * MIB }));
  const disk = await openVhdxFile(file);
  for (let block = 0; block < 65536; block += 512) {
    await disk.write(block * MIB, scattered(pattern(1, block * MIB, 512)), false);
  }

  await disk.flush();

  const after = await openVhdxFile(new JournalFile(file.cut(file.changeCount, () => false)));
  expect(after.inspect()).toMatchObject({ presentBlocks: 128 });
});
