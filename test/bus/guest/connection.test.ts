import { describe, expect, test } from 'vitest';
import { PostStatus } from '../../../src/bus/control-port.ts';
import { ModifyConnectionResponse, PauseResponse, TlConnectResult } from '../../../src/wire/messages/index.ts';
import {
  STATUS_CANCELLED,
  STATUS_CONNECTION_REFUSED,
  STATUS_DEVICE_NOT_CONNECTED,
  STATUS_NOT_SUPPORTED,
  STATUS_SUCCESS,
  STATUS_UNSUCCESSFUL,
} from '../../../src/wire/ntstatus.ts';
import { VmbusVersion } from '../../../src/wire/versions.ts';
import { wholePages } from '../../peers/scripted-guest.ts';
import { instanceNumber } from '../../peers/scripted-host.ts';
import { someConnectedGuest, someGuestChannel } from './some-guest.ts';

const COPPER = { newestVersion: VmbusVersion.COPPER };
const TARGET = { endpointId: instanceNumber(0xe), serviceId: '00000400-FACB-11e6-bd58-64006a7986d3' };
const SERVICE = TARGET.serviceId.toLowerCase();
const PAGES = { parentToChildGpa: 0x1000n, childToParentGpa: 0x2000n };

const refusal = (status: number) =>
  TlConnectResult.encode({ guestEndpointId: TARGET.endpointId, hostServiceId: SERVICE, status });

describe('hvsock connects', () => {
  test('an offer of the service under our endpoint is the answer', () => {
    const { bus, host, events } = someConnectedGuest();
    const ends: unknown[] = [];

    bus.tlConnect(TARGET, (status, offer) => ends.push([status, offer?.relid]));
    expect(host.takeAll()).toMatchObject([
      { name: 'TlConnectRequest', guestEndpointId: TARGET.endpointId, hostServiceId: SERVICE },
    ]);
    host.offer({ channelId: 4, interfaceId: SERVICE, instanceId: TARGET.endpointId });

    expect(ends).toEqual([[STATUS_SUCCESS, 4]]);
    expect(events).toEqual(['offered 4']);
  });

  test('a refusal ends it once', () => {
    const { bus, host, dropped } = someConnectedGuest();
    const ends: number[] = [];
    bus.tlConnect(TARGET, (status) => ends.push(status));

    host.send(refusal(STATUS_CONNECTION_REFUSED));
    host.send(refusal(STATUS_CONNECTION_REFUSED));

    expect(ends).toEqual([STATUS_CONNECTION_REFUSED]);
    expect(dropped).toHaveLength(1);
  });

  test('a result of success breaks the protocol and is dropped', () => {
    const { bus, host, dropped } = someConnectedGuest();
    const ends: number[] = [];
    bus.tlConnect(TARGET, (status) => ends.push(status));

    host.send(refusal(STATUS_SUCCESS));

    expect(ends).toEqual([]);
    expect(dropped).toHaveLength(1);
  });

  test.each([
    [VmbusVersion.WIN10, 40],
    [VmbusVersion.V5_1, 40],
    [VmbusVersion.V5_2, 56],
  ])('the request of version %i has %i bytes', (newestVersion, bytes) => {
    const { bus, host } = someConnectedGuest({ newestVersion });

    bus.tlConnect({ ...TARGET, siloId: instanceNumber(5) }, () => {});

    expect(host.posted[0]?.message).toHaveLength(bytes);
  });

  test('below 4.0 there is no hvsock', () => {
    const { bus, host } = someConnectedGuest({ newestVersion: VmbusVersion.WIN8_1 });
    const ends: number[] = [];

    bus.tlConnect(TARGET, (status) => ends.push(status));

    expect(ends).toEqual([STATUS_NOT_SUPPORTED]);
    expect(host.posted).toEqual([]);
  });

  test('it can be given up, and ends with the connection otherwise', () => {
    const { bus } = someConnectedGuest();
    const ends: number[] = [];
    const done = (status: number) => ends.push(status);

    bus.tlConnect(TARGET, done);
    expect(() => bus.tlConnect(TARGET, done)).toThrow(expect.objectContaining({ code: 'ERR_STATE' }));
    bus.cancelTlConnect(TARGET);
    bus.cancelTlConnect(TARGET);
    bus.tlConnect(TARGET, done);
    bus.lost('gone');

    expect(ends).toEqual([STATUS_CANCELLED, STATUS_DEVICE_NOT_CONNECTED]);
  });
});

