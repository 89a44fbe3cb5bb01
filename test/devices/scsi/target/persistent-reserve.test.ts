/** PERSISTENT RESERVE IN and OUT, RESERVE and RELEASE, between guests that share a disk. Bytes from SPC-4. */
import { describe, expect, test } from 'vitest';
import { MemoryBackend } from '../../../../src/devices/scsi/memory-backend.ts';
import { DiskUnit } from '../../../../src/devices/scsi/target/disk/disk-unit.ts';
import { type Answer, ask, good, hex, refused, SRB } from './some-disk.ts';

/** Units of as many guests over one disk of 16 blocks. */
function guests(count: number, names: string[] = []): DiskUnit[] {
  const backend = new MemoryBackend(new Uint8Array(16 * 512));
  return Array.from(
    { length: count },
    (_, index) => new DiskUnit(backend, names[index] === undefined ? {} : { initiator: names[index] }),
  );
}

const key = (value: number): Uint8Array => Uint8Array.of(0, 0, 0, 0, 0, 0, 0, value);

interface Out {
  key?: number;
  newKey?: number;
  type?: number;
  scope?: number;
  flags?: number;
}

/** PERSISTENT RESERVE OUT. */
function reserveOut(unit: DiskUnit, action: number, { key: own = 0, newKey = 0, type = 0, scope = 0, flags = 0 }: Out) {
  const list = new Uint8Array(24);
  list.set(key(own), 0);
  list.set(key(newKey), 8);
  list[20] = flags;
  return ask(unit, Uint8Array.of(0x5f, action, (scope << 4) | type, 0, 0, 0, 0, 0, 24, 0), { data: list });
}

const REGISTER = 0;
const RESERVE = 1;
const RELEASE = 2;
const CLEAR = 3;
const PREEMPT = 4;
const PREEMPT_AND_ABORT = 5;
const REGISTER_AND_IGNORE = 6;

const register = (unit: DiskUnit, newKey: number, own = 0) => reserveOut(unit, REGISTER, { key: own, newKey });
const read = (unit: DiskUnit) => ask(unit, '28 00 00 00 00 00 00 00 01 00', { data: 512 });
const write = (unit: DiskUnit) => ask(unit, '2a 00 00 00 00 00 00 00 01 00', { data: new Uint8Array(512) });
const testReady = (unit: DiskUnit) => ask(unit, '00 00 00 00 00 00');

async function keysOf(unit: DiskUnit): Promise<Uint8Array> {
  const answer = await ask(unit, '5e 00 00 00 00 00 00 00 ff 00', { data: 255 });
  return answer.data.subarray(0, answer.transferredBytes);
}

async function reservationOf(unit: DiskUnit): Promise<Uint8Array> {
  const answer = await ask(unit, '5e 01 00 00 00 00 00 00 ff 00', { data: 255 });
  return answer.data.subarray(0, answer.transferredBytes);
}

const conflict = expect.objectContaining({ srbStatus: SRB.error, scsiStatus: 0x18, sense: undefined });
const attention = (ascq: number) => refused(SRB.error, 6, 0x2a, ascq);
const outcomeOf = ({ scsiStatus }: Answer) => ({ 0: 'good', 24: 'conflict' })[scsiStatus] ?? 'check';

describe('registering', () => {
  test('adds a key, counts the change, and READ KEYS lists it for everybody', async () => {
    const [one, other] = guests(2) as [DiskUnit, DiskUnit];

    expect(await register(one, 0x11)).toEqual(good(24));
    expect(await register(other, 0x22)).toEqual(good(24));

    expect(await keysOf(one)).toEqual(hex('00 00 00 02 00 00 00 10  00 00 00 00 00 00 00 11  00 00 00 00 00 00 00 22'));
    expect(await keysOf(other)).toEqual(await keysOf(one));
  });

  test('needs the key that is registered, or none', async () => {
    const [one] = guests(1) as [DiskUnit];

    expect(await register(one, 0x11, 0x99)).toEqual(conflict);
    await register(one, 0x11);
    expect(await register(one, 0x12)).toEqual(conflict);
    expect(await register(one, 0x12, 0x11)).toEqual(good(24));

    expect(await keysOf(one)).toEqual(hex('00 00 00 02 00 00 00 08  00 00 00 00 00 00 00 12'));
  });

  test('and ignoring the key needs none', async () => {
    const [one] = guests(1) as [DiskUnit];
    await register(one, 0x11);

    expect(await reserveOut(one, REGISTER_AND_IGNORE, { key: 0x99, newKey: 0x13 })).toEqual(good(24));
    expect((await keysOf(one)).subarray(8)).toEqual(key(0x13));
  });

  test('key 0 takes the registration back, and what it held', async () => {
    const [one, other] = guests(2) as [DiskUnit, DiskUnit];
    await register(one, 0x11);
    await reserveOut(one, RESERVE, { key: 0x11, type: 1 });

    await register(one, 0, 0x11);

    expect((await keysOf(other)).length).toBe(8);
    expect((await reservationOf(other)).length).toBe(8);
    expect(await write(other)).toEqual(good(512));
  });

  test('READ KEYS is cut to the allocation length, with the full length in its header', async () => {
    const [one] = guests(1) as [DiskUnit];
    await register(one, 0x11);

    const { data } = await ask(one, '5e 00 00 00 00 00 00 00 08 00', { data: 8 });

    expect(data).toEqual(hex('00 00 00 01 00 00 00 08'));
  });

  test('a guest that comes back under its name finds its registration', async () => {
    const backend = new MemoryBackend(new Uint8Array(512));
    await register(new DiskUnit(backend, { initiator: 'guest 7' }), 0x11);

    const back = new DiskUnit(backend, { initiator: 'guest 7' });

    expect(await reserveOut(back, RESERVE, { key: 0x11, type: 3 })).toEqual(good(24));
  });
});

