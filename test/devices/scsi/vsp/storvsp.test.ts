import fc from 'fast-check';
import { afterEach, describe, expect, test } from 'vitest';
import { Mdl } from '../../../../src/memory/mdl.ts';
import type { GatedBackend } from '../gated-backend.ts';
import { ScriptedGuest } from '../scripted-guest.ts';
import { type Storage, someStorage } from '../some-storage.ts';
import { hex } from '../target/some-disk.ts';
import {
  addressed,
  BEGIN_INITIALIZATION,
  blocksCdb,
  CREATE_SUB_CHANNELS,
  DIRECTION_NONE,
  DIRECTION_READ,
  DIRECTION_WRITE,
  END_INITIALIZATION,
  failedSrb,
  goodSrb,
  parseCompletion,
  QUERY_PROPERTIES,
  QUERY_PROTOCOL_VERSION,
  RESET_ADAPTER,
  RESET_BUS,
  RESET_LUN,
  srbPacket,
  vstorPacket,
} from '../vstor-packets.ts';

const READ = 0x28;
const WRITE = 0x2a;
const PAGE = 4096;

let storage: Storage;
afterEach(() => storage.end());

/** A READ of one page's worth of blocks. */
function readPage(lba = 0) {
  return srbPacket({ cdb: blocksCdb(READ, lba, 8), dataBytes: PAGE });
}

/** The channel and the host live on: an ordinary read still works. */
async function expectAlive(guest: ScriptedGuest): Promise<void> {
  const [pfn] = storage.pages.allocate(1) as [number];

  const completion = parseCompletion(await guest.sendPfns(readPage(8), [pfn]));

  expect(completion).toEqual(goodSrb(PAGE));
  expect(storage.memory.page(pfn)).toEqual(storage.contents.subarray(8 * 512, 16 * 512));
  storage.pages.free([pfn]);
}

describe('initialisation', () => {
  test('by the book, byte for byte', async () => {
    storage = await someStorage();
    const guest = await ScriptedGuest.open(storage.guest);

    const begun = await guest.send(vstorPacket(BEGIN_INITIALIZATION));
    const versioned = await guest.send(vstorPacket(QUERY_PROTOCOL_VERSION, 0x0602));
    const described = await guest.send(vstorPacket(QUERY_PROPERTIES));
    const ended = await guest.send(vstorPacket(END_INITIALIZATION));

    const completed = Uint8Array.from([1, ...new Uint8Array(63)]);
    expect([begun, versioned, ended]).toEqual([completed, completed, completed]);
    expect(described).toEqual(
      Uint8Array.from([
        ...hex('01 00 00 00  00 00 00 00  00 00 00 00  00 00 00 00  07 00 00 00  01 00 00 00  00 00 10 00'),
        ...new Uint8Array(36),
      ]),
    );
    await guest.close();
  });

  test.each([
    ['6.2', 0x0602, 64],
    ['6.0', 0x0600, 64],
    ['5.1', 0x0501, 64],
    ['4.2', 0x0402, 48],
    ['2.0', 0x0200, 48],
  ])('version %s (%i) works with packets of %i bytes', async (_name, version, packetBytes) => {
    storage = await someStorage();
    const guest = await ScriptedGuest.open(storage.guest);
    const [pfn] = storage.pages.allocate(1) as [number];

    const completions = [
      await guest.send(vstorPacket(BEGIN_INITIALIZATION, 0, packetBytes)),
      await guest.send(vstorPacket(QUERY_PROTOCOL_VERSION, version, packetBytes)),
      await guest.send(vstorPacket(QUERY_PROPERTIES, 0, packetBytes)),
      await guest.send(vstorPacket(END_INITIALIZATION, 0, packetBytes)),
      await guest.sendPfns(srbPacket({ cdb: blocksCdb(READ, 0, 8), dataBytes: PAGE, packetBytes }), [pfn]),
    ];

    expect(completions.map(({ length }) => length)).toEqual(new Array(5).fill(packetBytes));
    expect(completions.map((bytes) => parseCompletion(bytes).status)).toEqual([0, 0, 0, 0, 0]);
    expect(storage.memory.page(pfn)).toEqual(storage.contents.subarray(0, PAGE));
    await guest.close();
  });

  test('a version that is not spoken is refused, and the next may be', async () => {
    storage = await someStorage();
    const guest = await ScriptedGuest.open(storage.guest);
    await guest.send(vstorPacket(BEGIN_INITIALIZATION));

    const refused = parseCompletion(await guest.send(vstorPacket(QUERY_PROTOCOL_VERSION, 0x0700)));
    const accepted = parseCompletion(await guest.send(vstorPacket(QUERY_PROTOCOL_VERSION, 0x0600)));

    expect(refused.status).toBe(0xc0000059);
    expect(accepted.status).toBe(0);
    await guest.close();
  });

  test('I/O before its end is out of turn and touches nothing', async () => {
    storage = await someStorage();
    const guest = await ScriptedGuest.open(storage.guest);
    const [pfn] = storage.pages.allocate(1) as [number];
    storage.memory.page(pfn).fill(0xa5);

    const completion = parseCompletion(await guest.sendPfns(readPage(), [pfn]));

    expect(completion.status).toBe(0xc0000184);
    expect(storage.memory.page(pfn)).toEqual(new Uint8Array(PAGE).fill(0xa5));
    await guest.close();
  });

  test('starts anew with every open of the channel', async () => {
    storage = await someStorage();
    const first = await ScriptedGuest.ready(storage.guest);
    await first.close();

    const second = await ScriptedGuest.open(storage.guest);
    const early = parseCompletion(await second.send(vstorPacket(END_INITIALIZATION)));
    const begun = parseCompletion(await second.send(vstorPacket(BEGIN_INITIALIZATION)));

    expect([early.status, begun.status]).toEqual([0xc0000184, 0]);
    await second.close();
  });
});

