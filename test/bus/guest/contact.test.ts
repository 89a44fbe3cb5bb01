import { describe, expect, test } from 'vitest';
import { PostStatus } from '../../../src/bus/control-port.ts';
import { UsageError } from '../../../src/errors.ts';
import { InitiateContactLegacy, VersionResponse3, VersionResponseLegacy } from '../../../src/wire/messages/index.ts';
import { ALL_VERSIONS, FeatureFlag, formatVersion, VmbusVersion } from '../../../src/wire/versions.ts';
import type { Posted } from '../../peers/scripted-host.ts';
import { bytesOf } from '../bytes.ts';
import { someGuest } from './some-guest.ts';

const CLIENT_ID = '00112233-4455-6677-8899-aabbccddeeff';
const PAGES = { parentToChildGpa: 0x12345000n, childToParentGpa: 0x12346000n };

describe('asking', () => {
  test('the worked example: 6.0 with features 0x2f, monitor pages and a client id, on connection 4', () => {
    const { bus, host } = someGuest({ features: 0x2f, monitorPages: PAGES, clientId: CLIENT_ID });

    bus.connect();

    expect(host.posted).toEqual([
      {
        connectionId: 4,
        message: bytesOf(`
          0e 00 00 00 00 00 00 00  00 00 06 00  00 00 00 00  02 00 00 00  2f 00 00 00
          00 50 34 12 00 00 00 00  00 60 34 12 00 00 00 00
          33 22 11 00 55 44 77 66 88 99 aa bb cc dd ee ff
        `),
      },
    ]);
  });

  test('5.3 asks for no features, in 40 bytes', () => {
    const { bus, host } = someGuest({ newestVersion: VmbusVersion.IRON, monitorPages: PAGES, clientId: CLIENT_ID });

    bus.connect();

    expect(host.posted[0]?.message).toEqual(
      bytesOf(`
        0e 00 00 00 00 00 00 00  03 00 05 00  00 00 00 00  02 00 00 00  00 00 00 00
        00 50 34 12 00 00 00 00  00 60 34 12 00 00 00 00
      `),
    );
  });

  test.each([
    [VmbusVersion.WIN7, 0x9000n],
    [VmbusVersion.WIN8, 0n],
  ])('the interrupt page is named below 2.4 only: version %i', (newestVersion, interruptPageGpa) => {
    const { bus, host } = someGuest({ newestVersion, interruptPageGpa: 0x9000n });

    bus.connect();

    const [{ connectionId, message }] = host.posted as [Posted];
    expect(InitiateContactLegacy.parse(message).interruptPageGpa).toBe(interruptPageGpa);
    expect(connectionId).toBe(1);
  });

  test.each(ALL_VERSIONS.map((version) => [formatVersion(version), version] as const))(
    'version %s can be agreed, and the offers are asked for on the right connection',
    (_, version) => {
      const { bus, host, events } = someGuest({ newestVersion: version });

      bus.connect();
      host.accept({ messageConnectionId: 0x55 });

      expect(bus).toMatchObject({ state: 'requestingOffers', version });
      expect(events).toEqual([`connected ${version.toString(16)} ${version === VmbusVersion.COPPER ? '27' : '0'}`]);
      expect(host.posted.map(({ connectionId }) => connectionId)).toEqual([version >= VmbusVersion.V5_0 ? 0x55 : 1]);
      expect(host.take()).toEqual({ name: 'RequestOffers' });
    },
  );

  test('a refused version leads to the next older one, down to the last', () => {
    const { bus, host, events } = someGuest();

    bus.connect();
    const asked = ALL_VERSIONS.map(() => host.refuse());

    expect(asked.map(({ version }) => version)).toEqual(ALL_VERSIONS);
    expect(events).toEqual(['connectFailed ERR_REFUSED']);
    expect(bus.state).toBe('disconnected');
  });

  test('a hypervisor without connection 4 leads to the versions that use connection 1', () => {
    const { bus, host } = someGuest();
    host.postStatus = (connectionId) => (connectionId === 4 ? PostStatus.InvalidConnectionId : PostStatus.Success);

    bus.connect();

    expect(host.posted.map(({ connectionId }) => connectionId)).toEqual([1]);
    expect(host.take()).toMatchObject({ version: VmbusVersion.WIN10_RS3_0 });
  });

  test('without any message connection the connect fails, before it returns', () => {
    const { bus, host, events } = someGuest();
    host.postStatus = PostStatus.InvalidConnectionId;

    bus.connect();

    expect(events).toEqual(['connectFailed ERR_REFUSED']);
  });

  test('a contact that cannot be posted yet goes out later, once', () => {
    const { bus, host } = someGuest();
    host.postStatus = PostStatus.InsufficientBuffers;
    bus.connect();
    expect(bus.flush()).toBe(false);

    host.postStatus = PostStatus.Success;
    bus.flush();
    bus.flush();

    expect(host.posted).toHaveLength(1);
  });

  test('a guest with a floor does not go below it', () => {
    const { bus, host, events } = someGuest({ oldestVersion: VmbusVersion.IRON });

    bus.connect();
    host.refuse();
    host.refuse();

    expect(events).toEqual(['connectFailed ERR_REFUSED']);
  });

  test.each([
    ['feature ClientId without a client id', { features: FeatureFlag.ClientId }],
    ['half a pair of monitor pages', { monitorPages: { parentToChildGpa: 0n, childToParentGpa: 0x1000n } }],
    ['a client id that is none', { clientId: 'me' }],
  ])('%s is refused at once', (_, options) => {
    expect(() => someGuest(options)).toThrow(UsageError);
  });

  test('connect is for a disconnected guest', () => {
    const { bus } = someGuest();
    bus.connect();

    expect(() => bus.connect()).toThrow(expect.objectContaining({ code: 'ERR_STATE' }));
  });
});

