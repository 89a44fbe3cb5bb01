import fc from 'fast-check';
import { expect, test } from 'vitest';
import { writeEmptyOverlay } from '../../src/images/overlay/create.ts';
import { openOverlayFile } from '../../src/images/overlay/overlay-image.ts';
import { diskCommands, runAgainstModel } from './disk-model.ts';
import { JournalFile, type SparseBytes } from './journal-file.ts';
import { cutAnywhere, someCuts } from './power-cut.ts';
import { someBase } from './some-base.ts';

/** Seven clusters of 64 KiB and a piece of an eighth. */
const BLOCKS = 7 * 128 + 40;

async function emptyOverlay(canPunch: boolean): Promise<SparseBytes> {
  const file = new JournalFile(undefined, { canPunch });
  await writeEmptyOverlay(file, someBase(BLOCKS));
  return file.now;
}

test.each([true, false])('an overlay holds what an array of bytes would hold (holes: %s)', async (canPunch) => {
  await fc.assert(
    fc.asyncProperty(diskCommands(BLOCKS, 128), async (commands) => {
      const base = someBase(BLOCKS);
      let file = new JournalFile(await emptyOverlay(canPunch), { canPunch });
      const open = () => {
        file = file.reopened();
        return openOverlayFile(file, someBase(BLOCKS));
      };

      await runAgainstModel(commands, open, base.bytes.slice());

      expect(Buffer.compare(base.bytes, someBase(BLOCKS).bytes)).toBe(0);
    }),
    { numRuns: 40 },
  );
});

test('a cut anywhere leaves an overlay that opens with everything that was flushed', async () => {
  const empty = await emptyOverlay(true);
  await fc.assert(
    fc.asyncProperty(diskCommands(BLOCKS, 128), someCuts, fc.boolean(), async (commands, cuts, canPunch) => {
      const start = async () => {
        const file = new JournalFile(empty.clone(), { canPunch });
        return { file, disk: await openOverlayFile(file, someBase(BLOCKS)) };
      };

      const wrong = await cutAnywhere(commands, cuts, start, (left) =>
        openOverlayFile(new JournalFile(left), someBase(BLOCKS)),
      );

      expect(wrong).toBeUndefined();
    }),
    { numRuns: 40 },
  );
});
