/** Messages and device calls that meet on the way, as the host sees them. */
import { expect, test } from 'vitest';
import { encodeGpadl } from '../../../src/wire/messages/index.ts';
import { wholePages } from '../../peers/scripted-guest.ts';
import { someOfferedChannel, someOpenChannel } from './some-host.ts';

const FAILURE = 0x8000_ffff;

test('rescind meets open: the device answers an open that the rescind has overtaken, and no result is sent', () => {
  const { guest, device, channel } = someOfferedChannel();
  device.openAnswer = undefined;
  guest.createGpadl(1, 1);
  guest.open(1);
  guest.takeAll();

  channel.revoke();
  channel.opened(true);

  expect(guest.takeAll()).toEqual([{ name: 'RescindChannelOffer', channelId: 1 }]);
  expect(channel.state).toBe('revoked');
});

test('close meets rescind: the guest closes a channel that it does not know is rescinded', () => {
  const { guest, channel, dropped, device } = someOpenChannel();

  channel.revoke();
  guest.close(1);

  expect(guest.takeAll()).toEqual([{ name: 'RescindChannelOffer', channelId: 1 }]);
  expect(dropped).toEqual([]);
  expect(device.calls).toEqual([]);
});

test('rescind meets close: the device revokes while it drains, and its answer has no effect any more', () => {
  const { guest, channel, device } = someOpenChannel();
  device.answersClose = false;
  guest.close(1);

  channel.revoke();
  channel.closed();

  expect(guest.takeAll()).toEqual([{ name: 'RescindChannelOffer', channelId: 1 }]);
  expect(channel.state).toBe('revoked');
});

test('rescind meets a reopen: the open that waited for the close is forgotten', () => {
  const { guest, channel, device } = someOpenChannel();
  device.answersClose = false;
  guest.close(1);
  guest.open(1, { openId: 2 });

  channel.revoke();
  channel.closed();

  expect(guest.takeAll()).toEqual([{ name: 'RescindChannelOffer', channelId: 1 }]);
  expect(device.opens).toHaveLength(1);
});

test('rescind meets a GPADL in progress: it fails before the rescind, and its bodies are dropped', () => {
  const { guest, channel, bus, dropped } = someOfferedChannel();
  const [header, body] = encodeGpadl(1, 1, wholePages(30)) as [Uint8Array, Uint8Array];
  guest.send(header);

  channel.revoke();
  guest.send(body);

  expect(guest.takeAll()).toEqual([
    { name: 'GpadlCreated', channelId: 1, gpadlId: 1, status: FAILURE },
    { name: 'RescindChannelOffer', channelId: 1 },
  ]);
  expect(dropped).toHaveLength(1);
  expect(bus.inspect().gpadls).toEqual({ count: 0, inProgress: 0, pageCount: 0 });
});

test('rescind meets a GPADL header: the guest is told yes, and nothing is kept', () => {
  const { guest, channel, bus } = someOfferedChannel();
  channel.revoke();
  guest.takeAll();

  guest.createGpadl(1, 1);
  guest.teardownGpadl(1, 1);

  expect(guest.takeAll()).toEqual([
    { name: 'GpadlCreated', channelId: 1, gpadlId: 1, status: 0 },
    { name: 'GpadlTorndown', gpadlId: 1 },
  ]);
  expect(bus.inspect().gpadls.count).toBe(0);
});

test('rescind meets a teardown: a list that was created before goes as usual', () => {
  const { guest, channel } = someOpenChannel();

  channel.revoke();
  guest.takeAll();
  guest.teardownGpadl(1, 1);

  expect(guest.takeAll()).toEqual([{ name: 'GpadlTorndown', gpadlId: 1 }]);
});

test('rescind meets a teardown of pages that are mapped: the answer still waits for the mapping', () => {
  const { guest, channel } = someOpenChannel();
  channel.mapGpadl(1);
  guest.teardownGpadl(1, 1);

  channel.revoke();
  expect(guest.takeAll()).toEqual([{ name: 'RescindChannelOffer', channelId: 1 }]);
  channel.unmapGpadl(1);

  expect(guest.takeAll()).toEqual([{ name: 'GpadlTorndown', gpadlId: 1 }]);
});

test('a revoke while the device looks at a new list answers the list once', () => {
  const { guest, device, channel } = someOfferedChannel();
  device.gpadlCreated = () => {
    channel.revoke();
    return true;
  };

  guest.createGpadl(1, 1);

  expect(guest.takeAll()).toEqual([
    { name: 'GpadlCreated', channelId: 1, gpadlId: 1, status: FAILURE },
    { name: 'RescindChannelOffer', channelId: 1 },
  ]);
});

test('modify meets rescind: the guest gets its answer, a failure', () => {
  const { guest, channel } = someOpenChannel();
  channel.revoke();
  guest.takeAll();

  guest.modify(1, 1);

  expect(guest.takeAll()).toMatchObject([{ name: 'ModifyChannelResponse', status: FAILURE }]);
});

test('release meets close: the guest lets go of a channel that the device still drains', () => {
  const { guest, channel, device, offer } = someOpenChannel();
  device.answersClose = false;
  guest.close(1);

  guest.release(1);
  const { offer: second } = offer(2);
  channel.closed();
  const { offer: third } = offer(3);

  expect([second.relid, third.relid]).toEqual([2, 1]);
  expect(device.calls).toEqual(['closeRequested', 'gpadlTornDown 1', 'released']);
});

