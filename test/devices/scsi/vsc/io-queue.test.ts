import fc from 'fast-check';
import { expect, test } from 'vitest';
import { IoQueue } from '../../../../src/devices/scsi/vsc/io-queue.ts';
import { ScsiIo } from '../../../../src/devices/scsi/vsc/scsi-io.ts';

test('what goes in first comes out first, as from a plain array', () => {
  fc.assert(
    fc.property(fc.array(fc.boolean()), (moves) => {
      const queue = new IoQueue();
      const model: ScsiIo[] = [];

      for (const isPush of moves) {
        if (isPush) {
          const io = new ScsiIo();
          queue.push(io);
          model.push(io);
        } else {
          expect(queue.shift()).toBe(model.shift());
        }
        expect(queue.length).toBe(model.length);
      }
    }),
  );
});
