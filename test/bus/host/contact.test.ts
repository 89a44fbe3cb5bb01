import { describe, expect, test } from 'vitest';
import { UsageError } from '../../../src/errors.ts';
import { ALL_VERSIONS, FeatureFlag, formatVersion, VmbusVersion } from '../../../src/wire/versions.ts';
import { bytesOf } from '../bytes.ts';
import { someHost } from './some-host.ts';

const CLIENT_ID = '00112233-4455-6677-8899-aabbccddeeff';
const PAGES = { parentToChildMonitorGpa: 0x12345000n, childToParentMonitorGpa: 0x12346000n };

describe('version negotiation', () => {
  test.each(ALL_VERSIONS.map((version) => [formatVersion(version), version] as const))(
    'version %s is taken, and the offers follow',
    (_, version) => {
      const { bus, guest, offer } = someHost();
      offer(1);

      const offers = guest.connect(version);

      expect(bus).toMatchObject({ state: 'offering', version });
      expect(offers).toMatchObject([{ channelId: 1, connectionId: 0x2001, dedicatedInterrupt: 1, monitorId: 255 }]);
    },
  );

  test.each(ALL_VERSIONS.filter((version) => version < VmbusVersion.V5_0).map((v) => [formatVersion(v), v] as const))(
    'below 5.0 the answer names the version: %s',
    (_, version) => {
      const { guest } = someHost();

      guest.initiateContact(version);

      const [message] = guest.received;
      expect(message).toHaveLength(16);
      expect(message?.subarray(8, 12)).toEqual(bytesOf('01 00 00 00'));
      expect(new DataView((message as Uint8Array).buffer).getUint32(12, true)).toBe(version);
    },
  );

  test('from 5.0 the answer names the message connection for all later messages', () => {
    const { guest } = someHost({ messageConnectionId: 0x77 });

    guest.initiateContact(VmbusVersion.V5_2);

    expect(guest.received).toEqual([bytesOf('0f 00 00 00 00 00 00 00  01 00 00 00  77 00 00 00')]);
  });

  test('6.0 gets the 20-byte answer of the worked example: connection 1, features 0x2f', () => {
    const { guest, bus } = someHost();

    guest.initiateContact(VmbusVersion.COPPER, { features: 0x2f, clientId: CLIENT_ID, ...PAGES });

    expect(guest.received).toEqual([bytesOf('0f 00 00 00 00 00 00 00  01 00 00 00  01 00 00 00  2f 00 00 00')]);
    expect(bus.features).toBe(0x2f);
  });

  test('features that the host does not support are left out, not refused', () => {
    const { guest, bus } = someHost();

    guest.initiateContact(VmbusVersion.COPPER, { features: 0xffff_ffff, clientId: CLIENT_ID });

    expect(guest.take()).toMatchObject({ versionSupported: 1, features: 0x2f });
    expect(bus.features).toBe(0x2f);
  });

  test('below 6.0 there are no features, whatever the bytes say', () => {
    const { guest, bus } = someHost();

    guest.initiateContact(VmbusVersion.IRON, { features: 0x2f });

    expect(bus.features).toBe(0);
    expect(guest.received[0]).toHaveLength(16);
  });

  test('monitor pages of the host come in the 40-byte answer, to a guest that asks for them', () => {
    const serverMonitorPages = { parentToChildGpa: 0n, childToParentGpa: 0x7000n };
    const { guest } = someHost({ serverMonitorPages });

    guest.initiateContact(VmbusVersion.COPPER, { features: FeatureFlag.ServerSpecifiedMonitorPages });

    expect(guest.received).toEqual([
      bytesOf(`
        0f 00 00 00 00 00 00 00  01 00 00 00  01 00 00 00  40 00 00 00  00 00 00 00
        00 00 00 00 00 00 00 00  00 70 00 00 00 00 00 00
      `),
    ]);
  });

  test('without monitor pages of its own the host does not agree to supply them', () => {
    const { guest } = someHost();

    guest.initiateContact(VmbusVersion.COPPER, { features: FeatureFlag.ServerSpecifiedMonitorPages });

    expect(guest.take()).toMatchObject({ features: 0 });
  });

  test('confidential channels are for trusted connections only', () => {
    const options = { trustedConnectionId: 0x800074, features: FeatureFlag.ConfidentialChannels };
    const contact = { features: FeatureFlag.ConfidentialChannels };

    const { guest } = someHost(options);
    guest.initiateContact(VmbusVersion.COPPER, contact);
    const { guest: trusted } = someHost(options);
    trusted.initiateContact(VmbusVersion.COPPER, { ...contact, connectionId: 0x800074 });

    expect(guest.take()).toMatchObject({ features: 0 });
    expect(trusted.take()).toMatchObject({ features: FeatureFlag.ConfidentialChannels });
  });

  test('a host capped at 3.0 refuses newer versions and takes 3.0', () => {
    const { guest, bus } = someHost({ newestVersion: VmbusVersion.WIN8_1 });

    guest.initiateContact(VmbusVersion.COPPER);
    guest.initiateContact(VmbusVersion.WIN10);
    guest.initiateContact(VmbusVersion.WIN8_1);

    expect(guest.takeAll().map(({ versionSupported }) => versionSupported)).toEqual([0, 0, 1]);
    expect(bus.version).toBe(VmbusVersion.WIN8_1);
  });

  test('a host with a floor of 5.2 refuses 5.1', () => {
    const { guest } = someHost({ oldestVersion: VmbusVersion.V5_2 });

    guest.initiateContact(VmbusVersion.V5_1);

    expect(guest.take()).toMatchObject({ versionSupported: 0 });
  });

  test('a cap that is no version of the protocol is refused at once', () => {
    expect(() => someHost({ newestVersion: 0x0005_0004 })).toThrow(UsageError);
    expect(() => someHost({ newestVersion: VmbusVersion.WIN7, oldestVersion: VmbusVersion.WIN8 })).toThrow(UsageError);
  });
});

