/** A guest whose device moves to another host in the middle of its work, and notices nothing but a pause. */
import { describe, expect, test } from 'vitest';
import {
  endpointOf,
  STATUS_DEVICE_REMOVED,
  STATUS_SUCCESS,
  VMBUS_SERVER_CHANNEL_INIT_FLAG_FORCE_NEW_CHANNEL,
  VmbChannelCleanup,
  VmbChannelDisable,
  VmbChannelEnable,
  VmbChannelPacketComplete,
  VmbChannelPacketDeferToPassive,
  VmbChannelPause,
  VmbChannelStart,
  VmbPacketSend,
  VmbServerChannelInitSetFlags,
} from '../../src/kmcl/index.ts';
import {
  moveHost,
  namesOf,
  newServer,
  pauseAndSave,
  restoreChannel,
  ringBytes,
  type Saveable,
  saveable,
  saveChannel,
  sendNamed,
  stageOf,
  takeOver,
  WAIT,
} from './saving.ts';
import { expectSuccess, nth } from './two-endpoints.ts';

function sendFromGuest(t: Saveable, count: number, bytes = 64): void {
  for (let number = 1; number <= count; number++) {
    const payload = new Uint8Array(bytes).fill(number);
    expectSuccess(VmbPacketSend(t.packet(), payload, bytes, null, WAIT));
  }
}

const firstBytes = (items: readonly { readonly bytes: Uint8Array | null }[]): (number | undefined)[] =>
  items.map(({ bytes }) => bytes?.[0]);

describe('what is in the rings', () => {
  test('packets that the guest sent while the server was paused reach the new host, in order', async () => {
    const t = await saveable();
    const paused = VmbChannelPause(t.server);
    await t.settle();
    await paused;
    sendFromGuest(t, 5);
    await t.settle();

    const next = await moveHost(t);

    expect(t.received).toEqual([]);
    expect(firstBytes(next.received)).toEqual([1, 2, 3, 4, 5]);
    for (const { packet } of next.received) VmbChannelPacketComplete(packet, Uint8Array.of(9), 1);
    await t.settle();
    expect(t.completions.map(({ status }) => status)).toEqual(Array(5).fill(STATUS_SUCCESS));
  });

  test('no byte and no index of either ring changes between the save and the restore', async () => {
    const t = await saveable();
    const saved = await pauseAndSave(t);
    sendFromGuest(t, 3);
    sendNamed(t, ['late']);
    await t.settle();
    const before = ringBytes(t);

    const next = newServer(t);
    t.host.leave();
    next.host.restore(saved.bus);
    expect(restoreChannel(next.server, saved.pieces)).toBe(STATUS_SUCCESS);
    expectSuccess(VmbChannelEnable(next.server));
    await t.settle();

    expect(ringBytes(t)).toEqual(before);
    expect(before.indexes[0]).toBeGreaterThan(before.indexes[1] as number);
  });

  test('the guest sees no callback, no control message and no status but success', async () => {
    const messages: string[] = [];
    const t = await saveable({ guest: { events: { message: (way) => messages.push(way) } } });
    sendNamed(t, ['a', 'b']);
    await t.settle();
    messages.length = 0;
    t.log.length = 0;

    await moveHost(t);

    expect(messages).toEqual([]);
    expect(t.log.filter((line) => line.startsWith('client'))).toEqual([]);
    expect(t.log.filter((line) => line.startsWith('new server'))).toEqual([
      'new server Opened',
      'new server Started',
      'new server PostStarted',
    ]);
  });
});