describe('a reservation', () => {
  /** What the holder, another registrant and a stranger may do. */
  const table: [string, number, string, string, string][] = [
    ['write exclusive', 1, 'rw', 'r-', 'r-'],
    ['exclusive access', 3, 'rw', '--', '--'],
    ['write exclusive, registrants only', 5, 'rw', 'rw', 'r-'],
    ['exclusive access, registrants only', 6, 'rw', 'rw', '--'],
    ['write exclusive, all registrants', 7, 'rw', 'rw', 'r-'],
    ['exclusive access, all registrants', 8, 'rw', 'rw', '--'],
  ];

  test.each(table)('%s (%i) lets holder %s, registrant %s, stranger %s', async (_name, type, ...expected) => {
    const units = guests(3) as [DiskUnit, DiskUnit, DiskUnit];
    await register(units[0], 0x11);
    await register(units[1], 0x22);
    await reserveOut(units[0], RESERVE, { key: 0x11, type });

    const rights: string[] = [];
    for (const unit of units) {
      const canRead = outcomeOf(await read(unit)) === 'good';
      const canWrite = outcomeOf(await write(unit)) === 'good';
      rights.push(`${canRead ? 'r' : '-'}${canWrite ? 'w' : '-'}`);
    }

    expect(rights).toEqual(expected);
  });

  test('never stands in the way of what touches nothing', async () => {
    const [one, stranger] = guests(2) as [DiskUnit, DiskUnit];
    await register(one, 0x11);
    await reserveOut(one, RESERVE, { key: 0x11, type: 3 });

    const answers = [
      await testReady(stranger),
      await ask(stranger, '12 00 00 00 24 00', { data: 36 }),
      await ask(stranger, '03 00 00 00 12 00', { data: 18 }),
      await ask(stranger, '25', { data: 8 }),
      await ask(stranger, '1a 00 08 00 ff 00', { data: 255 }),
      await ask(stranger, '1b 00 00 00 01 00'),
      await ask(stranger, '5e 01 00 00 00 00 00 00 ff 00', { data: 255 }),
    ];

    expect(answers.map(outcomeOf)).toEqual(new Array(7).fill('good'));
  });

  test.each([
    ['UNMAP', '42 00 00 00 00 00 00 00 00 00'],
    ['WRITE SAME', '93 01 00 00 00 00 00 00 00 00 00 00 00 01 00 00'],
    ['SYNCHRONIZE CACHE', '35'],
    ['STOP', '1b 00 00 00 00 00'],
    ['RESERVE(6)', '16 00 00 00 00 00'],
    ['RELEASE(6)', '17 00 00 00 00 00'],
  ])('stands in the way of %s', async (_name, cdb) => {
    const backend = new MemoryBackend(new Uint8Array(16 * 512), { isThin: true });
    const [one, stranger] = [new DiskUnit(backend), new DiskUnit(backend)];
    await register(one, 0x11);
    await reserveOut(one, RESERVE, { key: 0x11, type: 1 });

    expect(await ask(stranger, cdb)).toEqual(conflict);
  });

  test('is read back with its key, scope and type', async () => {
    const [one, other] = guests(2) as [DiskUnit, DiskUnit];
    await register(one, 0x11);
    await reserveOut(one, RESERVE, { key: 0x11, type: 5 });

    expect(await reservationOf(other)).toEqual(
      hex('00 00 00 01 00 00 00 10  00 00 00 00 00 00 00 11  00 00 00 00  00 05 00 00'),
    );
  });

  test('may be asked for again by its holder, not changed, and not by others', async () => {
    const [one, other] = guests(2) as [DiskUnit, DiskUnit];
    await register(one, 0x11);
    await register(other, 0x22);
    await reserveOut(one, RESERVE, { key: 0x11, type: 1 });

    expect(await reserveOut(one, RESERVE, { key: 0x11, type: 1 })).toEqual(good(24));
    expect(await reserveOut(one, RESERVE, { key: 0x11, type: 3 })).toEqual(conflict);
    expect(await reserveOut(other, RESERVE, { key: 0x22, type: 1 })).toEqual(conflict);
  });

  test('needs a registration and its key', async () => {
    const [one] = guests(1) as [DiskUnit];

    expect(await reserveOut(one, RESERVE, { key: 0x11, type: 1 })).toEqual(conflict);
  });

  test.each([0, 2, 4, 9, 15])('of type %i does not exist', async (type) => {
    const [one] = guests(1) as [DiskUnit];
    await register(one, 0x11);

    expect(await reserveOut(one, RESERVE, { key: 0x11, type })).toEqual(refused(SRB.invalidRequest, 5, 0x24, 0));
  });

  test('of anything but the whole unit does not exist', async () => {
    const [one] = guests(1) as [DiskUnit];
    await register(one, 0x11);

    expect(await reserveOut(one, RESERVE, { key: 0x11, type: 1, scope: 2 })).toEqual(
      refused(SRB.invalidRequest, 5, 0x24, 0),
    );
  });
});

