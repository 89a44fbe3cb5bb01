/** A CD drive, by bytes worked out from MMC-6 and MMC-3. */
import { describe, expect, test } from 'vitest';
import type { BlockBackend } from '../../../../../src/devices/scsi/block-backend.ts';
import { MemoryBackend } from '../../../../../src/devices/scsi/memory-backend.ts';
import { CdUnit } from '../../../../../src/devices/scsi/target/cd/cd-unit.ts';
import { type Answer, ask, good, hex, refused, SRB } from '../some-disk.ts';

/** A CD of 1000 blocks, block n filled with n mod 256. */
function someCd(blocks = 1000) {
  const bytes = new Uint8Array(blocks * 2048);
  for (let block = 0; block < blocks; block++) bytes.fill(block, block * 2048, (block + 1) * 2048);
  return new CdUnit(new MemoryBackend(bytes, { blockBytes: 2048, readOnly: true, identity: 'an ISO image' }));
}

/** A DVD, which is not there: the commands about it read none of its blocks. */
function someDvd() {
  const backend: BlockBackend = Object.assign(
    Object.create(new MemoryBackend(new Uint8Array(2048), { blockBytes: 2048 })),
    { sizeBytes: 2_000_000 * 2048 },
  );
  return new CdUnit(backend);
}

const filled = ({ data, transferredBytes }: Answer): Uint8Array => data.subarray(0, transferredBytes);
const invalidField = refused(SRB.invalidRequest, 5, 0x24, 0);
const noMedium = refused(SRB.error, 2, 0x3a, 0);
const TEST_UNIT_READY = '00 00 00 00 00 00';

test('INQUIRY says a removable CD drive', async () => {
  const { data } = await ask(someCd(), '12 00 00 00 24 00', { data: 36 });

  expect(data.subarray(0, 8)).toEqual(hex('05 80 05 02 63 00 00 02'));
  expect(new TextDecoder().decode(data.subarray(8))).toBe('Msft    Virtual CD/ROM  1.0 ');
});

test('its vital pages are 00, 80 and 83, of type 5', async () => {
  const { data } = await ask(someCd(), '12 01 00 00 07 00', { data: 7 });

  expect(data).toEqual(hex('05 00 00 03  00 80 83'));
});

test('READ CAPACITY and READ count blocks of 2048 bytes', async () => {
  const cd = someCd();

  const capacity = await ask(cd, '25', { data: 8 });
  const read10 = await ask(cd, '28 00 00 00 00 05 00 00 02 00', { data: 4096 });
  const read12 = await ask(cd, 'a8 00 00 00 03 e7 00 00 00 01 00 00', { data: 2048 });

  expect(capacity.data).toEqual(hex('00 00 03 e7  00 00 08 00'));
  expect([read10.data[0], read10.data[2048], read12.data[0]]).toEqual([5, 6, 999 & 0xff]);
  expect(await ask(cd, '28 00 00 00 03 e8 00 00 01 00', { data: 2048 })).toEqual(refused(SRB.error, 5, 0x21, 0));
});

test.each(['2a 00 00 00 00 00 00 00 01 00', '35', '41 00 00 00 00 00 00 00 01 00', '42', 'be'])(
  'what writes, and what it does not know, is an unknown command (%s)',
  async (cdb) => {
    expect(await ask(someCd(), cdb, { data: new Uint8Array(2048) })).toEqual(refused(SRB.invalidRequest, 5, 0x20, 0));
  },
);

test('a store with other blocks makes no CD', () => {
  expect(() => new CdUnit(new MemoryBackend(new Uint8Array(2048)))).toThrow(
    expect.objectContaining({ code: 'ERR_ARGUMENT' }),
  );
});

