import { describe, expect, test } from 'vitest';
import { CloseReservedChannel, OpenReservedChannel } from '../../../src/wire/messages/index.ts';
import { VmbusVersion } from '../../../src/wire/versions.ts';
import { someOfferedChannel, someOpenChannel } from './some-host.ts';

const openReserved = (channelId: number, ringGpadlId = 1) =>
  OpenReservedChannel.encode({ channelId, targetVp: 1, targetSint: 2, ringGpadlId, downstreamPageOffset: 4 });
const closeReserved = (channelId: number) => CloseReservedChannel.encode({ channelId, targetVp: 1, targetSint: 2 });

/** Channel 1 open as reserved over GPADL 1. */
function someReservedChannel() {
  const host = someOfferedChannel();
  host.guest.createGpadl(1, 1);
  host.guest.takeAll();
  host.guest.send(openReserved(1));
  host.device.calls.length = 0;
  return host;
}

describe('reserved channels', () => {
  test('open without interrupts, with open id 0', () => {
    const { guest, device } = someReservedChannel();

    expect(guest.takeAll()).toEqual([{ name: 'OpenChannelResult', channelId: 1, openId: 0, status: 0 }]);
    expect(device.opens).toMatchObject([
      { openId: 0, targetVp: 0xffff_ffff, ringGpadlId: 1, reserved: { targetVp: 1, targetSint: 2 } },
    ]);
  });

  test('closing one is answered when the device let go', () => {
    const { guest, device, channel } = someReservedChannel();
    device.answersClose = false;
    guest.takeAll();

    guest.send(closeReserved(1));
    expect(guest.received).toEqual([]);
    channel.closed();

    expect(guest.takeAll()).toEqual([{ name: 'CloseReservedResponse', channelId: 1 }]);
    expect(channel.state).toBe('offered');
  });

  test('outlive unload, keep their id and are not offered again', () => {
    const { guest, bus, device, offer } = someReservedChannel();
    offer(2);
    guest.takeAll();

    guest.unload();
    const offers = guest.connect();

    expect(offers).toMatchObject([{ channelId: 2 }]);
    expect(device.calls).toEqual([]);
    expect(bus.inspect().channels[0]).toMatchObject({ relid: 1, state: 'open', ringGpadlId: 1 });
  });

  test('can be closed without a connection, and are offered by the next', () => {
    const { guest, device, channel } = someReservedChannel();
    guest.unload();
    guest.takeAll();

    guest.send(closeReserved(1));

    expect(guest.takeAll()).toEqual([{ name: 'CloseReservedResponse', channelId: 1 }]);
    expect(device.calls).toEqual(['closeRequested', 'gpadlTornDown 1', 'released']);
    expect(channel).toMatchObject({ state: 'unassigned', relid: 0 });
    expect(guest.connect()).toMatchObject([{ channelId: 1 }]);
  });

  test('that are closed before the next list of offers stand in it', () => {
    const { guest, channel } = someReservedChannel();
    guest.unload();
    guest.initiateContact(VmbusVersion.IRON);
    guest.takeAll();

    guest.send(closeReserved(1));
    guest.requestOffers();

    expect(guest.takeAll()).toMatchObject([
      { name: 'CloseReservedResponse' },
      { name: 'OfferChannel', channelId: 1 },
      { name: 'AllOffersDelivered' },
    ]);
    expect(channel.state).toBe('offered');
  });

  test('revoked without a connection are gone: there is nobody to tell', () => {
    const { guest, bus, channel } = someReservedChannel();
    guest.unload();
    guest.takeAll();

    channel.revoke();

    expect(guest.received).toEqual([]);
    expect(bus.inspect()).toMatchObject({ channels: [], gpadls: { count: 0 } });
  });

  test('revoked with the next connection are rescinded, and released like others', () => {
    const { guest, bus, channel } = someReservedChannel();
    guest.unload();
    guest.connect();
    guest.takeAll();

    channel.revoke();
    guest.release(1);

    expect(guest.takeAll()).toEqual([{ name: 'RescindChannelOffer', channelId: 1 }]);
    expect(bus.inspect()).toMatchObject({ channels: [], gpadls: { count: 0 } });
  });

  test('end with a reset', () => {
    const { bus, device } = someReservedChannel();

    bus.reset();

    expect(device.calls).toEqual(['closeRequested', 'gpadlTornDown 1', 'released']);
    expect(bus.inspect().channels).toMatchObject([{ relid: 0, state: 'unassigned' }]);
  });

  test('end with a reset that comes after unload, too', () => {
    const { bus, guest, device } = someReservedChannel();
    guest.unload();

    bus.reset();

    expect(device.calls).toEqual(['closeRequested', 'gpadlTornDown 1', 'released']);
    expect(bus.state).toBe('disconnected');
  });

  test('are not closed, released, or given new pages like others', () => {
    const { guest, channel, dropped } = someReservedChannel();
    guest.takeAll();

    guest.close(1);
    guest.release(1);
    guest.teardownGpadl(1, 1);
    guest.createGpadl(1, 2);
    guest.send(openReserved(1));

    expect(guest.takeAll()).toMatchObject([{ name: 'GpadlCreated', gpadlId: 2, status: 0x8000_ffff }]);
    expect(dropped).toHaveLength(5);
    expect(channel.state).toBe('open');
  });

  test('CloseReservedChannel does not close an ordinary channel', () => {
    const { guest, channel, dropped } = someOpenChannel();

    guest.send(closeReserved(1));

    expect(channel.state).toBe('open');
    expect(dropped).toEqual([expect.stringContaining('not opened as reserved')]);
  });

  test('a channel that closes is not opened as reserved', () => {
    const { guest, channel, device, dropped } = someOpenChannel();
    device.answersClose = false;
    guest.close(1);

    guest.send(openReserved(1));

    expect(channel.state).toBe('closing');
    expect(dropped).toHaveLength(1);
  });

  test('exist since 4.0', () => {
    const { guest, channel, dropped } = someOfferedChannel();
    guest.connect(VmbusVersion.WIN8_1);
    guest.createGpadl(1, 1);

    guest.send(openReserved(1));

    expect(channel.state).toBe('offered');
    expect(dropped).toEqual([expect.stringContaining('version 3.0')]);
  });
});
