import { describe, expect, test } from 'vitest';
import { PostStatus } from '../../../src/bus/control-port.ts';
import type { TlConnectRequest as TlRequest } from '../../../src/bus/host/index.ts';
import {
  ModifyConnection,
  Pause,
  Resume,
  TlConnectRequest,
  TlConnectRequest2,
} from '../../../src/wire/messages/index.ts';
import { FeatureFlag, VmbusVersion } from '../../../src/wire/versions.ts';
import { instanceNumber } from '../../peers/scripted-host.ts';
import { someHost, someOfferedChannel } from './some-host.ts';

const ENDPOINT = instanceNumber(0xe);
const SERVICE = '00000400-facb-11e6-bd58-64006a7986d3';
const SILO = instanceNumber(0x5);
const REFUSED = 0xc000_0236;

const modifyConnection = (parent: bigint, child: bigint) =>
  ModifyConnection.encode({ parentToChildMonitorGpa: parent, childToParentMonitorGpa: child });

describe('pause and resume', () => {
  test('a paused host keeps its messages back until resume, in order', () => {
    const { guest, offer } = someHost();
    guest.connect(VmbusVersion.COPPER, { features: FeatureFlag.PauseResume });

    guest.send(Pause.encode({}));
    offer(1);
    offer(2);
    expect(guest.takeAll()).toEqual([{ name: 'PauseResponse' }]);
    guest.send(Resume.encode({}));

    expect(guest.takeAll()).toMatchObject([{ channelId: 1 }, { channelId: 2 }]);
  });

  test('unload ends a pause, and what was kept back is forgotten', () => {
    const { guest, bus, offer } = someHost();
    guest.connect(VmbusVersion.COPPER, { features: FeatureFlag.PauseResume });
    guest.send(Pause.encode({}));
    offer(1);
    guest.takeAll();

    guest.unload();

    expect(guest.takeAll()).toEqual([{ name: 'UnloadComplete' }]);
    expect(bus.state).toBe('disconnected');
  });

  test('a contact ends a pause and is answered', () => {
    const { guest } = someHost();
    guest.connect(VmbusVersion.COPPER, { features: FeatureFlag.PauseResume });
    guest.send(Pause.encode({}));
    guest.takeAll();

    guest.initiateContact(VmbusVersion.IRON);

    expect(guest.takeAll()).toMatchObject([{ name: 'VersionResponse', versionSupported: 1 }]);
  });

  test('a resume without a pause changes nothing', () => {
    const { guest, bus, dropped } = someHost();
    guest.connect(VmbusVersion.COPPER, { features: FeatureFlag.PauseResume });

    guest.send(Resume.encode({}));

    expect(bus.state).toBe('offering');
    expect(dropped).toEqual([]);
  });
});

describe('modify connection', () => {
  function someModifiableHost(pagesChosen: () => boolean = () => true) {
    const host = someHost({}, { pagesChosen });
    host.guest.initiateContact(VmbusVersion.COPPER, { features: FeatureFlag.ModifyConnection });
    host.guest.takeAll();
    return host;
  }

  test('the new pages count for channels that are offered later', () => {
    const { guest, offer } = someModifiableHost();
    offer(1, { monitorLatency100ns: 1000 });

    guest.send(modifyConnection(0x1000n, 0x2000n));
    guest.requestOffers();

    expect(guest.takeAll()).toMatchObject([
      { name: 'ModifyConnectionResponse', connectionState: 0 },
      { name: 'OfferChannel', monitorId: 0 },
      { name: 'AllOffersDelivered' },
    ]);
  });

  test.each([
    ['half a pair', 0x1000n, 0n],
    ['an unaligned page', 0x1000n, 0x2001n],
  ])('%s fails with state 2', (_, parent, child) => {
    const { guest } = someModifiableHost();

    guest.send(modifyConnection(parent, child));

    expect(guest.take()).toEqual({ name: 'ModifyConnectionResponse', connectionState: 2 });
  });

  test('pages that the owner cannot use fail', () => {
    const answers = [true, false];
    const { guest } = someModifiableHost(() => answers.shift() ?? true);

    guest.send(modifyConnection(0x1000n, 0x2000n));

    expect(guest.take()).toMatchObject({ connectionState: 2 });
  });

  test('pages are not taken away from an open channel that uses them', () => {
    const { guest, offer, dropped } = someModifiableHost();
    offer(1, { monitorLatency100ns: 1000 });
    guest.send(modifyConnection(0x1000n, 0x2000n));
    guest.requestOffers();
    guest.createGpadl(1, 1);
    guest.open(1);
    guest.takeAll();

    guest.send(modifyConnection(0n, 0n));
    guest.close(1);
    guest.send(modifyConnection(0n, 0n));

    expect(guest.takeAll().map(({ connectionState }) => connectionState)).toEqual([2, 0]);
    expect(dropped).toEqual([expect.stringContaining('open channel 1')]);
  });

  test('pages of the host stay', () => {
    const { guest } = someHost({ serverMonitorPages: { parentToChildGpa: 0n, childToParentGpa: 0x7000n } });
    const features = FeatureFlag.ModifyConnection | FeatureFlag.ServerSpecifiedMonitorPages;
    guest.initiateContact(VmbusVersion.COPPER, { features });
    guest.takeAll();

    guest.send(modifyConnection(0x1000n, 0x2000n));

    expect(guest.take()).toMatchObject({ connectionState: 2 });
  });
});