describe('READ TOC', () => {
  test.each([
    [
      'tracks, by block',
      '43 00 00 00 00 00 00 00 ff 00',
      '00 12 01 01  00 14 01 00 00 00 00 00  00 14 aa 00 00 00 03 e8',
    ],
    [
      'tracks, by minute, second and frame',
      '43 02 00 00 00 00 01 00 ff 00',
      // 1000 + 150 blocks are 15 seconds and 25 frames.
      '00 12 01 01  00 14 01 00 00 00 02 00  00 14 aa 00 00 00 0f 19',
    ],
    ['the lead-out alone', '43 00 00 00 00 00 aa 00 ff 00', '00 0a 01 01  00 14 aa 00 00 00 03 e8'],
    ['sessions', '43 00 01 00 00 00 00 00 ff 00', '00 0a 01 01  00 14 01 00 00 00 00 00'],
    [
      'the lead-in as it is',
      '43 02 02 00 00 00 00 00 ff 00',
      `00 2e 01 01  01 14 00 a0 00 00 00 00 01 00 00  01 14 00 a1 00 00 00 00 01 00 00
       01 14 00 a2 00 00 00 00 00 0f 19  01 14 00 01 00 00 00 00 00 02 00`,
    ],
  ])('lists %s', async (_what, cdb, expected) => {
    expect(filled(await ask(someCd(), cdb, { data: 255 }))).toEqual(hex(expected));
  });

  test('of a DVD ends where minutes do', async () => {
    const toc = filled(await ask(someDvd(), '43 02 00 00 00 00 00 00 ff 00', { data: 255 }));

    expect(toc.subarray(16)).toEqual(hex('00 ff 3b 4a'));
  });

  test.each([
    ['a track that is not there', '43 00 00 00 00 00 02 00 ff 00'],
    ['CD-TEXT', '43 00 05 00 00 00 00 00 ff 00'],
  ])('of %s is refused', async (_what, cdb) => {
    expect(await ask(someCd(), cdb, { data: 255 })).toEqual(invalidField);
  });
});

describe('GET CONFIGURATION', () => {
  test('lists the features of a CD drive with a CD', async () => {
    expect(filled(await ask(someCd(), '46 00 00 00 00 00 00 00 ff 00', { data: 255 }))).toEqual(
      hex(`00 00 00 40 00 00 00 08
           00 00 03 08  00 10 00 00  00 08 01 00
           00 01 0b 08  00 00 00 01 00 00 00 00
           00 03 03 04  29 00 00 00
           00 10 01 08  00 00 08 00 00 01 00 00
           00 1e 01 04  00 00 00 00
           00 1f 00 00
           01 00 03 00`),
    );
  });

  test('with a DVD names the profile of a DVD', async () => {
    expect(filled(await ask(someDvd(), '46 00 00 00 00 00 00 00 08 00', { data: 8 })).subarray(6)).toEqual(
      hex('00 10'),
    );
  });

  test('of current features leaves out those of the other medium', async () => {
    const cd = someCd();
    const features = filled(await ask(cd, '46 01 00 1e 00 00 00 00 ff 00', { data: 255 }));

    expect(features).toEqual(hex('00 00 00 10 00 00 00 08  00 1e 01 04 00 00 00 00  01 00 03 00'));
  });

  test('of one feature gives it, or nothing', async () => {
    expect(filled(await ask(someCd(), '46 02 00 03 00 00 00 00 ff 00', { data: 255 }))).toEqual(
      hex('00 00 00 0c 00 00 00 08  00 03 03 04 29 00 00 00'),
    );
    expect(filled(await ask(someCd(), '46 02 00 21 00 00 00 00 ff 00', { data: 255 }))).toEqual(
      hex('00 00 00 04 00 00 00 08'),
    );
  });

  test('of a reserved kind is refused', async () => {
    expect(await ask(someCd(), '46 03 00 00 00 00 00 00 ff 00', { data: 255 })).toEqual(invalidField);
  });
});

test('MODE SENSE 6 and 10 give the capabilities page', async () => {
  const page = '2a 14 0b 00 70 00 29 00 1b 90 00 00 00 00 1b 90 00 00 00 00 00 00';

  expect(filled(await ask(someCd(), '1a 00 2a 00 80 00', { data: 128 }))).toEqual(hex(`19 00 00 00 ${page}`));
  expect(filled(await ask(someCd(), '5a 00 3f 00 00 00 00 00 80 00', { data: 128 }))).toEqual(
    hex(`00 1c 00 00 00 00 00 00 ${page}`),
  );
  expect(await ask(someCd(), '1a 00 08 00 80 00', { data: 128 })).toEqual(invalidField);
  expect(await ask(someCd(), '1a 00 ea 00 80 00', { data: 128 })).toEqual(refused(SRB.invalidRequest, 5, 0x39, 0));
});

test('READ DISC INFORMATION: one session, complete, finalized', async () => {
  expect(filled(await ask(someCd(), '51 00 00 00 00 00 00 00 22 00', { data: 34 }))).toEqual(
    hex(`00 20 0e 01 01 01 01 20 00 00 00 00 00 00 00 00 ff ff ff ff ff ff ff ff ${'00 '.repeat(10)}`),
  );
  expect(await ask(someCd(), '51 01 00 00 00 00 00 00 22 00', { data: 34 })).toEqual(invalidField);
});

