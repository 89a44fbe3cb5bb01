import fc from 'fast-check';
import { expect, test } from 'vitest';
import { writeEmptyVhdx } from '../../src/images/vhdx/create.ts';
import { openVhdxFile } from '../../src/images/vhdx/open.ts';
import { diskCommands, pattern, readAll, runAgainstModel, scattered } from './disk-model.ts';
import { JournalFile, type SparseBytes } from './journal-file.ts';
import { cutAnywhere, everyCut, someCuts } from './power-cut.ts';

const MIB = 2 ** 20;
/** Three blocks of 1 MiB and a piece of a fourth. */
const BLOCKS = 3 * 2048 + 100;

async function emptyVhdx(fixed: boolean): Promise<SparseBytes> {
  const file = new JournalFile();
  await writeEmptyVhdx(file, { diskBytes: BLOCKS * 512, blockBytes: MIB, fixed });
  return file.now;
}

test.each([
  { fixed: false, canPunch: true },
  { fixed: false, canPunch: false },
  { fixed: true, canPunch: true },
  { fixed: true, canPunch: false },
])('a VHDX holds what an array of bytes would hold (%o)', async ({ fixed, canPunch }) => {
  const empty = await emptyVhdx(fixed);
  await fc.assert(
    fc.asyncProperty(diskCommands(BLOCKS, 2048), async (commands) => {
      let file = new JournalFile(empty.clone(), { canPunch });
      const open = () => {
        file = file.reopened();
        return openVhdxFile(file);
      };

      await runAgainstModel(commands, open, new Uint8Array(BLOCKS * 512));
    }),
    { numRuns: 15 },
  );
});

test('a cut anywhere leaves a VHDX that opens with everything that was flushed', async () => {
  const empty = await emptyVhdx(false);
  await fc.assert(
    fc.asyncProperty(diskCommands(BLOCKS, 2048), someCuts, fc.boolean(), async (commands, cuts, canPunch) => {
      const start = async () => {
        const file = new JournalFile(empty.clone(), { canPunch });
        return { file, disk: await openVhdxFile(file) };
      };

      const wrong = await cutAnywhere(commands, cuts, start, (left) => openVhdxFile(new JournalFile(left)));

      expect(wrong).toBeUndefined();
    }),
    { numRuns: 15, interruptAfterTimeLimit: 100_000, markInterruptAsFailure: true },
  );
}, 120_000);

/** A file whose last session ended in a cut right after a flush: the log is there, the table may not be. */
async function cutAfterFlush(): Promise<JournalFile> {
  const file = new JournalFile(await emptyVhdx(false));
  const disk = await openVhdxFile(file);
  await disk.write(MIB, scattered(pattern(7, MIB, 1024)), false);
  await disk.flush();
  return file;
}

test('every way to cut a session leaves a file that opens with what was flushed', async () => {
  const file = new JournalFile((await cutAfterFlush()).now);
  const disk = await openVhdxFile(file);
  const written = pattern(8, 0, 512);
  await disk.write(0, scattered(written), false);
  await disk.flush();
  const flushedAt = file.changeCount;
  await disk.close();
  const cuts = [...everyCut(file)];

  for (const { name, where, left } of cuts) {
    const after = await openVhdxFile(new JournalFile(left)).catch((error: unknown) => expect.fail(`${name}: ${error}`));

    const bytes = await readAll(after);
    expect(bytes.slice(MIB, MIB + 1024), name).toEqual(pattern(7, MIB, 1024));
    if (where >= flushedAt) expect(bytes.slice(0, 512), name).toEqual(written);
  }

  expect(cuts.length).toBeGreaterThan(20);
  expect(file.changeCount).toBeGreaterThan(flushedAt);
});

test('a replay that is cut itself can be done again', async () => {
  const dirty = (await cutAfterFlush()).cut(Number.POSITIVE_INFINITY, () => false);
  const replaying = new JournalFile(dirty.clone());
  await openVhdxFile(replaying);
  expect(replaying.changeCount).toBeGreaterThan(3);

  for (const { name, left } of everyCut(replaying)) {
    const after = await openVhdxFile(new JournalFile(left)).catch((error: unknown) => expect.fail(`${name}: ${error}`));

    const bytes = await readAll(after);
    expect(bytes.slice(MIB, MIB + 1024), name).toEqual(pattern(7, MIB, 1024));
    expect(bytes.slice(0, MIB).every((byte) => byte === 0)).toBe(true);
  }
});