describe('releasing', () => {
  test('ends it; registrants whose rights came from being registered are told', async () => {
    const [one, other] = guests(2) as [DiskUnit, DiskUnit];
    await register(one, 0x11);
    await register(other, 0x22);
    await reserveOut(one, RESERVE, { key: 0x11, type: 5 });

    expect(await reserveOut(one, RELEASE, { key: 0x11, type: 5 })).toEqual(good(24));

    expect(await testReady(other)).toEqual(attention(0x04));
    expect(await testReady(other)).toEqual(good(0));
    expect((await reservationOf(other)).length).toBe(8);
  });

  test('with another type is refused, and keeps it', async () => {
    const [one, other] = guests(2) as [DiskUnit, DiskUnit];
    await register(one, 0x11);
    await reserveOut(one, RESERVE, { key: 0x11, type: 1 });

    expect(await reserveOut(one, RELEASE, { key: 0x11, type: 3 })).toEqual(refused(SRB.invalidRequest, 5, 0x26, 4));
    expect(await write(other)).toEqual(conflict);
  });

  test('what another holds does nothing and is no error', async () => {
    const [one, other] = guests(2) as [DiskUnit, DiskUnit];
    await register(one, 0x11);
    await register(other, 0x22);
    await reserveOut(one, RESERVE, { key: 0x11, type: 1 });

    expect(await reserveOut(other, RELEASE, { key: 0x22, type: 1 })).toEqual(good(24));
    expect(await write(other)).toEqual(conflict);
  });
});

test('CLEAR ends everything, and the others are told', async () => {
  const [one, other] = guests(2) as [DiskUnit, DiskUnit];
  await register(one, 0x11);
  await register(other, 0x22);
  await reserveOut(one, RESERVE, { key: 0x11, type: 3 });

  expect(await reserveOut(other, CLEAR, { key: 0x22 })).toEqual(good(24));

  expect(await testReady(one)).toEqual(attention(0x03));
  expect(await keysOf(one)).toEqual(hex('00 00 00 03 00 00 00 00'));
  expect(await write(other)).toEqual(good(512));
});