describe('where messages go', () => {
  test.each([
    [VmbusVersion.WIN8, 0],
    [VmbusVersion.WIN8_1, 3],
    [VmbusVersion.COPPER, 3],
  ])('the target VP counts from 3.0: version %i', (version, expected) => {
    const { guest, bus } = someHost();

    guest.initiateContact(version, { targetVp: 3 });

    expect(bus.targetMessageVp).toBe(expected);
  });

  test('another SINT is refused without touching the connection that exists', () => {
    const { guest, bus, dropped } = someHost();
    guest.connect(VmbusVersion.IRON);

    guest.initiateContact(VmbusVersion.COPPER, { targetSint: 7 });

    expect(guest.received).toEqual([bytesOf('0f 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00')]);
    expect(bus).toMatchObject({ state: 'offering', version: VmbusVersion.IRON });
    expect(dropped).toEqual([expect.stringContaining('SINT 7')]);
  });

  test('the SINT counts only on the multiclient connection', () => {
    const { guest } = someHost();

    guest.initiateContact(VmbusVersion.IRON, { targetSint: 7, connectionId: 1 });

    expect(guest.take()).toMatchObject({ versionSupported: 1 });
  });

  test('a contact for another VTL is not ours to answer', () => {
    const { guest, bus, dropped } = someHost();

    guest.initiateContact(VmbusVersion.IRON, { targetVtl: 2 });

    expect(guest.received).toEqual([]);
    expect(bus.state).toBe('disconnected');
    expect(dropped).toEqual([expect.stringContaining('VTL 2')]);
  });

  test('the VTL counts from 5.1', () => {
    const { guest } = someHost();

    guest.initiateContact(VmbusVersion.V5_0, { targetVtl: 2 });

    expect(guest.take()).toMatchObject({ versionSupported: 1 });
  });
});