test('torndown after release: a mapping that ends after the guest left sends nothing', () => {
  const { guest, channel } = someOfferedChannel();
  guest.createGpadl(1, 1);
  channel.mapGpadl(1);
  guest.teardownGpadl(1, 1);
  guest.takeAll();

  guest.release(1);
  channel.unmapGpadl(1);

  expect(guest.received).toEqual([]);
  expect(channel.relid).toBe(0);
});

test('unload meets open: a device that says yes to a guest that has gone is asked to close', () => {
  const { guest, bus, device, channel } = someOfferedChannel();
  device.openAnswer = undefined;
  guest.createGpadl(1, 1);
  guest.open(1);
  guest.takeAll();

  guest.unload();
  expect(bus.state).toBe('disconnecting');
  channel.opened(true);

  expect(device.calls).toEqual(['gpadlCreated 1 8', 'openRequested', 'closeRequested', 'gpadlTornDown 1', 'released']);
  expect(guest.takeAll()).toEqual([{ name: 'UnloadComplete' }]);
});

test('unload meets open: a device that says no to a guest that has gone is left alone', () => {
  const { guest, device, channel } = someOfferedChannel();
  device.openAnswer = undefined;
  guest.createGpadl(1, 1);
  guest.open(1);
  guest.takeAll();

  guest.unload();
  channel.opened(false);

  expect(device.calls).not.toContain('closeRequested');
  expect(guest.takeAll()).toEqual([{ name: 'UnloadComplete' }]);
});

test('unload meets close and reopen: the open that waited is forgotten', () => {
  const { guest, device, channel } = someOpenChannel();
  device.answersClose = false;
  guest.close(1);
  guest.open(1, { openId: 2 });

  guest.unload();
  channel.closed();

  expect(guest.takeAll()).toEqual([{ name: 'UnloadComplete' }]);
  expect(device.opens).toHaveLength(1);
});

test('unload meets rescind: the channel is gone for good', () => {
  const { guest, channel, bus } = someOpenChannel();
  channel.revoke();

  guest.unload();

  expect(bus.inspect().channels).toEqual([]);
  expect(guest.connect()).toEqual([]);
});

test('revoke meets unload: a device that leaves instead of closing completes the unload', () => {
  const { guest, device, channel, bus } = someOpenChannel();
  device.answersClose = false;
  guest.unload();

  channel.revoke();

  expect(guest.takeAll()).toEqual([{ name: 'UnloadComplete' }]);
  expect(bus.inspect().channels).toEqual([]);
});

test('revoke meets open after unload: nothing is left of either', () => {
  const { guest, device, channel, bus } = someOfferedChannel();
  device.openAnswer = undefined;
  guest.createGpadl(1, 1);
  guest.open(1);
  guest.takeAll();
  guest.unload();

  channel.revoke();
  channel.opened(true);

  expect(guest.takeAll()).toEqual([{ name: 'UnloadComplete' }]);
  expect(bus.inspect()).toMatchObject({ state: 'disconnected', channels: [], gpadls: { count: 0 } });
});

test('teardown meets reopen: a ring that is being torn down is not opened again', () => {
  const { guest, device, channel } = someOpenChannel();
  device.answersClose = false;
  guest.close(1);
  guest.teardownGpadl(1, 1);
  guest.open(1, { openId: 2 });

  channel.closed();

  expect(guest.takeAll()).toEqual([
    { name: 'GpadlTorndown', gpadlId: 1 },
    { name: 'OpenChannelResult', channelId: 1, openId: 2, status: FAILURE },
  ]);
});

test('release meets reoffer: the id goes to the offer that waited, not to a third', () => {
  const { guest, channel, offer } = someOfferedChannel();
  channel.revoke();
  const { offer: heir } = offer(1);
  const { offer: other } = offer(2);
  guest.takeAll();

  guest.release(1);

  expect([heir.relid, other.relid]).toEqual([1, 2]);
});

test('unload meets reoffer: the offer that waited is there for the next connection', () => {
  const { guest, channel, offer } = someOfferedChannel();
  channel.revoke();
  const { offer: heir } = offer(1);

  guest.unload();
  const offers = guest.connect();

  expect(offers).toMatchObject([{ channelId: 1 }]);
  expect(heir.state).toBe('offered');
});

test('reoffer meets an old list: the new offer does not take its rings from the revoked one', () => {
  const { guest, channel, offer, bus } = someOfferedChannel();
  guest.createGpadl(1, 1);
  channel.revoke();
  const { offer: heir } = offer(1);

  expect(heir.gpadl(1)).toBeUndefined();
  expect(channel.gpadl(1)?.pageCount).toBe(8);
  guest.release(1);

  expect(heir.relid).toBe(1);
  expect(bus.inspect().gpadls.count).toBe(0);
});

test('revoke of a primary meets a mapping by its sub-channel: the mapping still ends as usual', () => {
  const { guest, channel, offer } = someOfferedChannel();
  const { offer: second } = offer(1, { subchannelIndex: 1 });
  guest.createGpadl(1, 1);
  second.mapGpadl(1);
  guest.teardownGpadl(1, 1);
  guest.takeAll();

  channel.revoke();
  second.unmapGpadl(1);

  expect(guest.takeAll().map(({ name }) => name)).toEqual(['RescindChannelOffer', 'GpadlTorndown']);
});
