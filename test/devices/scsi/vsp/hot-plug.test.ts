/** Disks that come and go while a guest runs. */
import { afterEach, expect, test } from 'vitest';
import { MemoryBackend } from '../../../../src/devices/scsi/memory-backend.ts';
import { DiskUnit } from '../../../../src/devices/scsi/target/disk/disk-unit.ts';
import { ScriptedGuest } from '../scripted-guest.ts';
import { type Storage, someStorage } from '../some-storage.ts';
import { hex } from '../target/some-disk.ts';
import { BEGIN_INITIALIZATION, goodSrb, parseCompletion, srbPacket, vstorPacket } from '../vstor-packets.ts';

let storage: Storage;
afterEach(() => storage.end());

const ENUMERATE_BUS_64 = Uint8Array.from([11, ...new Uint8Array(63)]);
const TEST_UNIT_READY = hex('00 00 00 00 00 00');

function someDisk(): DiskUnit {
  return new DiskUnit(new MemoryBackend(new Uint8Array(4096), { identity: 'another disk' }));
}

async function lunsOf(guest: ScriptedGuest): Promise<Uint8Array> {
  const pfns = storage.pages.allocate(1);
  const completion = parseCompletion(
    await guest.sendPfns(srbPacket({ cdb: hex('a0 00 00 00 00 00 00 00 01 00 00 00'), dataBytes: 256 }), pfns),
  );
  return storage.memory.page(pfns[0] as number).slice(0, completion.transferredBytes);
}

test('a ready guest is told once for each change to look again, and finds what is there', async () => {
  storage = await someStorage();
  const guest = await ScriptedGuest.ready(storage.guest);

  storage.controller.attach(someDisk(), { lun: 5 });
  await storage.until(() => guest.told.length === 1);
  const lunsWith = await lunsOf(guest);
  storage.controller.detach({ lun: 5 });
  await storage.until(() => guest.told.length === 2);
  const lunsWithout = await lunsOf(guest);

  expect(guest.told).toEqual([ENUMERATE_BUS_64, ENUMERATE_BUS_64]);
  expect(lunsWith).toEqual(hex('00 00 00 10 00 00 00 00  00 00 00 00 00 00 00 00  00 05 00 00 00 00 00 00'));
  expect(lunsWithout).toEqual(hex('00 00 00 08 00 00 00 00  00 00 00 00 00 00 00 00'));
  await guest.close();
});

test('the message wants no completion and has transaction id 0, which Linux takes for the host speaking', async () => {
  storage = await someStorage();
  const guest = await ScriptedGuest.ready(storage.guest);
  const [channel] = storage.host.channels;
  const sent: Uint8Array[] = [];
  if (channel !== undefined) {
    channel.tap = { packetSent: (_channel, bytes, at, packetBytes) => sent.push(bytes.slice(at, at + packetBytes)) };
  }

  storage.controller.attach(someDisk(), { lun: 5 });
  await storage.until(() => guest.told.length === 1);

  expect(sent.map((packet) => packet.subarray(0, 16))).toEqual([
    hex('06 00  02 00  0a 00  00 00  00 00 00 00 00 00 00 00'),
  ]);
  await guest.close();
});

test('a unit that is gone answers INVALID_LUN; one beside it reports once that the list has changed', async () => {
  storage = await someStorage();
  storage.controller.attach(someDisk(), { lun: 5 });
  const guest = await ScriptedGuest.ready(storage.guest);
  await guest.send(srbPacket({ cdb: TEST_UNIT_READY }));

  storage.controller.detach({ lun: 5 });
  const gone = parseCompletion(await guest.send(srbPacket({ cdb: TEST_UNIT_READY, lun: 5 })));
  const first = parseCompletion(await guest.send(srbPacket({ cdb: TEST_UNIT_READY })));
  const second = parseCompletion(await guest.send(srbPacket({ cdb: TEST_UNIT_READY })));

  expect(gone).toMatchObject({ srbStatus: 0x20, scsiStatus: 2, sense: undefined });
  expect(first).toMatchObject({ srbStatus: 4, scsiStatus: 2, sense: [6, 0x3f, 0x0e] });
  expect(second).toEqual(goodSrb(0));
  await guest.close();
});

test('many changes while the guest does not look cost one message on its way and one behind it', async () => {
  storage = await someStorage();
  const guest = await ScriptedGuest.ready(storage.guest);

  for (let lun = 10; lun < 60; lun++) storage.controller.attach(someDisk(), { lun });
  await storage.settle();

  expect(guest.told.length).toBeGreaterThanOrEqual(1);
  expect(guest.told.length).toBeLessThanOrEqual(50);
  expect((await lunsOf(guest)).length).toBe(256);
  await guest.close();
});

test('a guest that is still initialising is told nothing: it will look at everything anyway', async () => {
  storage = await someStorage();
  const guest = await ScriptedGuest.open(storage.guest);
  await guest.send(vstorPacket(BEGIN_INITIALIZATION));

  storage.controller.attach(someDisk(), { lun: 5 });
  await storage.settle();

  expect(guest.told).toEqual([]);
  await guest.close();
});

test.each([
  ['2.0, which does not know the message', 0x0200, 0],
  ['4.2, which does, in 48 bytes', 0x0402, 48],
])('version %s', async (_name, version, packetBytes) => {
  storage = await someStorage();
  const guest = await ScriptedGuest.ready(storage.guest, version);

  storage.controller.attach(someDisk(), { lun: 5 });
  await storage.settle();

  expect(guest.told.map((packet) => packet.length)).toEqual(packetBytes === 0 ? [] : [packetBytes]);
  await guest.close();
});

test('nobody is told after the controller stopped', async () => {
  storage = await someStorage();
  const guest = await ScriptedGuest.ready(storage.guest);
  await storage.vsp.stop();

  storage.controller.attach(someDisk(), { lun: 5 });
  await storage.settle();

  expect(guest.told).toEqual([]);
  await guest.close();
});