describe('data', () => {
  test('lands in the named pages, in the order in which they are named, and in no other', async () => {
    storage = await someStorage();
    const guest = await ScriptedGuest.ready(storage.guest);
    const around = storage.pages.allocate(7);
    for (const pfn of around) storage.memory.page(pfn).fill(0xa5);
    const named = [around[5], around[1], around[3]] as number[];

    const completion = parseCompletion(
      await guest.sendPfns(srbPacket({ cdb: blocksCdb(READ, 16, 24), dataBytes: 3 * PAGE }), named),
    );

    expect(completion).toEqual(goodSrb(3 * PAGE));
    named.forEach((pfn, index) => {
      const from = 16 * 512 + index * PAGE;
      expect(storage.memory.page(pfn)).toEqual(storage.contents.subarray(from, from + PAGE));
    });
    for (const pfn of around.filter((page) => !named.includes(page))) {
      expect(storage.memory.page(pfn)).toEqual(new Uint8Array(PAGE).fill(0xa5));
    }
    await guest.close();
  });

  test('may begin inside a page and end inside another', async () => {
    storage = await someStorage();
    const guest = await ScriptedGuest.ready(storage.guest);
    const pfns = storage.pages.allocateScattered(2);
    for (const pfn of pfns) storage.memory.page(pfn).fill(0xa5);
    const range = Mdl.fromPfns(storage.memory, pfns, 3584, 1024);

    const completion = parseCompletion(
      await guest.sendMdl(srbPacket({ cdb: blocksCdb(READ, 2, 2), dataBytes: 1024 }), range),
    );

    expect(completion).toEqual(goodSrb(1024));
    expect(range.view().toBytes()).toEqual(storage.contents.subarray(1024, 2048));
    expect(storage.memory.page(pfns[0] as number)[3583]).toBe(0xa5);
    expect(storage.memory.page(pfns[1] as number)[512]).toBe(0xa5);
    await guest.close();
  });

  test('described by one range for each page is the same as by one range', async () => {
    storage = await someStorage();
    const guest = await ScriptedGuest.ready(storage.guest);
    const pfns = storage.pages.allocateScattered(3);
    const chain = Mdl.chain(...pfns.map((pfn) => Mdl.fromPfns(storage.memory, [pfn])));

    const completion = parseCompletion(
      await guest.sendMdl(srbPacket({ cdb: blocksCdb(READ, 0, 24), dataBytes: 3 * PAGE }), chain),
    );

    expect(completion).toEqual(goodSrb(3 * PAGE));
    expect(Buffer.concat(pfns.map((pfn) => storage.memory.page(pfn)))).toEqual(
      Buffer.from(storage.contents.subarray(0, 3 * PAGE)),
    );
    await guest.close();
  });

  test('of a range longer than the bytes offered stops where the offer does', async () => {
    storage = await someStorage();
    const guest = await ScriptedGuest.ready(storage.guest);
    const [pfn] = storage.pages.allocate(1) as [number];
    storage.memory.page(pfn).fill(0xa5);

    const completion = parseCompletion(
      await guest.sendPfns(srbPacket({ cdb: blocksCdb(READ, 3, 1), dataBytes: 512 }), [pfn]),
    );

    expect(completion).toEqual(goodSrb(512));
    expect(storage.memory.page(pfn).subarray(0, 512)).toEqual(storage.contents.subarray(1536, 2048));
    expect(storage.memory.page(pfn).subarray(512)).toEqual(new Uint8Array(PAGE - 512).fill(0xa5));
    await guest.close();
  });

  test('for pages that are not there yet moves when they are', async () => {
    const absent: (() => void)[] = [];
    let isPresent = false;
    storage = await someStorage({
      pinner: {
        pin: (_mdl, ready) => {
          if (!isPresent) absent.push(ready);
          return isPresent;
        },
        unpin: () => {},
      },
    });
    const guest = await ScriptedGuest.ready(storage.guest);
    const [pfn] = storage.pages.allocate(1) as [number];

    const reading = guest.sendPfns(readPage(8), [pfn]);
    await storage.settle();
    const { requests: requestsBefore } = storage.vsp.inspect();
    isPresent = true;
    for (const ready of absent) ready();
    const completion = parseCompletion(await reading);

    expect([absent.length, requestsBefore]).toEqual([1, 0]);
    expect(completion).toEqual(goodSrb(PAGE));
    expect(storage.memory.page(pfn)).toEqual(storage.contents.subarray(PAGE, 2 * PAGE));
    await guest.close();
  });

  test('of a write goes from the pages to the disk', async () => {
    storage = await someStorage();
    const guest = await ScriptedGuest.ready(storage.guest);
    const [pfn] = storage.pages.allocate(1) as [number];
    storage.memory.page(pfn).fill(0x77);

    const completion = parseCompletion(
      await guest.sendPfns(srbPacket({ cdb: blocksCdb(WRITE, 8, 8), dataBytes: PAGE, direction: DIRECTION_WRITE }), [
        pfn,
      ]),
    );

    expect(completion).toEqual(goodSrb(PAGE));
    expect(storage.contents.subarray(8 * 512, 16 * 512)).toEqual(new Uint8Array(PAGE).fill(0x77));
    await guest.close();
  });
});

