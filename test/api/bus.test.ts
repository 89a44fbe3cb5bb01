import { expect, test } from 'vitest';
import { Bus, type Offer } from '../../src/api/index.ts';
import { createLoopback } from '../../src/transports/loopback/index.ts';
import { VmbusVersion } from '../../src/wire/index.ts';
import { StepScheduler } from '../peers/step-scheduler.ts';
import { eight, INSTANCE_ID, INTERFACE_ID, openFirst, settled, someOffer, twoBuses, watch } from './two-ends.ts';

function instance(number: number): string {
  return `00000000-0000-4000-8000-${number.toString().padStart(12, '0')}`;
}

test('a guest makes contact, and both ends know the version', async () => {
  const { host, guest } = await twoBuses();

  expect([host.version, guest.version]).toEqual([VmbusVersion.COPPER, VmbusVersion.COPPER]);
  expect(guest.isConnected).toBe(true);
  expect(host.memory.pageCount).toBe(guest.memory.pageCount);
});

test('without a common version Bus.guest rejects with ERR_REFUSED', async () => {
  const scheduler = new StepScheduler();
  const loopback = createLoopback({ scheduler });
  Bus.host(loopback.host, { newestVersion: VmbusVersion.WIN8 });

  const guest = Bus.guest(loopback.guest, { oldestVersion: VmbusVersion.WIN10 });

  await expect(settled(scheduler, guest)).rejects.toMatchObject({ name: 'PeerError', code: 'ERR_REFUSED' });
});

test('a host that is gone rejects Bus.guest with ERR_TRANSPORT', async () => {
  const scheduler = new StepScheduler();
  const loopback = createLoopback({ scheduler });
  const guest = Bus.guest(loopback.guest);

  loopback.loseHost('its process died');

  await expect(settled(scheduler, guest)).rejects.toMatchObject({ name: 'SystemError', code: 'ERR_TRANSPORT' });
});

test('an abort gives contact up, before it began or while it waits', async () => {
  const scheduler = new StepScheduler();
  const loopback = createLoopback({ scheduler });
  const abort = new AbortController();
  const guest = watch(Bus.guest(loopback.guest, { signal: abort.signal }));
  await scheduler.settle();

  abort.abort(new Error('nobody answers'));
  await scheduler.settle();

  expect(guest.error).toEqual(new Error('nobody answers'));
  await expect(Bus.guest(loopback.guest, { signal: abort.signal })).rejects.toEqual(new Error('nobody answers'));
});

test('offers() gives those that there are and those that come, to each iteration, until the connection ends', async () => {
  const { host, guest, scheduler, settle } = await twoBuses();
  someOffer(host, { instanceId: instance(1) });
  await settle();
  const collect = async (): Promise<string[]> => {
    const seen: string[] = [];
    for await (const offer of guest.offers()) seen.push(offer.instanceId);
    return seen;
  };
  const [one, other] = [watch(collect()), watch(collect())];
  await settle();

  someOffer(host, { instanceId: instance(2) });
  await settle();
  await settled(scheduler, guest.disconnect());

  expect([one.value, other.value]).toEqual([
    [instance(1), instance(2)],
    [instance(1), instance(2)],
  ]);
  expect(await guest.offers().next()).toEqual({ done: true, value: undefined });
});

test('offers() ends when the transport is lost', async () => {
  const { guest, loopback, settle } = await twoBuses();
  const next = watch(guest.offers().next());

  loopback.loseHost('gone');
  await settle();

  expect(next.value).toEqual({ done: true, value: undefined });
  expect(guest.isConnected).toBe(false);
});

test('offers that are taken back before anybody looked are left out', async () => {
  const { host, guest, scheduler, settle } = await twoBuses();
  const offers = guest.offers();
  const first = someOffer(host, { instanceId: instance(1) });
  someOffer(host, { instanceId: instance(2) });
  await settle();

  await settled(scheduler, first.close());
  await settle();

  expect((await offers.next()).value?.instanceId).toBe(instance(2));
});

test('an offer tells what the host said, and that it was taken back', async () => {
  const { host, guest, scheduler, settle } = await twoBuses();
  const server = someOffer(host, {
    mmioMegabytes: 8,
    mmioMegabytesOptional: 2,
    userDefined: Uint8Array.of(1, 2, 3),
    interfaceId: INTERFACE_ID.toUpperCase(),
  });
  await settle();
  const offer = await settled(scheduler, guest.findOffer({ instanceId: INSTANCE_ID }));

  expect(offer).toMatchObject({
    interfaceId: INTERFACE_ID,
    instanceId: INSTANCE_ID,
    subchannelIndex: 0,
    mmioMegabytes: 8,
    mmioMegabytesOptional: 2,
    isRescinded: false,
    isInUse: false,
    isPipe: false,
  });
  expect(offer.userDefined.slice(0, 4)).toEqual(Uint8Array.of(1, 2, 3, 0));

  await settled(scheduler, server.close());
  expect(offer.isRescinded).toBe(true);
  await expect(offer.open()).rejects.toMatchObject({ code: 'ERR_RESCINDED' });
});

