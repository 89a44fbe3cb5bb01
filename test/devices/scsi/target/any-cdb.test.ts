/** Whatever a CDB says, it is answered once and touches no byte that it may not. */
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { ScsiController } from '../../../../src/devices/scsi/target/controller.ts';
import { Opcode } from '../../../../src/devices/scsi/target/opcodes.ts';
import { ask, someDisk, untouched } from './some-disk.ts';

const cdb = fc
  .tuple(
    fc.oneof(fc.constantFrom(...Object.values(Opcode)), fc.nat(255)),
    // Mostly small fields, so that many commands are legal; some of any size.
    fc.array(fc.oneof({ weight: 4, arbitrary: fc.constant(0) }, fc.nat(3), fc.nat(255)), {
      minLength: 15,
      maxLength: 15,
    }),
  )
  .map(([opcode, rest]) => Uint8Array.from([opcode, ...rest]));

test('any CDB with any buffer and direction', async () => {
  await fc.assert(
    fc.asyncProperty(cdb, fc.nat(2048), fc.nat(3), fc.nat(1), async (bytes, bufferBytes, direction, lun) => {
      const { unit, bytes: contents } = someDisk({ blocks: 8 });
      const controller = new ScsiController();
      controller.attach(unit);
      const before = contents.slice();
      const buffer = untouched(bufferBytes);

      const answer = await ask(controller, bytes, { data: buffer, direction, lun });

      expect(answer.transferredBytes).toBeLessThanOrEqual(bufferBytes);
      const isWrite = [0x0a, 0x2a, 0xaa, 0x8a].includes(bytes[0] as number);
      const mayFillBuffer = direction !== 0 && !isWrite;
      const filledBytes = mayFillBuffer ? answer.transferredBytes : 0;
      expect(Buffer.compare(answer.data.subarray(filledBytes), buffer.subarray(filledBytes))).toBe(0);
      const mayFillDisk = isWrite && direction !== 1 && answer.scsiStatus === 0 && lun === 0;
      if (!mayFillDisk) expect(Buffer.compare(contents, before)).toBe(0);
      expect(answer.srbStatus).not.toBe(0);
      expect(answer.scsiStatus === 0).toBe(answer.srbStatus === 1);
    }),
    { numRuns: 1500 },
  );
});
