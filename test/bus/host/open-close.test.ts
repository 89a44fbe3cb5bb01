import { describe, expect, test } from 'vitest';
import { VP_INDEX_DISABLE_INTERRUPT } from '../../../src/wire/messages/index.ts';
import { FeatureFlag, VmbusVersion } from '../../../src/wire/versions.ts';
import { wholePages } from '../../peers/scripted-guest.ts';
import { someHost, someOfferedChannel, someOpenChannel } from './some-host.ts';

const FAILURE = 0x8000_ffff;

describe('open', () => {
  test('the device is asked with what the guest said, and its yes is the result', () => {
    const { guest, device, channel } = someOfferedChannel();
    const userData = new Uint8Array(120).fill(7);
    guest.createGpadl(1, 0xe1e10, wholePages(40));
    guest.takeAll();

    guest.open(1, { openId: 99, ringGpadlId: 0xe1e10, targetVp: 3, downstreamPageOffset: 20, userData });

    expect(device.opens).toEqual([
      { openId: 99, ringGpadlId: 0xe1e10, targetVp: 3, downstreamPageOffset: 20, userData },
    ]);
    expect(guest.takeAll()).toEqual([{ name: 'OpenChannelResult', channelId: 1, openId: 99, status: 0 }]);
    expect(channel.state).toBe('open');
  });

  test('the guest waits while the device thinks, and may open again after a no', () => {
    const { guest, device, channel } = someOfferedChannel();
    device.openAnswer = undefined;
    guest.createGpadl(1, 1);
    guest.takeAll();

    guest.open(1);
    expect(guest.received).toEqual([]);
    channel.opened(false);
    guest.open(1);
    channel.opened(true);

    expect(guest.takeAll().map(({ status }) => status)).toEqual([FAILURE, 0]);
  });

  test('below 2.4 there is no target VP: it is 0', () => {
    const { guest, offer } = someHost();
    const { device } = offer(1);
    guest.connect(VmbusVersion.WIN7);
    guest.createGpadl(1, 1);

    guest.open(1, { targetVp: 5 });

    expect(device.opens).toMatchObject([{ targetVp: 0 }]);
  });

  test('at 6.0 the guest chooses connection id and event flag if that was agreed', () => {
    const { guest, offer } = someHost();
    const { device } = offer(1);
    guest.connect(VmbusVersion.COPPER, { features: FeatureFlag.GuestSpecifiedSignalParameters });
    guest.createGpadl(1, 1);

    guest.open(1, { connectionId: 0x2005, eventFlag: 5, openFlags: 1 });

    expect(device.opens).toMatchObject([{ connectionId: 0x2005, eventFlag: 5 }]);
    expect(device.opens[0]).not.toHaveProperty('openFlags');
  });

  test('at 6.0 open flags count if redirection was agreed', () => {
    const { guest, offer } = someHost();
    const { device } = offer(1);
    guest.connect(VmbusVersion.COPPER, { features: FeatureFlag.ChannelInterruptRedirection });
    guest.createGpadl(1, 1);

    guest.open(1, { connectionId: 0x2005, eventFlag: 5, openFlags: 1 });

    expect(device.opens).toMatchObject([{ openFlags: 1 }]);
    expect(device.opens[0]).not.toHaveProperty('connectionId');
  });

  test('two channels cannot be signalled on one connection id', () => {
    const { guest, offer, dropped } = someHost();
    offer(1);
    const { device } = offer(2);
    guest.connect(VmbusVersion.COPPER, { features: FeatureFlag.GuestSpecifiedSignalParameters });
    guest.createGpadl(1, 1);
    guest.createGpadl(2, 2);
    guest.open(1, { ringGpadlId: 1, connectionId: 0x77 });
    guest.takeAll();

    guest.open(2, { ringGpadlId: 2, connectionId: 0x77 });

    expect(guest.take()).toMatchObject({ name: 'OpenChannelResult', status: FAILURE });
    expect(device.opens).toEqual([]);
    expect(dropped).toEqual([expect.stringContaining('belongs to channel 1')]);
  });

  test('an event flag that no flag area has is refused', () => {
    const { guest, offer } = someHost();
    offer(1);
    guest.connect(VmbusVersion.COPPER, { features: FeatureFlag.GuestSpecifiedSignalParameters });
    guest.createGpadl(1, 1);
    guest.takeAll();

    guest.open(1, { connectionId: 9, eventFlag: 2048 });

    expect(guest.take()).toMatchObject({ status: FAILURE });
  });

  test('a sub-channel may have its rings in a GPADL of its primary', () => {
    const { guest, offer } = someHost();
    offer(1);
    const { device } = offer(1, { subchannelIndex: 1 });
    guest.connect();
    guest.createGpadl(1, 1);
    guest.takeAll();

    guest.open(2, { ringGpadlId: 1 });
    guest.teardownGpadl(1, 1);
    expect(guest.takeAll()).toMatchObject([{ name: 'OpenChannelResult', channelId: 2, status: 0 }]);
    guest.close(2);

    expect(device.calls).toContain('closeRequested');
    expect(guest.takeAll()).toMatchObject([{ name: 'GpadlTorndown', gpadlId: 1 }]);
  });

  test('a GPADL of another device holds no rings for this one', () => {
    const { guest, offer } = someHost();
    offer(1);
    offer(2);
    guest.connect();
    guest.createGpadl(1, 1);
    guest.takeAll();

    guest.open(2, { ringGpadlId: 1 });

    expect(guest.take()).toMatchObject({ status: FAILURE });
  });
});