describe('the answer', () => {
  test('features that were not asked for are not taken', () => {
    const { bus, host } = someGuest({ features: FeatureFlag.PauseResume });

    bus.connect();
    host.accept({ features: 0xffff_ffff });

    expect(bus.features).toBe(FeatureFlag.PauseResume);
  });

  test.each([
    ['at 6.0 without its features', VmbusVersion.COPPER],
    ['at 5.0', VmbusVersion.V5_0],
    ['at 2.4', VmbusVersion.WIN8],
  ])('a yes with a connection state that is not 0 fails the connect: %s', (_, newestVersion) => {
    const { bus, host, events } = someGuest({ newestVersion });

    bus.connect();
    host.send(VersionResponseLegacy.encode({ versionSupported: 1, connectionState: 2, selectedVersion: 0 }));

    expect(events).toEqual(['connectFailed ERR_REFUSED']);
    expect(bus.state).toBe('disconnected');
  });

  test('below 2.4 the connection state is not looked at', () => {
    const { bus, host } = someGuest({ newestVersion: VmbusVersion.WIN7 });

    bus.connect();
    host.send(VersionResponseLegacy.encode({ versionSupported: 1, connectionState: 2, selectedVersion: 0 }));

    expect(bus.state).toBe('requestingOffers');
  });

  test('monitor pages of the host replace ours', () => {
    const { bus, host } = someGuest({ features: FeatureFlag.ServerSpecifiedMonitorPages, monitorPages: PAGES });
    const response = {
      versionSupported: 1,
      connectionState: 0,
      messageConnectionId: 1,
      features: FeatureFlag.ServerSpecifiedMonitorPages,
      parentToChildMonitorGpa: 0n,
      childToParentMonitorGpa: 0x7000n,
    };

    bus.connect();
    host.send(VersionResponse3.encode(response));

    expect(bus.monitorPages).toEqual({ parentToChildGpa: 0n, childToParentGpa: 0x7000n });
  });

  test('monitor pages at address 0 fail the connect', () => {
    const { bus, host, events } = someGuest({ features: FeatureFlag.ServerSpecifiedMonitorPages });
    const response = {
      versionSupported: 1,
      connectionState: 0,
      messageConnectionId: 1,
      features: FeatureFlag.ServerSpecifiedMonitorPages,
      parentToChildMonitorGpa: 0x7000n,
      childToParentMonitorGpa: 0n,
    };

    bus.connect();
    host.send(VersionResponse3.encode(response));

    expect(events).toEqual(['connectFailed ERR_MESSAGE']);
  });

  test('AllOffersDelivered is told once', () => {
    const { bus, host, events, dropped } = someGuest();
    bus.connect();
    host.accept();

    host.allOffersDelivered();
    host.allOffersDelivered();

    expect(events.slice(1)).toEqual(['allOffersDelivered']);
    expect(dropped).toHaveLength(1);
    expect(bus.state).toBe('connected');
  });
});

describe('disconnecting', () => {
  test('unload, UnloadComplete, disconnected; then a new connect', () => {
    const { bus, host, events } = someGuest();
    bus.connect();
    host.accept();
    host.takeAll();

    bus.disconnect();
    bus.disconnect();
    expect(host.takeAll()).toEqual([{ name: 'Unload' }]);
    host.unloadComplete();
    bus.connect();

    expect(events.at(-1)).toBe('disconnected');
    expect(bus.state).toBe('connecting');
  });

  test('a host of 0.13 has no UnloadComplete: the guest is disconnected at once', () => {
    const { bus, host, events } = someGuest({ newestVersion: VmbusVersion.WS2008 });
    bus.connect();
    host.accept();
    host.takeAll();

    bus.disconnect();

    expect(host.takeAll()).toEqual([{ name: 'Unload' }]);
    expect(events.at(-1)).toBe('disconnected');
  });

  test('disconnect while connecting: the host is told when its answer came', () => {
    const { bus, host, events } = someGuest();
    bus.connect();

    bus.disconnect();
    host.accept();
    expect(host.takeAll()).toEqual([{ name: 'Unload' }]);
    host.unloadComplete();

    expect(events).toEqual(['disconnected']);
  });

  test.each(['refuse', 'lost'] as const)('disconnect while connecting ends with %s, too', (ending) => {
    const { bus, host, events } = someGuest();
    bus.connect();
    bus.disconnect();

    if (ending === 'refuse') host.refuse();
    else bus.lost('gone');

    expect(events).toEqual(['disconnected']);
    expect(bus.state).toBe('disconnected');
  });

  test('lost while connecting fails the connect', () => {
    const { bus, events } = someGuest();
    bus.connect();

    bus.lost('the socket closed');
    bus.lost('twice');

    expect(events).toEqual(['connectFailed ERR_TRANSPORT']);
  });

  test('disconnect and lost without a connection have no effect', () => {
    const { bus, host, events } = someGuest();

    bus.disconnect();
    bus.lost('gone');

    expect(host.posted).toEqual([]);
    expect(events).toEqual([]);
  });
});