test('READ TRACK INFORMATION: the one track, by block, track or session', async () => {
  const expected = hex(`00 22 01 01 00 04 01 00 ${'00 '.repeat(16)} 00 00 03 e8 ${'00 '.repeat(8)}`);

  for (const asked of ['00 00 00 03 e7', '01 00 00 00 01', '02 00 00 00 01']) {
    expect(filled(await ask(someCd(), `52 ${asked} 00 00 24 00`, { data: 36 }))).toEqual(expected);
  }
  for (const asked of ['00 00 00 03 e8', '01 00 00 00 02', '03 00 00 00 01']) {
    expect(await ask(someCd(), `52 ${asked} 00 00 24 00`, { data: 36 })).toEqual(invalidField);
  }
});

describe('the tray', () => {
  const EJECT = '1b 00 00 00 02 00';
  const LOAD = '1b 00 00 00 03 00';
  const EVENT = '4a 01 00 00 10 00 00 00 08 00';
  const event = async (cd: CdUnit) => filled(await ask(cd, EVENT, { data: 8 })).subarray(4, 6);

  test('opens: there is no medium, and the event says so once', async () => {
    const cd = someCd();

    expect(await ask(cd, EJECT)).toEqual(good(0));

    expect(await event(cd)).toEqual(hex('03 00'));
    expect(await event(cd)).toEqual(hex('00 00'));
    expect(await ask(cd, TEST_UNIT_READY)).toEqual(noMedium);
    expect(await ask(cd, '25', { data: 8 })).toEqual(noMedium);
    expect(await ask(cd, '28 00 00 00 00 00 00 00 01 00', { data: 2048 })).toEqual(noMedium);
    expect(await ask(cd, '43 00 00 00 00 00 00 00 ff 00', { data: 255 })).toEqual(noMedium);
    expect(filled(await ask(cd, '46 00 00 00 00 00 00 00 08 00', { data: 8 })).subarray(6)).toEqual(hex('00 00'));
  });

  test('closes: the medium may have changed, and is there', async () => {
    const cd = someCd();
    await ask(cd, EJECT);

    expect(await ask(cd, LOAD)).toEqual(good(0));

    expect(await event(cd)).toEqual(hex('02 02'));
    expect(await ask(cd, TEST_UNIT_READY)).toEqual(refused(SRB.error, 6, 0x28, 0));
    expect(await ask(cd, TEST_UNIT_READY)).toEqual(good(0));
  });

  test('stays shut while removal is prevented', async () => {
    const cd = someCd();
    await ask(cd, '1e 00 00 00 01 00');

    expect(await ask(cd, EJECT)).toEqual(refused(SRB.invalidRequest, 5, 0x53, 2));
    await ask(cd, '1e 00 00 00 00 00');
    expect(await ask(cd, EJECT)).toEqual(good(0));
  });

  test('may be opened by the host all the same, and another image put in under the same name', async () => {
    const cd = someCd();
    const first = cd.backend;
    const serialOf = async () => filled(await ask(cd, '12 01 80 00 ff 00', { data: 255 }));
    const serial = await serialOf();
    await ask(cd, '1e 00 00 00 01 00');

    cd.eject();
    const before = cd.insert(new MemoryBackend(new Uint8Array(10 * 2048), { blockBytes: 2048, identity: 'another' }));
    await ask(cd, TEST_UNIT_READY);

    expect(before).toBe(first);
    expect((await ask(cd, '25', { data: 8 })).data).toEqual(hex('00 00 00 09  00 00 08 00'));
    expect(await serialOf()).toEqual(serial);
  });

  test('an event that its answer has no room for waits', async () => {
    const cd = someCd();
    await ask(cd, EJECT);

    await ask(cd, '4a 01 00 00 10 00 00 00 04 00', { data: 4 });

    expect(await event(cd)).toEqual(hex('03 00'));
  });

  test('has nothing to say in other classes, and only when polled', async () => {
    expect(filled(await ask(someCd(), '4a 01 00 00 02 00 00 00 08 00', { data: 8 }))).toEqual(hex('00 02 80 10'));
    expect(await ask(someCd(), '4a 00 00 00 10 00 00 00 08 00', { data: 8 })).toEqual(invalidField);
  });

  test('MECHANISM STATUS knows one slot', async () => {
    expect(filled(await ask(someCd(), 'bd 00 00 00 00 00 00 00 00 0c 00 00', { data: 12 }))).toEqual(
      hex('00 00 00 00 00 01 00 04  80 00 00 00'),
    );
  });

  test('power conditions are refused', async () => {
    expect(await ask(someCd(), '1b 00 00 00 31 00')).toEqual(invalidField);
  });
});
