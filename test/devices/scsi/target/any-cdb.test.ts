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

/** Opcodes that may change the disk: WRITE, WRITE AND VERIFY, WRITE SAME, UNMAP, COMPARE AND WRITE. */
const WRITES = [0x0a, 0x2a, 0xaa, 0x8a, 0x2e, 0xae, 0x8e, 0x41, 0x93, 0x42, 0x89];
/** Opcodes that take data from the buffer and change nothing: VERIFY, MODE SELECT, PERSISTENT RESERVE OUT. */
const TAKES_DATA = [0x2f, 0xaf, 0x8f, 0x15, 0x55, 0x5f];

test('any CDB with any buffer and direction', async () => {
  await fc.assert(
    fc.asyncProperty(cdb, fc.nat(2048), fc.nat(3), fc.nat(1), async (bytes, bufferBytes, direction, lun) => {
      const { unit, bytes: contents } = someDisk({ blocks: 8, isThin: true });
      const controller = new ScsiController();
      controller.attach(unit);
      const before = contents.slice();
      const buffer = untouched(bufferBytes);

      const answer = await ask(controller, bytes, { data: buffer, direction, lun });

      expect(answer.transferredBytes).toBeLessThanOrEqual(bufferBytes);
      const isWrite = WRITES.includes(bytes[0] as number);
      const mayFillBuffer = direction !== 0 && !isWrite && !TAKES_DATA.includes(bytes[0] as number);
      const filledBytes = mayFillBuffer ? answer.transferredBytes : 0;
      expect(Buffer.compare(answer.data.subarray(filledBytes), buffer.subarray(filledBytes))).toBe(0);
      // WRITE SAME(16) without a buffer (NDOB) looks at none, so at no direction either.
      const takesData = direction !== 1 || bytes[0] === 0x93;
      const mayFillDisk = isWrite && takesData && answer.scsiStatus === 0 && lun === 0;
      if (!mayFillDisk) expect(Buffer.compare(contents, before)).toBe(0);
      expect(answer.srbStatus).not.toBe(0);
      expect(answer.scsiStatus === 0).toBe(answer.srbStatus === 1);
    }),
    { numRuns: 1500 },
  );
});