describe('what is under way from the host', () => {
  test('K-282 a transaction in flight is completed on the new host by the answer that the guest gives later', async () => {
    const t = await saveable();
    sendNamed(t, ['one', 'two']);
    await t.settle();

    const next = await moveHost(t);
    for (const { packet } of t.clientReceived) VmbChannelPacketComplete(packet, Uint8Array.of(7), 1);
    await t.settle();

    expect(namesOf(t.clientReceived)).toEqual(['one', 'two']);
    expect(next.completed.map(({ name, status }) => [name, status])).toEqual([
      ['one', STATUS_SUCCESS],
      ['two', STATUS_SUCCESS],
    ]);
    expect(t.completed).toEqual([]);
  });

  test('K-282 an answer that lay in the ring during the move is read by the new host', async () => {
    const t = await saveable();
    sendNamed(t, ['one']);
    await t.settle();
    const saved = await pauseAndSave(t);
    VmbChannelPacketComplete(nth(t.clientReceived, 0).packet, Uint8Array.of(7), 1);
    await t.settle();

    const next = takeOver(t, saved);
    await t.settle();

    expect(next.completed).toEqual([
      { name: 'one', status: STATUS_SUCCESS, bytes: Uint8Array.of(7, 0, 0, 0, 0, 0, 0, 0) },
    ]);
  });

  test('K-282 packets that found no room wait on the new host and go out in the order in which they were sent', async () => {
    const names = Array.from({ length: 12 }, (_, index) => `packet ${index}`);
    const t = await saveable();
    expectSuccess(await pausedClient(t));
    sendNamed(t, names, 1000);
    await t.settle();

    const next = await moveHost(t);
    const [first] = next.calls;
    VmbChannelStart(t.client);
    await t.settle();

    expect(first).toBe('restore packet 0');
    expect(namesOf(t.clientReceived)).toEqual(names);
    for (const { packet } of t.clientReceived) VmbChannelPacketComplete(packet, null, 0);
    await t.settle();
    expect(next.completed.map(({ name }) => name)).toEqual(names);
    expect(t.completed).toEqual([]);
  });

  test('an answer to the guest that found no room goes out from the new host', async () => {
    const t = await saveable();
    sendFromGuest(t, 3);
    await t.settle();
    // The ring to the guest is full, and the guest does not read it.
    expectSuccess(await pausedClient(t));
    sendNamed(t, ['a', 'b', 'c', 'd'], 1000);
    for (const { packet } of t.received) VmbChannelPacketComplete(packet, Uint8Array.of(5), 1);
    await t.settle();
    const answered = t.completions.length;

    await moveHost(t);
    VmbChannelStart(t.client);
    await t.settle();

    expect(answered).toBe(0);
    expect(firstBytes(t.completions)).toEqual([5, 5, 5]);
  });

  test('a packet without WAIT that waited for the ring completes on the new host when it is in', async () => {
    const t = await saveable();
    expectSuccess(await pausedClient(t));
    sendNamed(t, ['a', 'b', 'c', 'd', 'e'], 1000, 0);
    await t.settle();
    const before = t.completed.map(({ name }) => name);

    const next = await moveHost(t);
    VmbChannelStart(t.client);
    await t.settle();

    expect(before).toEqual(['a', 'b', 'c']);
    expect(next.completed.map(({ name }) => name)).toEqual(['d', 'e']);
    expect(namesOf(t.clientReceived)).toEqual(['a', 'b', 'c', 'd', 'e']);
  });
});

test('a packet that its driver had deferred is delivered on the new host, at first', async () => {
  const t = await saveable({ onServerPacket: (_channel, packet) => VmbChannelPacketDeferToPassive(packet) });
  sendFromGuest(t, 2);
  // Delivered once at DISPATCH, and deferred; the pause comes before PASSIVE does.
  while (endpointOf(t.server).statistics.packetsReceived === 0) t.scheduler.step();
  const paused = VmbChannelPause(t.server);
  await t.settle();
  await paused;

  const next = await moveHost(t);

  expect(firstBytes(next.received)).toEqual([1, 2]);
});

test('an old host that goes on after a save, instead of leaving, completes everything itself', async () => {
  const t = await saveable();
  sendNamed(t, ['one']);
  await t.settle();
  await pauseAndSave(t);
  VmbChannelPacketComplete(nth(t.clientReceived, 0).packet, null, 0);
  sendFromGuest(t, 1);
  await t.settle();
  const meanwhile = t.completed.length + t.received.length;

  VmbChannelStart(t.server);
  await t.settle();

  expect(meanwhile).toBe(0);
  expect(t.completed.map(({ name, status }) => [name, status])).toEqual([['one', STATUS_SUCCESS]]);
  expect(firstBytes(t.received)).toEqual([1]);
});

test('the old host says nothing to the guest when it leaves, and its driver sees Closed and no completion', async () => {
  const t = await saveable();
  sendNamed(t, ['one']);
  await t.settle();
  const saved = await pauseAndSave(t);
  t.log.length = 0;

  takeOver(t, saved);
  await t.settle();

  expect(t.log).toContain('server Closed');
  expect(t.log.filter((line) => line.startsWith('client'))).toEqual([]);
  expect(t.completed).toEqual([]);
  expect(stageOf(t.server)).toBe('disabled');
  expect(() => VmbChannelCleanup(t.server)).not.toThrow();
});