test('findOffer waits for the offer that matches, sub-channels among them', async () => {
  const { host, guest, settle } = await twoBuses();
  const found = watch(guest.findOffer({ interfaceId: INTERFACE_ID, subchannelIndex: 1 }));
  someOffer(host);
  await settle();
  expect(found.state).toBe('pending');

  someOffer(host, { subchannelIndex: 1 });
  await settle();

  expect(found.value?.subchannelIndex).toBe(1);
});

test('findOffer ends with an abort, or with the connection', async () => {
  const { guest, scheduler, settle } = await twoBuses();
  const abort = new AbortController();
  const aborted = watch(guest.findOffer({}, { signal: abort.signal }));
  const ended = watch(guest.findOffer({}));
  await settle();

  abort.abort(new Error('enough'));
  await settled(scheduler, guest.disconnect());

  expect(aborted.error).toEqual(new Error('enough'));
  expect(ended.error).toMatchObject({ code: 'ERR_TRANSPORT' });
  await expect(guest.findOffer({ interfaceId: 'no guid' })).rejects.toMatchObject({ code: 'ERR_ARGUMENT' });
});

test('an identity can be offered once at a time', async () => {
  const { host, scheduler } = await twoBuses();
  const first = someOffer(host);

  expect(() => someOffer(host, { instanceId: INSTANCE_ID.toUpperCase() })).toThrow(
    expect.objectContaining({ name: 'UsageError', code: 'ERR_STATE' }),
  );

  await settled(scheduler, first.close());
  expect(someOffer(host).instanceId).toBe(INSTANCE_ID);
});

test('options that make no sense are refused, and nothing is offered', async () => {
  const { host } = await twoBuses();

  for (const options of [
    { maxPacketBytes: 0 },
    { maxExternalBytes: -1 },
    { maxHeldPackets: 0 },
    { contextBytes: 0.5 },
    { interfaceId: 'no guid' },
  ]) {
    expect(() => someOffer(host, options)).toThrow(expect.objectContaining({ code: 'ERR_ARGUMENT' }));
  }
  expect(host.channels).toEqual([]);
});

test('an offer that a channel of ours uses cannot be opened once more, until that one is closed', async () => {
  const { host, guest, scheduler, settle } = await twoBuses();
  someOffer(host);
  await settle();
  const offer = await settled(scheduler, guest.findOffer({}));
  const client = await settled(scheduler, offer.open());

  await expect(offer.open()).rejects.toMatchObject({ name: 'UsageError', code: 'ERR_STATE' });

  await settled(scheduler, client.close());
  const again = await settled(scheduler, offer.open());
  expect(again.isOpen).toBe(true);
  expect(guest.channels).toEqual([again]);
});

test('without pages for its rings an open rejects with ERR_OUT_OF_MEMORY and can be tried again', async () => {
  const { host, guest, scheduler, settle } = await twoBuses();
  someOffer(host);
  await settle();
  const offer = await settled(scheduler, guest.findOffer({}));
  const { freePages } = guest.pages;

  await expect(settled(scheduler, offer.open({ incomingRingPages: 1024 }))).rejects.toMatchObject({
    name: 'SystemError',
    code: 'ERR_OUT_OF_MEMORY',
  });

  expect(guest.pages.freePages).toBe(freePages);
  expect((await settled(scheduler, offer.open())).isOpen).toBe(true);
});

test.each([0, 0.5, 4095])('a ring of %s pages is refused', async (incomingRingPages) => {
  const { host, guest, scheduler, settle } = await twoBuses();
  someOffer(host);
  await settle();
  const offer = await settled(scheduler, guest.findOffer({}));

  await expect(offer.open({ incomingRingPages })).rejects.toMatchObject({ code: 'ERR_ARGUMENT' });
});

test('a host whose onOpened says no refuses the guest, and stays offered', async () => {
  const { host, guest, scheduler, settle } = await twoBuses();
  let isWelcome = false;
  const server = someOffer(host, { onOpened: () => isWelcome });
  await settle();
  const offer = await settled(scheduler, guest.findOffer({}));

  await expect(settled(scheduler, offer.open())).rejects.toMatchObject({ name: 'PeerError', code: 'ERR_REFUSED' });
  expect(server.lastEnd?.reason).toBe('refused');

  isWelcome = true;
  expect((await settled(scheduler, offer.open())).isOpen).toBe(true);
  expect(server.isOpen).toBe(true);
});

