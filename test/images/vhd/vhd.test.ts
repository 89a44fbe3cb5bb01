import { mkdtemp, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterAll, expect, test } from 'vitest';
import { encodeFixedFooter, footerChecksum, geometryOf, parseFooter } from '../../../src/images/vhd/footer.ts';
import { createVhdImage, openVhdFile, openVhdImage } from '../../../src/images/vhd/vhd-image.ts';
import { diskCommands, runAgainstModel } from '../disk-model.ts';
import { JournalFile } from '../journal-file.ts';

const folder = await mkdtemp(join(tmpdir(), 'vmbus-vhd-'));
afterAll(() => rm(folder, { recursive: true }));

const ID = '00112233-4455-6677-8899-aabbccddeeff';
const BLOCKS = 300;
const DISK_BYTES = BLOCKS * 512;

function someVhd(change: (footer: DataView) => void = () => {}, rightSum = true): Uint8Array {
  const image = new Uint8Array(DISK_BYTES + 512);
  const footer = encodeFixedFooter(DISK_BYTES, ID, 1_700_000_000);
  const view = new DataView(footer.buffer);
  change(view);
  if (rightSum) view.setUint32(64, footerChecksum(footer));
  image.set(footer, DISK_BYTES);
  return image;
}

test('the footer of a fixed disk of 153600 bytes, byte for byte', () => {
  const footer = encodeFixedFooter(DISK_BYTES, ID, 946_684_801);

  expect(Buffer.from(footer.subarray(0, 85)).toString('hex')).toBe(
    // "conectix", features 2, version 1.0, no data offset
    '636f6e6563746978' +
      '00000002' +
      '00010000' +
      'ffffffffffffffff' +
      // one second after 2000, "vmbs" 1.0, "Wi2k"
      '00000001' +
      '766d6273' +
      '00010000' +
      '5769326b' +
      // original and current size; 4 cylinders, 4 heads, 17 sectors; type 2
      '0000000000025800' +
      '0000000000025800' +
      '00040411' +
      '00000002' +
      // one's complement of the sum of all other bytes; the id in Windows order; no saved state
      'ffffe8c9' +
      '33221100554477668899aabbccddeeff' +
      '00',
  );
  expect(footer.subarray(85).every((byte) => byte === 0)).toBe(true);
});

test('what is encoded is parsed again', () => {
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 2 ** 32 }), (sectors) => {
      const footer = parseFooter(encodeFixedFooter(sectors * 512, ID, 0));

      expect(footer).toMatchObject({
        currentBytes: BigInt(sectors) * 512n,
        diskType: 2,
        isChecksumRight: true,
        uniqueId: ID,
      });
    }),
  );
});

test.each([
  // Source: the formula of the specification's appendix, worked by hand.
  [68, { cylinders: 1, heads: 4, sectorsPerTrack: 17 }],
  [2 ** 21, { cylinders: 2080, heads: 16, sectorsPerTrack: 63 }],
  [2 ** 40, { cylinders: 65535, heads: 16, sectorsPerTrack: 255 }],
])('a disk of %i sectors has the geometry that old guests expect', (sectors, geometry) => {
  expect(geometryOf(sectors)).toEqual(geometry);
});

test.each<[name: string, image: Uint8Array, why: RegExp]>([
  ['too few bytes', new Uint8Array(511), /is no VHD: 511 bytes are too few/],
  ['no footer', new Uint8Array(2048), /is no VHD, or a truncated one/],
  ['a cut end', someVhd().slice(0, -512), /is no VHD, or a truncated one/],
  ['a wrong checksum', someVhd((view) => view.setUint8(100, 1), false), /checksum of its VHD footer is wrong/],
  ['another version', someVhd((view) => view.setUint32(12, 0x20000)), /VHD of version 0x20000/],
  ['dynamic type', someVhd((view) => view.setUint32(60, 3)), /is a dynamic VHD; only fixed/],
  ['differencing type', someVhd((view) => view.setUint32(60, 4)), /is a differencing VHD; only fixed/],
  ['unknown type', someVhd((view) => view.setUint32(60, 9)), /VHD disk type 9 does not exist/],
  ['a larger disk than file', someVhd((view) => view.setBigUint64(48, 2n ** 62n)), /is truncated: its footer names/],
  ['a smaller disk than file', someVhd((view) => view.setBigUint64(48, 512n)), /is corrupt: its footer names/],
  ['no disk at all', encodeFixedFooter(0, ID, 0), /0 bytes do not make a disk/],
  ['a saved state', someVhd((view) => view.setUint8(84, 1)), /belongs to a suspended machine/],
])('a VHD with %s is refused with one line', async (_name, image, why) => {
  const error = await openVhdFile(new JournalFile(image)).catch((reason: unknown) => reason);

  expect(error).toMatchObject({ code: 'ERR_BACKEND', message: expect.stringMatching(why) });
  expect((error as Error).message).toMatch(/^disk\.img [^\n]*$/);
});

test('a VHD of a suspended machine can be read', async () => {
  const image = someVhd((view) => view.setUint8(84, 1));

  const disk = await openVhdFile(new JournalFile(image, { readOnly: true }));

  expect(disk.readOnly).toBe(true);
});

test.each([true, false])(
  'a VHD holds what an array of bytes would hold, and keeps its footer (holes: %s)',
  async (canPunch) => {
    await fc.assert(
      fc.asyncProperty(diskCommands(BLOCKS, 8), async (commands) => {
        let file = new JournalFile(someVhd(), { canPunch });
        const open = () => {
          file = file.reopened();
          return openVhdFile(file);
        };

        await runAgainstModel(commands, open, new Uint8Array(DISK_BYTES));

        expect(file.now.toBytes().subarray(DISK_BYTES)).toEqual(someVhd().subarray(DISK_BYTES));
      }),
      { numRuns: 30 },
    );
  },
);

test('a VHD that we make opens, takes no space, and is named by its own id', async () => {
  const path = join(folder, 'made.vhd');

  await createVhdImage(path, 64 * 2 ** 20, 1_700_000_000);

  const disk = await openVhdImage(path);
  expect(disk.sizeBytes).toBe(64 * 2 ** 20);
  expect(disk.identity).toMatch(/^vhd:[0-9a-f-]{36}$/);
  await disk.close();
  expect((await stat(path)).blocks).toBeLessThan(1024);
});

test.each([0, 511, 2 ** 50, Number.NaN])('a VHD of %d bytes cannot be made', async (bytes) => {
  await expect(createVhdImage(join(folder, 'no.vhd'), bytes, 0)).rejects.toMatchObject({ code: 'ERR_ARGUMENT' });
});
