/** Sub-channels of the host's controller, as a scripted guest sees them. */
import { afterEach, describe, expect, test } from 'vitest';
import { VmbusVersion } from '../../../../src/wire/versions.ts';
import type { GatedBackend } from '../gated-backend.ts';
import { ScriptedGuest } from '../scripted-guest.ts';
import { INSTANCE_ID, type Storage, someStorage } from '../some-storage.ts';
import {
  BEGIN_INITIALIZATION,
  blocksCdb,
  CREATE_SUB_CHANNELS,
  END_INITIALIZATION,
  goodSrb,
  parseCompletion,
  QUERY_PROPERTIES,
  QUERY_PROTOCOL_VERSION,
  RESET_BUS,
  srbPacket,
  vstorPacket,
} from '../vstor-packets.ts';

const PAGE = 4096;

let storage: Storage;
afterEach(() => storage.end());

function readPage(lba = 0): Uint8Array {
  return srbPacket({ cdb: blocksCdb(0x28, lba, 8), dataBytes: PAGE });
}

/** Sub-channel offers that the guest knows, by index. */
function offeredIndexes(): number[] {
  return [...storage.guest.bus.offers()]
    .filter((offer) => offer.instanceId === INSTANCE_ID && !offer.isRescinded)
    .map((offer) => offer.subchannelIndex)
    .sort((a, b) => a - b);
}

test('the guest asks for two, the host offers two under its own instance, and each answers I/O on itself', async () => {
  storage = await someStorage();
  const primary = await ScriptedGuest.ready(storage.guest);

  const created = parseCompletion(await primary.send(vstorPacket(CREATE_SUB_CHANNELS, 2)));
  await storage.until(() => offeredIndexes().length === 3);
  const first = await ScriptedGuest.open(storage.guest, 1);
  const second = await ScriptedGuest.open(storage.guest, 2);
  const pfns = storage.pages.allocate(3);
  const completions = await Promise.all(
    [primary, first, second].map((channel, index) => channel.sendPfns(readPage(8 * index), [pfns[index] as number])),
  );

  expect(created.status).toBe(0);
  expect(offeredIndexes()).toEqual([0, 1, 2]);
  expect(completions.map((bytes) => parseCompletion(bytes))).toEqual([goodSrb(PAGE), goodSrb(PAGE), goodSrb(PAGE)]);
  pfns.forEach((pfn, index) => {
    expect(storage.memory.page(pfn)).toEqual(storage.contents.subarray(index * PAGE, (index + 1) * PAGE));
  });
  expect(storage.vsp.inspect()).toMatchObject({ subChannels: 2, requests: 3 });
  await second.close();
  await first.close();
  await primary.close();
});

test('a sub-channel takes no part in the initialisation, and lives on', async () => {
  storage = await someStorage();
  const primary = await ScriptedGuest.ready(storage.guest);
  await primary.send(vstorPacket(CREATE_SUB_CHANNELS, 1));
  const sub = await ScriptedGuest.open(storage.guest, 1);
  const [pfn] = storage.pages.allocate(1) as [number];

  const statuses = [
    await sub.send(vstorPacket(BEGIN_INITIALIZATION)),
    await sub.send(vstorPacket(CREATE_SUB_CHANNELS, 1)),
    await sub.send(vstorPacket(99)),
    await sub.send(vstorPacket(RESET_BUS)),
  ].map((bytes) => parseCompletion(bytes).status);
  const read = parseCompletion(await sub.sendPfns(readPage(), [pfn]));

  expect(statuses).toEqual([0xc0000184, 0xc0000184, 0xc0000010, 0]);
  // The reset left a unit attention, which goes to the next command and to that alone.
  expect(read.sense === undefined || read.sense[0] === 6).toBe(true);
  expect(parseCompletion(await sub.sendPfns(readPage(), [pfn]))).toEqual(goodSrb(PAGE));
  await sub.close();
  await primary.close();
});

test('asked for before the end, they may be opened at once; what is sent on them waits until the end', async () => {
  storage = await someStorage();
  const primary = await ScriptedGuest.open(storage.guest);
  await primary.send(vstorPacket(BEGIN_INITIALIZATION));
  await primary.send(vstorPacket(QUERY_PROTOCOL_VERSION, 0x0602));
  await primary.send(vstorPacket(QUERY_PROPERTIES));
  await primary.send(vstorPacket(CREATE_SUB_CHANNELS, 1));
  const sub = await ScriptedGuest.open(storage.guest, 1);
  const [pfn] = storage.pages.allocate(1) as [number];
  let isAnswered = false;

  const reading = sub.sendPfns(readPage(), [pfn]).finally(() => {
    isAnswered = true;
  });
  await storage.settle();
  const wasAnswered = isAnswered;
  await primary.send(vstorPacket(END_INITIALIZATION));

  expect(wasAnswered).toBe(false);
  expect(parseCompletion(await reading)).toEqual(goodSrb(PAGE));
  await sub.close();
  await primary.close();
});

