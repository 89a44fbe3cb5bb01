/** Messages and calls that meet on the way, as the guest sees them. */
import { expect, test } from 'vitest';
import { STATUS_DEVICE_REMOVED, VMBUS_STATUS_FAILURE } from '../../../src/wire/ntstatus.ts';
import { wholePages } from '../../peers/scripted-guest.ts';
import { instanceNumber } from '../../peers/scripted-host.ts';
import { someGuestChannel, someGuestWithRing, someOpenGuestChannel } from './some-guest.ts';

const removed = STATUS_DEVICE_REMOVED.toString(16);

test('rescind meets open: the rescind ends the wait', () => {
  const { bus, host, ends, ended, openRequest } = someGuestWithRing();
  bus.open(1, openRequest, ended('open'));

  host.rescind(1);

  expect(ends).toEqual([`open ${removed}`]);
});

test('open result after rescind: it has no effect', () => {
  const { bus, host, ends, ended, openRequest } = someGuestWithRing();
  bus.open(1, openRequest, ended('open'));

  host.rescind(1);
  host.openResult(1);

  expect(ends).toEqual([`open ${removed}`]);
  expect(bus.offer(1)?.state).toBe('rescinded');
});

test('close meets open result: the channel is closed as soon as it is open', () => {
  const { bus, host, openRequest } = someGuestWithRing();
  bus.open(1, openRequest, () => {});
  host.takeAll();

  bus.close(1);
  expect(host.posted).toEqual([]);
  host.openResult(1);

  expect(host.takeAll()).toEqual([{ name: 'CloseChannel', channelId: 1 }]);
  expect(bus.offer(1)?.state).toBe('offered');
});

test('close meets a failed open result: there is nothing to close', () => {
  const { bus, host, openRequest } = someGuestWithRing();
  bus.open(1, openRequest, () => {});
  host.takeAll();

  bus.close(1);
  host.openResult(1, VMBUS_STATUS_FAILURE);

  expect(host.posted).toEqual([]);
  expect(bus.offer(1)?.state).toBe('offered');
});

test('close meets open meets rescind: only the rescind is left', () => {
  const { bus, host, ends, ended, openRequest, events } = someGuestWithRing();
  events.length = 0;
  bus.open(1, openRequest, ended('open'));

  bus.close(1);
  host.rescind(1);
  host.openResult(1);

  expect(ends).toHaveLength(1);
  expect(events).toEqual(['rescinded 1']);
});

test('close after rescind: the host is told once that the rings are left alone', () => {
  const { bus, host } = someOpenGuestChannel();
  host.rescind(1);

  bus.close(1);
  bus.close(1);
  bus.release(1);

  expect(host.takeAll().map(({ name }) => name)).toEqual(['CloseChannel', 'RelIdReleased']);
});

test('rescind meets create: the wait ends, and the late answer is ignored', () => {
  const { bus, host, ends, ended, dropped } = someGuestChannel();
  const id = bus.createGpadl(1, wholePages(1), ended('create'));

  host.rescind(1);
  host.gpadlCreated(1, id);

  expect(ends).toEqual([`create ${removed}`]);
  expect(dropped).toHaveLength(1);
  expect(bus.inspect().gpadlCount).toBe(0);
});

test('rescind meets teardown: the wait ends, and the late answer is ignored', () => {
  const { bus, host, ends, ended, ringGpadlId } = someGuestWithRing();
  bus.teardownGpadl(1, ringGpadlId, ended('teardown'));

  host.rescind(1);
  host.gpadlTorndown(ringGpadlId);

  expect(ends).toEqual(['teardown 0']);
});

test('torndown after release: nobody waits', () => {
  const { bus, host, ringGpadlId, dropped, ends, ended } = someGuestWithRing();
  bus.teardownGpadl(1, ringGpadlId, ended('teardown'));
  host.rescind(1);
  bus.release(1);

  host.gpadlTorndown(ringGpadlId);

  expect(ends).toEqual(['teardown 0']);
  expect(dropped).toHaveLength(1);
});

test('teardown after rescind: the list is gone already, no message is sent', () => {
  const { bus, host, ends, ended, ringGpadlId } = someGuestWithRing();
  host.rescind(1);

  bus.teardownGpadl(1, ringGpadlId, ended('teardown'));

  expect(ends).toEqual(['teardown 0']);
  expect(host.posted).toEqual([]);
});

test('reoffer meets an unreleased rescind: the device comes back under another id', () => {
  const { bus, host, events } = someGuestChannel();
  host.rescind(1);

  host.offer({ channelId: 2, instanceId: instanceNumber(1) });
  bus.release(1);

  expect(events).toEqual(['rescinded 1', 'offered 2']);
  expect(host.takeAll()).toEqual([{ name: 'RelIdReleased', channelId: 1 }]);
  expect(bus.offer(2)?.state).toBe('offered');
});

test('answers about an old channel do not reach the new one under its id', () => {
  const { bus, host, ends, ended, openRequest } = someGuestWithRing();
  bus.open(1, openRequest, ended('old'));
  const old = bus.createGpadl(1, wholePages(1), ended('old list'));
  host.rescind(1);
  bus.release(1);
  host.offer({ channelId: 1 });
  const young = bus.createGpadl(1, wholePages(1), ended('new list'));

  host.openResult(1);
  host.gpadlCreated(1, old);
  host.modified(1);

  expect(ends).toEqual([`old ${removed}`, `old list ${removed}`]);
  expect(bus.offer(1)?.state).toBe('offered');
  expect(young).not.toBe(old);
});

test('offer meets unload: it is not told any more', () => {
  const { bus, host, events } = someGuestChannel();
  bus.disconnect();

  host.offer({ channelId: 5 });
  host.unloadComplete();

  expect(events).toEqual(['rescinded 1', 'disconnected']);
});

test('rescind meets unload: each offer is told as rescinded once', () => {
  const { bus, host, events } = someGuestChannel();
  bus.disconnect();

  host.rescind(1);
  host.unloadComplete();

  expect(events).toEqual(['rescinded 1', 'disconnected']);
});

test('disconnect meets AllOffersDelivered: the end of the list is not told any more', () => {
  const { bus, host, events, dropped } = someGuestChannel();
  bus.disconnect();

  host.allOffersDelivered();

  expect(events).toEqual([]);
  expect(dropped).toEqual([]);
});

test('a driver that closes and releases inside the rescind call finds the channel gone after it', () => {
  const { bus, host, openRequest } = someGuestWithRing();
  const ends: number[] = [];
  bus.open(1, openRequest, (status) => {
    ends.push(status);
    bus.close(1);
    bus.release(1);
  });
  host.takeAll();

  host.rescind(1);

  expect(ends).toEqual([STATUS_DEVICE_REMOVED]);
  expect(host.takeAll().map(({ name }) => name)).toEqual(['CloseChannel', 'RelIdReleased']);
  expect(bus.offer(1)).toBeUndefined();
});