describe('hvsock connects', () => {
  const short = TlConnectRequest.encode({ guestEndpointId: ENDPOINT, hostServiceId: SERVICE });

  test('are refused when nobody handles them', () => {
    const { guest } = someOfferedChannel();

    guest.send(short);

    expect(guest.takeAll()).toEqual([
      { name: 'TlConnectResult', guestEndpointId: ENDPOINT, hostServiceId: SERVICE, status: REFUSED },
    ]);
  });

  test('are refused in silence at 4.0, which has no result message', () => {
    const { guest } = someHost();
    guest.connect(VmbusVersion.WIN10);

    guest.send(short);

    expect(guest.received).toEqual([]);
  });

  test('are answered with an offer, and with nothing else', () => {
    const requests: TlRequest[] = [];
    const { guest, bus, offer } = someHost({}, { tlConnect: (request) => requests.push(request) > 0 });
    guest.connect();

    guest.send(short);
    offer(0xe, { interfaceId: SERVICE });
    bus.refuseTlConnect(ENDPOINT, SERVICE);

    expect(requests).toEqual([{ endpointId: ENDPOINT, serviceId: SERVICE, siloId: undefined }]);
    expect(guest.takeAll()).toMatchObject([{ name: 'OfferChannel', interfaceId: SERVICE, instanceId: ENDPOINT }]);
    expect(bus.inspect().tlConnects).toEqual([]);
  });

  test('may be refused later, once', () => {
    const { guest, bus } = someHost({}, { tlConnect: () => true });
    guest.connect();
    guest.send(short);

    bus.refuseTlConnect(ENDPOINT, SERVICE);
    bus.refuseTlConnect(ENDPOINT, SERVICE);

    expect(guest.takeAll()).toMatchObject([{ name: 'TlConnectResult', status: REFUSED }]);
  });

  test('carry a silo from 5.2, if the guest sends the long form', () => {
    const requests: TlRequest[] = [];
    const { guest } = someHost({}, { tlConnect: (request) => requests.push(request) === 0 });
    const long = TlConnectRequest2.encode({ guestEndpointId: ENDPOINT, hostServiceId: SERVICE, siloId: SILO });

    guest.connect(VmbusVersion.V5_1);
    guest.send(long);
    guest.connect(VmbusVersion.V5_2);
    guest.send(long);
    guest.send(short);

    expect(requests.map(({ siloId }) => siloId)).toEqual([undefined, SILO, undefined]);
  });

  test('beyond the limit are refused; unload forgets those that wait', () => {
    const { guest, bus } = someHost({ maxTlConnects: 2 }, { tlConnect: () => true });
    guest.connect();
    for (let n = 1; n <= 3; n++) {
      guest.send(TlConnectRequest.encode({ guestEndpointId: instanceNumber(n), hostServiceId: SERVICE }));
    }

    expect(guest.takeAll()).toMatchObject([{ guestEndpointId: instanceNumber(3), status: REFUSED }]);
    guest.unload();
    expect(bus.inspect().tlConnects).toEqual([]);
  });

  test('the same one is not asked twice', () => {
    let asked = 0;
    const { guest, dropped } = someHost({}, { tlConnect: () => ++asked > 0 });
    guest.connect();

    guest.send(short);
    guest.send(short);

    expect(asked).toBe(1);
    expect(dropped).toHaveLength(1);
  });
});

describe('a guest that does not take its messages', () => {
  test('gets them later and in order; the owner is told once that something waits', () => {
    let backlogs = 0;
    const { guest, bus, offer } = someHost({}, { backlog: () => backlogs++ });
    guest.connect();
    guest.postStatus = PostStatus.InsufficientBuffers;

    offer(1);
    offer(2);
    expect(bus.flush()).toBe(false);
    guest.postStatus = PostStatus.Success;
    expect(bus.flush()).toBe(true);

    expect(guest.takeAll()).toMatchObject([{ channelId: 1 }, { channelId: 2 }]);
    expect(backlogs).toBe(1);
  });

  test('is not listened to any more beyond the limit, except to end the connection', () => {
    const { guest, bus, dropped } = someOfferedChannel({ maxUnsentMessages: 2 });
    guest.postStatus = PostStatus.InsufficientBuffers;

    for (let n = 1; n <= 5; n++) guest.createGpadl(1, n);
    expect(bus.inspect()).toMatchObject({ unsentMessages: 3, gpadls: { count: 3 } });
    expect(dropped).toHaveLength(2);
    guest.unload();

    expect(bus.inspect()).toMatchObject({ state: 'disconnected', unsentMessages: 1, gpadls: { count: 0 } });
  });

  test('cannot pile up answers to contacts', () => {
    const { guest, bus } = someHost({ maxUnsentMessages: 2 });
    guest.postStatus = PostStatus.InsufficientMemory;

    for (let n = 0; n < 100; n++) {
      guest.initiateContact(0x0007_0000);
      guest.initiateContact(VmbusVersion.IRON, { targetSint: 5 });
      guest.initiateContact(VmbusVersion.IRON);
    }

    expect(bus.inspect().unsentMessages).toBeLessThanOrEqual(4);
  });
});

test('every message that crosses is shown to whoever listens', () => {
  const seen: string[] = [];
  const { guest } = someHost({}, { message: (direction, message) => seen.push(`${direction} ${message[0]}`) });

  guest.initiateContact(VmbusVersion.IRON);
  guest.send(new Uint8Array(3));

  expect(seen).toEqual(['received 14', 'sent 15', 'received 0']);
});