test('a reset on one channel waits for requests on the others', async () => {
  storage = await someStorage({ gated: true });
  const store = storage.store as GatedBackend;
  const primary = await ScriptedGuest.ready(storage.guest);
  await primary.send(vstorPacket(CREATE_SUB_CHANNELS, 1));
  const sub = await ScriptedGuest.open(storage.guest, 1);
  const [pfn] = storage.pages.allocate(1) as [number];
  const reading = sub.sendPfns(readPage(), [pfn]);
  await storage.until(() => store.held.length === 1);
  let isAnswered = false;

  const reset = primary.send(vstorPacket(RESET_BUS)).finally(() => {
    isAnswered = true;
  });
  await storage.settle();
  const wasAnswered = isAnswered;
  store.release();
  await reset;

  expect(wasAnswered).toBe(false);
  expect(parseCompletion(await reading)).toEqual(goodSrb(PAGE));
  await sub.close();
  await primary.close();
});

describe('when the primary closes', () => {
  test('its sub-channels go with it, and a new open may ask for them again', async () => {
    storage = await someStorage();
    const primary = await ScriptedGuest.ready(storage.guest);
    await primary.send(vstorPacket(CREATE_SUB_CHANNELS, 2));
    const sub = await ScriptedGuest.open(storage.guest, 1);

    await primary.close();
    await storage.until(() => sub.isClosed && offeredIndexes().length === 1);
    await sub.close();
    const again = await ScriptedGuest.ready(storage.guest);
    const created = parseCompletion(await again.send(vstorPacket(CREATE_SUB_CHANNELS, 1)));
    const subAgain = await ScriptedGuest.open(storage.guest, 1);
    const [pfn] = storage.pages.allocate(1) as [number];

    expect(created.status).toBe(0);
    expect(parseCompletion(await subAgain.sendPfns(readPage(), [pfn]))).toEqual(goodSrb(PAGE));
    await subAgain.close();
    await again.close();
  });

  test('with I/O under way on a sub-channel, it ends once and the host lets go after its store', async () => {
    storage = await someStorage({ gated: true });
    const store = storage.store as GatedBackend;
    const primary = await ScriptedGuest.ready(storage.guest);
    await primary.send(vstorPacket(CREATE_SUB_CHANNELS, 1));
    const sub = await ScriptedGuest.open(storage.guest, 1);
    const endings: string[] = [];
    sub.sendPfns(readPage(), storage.pages.allocate(1)).then(
      () => endings.push('completed'),
      (error: Error) => endings.push(error.message),
    );
    await storage.until(() => store.held.length === 1);

    const closing = primary.close();
    await storage.settle();
    store.releaseAll();
    await closing;
    await storage.until(() => sub.isClosed);

    expect(endings).toHaveLength(1);
    expect(storage.vsp.inspect()).toMatchObject({ inFlight: 0, subChannels: 0, state: { at: 'begin' } });
    await sub.close();
  });
});

test('the host stops with sub-channels open: all of them go', async () => {
  storage = await someStorage();
  const primary = await ScriptedGuest.ready(storage.guest);
  await primary.send(vstorPacket(CREATE_SUB_CHANNELS, 2));
  const sub = await ScriptedGuest.open(storage.guest, 2);

  await storage.vsp.stop();
  await storage.until(() => sub.isClosed && primary.isClosed);

  expect(offeredIndexes()).toEqual([]);
});

test.each([
  ['of a bus that cannot number them', { newestVersion: VmbusVersion.WIN7 }, {}],
  ['of a host that allows none', {}, { maxSubChannels: 0 }],
])('a guest %s is told of none and gets none', async (_what, guestOptions, hostOptions) => {
  storage = await someStorage({ guest: guestOptions, ...hostOptions });
  const primary = await ScriptedGuest.open(storage.guest);
  await primary.send(vstorPacket(BEGIN_INITIALIZATION));
  await primary.send(vstorPacket(QUERY_PROTOCOL_VERSION, 0x0602));

  const properties = await primary.send(vstorPacket(QUERY_PROPERTIES));
  await primary.send(vstorPacket(END_INITIALIZATION));
  const created = parseCompletion(await primary.send(vstorPacket(CREATE_SUB_CHANNELS, 1)));

  expect([properties[16], properties[20]]).toEqual([0, 0]);
  expect(created.status).toBe(0xc000000d);
  await primary.close();
});