describe('PREEMPT', () => {
  test.each([PREEMPT, PREEMPT_AND_ABORT])('(action %i) of the holder takes its reservation over', async (action) => {
    const [one, other] = guests(2) as [DiskUnit, DiskUnit];
    await register(one, 0x11);
    await register(other, 0x22);
    await reserveOut(one, RESERVE, { key: 0x11, type: 3 });

    expect(await reserveOut(other, action, { key: 0x22, newKey: 0x11, type: 1 })).toEqual(good(24));

    expect(await testReady(one)).toEqual(attention(0x05));
    expect(await write(one)).toEqual(conflict);
    expect(await write(other)).toEqual(good(512));
    expect((await keysOf(other)).subarray(8)).toEqual(key(0x22));
    expect((await reservationOf(other)).subarray(8, 16)).toEqual(key(0x22));
  });

  test('of a registrant that holds nothing removes it, and leaves the reservation', async () => {
    const [one, other, third] = guests(3) as [DiskUnit, DiskUnit, DiskUnit];
    await register(one, 0x11);
    await register(other, 0x22);
    await register(third, 0x33);
    await reserveOut(one, RESERVE, { key: 0x11, type: 1 });

    await reserveOut(third, PREEMPT, { key: 0x33, newKey: 0x22, type: 1 });

    expect(await testReady(other)).toEqual(attention(0x05));
    expect((await reservationOf(third)).subarray(8, 16)).toEqual(key(0x11));
  });

  test('of all registrants, by key 0, leaves the one that asked', async () => {
    const [one, other] = guests(2) as [DiskUnit, DiskUnit];
    await register(one, 0x11);
    await register(other, 0x22);
    await reserveOut(one, RESERVE, { key: 0x11, type: 7 });

    expect(await reserveOut(other, PREEMPT, { key: 0x22, newKey: 0, type: 1 })).toEqual(good(24));

    expect((await keysOf(other)).subarray(8)).toEqual(key(0x22));
    await testReady(one);
    expect(await write(one)).toEqual(conflict);
  });

  test('of a key that nobody has is a conflict; of key 0 without such a reservation a wrong parameter', async () => {
    const [one] = guests(1) as [DiskUnit];
    await register(one, 0x11);

    expect(await reserveOut(one, PREEMPT, { key: 0x11, newKey: 0x99, type: 1 })).toEqual(conflict);
    expect(await reserveOut(one, PREEMPT, { key: 0x11, newKey: 0, type: 1 })).toEqual(
      refused(SRB.invalidRequest, 5, 0x26, 0),
    );
  });
});

test('REPORT CAPABILITIES names the six types and no power-loss persistence', async () => {
  const [one] = guests(1) as [DiskUnit];

  const answer = await ask(one, '5e 02 00 00 00 00 00 00 08 00', { data: 8 });

  expect(answer.data).toEqual(hex('00 08 00 80 ea 01 00 00'));
});

describe('a malformed PERSISTENT RESERVE', () => {
  test.each([
    ['OUT with another list length', '5f 00 00 00 00 00 00 00 17 00', 24, 0x1a],
    ['OUT with less data than its list', '5f 00 00 00 00 00 00 00 18 00', 23, 0x24],
    ['OUT, register and move', '5f 07 00 00 00 00 00 00 18 00', 24, 0x24],
    ['IN, full status', '5e 03 00 00 00 00 00 00 18 00', 24, 0x24],
  ])('%s is refused', async (_what, cdb, dataBytes, asc) => {
    const [one] = guests(1) as [DiskUnit];

    expect(await ask(one, cdb, { data: new Uint8Array(dataBytes) })).toEqual(refused(SRB.invalidRequest, 5, asc, 0));
  });

  test.each([0x01, 0x04, 0x08])('flag %i, which asks for what we do not have, is refused', async (flags) => {
    const [one] = guests(1) as [DiskUnit];

    expect(await reserveOut(one, REGISTER, { newKey: 1, flags })).toEqual(refused(SRB.invalidRequest, 5, 0x26, 0));
  });
});

describe('RESERVE and RELEASE', () => {
  test.each([
    ['6', '16 00 00 00 00 00', '17 00 00 00 00 00'],
    ['10', '56 00 00 00 00 00 00 00 00 00', '57 00 00 00 00 00 00 00 00 00'],
  ])('(%s) keep the others out until the release', async (_form, reserve, release) => {
    const [one, other] = guests(2) as [DiskUnit, DiskUnit];

    expect(await ask(one, reserve)).toEqual(good(0));
    expect(await read(other)).toEqual(conflict);
    expect(await ask(other, reserve)).toEqual(conflict);
    expect(await ask(other, release)).toEqual(good(0));
    expect(await read(other)).toEqual(conflict);
    expect(await write(one)).toEqual(good(512));
    expect(await ask(one, release)).toEqual(good(0));
    expect(await read(other)).toEqual(good(512));
  });

  test.each([
    ['a reset of the unit', (unit: DiskUnit) => unit.reset()],
    ['the end of its guest', (unit: DiskUnit) => unit.nexusLost()],
  ])('end with %s', async (_what, end) => {
    const [one, other] = guests(2) as [DiskUnit, DiskUnit];
    await ask(one, '16 00 00 00 00 00');

    end(one);

    expect(await read(other)).toEqual(good(512));
  });

  test('of third parties are refused, and so is RESERVE where anybody has registered', async () => {
    const [one] = guests(1) as [DiskUnit];

    expect(await ask(one, '16 10 00 00 00 00')).toEqual(refused(SRB.invalidRequest, 5, 0x24, 0));
    await register(one, 0x11);
    expect(await ask(one, '16 00 00 00 00 00')).toEqual(conflict);
  });
});