describe('bad input fails its own request, and the channel lives on:', () => {
  const cases: [string, (guest: ScriptedGuest, pfn: number) => Promise<Uint8Array>, unknown][] = [
    [
      'a read past the end',
      (guest, pfn) => guest.sendPfns(readPage(0x0fff_ffff), [pfn]),
      failedSrb(0x04, [5, 0x21, 0]),
    ],
    [
      'a page outside guest memory',
      (guest) => guest.sendPfns(readPage(), [0x7fff_ffff]),
      failedSrb(0x06, [5, 0x24, 0]),
    ],
    [
      'a good page and then one outside guest memory',
      (guest, pfn) => guest.sendPfns(srbPacket({ cdb: blocksCdb(READ, 0, 16), dataBytes: 2 * PAGE }), [pfn, 2 ** 40]),
      failedSrb(0x06, [5, 0x24, 0]),
    ],
    [
      'a transfer of blocks without a buffer',
      (guest) => guest.send(srbPacket({ cdb: blocksCdb(READ, 0, 8), dataBytes: 0 })),
      failedSrb(0x04, [5, 0x21, 0]),
    ],
    [
      'a transfer of no blocks, which is no error',
      (guest) => guest.send(srbPacket({ cdb: blocksCdb(READ, 0, 0), dataBytes: 0 })),
      goodSrb(0),
    ],
    [
      'a zero-length transfer that names pages all the same',
      (guest, pfn) => guest.sendPfns(srbPacket({ cdb: blocksCdb(READ, 0, 8), dataBytes: 0 }), [pfn]),
      failedSrb(0x04, [5, 0x21, 0]),
    ],
    ['bytes offered without pages', (guest) => guest.send(readPage()), failedSrb(0x06, [5, 0x24, 0])],
    [
      'more bytes offered than the pages hold',
      (guest, pfn) => guest.sendPfns(srbPacket({ cdb: blocksCdb(READ, 0, 16), dataBytes: 2 * PAGE }), [pfn]),
      failedSrb(0x06, [5, 0x24, 0]),
    ],
    [
      'more bytes offered than the properties allow',
      (guest, pfn) =>
        guest.sendPfns(srbPacket({ cdb: blocksCdb(READ, 0, 8), dataBytes: 257 * PAGE }), new Array(257).fill(pfn)),
      failedSrb(0x06, [5, 0x24, 0]),
    ],
    [
      'far more pages than the properties allow',
      (guest, pfn) => guest.sendPfns(readPage(), new Array(400).fill(pfn)),
      failedSrb(0x06, [5, 0x24, 0]),
    ],
    [
      'more blocks than bytes offered',
      (guest, pfn) => guest.sendPfns(srbPacket({ cdb: blocksCdb(READ, 0, 9), dataBytes: PAGE }), [pfn]),
      failedSrb(0x04, [5, 0x21, 0]),
    ],
    [
      'more blocks than bytes offered, in pages that would hold them',
      (guest, pfn) => guest.sendPfns(srbPacket({ cdb: blocksCdb(READ, 0, 8), dataBytes: 512 }), [pfn]),
      failedSrb(0x04, [5, 0x21, 0]),
    ],
    [
      'a read into pages that are offered for writing only',
      (guest, pfn) =>
        guest.sendPfns(srbPacket({ cdb: blocksCdb(READ, 0, 8), dataBytes: PAGE, direction: DIRECTION_WRITE }), [pfn]),
      failedSrb(0x06, [5, 0x24, 0]),
    ],
    [
      'a write from pages that are offered for reading only',
      (guest, pfn) =>
        guest.sendPfns(srbPacket({ cdb: blocksCdb(WRITE, 0, 8), dataBytes: PAGE, direction: DIRECTION_READ }), [pfn]),
      failedSrb(0x06, [5, 0x24, 0]),
    ],
    [
      'a CDB of 17 bytes',
      (guest, pfn) => guest.sendPfns(srbPacket({ cdb: blocksCdb(READ, 0, 8), dataBytes: PAGE, cdbBytes: 17 }), [pfn]),
      failedSrb(0x06, [5, 0x24, 0]),
    ],
    [
      'a CDB shorter than its opcode',
      (guest, pfn) => guest.sendPfns(srbPacket({ cdb: blocksCdb(READ, 0, 8), dataBytes: PAGE, cdbBytes: 6 }), [pfn]),
      failedSrb(0x06, [5, 0x24, 0]),
    ],
    [
      'an operation code that nobody knows',
      (guest) => guest.send(srbPacket({ cdb: hex('e0 00 00 00 00 00') })),
      failedSrb(0x06, [5, 0x20, 0]),
    ],
  ];

  test.each(cases)('%s', async (_what, send, expected) => {
    storage = await someStorage();
    const guest = await ScriptedGuest.ready(storage.guest);
    const [pfn] = storage.pages.allocate(1) as [number];
    storage.memory.page(pfn).fill(0xa5);
    const before = storage.contents.slice();

    const completion = parseCompletion(await send(guest, pfn));

    expect(completion).toEqual(expected);
    expect(storage.memory.page(pfn)).toEqual(new Uint8Array(PAGE).fill(0xa5));
    expect(Buffer.compare(storage.contents, before)).toBe(0);
    await expectAlive(guest);
    await guest.close();
  });

  test.each([
    ['an unknown operation', vstorPacket(99), 0xc0000010],
    ['an operation that only hosts use', vstorPacket(11), 0xc0000010],
    ['a completion in a data packet', vstorPacket(1), 0xc0000010],
    ['a fibre channel query', vstorPacket(12), 0xc0000010],
    ['initialisation once more', vstorPacket(BEGIN_INITIALIZATION), 0xc0000184],
    ['more sub-channels than the properties allow', vstorPacket(CREATE_SUB_CHANNELS, 8), 0xc000000d],
  ])('%s', async (_what, packet, status) => {
    storage = await someStorage();
    const guest = await ScriptedGuest.ready(storage.guest);

    const completion = await guest.send(packet);

    expect(completion).toHaveLength(64);
    expect(parseCompletion(completion)).toMatchObject({ operation: 1, status });
    await expectAlive(guest);
    await guest.close();
  });

  test.each([0, 8])('a packet of %i bytes, too short for its header', async (packetBytes) => {
    storage = await someStorage();
    const guest = await ScriptedGuest.ready(storage.guest);

    const completion = await guest.send(new Uint8Array(packetBytes).fill(3));

    expect(completion).toEqual(Uint8Array.from([...hex('01 00 00 00  00 00 00 00  10 00 00 c0'), 0, 0, 0, 0]));
    await expectAlive(guest);
    await guest.close();
  });

  test('a packet that asks for no completion is worked on and answered by nothing', async () => {
    storage = await someStorage();
    const guest = await ScriptedGuest.ready(storage.guest);

    guest.tell(srbPacket({ cdb: hex('00 00 00 00 00 00') }));

    await expectAlive(guest);
    expect(storage.vsp.inspect()).toMatchObject({ requests: 2, inFlight: 0 });
    await guest.close();
  });

  test('a payload longer than 52 bytes: the rest is ignored', async () => {
    storage = await someStorage();
    const guest = await ScriptedGuest.ready(storage.guest);
    const packet = new Uint8Array(128).fill(0xff);
    packet.set(srbPacket({ cdb: hex('00 00 00 00 00 00') }));

    const completion = await guest.send(packet);

    expect(completion).toHaveLength(64);
    expect(parseCompletion(completion)).toEqual(goodSrb(0));
    await guest.close();
  });
});