describe('close', () => {
  test('closing has no reply; the channel can be opened again once the device let go', () => {
    const { guest, device, channel } = someOpenChannel();
    device.answersClose = false;

    guest.close(1);
    expect(channel.state).toBe('closing');
    channel.closed();
    guest.open(1);

    expect(guest.takeAll()).toMatchObject([{ name: 'OpenChannelResult', status: 0 }]);
    expect(device.calls).toEqual(['closeRequested', 'openRequested']);
  });

  test('an answer that was not asked for is the device’s own fault', () => {
    const { channel, offer } = someOpenChannel();

    expect(() => channel.closed()).toThrow(expect.objectContaining({ code: 'ERR_STATE' }));
    expect(() => offer(2).offer.opened(true)).toThrow(expect.objectContaining({ code: 'ERR_STATE' }));
  });

  test('unload closes every channel and waits for the devices', () => {
    const { guest, bus, device, channel, events } = someOpenChannel();
    device.answersClose = false;

    guest.unload();
    expect(guest.received).toEqual([]);
    channel.closed();

    expect(guest.takeAll()).toEqual([{ name: 'UnloadComplete' }]);
    expect(bus.state).toBe('disconnected');
    expect(events.at(-1)).toBe('disconnected');
    expect(device.calls).toEqual(['closeRequested', 'gpadlTornDown 1', 'released']);
  });

  test('unload waits for pages that a device has mapped', () => {
    const { guest, channel } = someOpenChannel();
    channel.mapGpadl(1);

    guest.unload();
    expect(guest.received).toEqual([]);
    channel.unmapGpadl(1);

    expect(guest.takeAll()).toEqual([{ name: 'UnloadComplete' }]);
  });

  test('a guest of 0.13 gets no UnloadComplete: the message came with 1.1', () => {
    const { guest, bus } = someHost();
    guest.connect(VmbusVersion.WS2008);
    guest.takeAll();

    guest.unload();

    expect(guest.received).toEqual([]);
    expect(bus.state).toBe('disconnected');
  });

  test('a reset closes every channel without a message', () => {
    const { guest, bus, device } = someOpenChannel();

    bus.reset();

    expect(guest.received).toEqual([]);
    expect(bus.state).toBe('disconnected');
    expect(device.calls).toEqual(['closeRequested', 'gpadlTornDown 1', 'released']);
  });
});

describe('modify channel', () => {
  test('from 5.3 the new target VP is acknowledged', () => {
    const { guest, device } = someOpenChannel();

    guest.modify(1, 2);

    expect(device.calls).toEqual(['targetVpChanged 2']);
    expect(guest.takeAll()).toEqual([{ name: 'ModifyChannelResponse', channelId: 1, status: 0 }]);
  });

  test('at 4.1 it is done without a word', () => {
    const { guest, offer } = someHost();
    const { device } = offer(1);
    guest.connect(VmbusVersion.WIN10_RS3_0);
    guest.createGpadl(1, 1);
    guest.open(1);
    guest.takeAll();

    guest.modify(1, 2);
    guest.modify(7, 2);

    expect(device.calls).toContain('targetVpChanged 2');
    expect(guest.received).toEqual([]);
  });

  test('a device that cannot interrupt that processor makes it fail', () => {
    const { guest, device } = someOpenChannel();
    device.acceptsVps = false;

    guest.modify(1, 2);

    expect(guest.take()).toMatchObject({ status: FAILURE });
  });

  test('a channel that was opened without interrupts keeps none', () => {
    const { guest, device } = someOfferedChannel();
    guest.createGpadl(1, 1);
    guest.open(1, { targetVp: VP_INDEX_DISABLE_INTERRUPT });
    guest.takeAll();

    guest.modify(1, 2);

    expect(guest.take()).toMatchObject({ name: 'ModifyChannelResponse', status: FAILURE });
    expect(device.calls).not.toContain('targetVpChanged 2');
  });
});