test('a packet sent after the save began is not in it, and completes on the old host when that leaves', async () => {
  const t = await saveable();
  const saved = await pauseAndSave(t);
  sendNamed(t, ['too late']);

  const next = takeOver(t, saved);
  await t.settle();

  expect(t.completed.map(({ name, status }) => [name, status])).toEqual([['too late', STATUS_DEVICE_REMOVED]]);
  expect(next.completed).toEqual([]);
});

test('a guest that moved twice has lost nothing', async () => {
  const t = await saveable();
  sendNamed(t, ['one']);
  await t.settle();

  const second = await moveHost(t);
  sendNamed(second, ['two']);
  await t.settle();
  const third = await moveHost({ ...t, ...second });
  for (const { packet } of t.clientReceived) VmbChannelPacketComplete(packet, null, 0);
  await t.settle();

  expect(third.completed.map(({ name }) => name)).toEqual(['one', 'two']);
  expect([...t.completed, ...second.completed]).toEqual([]);
});

test('the guest closes and opens again on the new host as on the old one', async () => {
  const t = await saveable();
  const next = await moveHost(t);
  t.log.length = 0;

  const disabled = VmbChannelDisable(t.client);
  await t.settle();
  await disabled;
  expectSuccess(VmbChannelEnable(t.client));
  await t.settle();
  sendFromGuest(t, 1);
  await t.settle();

  expect(t.log.filter((line) => line.startsWith('new server'))).toEqual(
    ['Suspend', 'Closed', 'Opened', 'Started', 'PostStarted'].map((name) => `new server ${name}`),
  );
  expect(firstBytes(next.received)).toEqual([1]);
});

test('K-284 with FORCE_NEW_CHANNEL the guest loses the old channel and is offered a new one', async () => {
  const t = await saveable();
  sendNamed(t, ['one']);
  await t.settle();
  t.log.length = 0;

  const next = await moveHost(t, {
    setUpServer: (server) =>
      void VmbServerChannelInitSetFlags(server, VMBUS_SERVER_CHANNEL_INIT_FLAG_FORCE_NEW_CHANNEL),
  });
  // As the guest still holds that packet, its Closed waits for it.
  for (const { packet } of t.clientReceived) VmbChannelPacketComplete(packet, null, 0);
  await t.settle();
  const clientLog = t.log.filter((line) => line.startsWith('client'));
  expectSuccess(VmbChannelEnable(t.client));
  await t.settle();

  expect(clientLog).toEqual(['client Suspend', 'client Closed']);
  expect(next.completed.map(({ name, status }) => [name, status])).toEqual([['one', STATUS_DEVICE_REMOVED]]);
  expect(stageOf(t.client as never)).toBe('active');
  expect(stageOf(next.server)).toBe('active');
});

test('rings that were scribbled over during the move fail the packets and leave the bus alive', async () => {
  const t = await saveable();
  sendNamed(t, ['one']);
  await t.settle();
  const saved = await pauseAndSave(t);
  // The write index of the ring from the guest, which is in the first page that the client's bus handed out.
  new DataView(t.memory.page(0).buffer, t.memory.page(0).byteOffset).setUint32(0, 0xffff_fff1, true);

  const next = takeOver(t, saved);
  await t.settle();

  expect(next.completed.map(({ name }) => name)).toEqual(['one']);
  expect(next.completed[0]?.status).not.toBe(STATUS_SUCCESS);
  expect(next.host.bus.state).toBe('offering');
});

test('a channel that was saved before it was open is offered as before, and its packets go out when it opens', async () => {
  const t = await saveable();
  const disabled = VmbChannelDisable(t.client);
  await t.settle();
  await disabled;
  sendNamed(t, ['early']);
  const saved = { pieces: saveChannel(t.server), bus: t.host.save() };

  const next = takeOver(t, saved);
  await t.settle();
  expectSuccess(VmbChannelEnable(t.client));
  await t.settle();

  expect(namesOf(t.clientReceived)).toEqual(['early']);
  expect(next.calls).toEqual(['restore early']);
});

test('a new host on which nobody takes the channel up takes it back', async () => {
  const t = await saveable();
  const saved = await pauseAndSave(t);
  t.log.length = 0;

  const next = newServer(t);
  t.host.leave();
  next.host.restore(saved.bus);
  const revoked = next.host.revokeUnclaimed();
  await t.settle();

  expect(revoked).toBe(1);
  expect(t.log.filter((line) => line.startsWith('client'))).toEqual(['client Suspend', 'client Closed']);
});

async function pausedClient(t: Saveable): Promise<number> {
  const paused = VmbChannelPause(t.client);
  await t.settle();
  await paused;
  return STATUS_SUCCESS;
}