test('whatever packets come, each is answered, and the channel lives on', async () => {
  storage = await someStorage();
  const guest = await ScriptedGuest.ready(storage.guest);
  const outside = storage.pages.allocate(1)[0] as number;
  storage.memory.page(outside).fill(0xa5);
  const pfn = fc.oneof(fc.constantFrom(...storage.pages.allocate(4)), fc.nat(2 ** 32));
  const packet = fc
    .tuple(
      fc.oneof(fc.constant(3), fc.nat(20)),
      fc.uint8Array({ minLength: 0, maxLength: 100 }),
      fc.oneof(fc.constantFrom(0x12, 0x28, 0x1a, 0xa0, 0x25), fc.nat(255)),
      fc.nat(8192),
    )
    .map(([operation, bytes, opcode, dataBytes]) => {
      // Plausible where it decides how far the host looks; anything elsewhere.
      const view = new DataView(bytes.buffer);
      if (bytes.length > 3) view.setUint32(0, operation, true);
      if (bytes.length > 20) bytes[20] = 16;
      if (bytes.length > 27) view.setUint32(24, dataBytes, true);
      if (bytes.length > 28) bytes[28] = opcode;
      return bytes;
    });

  await fc.assert(
    fc.asyncProperty(packet, fc.array(pfn, { maxLength: 3 }), async (bytes, pfns) => {
      const completion = await guest.sendPfns(bytes, pfns);

      expect(completion).toHaveLength(Math.max(16, Math.min(64, Math.ceil(bytes.length / 8) * 8)));
      expect(parseCompletion(Buffer.concat([completion, new Uint8Array(48)])).operation).toBe(1);
    }),
    { numRuns: 300 },
  );

  expect(storage.memory.page(outside)).toEqual(new Uint8Array(PAGE).fill(0xa5));
  expect(storage.vsp.inspect()).toMatchObject({ inFlight: 0, state: { at: 'ready' } });
  await guest.close();
});

