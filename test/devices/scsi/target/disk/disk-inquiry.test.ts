import { describe, expect, test } from 'vitest';
import { ask, good, hex, refused, SRB, someDisk, untouched } from '../some-disk.ts';

const ascii = (text: string): Uint8Array => new TextEncoder().encode(text);

describe('standard INQUIRY data', () => {
  test('names a disk of Hyper-V in 104 bytes', async () => {
    const { unit } = someDisk();

    const answer = await ask(unit, '12 00 00 00 68 00', { data: 104 });

    expect(answer).toEqual(good(104));
    expect(answer.data).toEqual(
      Uint8Array.from([
        ...hex('00 00 05 02 63 00 00 02'),
        ...ascii('Msft    Virtual Disk    1.0 '),
        ...new Uint8Array(104 - 36),
      ]),
    );
  });

  test('is cut to the allocation length, and the rest of a longer buffer stays as it was', async () => {
    const { unit } = someDisk();

    const answer = await ask(unit, '12 00 00 00 24 00', { data: 48 });

    expect(answer).toEqual(good(36));
    expect(answer.data.subarray(28, 36)).toEqual(ascii('    1.0 '));
    expect(answer.data.subarray(36)).toEqual(untouched(12));
  });

  test('carries the names that the options give', async () => {
    const { unit } = someDisk({ vendor: 'Acme', product: 'Drum', revision: '7' });

    const { data } = await ask(unit, '12 00 00 00 24 00', { data: 36 });

    expect(new TextDecoder().decode(data.subarray(8))).toBe('Acme    Drum            7   ');
  });

  test.each([
    ['a page without EVPD', '12 00 80 00 24 00', 36],
    ['CmdDt', '12 02 00 00 24 00', 36],
    ['an allocation below 5', '12 00 00 00 04 00', 36],
    ['a VPD allocation below 4', '12 01 00 00 03 00', 36],
    ['a page that does not exist', '12 01 b7 00 ff 00', 255],
    ['a buffer shorter than the allocation', '12 00 00 00 24 00', 35],
    ['no buffer at all', '12 00 00 00 24 00', 0],
  ])('%s is refused and leaves the buffer as it was', async (_what, cdb, bufferBytes) => {
    const { unit } = someDisk();

    const answer = await ask(unit, cdb, bufferBytes === 0 ? {} : { data: bufferBytes });

    expect(answer).toEqual(refused(SRB.invalidRequest, 5, 0x24, 0));
    expect(answer.data).toEqual(untouched(bufferBytes));
  });

  test('a buffer that the guest offers for writing only is not written', async () => {
    const { unit } = someDisk();

    const answer = await ask(unit, '12 00 00 00 24 00', { data: untouched(36) });

    expect(answer).toEqual(refused(SRB.invalidRequest, 5, 0x24, 0));
    expect(answer.data).toEqual(untouched(36));
  });

  test('a name longer than its field is a usage error', () => {
    expect(() => someDisk({ vendor: 'ninechars' })).toThrow(expect.objectContaining({ code: 'ERR_ARGUMENT' }));
  });
});

describe('vital product data', () => {
  test('page 00 lists the pages in ascending order', async () => {
    const answer = await ask(someDisk().unit, '12 01 00 00 ff 00', { data: 255 });

    expect(answer).toEqual(good(10));
    expect(answer.data.subarray(0, 10)).toEqual(hex('00 00 00 06  00 80 83 b0 b1 b2'));
  });

  test('a probe of 4 bytes gets the header with the full length', async () => {
    const answer = await ask(someDisk().unit, '12 01 83 00 04 00', { data: 4 });

    expect(answer).toEqual(good(4));
    expect(answer.data).toEqual(hex('00 83 00 30'));
  });

  test('page 80 is the identity in hex digits, the same for the same store', async () => {
    const first = await ask(someDisk().unit, '12 01 80 00 ff 00', { data: 255 });
    const again = await ask(someDisk().unit, '12 01 80 00 ff 00', { data: 255 });

    expect(first).toEqual(good(36));
    expect(first.data.subarray(0, 4)).toEqual(hex('00 80 00 20'));
    expect(new TextDecoder().decode(first.data.subarray(4, 36))).toMatch(/^[0-9a-f]{32}$/);
    expect(again.data).toEqual(first.data);
  });

  test('page 83 holds a T10 designator and an NAA 6 designator of the same identity', async () => {
    const { unit } = someDisk();

    const { data } = await ask(unit, '12 01 83 00 ff 00', { data: 255 });

    expect(data.subarray(0, 4)).toEqual(hex('00 83 00 30'));
    expect(data.subarray(4, 16)).toEqual(Uint8Array.from([...hex('01 01 00 18'), ...ascii('Msft    ')]));
    expect(data.subarray(16, 32)).toEqual(unit.identity);
    expect(data.subarray(32, 40)).toEqual(hex('01 03 00 10  60 02 24 80'));
    expect(data.subarray(40, 52)).toEqual(unit.identity.subarray(0, 12));
  });

  test('page B0 tells the largest transfer, COMPARE AND WRITE and WRITE SAME in blocks, and nothing of UNMAP', async () => {
    const { unit } = someDisk({ blockBytes: 4096, maxTransferBytes: 0x40000 });

    const answer = await ask(unit, '12 01 b0 00 40 00', { data: 64 });

    expect(answer).toEqual(good(64));
    expect(answer.data).toEqual(
      Uint8Array.from([
        ...hex('00 b0 00 3c  01 20 00 01  00 00 00 40  00 00 00 40'),
        ...new Uint8Array(20),
        ...hex('00 00 00 00 00 00 40 00'),
        ...new Uint8Array(20),
      ]),
    );
  });

  test('page B2 of a disk that gives no space back says nothing', async () => {
    const answer = await ask(someDisk().unit, '12 01 b2 00 40 00', { data: 64 });

    expect(answer).toEqual(good(8));
    expect(answer.data.subarray(0, 8)).toEqual(hex('00 b2 00 04  00 00 00 00'));
  });

  test('page B1 says that nothing rotates', async () => {
    const { data } = await ask(someDisk().unit, '12 01 b1 00 40 00', { data: 64 });

    expect(data).toEqual(Uint8Array.from([...hex('00 b1 00 3c  00 01'), ...new Uint8Array(58)]));
  });
});