test('a guest whose own onOpened says no gives the channel back', async () => {
  const { host, guest, scheduler, settle } = await twoBuses();
  someOffer(host);
  await settle();
  const offer = await settled(scheduler, guest.findOffer({}));

  const opening = offer.open({ onOpened: async () => false });

  await expect(settled(scheduler, opening)).rejects.toMatchObject({ name: 'UsageError', code: 'ERR_REFUSED' });
  expect(offer.isInUse).toBe(false);
});

test('an abort while the host thinks takes the channel apart, and the offer is free again', async () => {
  const { host, guest, scheduler, settle } = await twoBuses();
  let answer: (value: boolean) => void = () => {};
  const server = someOffer(host, {
    onOpened: () =>
      new Promise<boolean>((resolve) => {
        answer = resolve;
      }),
  });
  await settle();
  const offer = await settled(scheduler, guest.findOffer({}));
  const { freePages } = guest.pages;
  const abort = new AbortController();
  const opening = watch(offer.open({ signal: abort.signal }));
  await settle();

  abort.abort(new Error('changed my mind'));
  await settle();
  expect(opening.error).toEqual(new Error('changed my mind'));
  answer(true);
  await settle();

  expect(server.isOpen).toBe(false);
  expect(offer.isInUse).toBe(false);
  expect(guest.pages.freePages).toBe(freePages);
});

test('an offer taken back while it is opened rejects with ERR_RESCINDED', async () => {
  const { host, guest, scheduler, settle } = await twoBuses();
  const server = someOffer(host);
  await settle();
  const offer: Offer = await settled(scheduler, guest.findOffer({}));
  const opening = watch(offer.open());

  const closed = watch(server.close());
  await settle();

  expect(opening.error).toMatchObject({ name: 'PeerError', code: 'ERR_RESCINDED' });
  expect(closed.state).toBe('resolved');
});

test('disconnect closes what is open, frees every page, and the host can be joined again', async () => {
  const { host, guest, loopback, scheduler, settle } = await twoBuses();
  const server = someOffer(host, { onPacket: (packet) => packet.complete(eight(1)) });
  await settle();
  const { freePages } = guest.pages;
  const client = await settled(scheduler, openFirst(guest));

  await settled(scheduler, guest.disconnect());

  expect([client.isOpen, server.isOpen, guest.isConnected]).toEqual([false, false, false]);
  expect(guest.pages.freePages).toBe(freePages);
  expect(server.lastEnd?.reason).toBe('closedByPeer');

  const next = await settled(scheduler, Bus.guest(loopback.guest));
  const again = await settled(scheduler, openFirst(next));
  expect(await settled(scheduler, again.request(eight()))).toEqual(eight(1));
});

test('closing a host takes all its offers back; a lost guest closes it', async () => {
  const { host, guest, scheduler, settle } = await twoBuses();
  const servers = [1, 2].map((number) => someOffer(host, { instanceId: instance(number) }));
  await settle();

  await settled(scheduler, host.close());
  expect(await Promise.all(servers.map((server) => server.closed))).toMatchObject([
    { reason: 'closed' },
    { reason: 'closed' },
  ]);
  expect([...guest.vmbus.bus.offers()]).toEqual([]);

  const lost = await twoBuses();
  const server = someOffer(lost.host);
  lost.loopback.loseGuest('killed');
  await lost.settle();
  expect(await server.opened()).toBe(false);
  expect(() => someOffer(lost.host)).toThrow(expect.objectContaining({ code: 'ERR_TRANSPORT' }));
});

test('the owner’s own events are called too', async () => {
  const scheduler = new StepScheduler();
  const loopback = createLoopback({ scheduler });
  const log: string[] = [];
  const host = Bus.host(loopback.host, {
    events: {
      connected: () => log.push('host connected'),
      disconnected: () => log.push('host disconnected'),
      message: (direction) => log.push(`host ${direction}`),
    },
  });
  const server = someOffer(host);
  const guest = await settled(
    scheduler,
    Bus.guest(loopback.guest, {
      events: {
        offered: () => log.push('offered'),
        rescinded: () => log.push('rescinded'),
        allOffersDelivered: () => log.push('all offers'),
        lost: (reason) => log.push(`lost: ${reason}`),
      },
    }),
  );

  await settled(scheduler, server.close());
  loopback.loseHost('end');
  await scheduler.settle();

  expect(log.filter((line) => !/^host (sent|received)$/.test(line))).toEqual([
    'host connected',
    'offered',
    'all offers',
    'rescinded',
    'lost: end',
  ]);
  expect(log).toContain('host received');
  expect(guest.inspect()).toMatchObject({ bus: { state: 'disconnected' } });
  expect(host.inspect()).toMatchObject({ channels: [] });
});