test('an absent LUN and an absent path answer as Linux needs it', async () => {
  storage = await someStorage();
  const guest = await ScriptedGuest.ready(storage.guest);
  const [pfn] = storage.pages.allocate(1) as [number];

  const inquiry = await guest.sendPfns(srbPacket({ cdb: hex('12 00 00 00 24 00'), dataBytes: 36, lun: 3 }), [pfn]);
  const firstByte = storage.memory.page(pfn)[0];
  const luns = await guest.sendPfns(
    srbPacket({ cdb: hex('a0 00 00 00 00 00 00 00 10 00 00 00'), dataBytes: PAGE, path: 7, target: 1 }),
    [pfn],
  );
  const ready = await guest.send(srbPacket({ cdb: hex('00 00 00 00 00 00'), lun: 3 }));

  expect(parseCompletion(inquiry)).toEqual(goodSrb(36));
  expect(firstByte).toBe(0x7f);
  expect(parseCompletion(luns)).toEqual(goodSrb(8));
  expect(parseCompletion(ready)).toEqual({
    operation: 1,
    status: 0xc00000c0,
    srbStatus: 0x20,
    scsiStatus: 2,
    transferredBytes: 0,
    sense: undefined,
  });
  await guest.close();
});

test('sense that autosense may not carry waits for REQUEST SENSE', async () => {
  storage = await someStorage();
  const guest = await ScriptedGuest.ready(storage.guest);
  const [pfn] = storage.pages.allocate(1) as [number];

  const failed = await guest.send(srbPacket({ cdb: blocksCdb(READ, 0xffff_ffff, 0), srbFlags: 0x20 }));
  const sense = await guest.sendPfns(srbPacket({ cdb: hex('03 00 00 00 12 00'), dataBytes: 18 }), [pfn]);

  expect(parseCompletion(failed)).toMatchObject({ srbStatus: 4, scsiStatus: 2, sense: undefined });
  expect(parseCompletion(sense)).toEqual(goodSrb(18));
  expect(storage.memory.page(pfn).subarray(0, 14)).toEqual(hex('70 00 05 00 00 00 00 0a 00 00 00 00 21 00'));
  await guest.close();
});