describe('pages', () => {
  test('what the guest chose is told before the connection stands', () => {
    const chosen: unknown[] = [];
    const { guest } = someHost({}, { pagesChosen: (...pages) => chosen.push(pages) > 0 });

    guest.initiateContact(VmbusVersion.WIN7, { interruptPageGpa: 0x9000n, ...PAGES });

    const monitorPages = { parentToChildGpa: 0x12345000n, childToParentGpa: 0x12346000n };
    expect(chosen).toEqual([[monitorPages, 0x9000n]]);
  });

  test('the interrupt page counts below 2.4 only', () => {
    const chosen: unknown[] = [];
    const { guest } = someHost({}, { pagesChosen: (...pages) => chosen.push(pages) > 0 });

    guest.initiateContact(VmbusVersion.WIN8, { interruptPageGpa: 0x9000n });

    expect(chosen).toEqual([[undefined, 0n]]);
  });

  test.each([
    ['an unaligned monitor page', VmbusVersion.WIN8, { ...PAGES, childToParentMonitorGpa: 0x12346008n }],
    ['pages that the owner cannot use', VmbusVersion.COPPER, PAGES],
  ])('%s fails the contact with connection state 2', (what, version, contact) => {
    const { guest, bus } = someHost({}, { pagesChosen: () => !what.includes('owner') });

    guest.initiateContact(version, contact);

    expect(guest.take()).toMatchObject({ versionSupported: 1, connectionState: 2 });
    expect(bus.state).toBe('disconnected');
  });

  test('an unaligned interrupt page fails the contact; 1.1 learns only that the version is not supported', () => {
    const { guest } = someHost();

    guest.initiateContact(VmbusVersion.WIN7, { interruptPageGpa: 0x9008n });

    expect(guest.received).toEqual([bytesOf('0f 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00')]);
  });
});

describe('contact while connected', () => {
  // A guest that agreed on 6.0 with a client id crashes, and boots a kernel that knows 5.3: its contact of 40 bytes
  // was measured with the length of the old agreement, and the guest never came up.
  test('a contact is measured by its own version, not by the one that was agreed before', () => {
    const { guest, bus } = someHost();
    guest.connect(VmbusVersion.COPPER, { features: FeatureFlag.ClientId, clientId: CLIENT_ID });

    guest.initiateContact(VmbusVersion.IRON);

    expect(guest.take()).toMatchObject({ versionSupported: 1 });
    expect(bus.version).toBe(VmbusVersion.IRON);
  });

  test('the old connection ends, its devices close, and only then the new one is answered', () => {
    const { guest, bus, offer, events } = someHost();
    const { device, offer: channel } = offer(1);
    guest.connect(VmbusVersion.IRON);
    guest.createGpadl(1, 1);
    guest.open(1);
    guest.takeAll();
    events.length = 0;
    device.answersClose = false;

    guest.initiateContact(VmbusVersion.WIN10);
    expect(guest.received).toEqual([]);
    expect(bus.state).toBe('disconnecting');
    channel.closed();

    expect(guest.takeAll()).toMatchObject([{ name: 'VersionResponse', versionSupported: 1 }]);
    expect(events).toEqual(['disconnected', 'connected 40000 0']);
    expect(device.calls.slice(-3)).toEqual(['closeRequested', 'gpadlTornDown 1', 'released']);
  });

  test('of several contacts while the old connection ends, the last one is answered', () => {
    const { guest, bus, offer } = someHost();
    const { device, offer: channel } = offer(1);
    guest.connect();
    guest.createGpadl(1, 1);
    guest.open(1);
    guest.takeAll();
    device.answersClose = false;

    guest.initiateContact(VmbusVersion.WIN8);
    guest.initiateContact(VmbusVersion.WIN10);
    channel.closed();

    expect(guest.takeAll()).toHaveLength(1);
    expect(bus.version).toBe(VmbusVersion.WIN10);
  });

  test('an unknown version ends the old connection too', () => {
    const { guest, bus, events } = someHost();
    guest.connect();

    guest.initiateContact(0x0007_0000);

    expect(guest.take()).toMatchObject({ versionSupported: 0 });
    expect(bus.state).toBe('disconnected');
    expect(events.at(-1)).toBe('disconnected');
  });

  test('a reset while the old connection ends forgets the contact that waited', () => {
    const { guest, bus, offer } = someHost();
    const { device, offer: channel } = offer(1);
    guest.connect();
    guest.createGpadl(1, 1);
    guest.open(1);
    guest.takeAll();
    device.answersClose = false;
    guest.initiateContact(VmbusVersion.WIN8);

    bus.reset();
    channel.closed();

    expect(guest.received).toEqual([]);
    expect(bus.state).toBe('disconnected');
  });
});