describe('pause and resume', () => {
  test('what is asked while paused goes out after the resume', () => {
    const { bus, host, ends, ended } = someGuestChannel(COPPER);

    bus.pause(ended('pause'));
    host.send(PauseResponse.encode({}));
    bus.createGpadl(1, wholePages(1), ended('create'));
    expect(host.takeAll()).toEqual([{ name: 'Pause' }]);
    bus.resume();

    expect(ends).toEqual(['pause 0']);
    expect(host.takeAll().map(({ name }) => name)).toEqual(['Resume', 'GpadlHeader']);
  });

  test('a pause that cannot be posted yet goes out before anything that follows', () => {
    const { bus, host } = someGuestChannel(COPPER);
    host.postStatus = PostStatus.InsufficientBuffers;

    bus.pause(() => {});
    bus.createGpadl(1, wholePages(1), () => {});
    host.postStatus = PostStatus.Success;
    bus.flush();

    expect(host.takeAll()).toEqual([{ name: 'Pause' }]);
  });

  test('resume is for a pause that the host has confirmed', () => {
    const { bus, host } = someGuestChannel(COPPER);

    expect(() => bus.resume()).toThrow(expect.objectContaining({ code: 'ERR_STATE' }));
    bus.pause(() => {});
    expect(() => bus.pause(() => {})).toThrow(expect.objectContaining({ code: 'ERR_STATE' }));
    expect(() => bus.resume()).toThrow(expect.objectContaining({ code: 'ERR_STATE' }));
    host.send(PauseResponse.encode({}));

    expect(() => bus.resume()).not.toThrow();
  });

  test('unload goes out of a pause, and what was kept back is forgotten', () => {
    const { bus, host, ends, ended } = someGuestChannel(COPPER);
    bus.pause(() => {});
    host.send(PauseResponse.encode({}));
    bus.createGpadl(1, wholePages(1), ended('create'));
    host.takeAll();

    bus.disconnect();
    expect(host.takeAll()).toEqual([{ name: 'Unload' }]);
    host.unloadComplete();

    expect(ends).toEqual([`create ${STATUS_DEVICE_NOT_CONNECTED.toString(16)}`]);
    expect(bus.inspect().isPaused).toBe(false);
  });

  test('a pause that is not confirmed ends with the connection', () => {
    const { bus, ends, ended } = someGuestChannel(COPPER);
    bus.pause(ended('pause'));

    bus.lost('gone');

    expect(ends).toEqual([`pause ${STATUS_DEVICE_NOT_CONNECTED.toString(16)}`]);
  });

  test('at 5.3 there is none', () => {
    const { bus, host, ends, ended } = someGuestChannel();

    bus.pause(ended('pause'));

    expect(ends).toEqual([`pause ${STATUS_NOT_SUPPORTED.toString(16)}`]);
    expect(host.posted).toEqual([]);
  });
});

describe('modify connection', () => {
  test('the new pages count when the host agrees', () => {
    const { bus, host, ends, ended } = someGuestChannel(COPPER);

    bus.modifyConnection(PAGES, ended('modify'));
    expect(host.take()).toMatchObject({ name: 'ModifyConnection', childToParentMonitorGpa: 0x2000n });
    expect(bus.monitorPages).toBeUndefined();
    host.send(ModifyConnectionResponse.encode({ connectionState: 0 }));
    expect(bus.monitorPages).toEqual(PAGES);
    bus.modifyConnection(undefined, ended('drop'));
    host.send(ModifyConnectionResponse.encode({ connectionState: 0 }));

    expect(bus.monitorPages).toBeUndefined();
    expect(ends).toEqual(['modify 0', 'drop 0']);
  });

  test('the old pages stay when it does not', () => {
    const { bus, host, ends, ended } = someGuestChannel({ ...COPPER, monitorPages: PAGES });

    bus.modifyConnection(undefined, ended('modify'));
    host.send(ModifyConnectionResponse.encode({ connectionState: 2 }));

    expect(ends).toEqual([`modify ${STATUS_UNSUCCESSFUL.toString(16)}`]);
    expect(bus.monitorPages).toEqual(PAGES);
  });

  test('one at a time, whole pairs, with the feature only; and it ends with the connection', () => {
    const { bus, ends, ended } = someGuestChannel(COPPER);
    const { bus: old, ends: oldEnds, ended: oldEnded } = someGuestChannel();

    old.modifyConnection(PAGES, oldEnded('modify'));
    expect(() => bus.modifyConnection({ ...PAGES, childToParentGpa: 0n }, ended('half'))).toThrow(
      expect.objectContaining({ code: 'ERR_ARGUMENT' }),
    );
    bus.modifyConnection(PAGES, ended('first'));
    expect(() => bus.modifyConnection(PAGES, ended('second'))).toThrow(expect.objectContaining({ code: 'ERR_STATE' }));
    bus.lost('gone');

    expect(oldEnds).toEqual([`modify ${STATUS_NOT_SUPPORTED.toString(16)}`]);
    expect(ends).toEqual([`first ${STATUS_DEVICE_NOT_CONNECTED.toString(16)}`]);
  });
});