describe('many requests', () => {
  test('complete in the order in which the store finishes', async () => {
    storage = await someStorage({ gated: true });
    const store = storage.store as GatedBackend;
    const guest = await ScriptedGuest.ready(storage.guest);
    const pfns = storage.pages.allocate(3);
    const finished: number[] = [];

    const requests = pfns.map(async (pfn, index) => {
      await guest.sendPfns(readPage(index * 8), [pfn]);
      finished.push(index);
    });
    await storage.until(() => store.held.length === 3);
    store.release(2);
    await requests[2];
    store.release(0);
    await requests[0];
    store.release(0);
    await requests[1];

    expect(finished).toEqual([2, 0, 1]);
    pfns.forEach((pfn, index) => {
      expect(storage.memory.page(pfn)).toEqual(storage.contents.subarray(index * PAGE, (index + 1) * PAGE));
    });
    await guest.close();
  });

  test('beyond the limit wait in the ring', async () => {
    storage = await someStorage({ gated: true, maxInFlight: 2 });
    const store = storage.store as GatedBackend;
    const guest = await ScriptedGuest.ready(storage.guest);
    const pfns = storage.pages.allocate(5);

    const requests = pfns.map((pfn) => guest.sendPfns(readPage(), [pfn]));
    await storage.settle();
    const heldAtFirst = store.held.length;
    store.release();
    await storage.settle();
    const heldAfterOne = store.held.length;
    for (let left = 4; left > 0; left--) {
      await storage.until(() => store.held.length > 0);
      store.release();
    }
    const completions = await Promise.all(requests);

    expect([heldAtFirst, heldAfterOne]).toEqual([2, 2]);
    expect(completions.map((bytes) => parseCompletion(bytes).srbStatus)).toEqual([1, 1, 1, 1, 1]);
    await guest.close();
  });

  test('are all answered before a bus reset is: none is dropped', async () => {
    storage = await someStorage({ gated: true });
    const store = storage.store as GatedBackend;
    const guest = await ScriptedGuest.ready(storage.guest);
    const [pfn] = storage.pages.allocate(1) as [number];
    const answered: string[] = [];

    const read = guest.sendPfns(readPage(), [pfn]).finally(() => answered.push('read'));
    await storage.until(() => store.held.length === 1);
    const reset = guest.send(vstorPacket(RESET_BUS)).finally(() => answered.push('reset'));
    await storage.settle();
    const answeredAtFirst = [...answered];
    store.release();

    expect(parseCompletion(await reset)).toMatchObject({ operation: 1, status: 0 });
    expect(parseCompletion(await read)).toEqual(goodSrb(PAGE));
    expect([answeredAtFirst, answered]).toEqual([[], ['read', 'reset']]);
    await guest.close();
  });

  test.each([
    ['its own LUN', RESET_LUN, { lun: 0 }, true],
    ['another LUN', RESET_LUN, { lun: 1 }, false],
    ['another path', RESET_BUS, { path: 1 }, false],
    ['the whole adapter', RESET_ADAPTER, { path: 1 }, true],
  ])('and a reset of %s waits for a read at 0:0:0 or does not', async (_what, operation, address, isWaiting) => {
    storage = await someStorage({ gated: true });
    const store = storage.store as GatedBackend;
    const guest = await ScriptedGuest.ready(storage.guest);
    const [pfn] = storage.pages.allocate(1) as [number];
    const reading = guest.sendPfns(readPage(), [pfn]);
    await storage.until(() => store.held.length === 1);
    let isAnswered = false;

    const reset = guest.send(addressed(vstorPacket(operation), address)).finally(() => {
      isAnswered = true;
    });
    await storage.settle();
    const wasAnswered = isAnswered;
    store.release();
    await Promise.all([reading, reset]);

    expect(wasAnswered).toBe(!isWaiting);
    await guest.close();
  });

  test('that come after a reset do not hold it up', async () => {
    storage = await someStorage({ gated: true });
    const store = storage.store as GatedBackend;
    const guest = await ScriptedGuest.ready(storage.guest);
    const [first, second] = storage.pages.allocate(2) as [number, number];
    const before = guest.sendPfns(readPage(), [first]);
    await storage.until(() => store.held.length === 1);

    const reset = guest.send(vstorPacket(RESET_BUS));
    const after = guest.sendPfns(readPage(), [second]);
    await storage.until(() => store.held.length === 2);
    store.release(0);

    expect(parseCompletion(await reset).status).toBe(0);
    expect(parseCompletion(await before)).toEqual(goodSrb(PAGE));
    expect(store.held).toHaveLength(1);
    store.release();
    await after;
    await guest.close();
  });
});

describe('the channel closes with I/O under way:', () => {
  test('the guest closes; each request ends once, and the host lets go when its store has finished', async () => {
    storage = await someStorage({ gated: true });
    const store = storage.store as GatedBackend;
    const guest = await ScriptedGuest.ready(storage.guest);
    const pfns = storage.pages.allocate(4);
    const endings: string[] = [];
    for (const pfn of pfns) {
      guest.sendPfns(readPage(), [pfn]).then(
        () => endings.push('completed'),
        (error: Error) => endings.push(error.message),
      );
    }
    await storage.until(() => store.held.length === 4);

    const closing = guest.close();
    await storage.settle();
    store.releaseAll();
    await closing;
    await storage.settle();

    expect(endings).toHaveLength(4);
    expect(storage.vsp.inspect()).toMatchObject({ inFlight: 0 });
    const again = await ScriptedGuest.ready(storage.guest);
    const alive = again.send(srbPacket({ cdb: hex('00 00 00 00 00 00'), direction: DIRECTION_NONE }));
    expect(parseCompletion(await alive)).toEqual(goodSrb(0));
    await again.close();
  });

  test('the host stops; it waits for its store, and each request ends once', async () => {
    storage = await someStorage({ gated: true });
    const store = storage.store as GatedBackend;
    const guest = await ScriptedGuest.ready(storage.guest);
    const pfns = storage.pages.allocate(3);
    const endings: string[] = [];
    for (const pfn of pfns) {
      guest.sendPfns(readPage(), [pfn]).then(
        () => endings.push('completed'),
        (error: Error) => endings.push(error.message),
      );
    }
    await storage.until(() => store.held.length === 3);
    let isStopped = false;

    const stopping = storage.vsp.stop().then(() => {
      isStopped = true;
    });
    await storage.settle();
    const wasStoppedEarly = isStopped;
    store.releaseAll();
    await stopping;
    await storage.settle();

    expect(wasStoppedEarly).toBe(false);
    expect(endings).toHaveLength(3);
    await guest.close();
  });
});
