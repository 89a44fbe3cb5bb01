import { describe, expect, test } from 'vitest';
import { OfferFlag } from '../../../src/wire/offer-flags.ts';
import { FeatureFlag, VmbusVersion } from '../../../src/wire/versions.ts';
import { instanceNumber } from '../../peers/scripted-host.ts';
import { bytesOf } from '../bytes.ts';
import { NotingDevice, someHost, someOfferedChannel } from './some-host.ts';

const NETWORK = 'f8615163-df3e-46c5-913f-f2d2f965ed0e';
const PAGES = { parentToChildMonitorGpa: 0x1000n, childToParentMonitorGpa: 0x2000n };

describe('offers', () => {
  test('nothing is offered before the guest asks', () => {
    const { guest, offer } = someHost();
    offer(1);

    guest.initiateContact(VmbusVersion.IRON);

    expect(guest.takeAll().map(({ name }) => name)).toEqual(['VersionResponse']);
  });

  test('the worked example: a network channel with monitor 3 and connection 0x2005', () => {
    const { bus, guest, offer } = someHost();
    // Four other channels take ids 1 to 4 and three of them monitor ids 0 to 2.
    for (let n = 1; n <= 4; n++) offer(n, { monitorLatency100ns: n === 1 ? 0 : 1000 });
    bus.offer(
      { interfaceId: NETWORK, instanceId: '8f5c2b1a-3d4e-4f60-9a7b-c0ffee123456', monitorLatency100ns: 1000 },
      new NotingDevice(),
    );

    guest.initiateContact(VmbusVersion.IRON, PAGES);
    guest.received.length = 0;
    guest.requestOffers();

    expect(guest.received[4]).toEqual(
      bytesOf(`
        01 00 00 00 00 00 00 00
        63 51 61 f8 3e df c5 46 91 3f f2 d2 f9 65 ed 0e
        1a 2b 5c 8f 4e 3d 60 4f 9a 7b c0 ff ee 12 34 56
        ${'00 '.repeat(16)} 00 00 00 00 ${'00 '.repeat(120)} 00 00 00 00
        05 00 00 00  03 01 01 00  05 20 00 00
      `),
    );
    expect(guest.received[5]).toEqual(bytesOf('04 00 00 00 00 00 00 00'));
  });

  test('ids are handed out by interface, order, instance and index, whatever the order of the offers', () => {
    const { bus, guest, offer } = someHost();
    bus.offer({ interfaceId: NETWORK, instanceId: instanceNumber(9) }, new NotingDevice());
    offer(2);
    offer(1, { subchannelIndex: 1 });
    offer(1);
    offer(3, { order: 0 });

    const offers = guest.connect();

    expect(
      offers.map(({ channelId, instanceId, subchannelIndex }) => [channelId, instanceId, subchannelIndex]),
    ).toEqual([
      [1, instanceNumber(3), 0],
      [2, instanceNumber(1), 0],
      [3, instanceNumber(1), 1],
      [4, instanceNumber(2), 0],
      [5, instanceNumber(9), 0],
    ]);
  });

  test('ids are the same after a reconnect, and the lowest free ones', () => {
    const { guest, offer } = someHost();
    const { offer: first } = offer(1);
    offer(2);
    offer(3);
    const before = guest.connect().map(({ channelId, instanceId }) => [channelId, instanceId]);

    guest.unload();
    const after = guest.connect().map(({ channelId, instanceId }) => [channelId, instanceId]);
    guest.unload();
    first.revoke();
    const without = guest.connect().map(({ channelId, instanceId }) => [channelId, instanceId]);

    expect(after).toEqual(before);
    expect(without).toEqual([
      [1, instanceNumber(2)],
      [2, instanceNumber(3)],
    ]);
  });

  test('a device that comes later is offered at once, without a second AllOffersDelivered', () => {
    const { guest, offer } = someOfferedChannel();

    offer(2);

    expect(guest.takeAll()).toMatchObject([{ name: 'OfferChannel', channelId: 2 }]);
  });

  test('the same key is not offered twice', () => {
    const { offer } = someHost();
    offer(1);

    expect(() => offer(1)).toThrow(expect.objectContaining({ code: 'ERR_STATE' }));
    expect(() => offer(1, { subchannelIndex: 1 })).not.toThrow();
  });

  test.each([
    ['an index beyond 16 bits', { subchannelIndex: 65536 }],
    ['121 bytes of user data', { userDefined: new Uint8Array(121) }],
    ['a trust level that does not exist', { targetVtl: 3 }],
    ['a name that is no GUID', { instanceId: 'disk' }],
  ])('%s is refused when it is offered, not when the guest asks', (_, params) => {
    const { offer, guest } = someHost();

    expect(() => offer(1, params)).toThrow(expect.objectContaining({ code: 'ERR_ARGUMENT' }));
    expect(guest.connect()).toEqual([]);
  });

  test('no guest is offered more than 2047 channels', () => {
    const { guest, offer } = someHost();
    for (let n = 1; n <= 2047; n++) offer(n);

    expect(() => offer(2048)).toThrow(expect.objectContaining({ code: 'ERR_RESOURCES' }));
    expect(guest.connect().at(-1)).toMatchObject({ channelId: 2047 });
  });

  test('flags that need a feature are left out without it', () => {
    const flags = OfferFlag.NamedPipeMode | OfferFlag.ConfidentialRingBuffer | OfferFlag.RequirePinnedExternalMemory;
    const { guest, offer } = someHost({ features: FeatureFlag.GpaPinning });
    offer(1, { flags });

    const [plain] = guest.connect(VmbusVersion.IRON);
    const [pinning] = guest.connect(VmbusVersion.COPPER, { features: FeatureFlag.GpaPinning });

    expect(plain).toMatchObject({ flags: OfferFlag.NamedPipeMode });
    expect(pinning).toMatchObject({ flags: OfferFlag.NamedPipeMode | OfferFlag.RequirePinnedExternalMemory });
  });

  test('monitor ids go to channels that ask, while there are any, and only if the guest has monitor pages', () => {
    const { guest, offer } = someHost();
    for (let n = 1; n <= 130; n++) offer(n, { monitorLatency100ns: 1000 });

    const without = guest.connect(VmbusVersion.IRON);
    const offers = guest.connect(VmbusVersion.IRON, PAGES);

    expect(without.every(({ monitorId, monitorAllocated }) => monitorId === 255 && monitorAllocated === 0)).toBe(true);
    expect(offers.map(({ monitorId }) => monitorId)).toEqual([...Array(128).keys(), 255, 255]);
  });

  test('the trust level of a device is part of its connection id', () => {
    const { guest, offer } = someHost();
    offer(1, { targetVtl: 2 });

    expect(guest.connect()).toMatchObject([{ connectionId: 0x22001 }]);
  });
});

describe('rescind and reoffer', () => {
  test('a revoked channel is rescinded once, and its id stays taken until the guest releases it', () => {
    const { guest, channel, offer } = someOfferedChannel();

    channel.revoke();
    channel.revoke();
    offer(2);
    guest.release(1);
    offer(3);

    expect(guest.takeAll()).toMatchObject([
      { name: 'RescindChannelOffer', channelId: 1 },
      { name: 'OfferChannel', channelId: 2, instanceId: instanceNumber(2) },
      { name: 'OfferChannel', channelId: 1, instanceId: instanceNumber(3) },
    ]);
  });

  test('an offer of a revoked key waits for the release and takes the same id', () => {
    const { guest, channel, offer } = someOfferedChannel();
    channel.revoke();
    guest.takeAll();

    const { offer: again } = offer(1);
    expect(guest.received).toEqual([]);
    expect(again.state).toBe('held');
    guest.release(1);

    expect(guest.takeAll()).toMatchObject([{ name: 'OfferChannel', channelId: 1, instanceId: instanceNumber(1) }]);
    expect(again).toMatchObject({ state: 'offered', relid: 1 });
  });

  test('a reoffer that is revoked before the release never reaches the guest', () => {
    const { guest, channel, offer, bus } = someOfferedChannel();
    channel.revoke();
    offer(1).offer.revoke();
    guest.takeAll();

    guest.release(1);

    expect(guest.received).toEqual([]);
    expect(bus.inspect().channels).toEqual([]);
  });

  test('a channel that the guest releases without a rescind comes back with the next connection', () => {
    const { guest, device, channel } = someOfferedChannel();

    guest.release(1);
    expect(channel).toMatchObject({ state: 'unassigned', relid: 0 });
    expect(device.calls).toEqual(['released']);

    expect(guest.connect()).toMatchObject([{ channelId: 1 }]);
  });

  test('a device that leaves before the guest has seen it leaves silently', () => {
    const { bus, guest, offer } = someHost();
    const { offer: channel } = offer(1);

    channel.revoke();

    expect(bus.inspect().channels).toEqual([]);
    expect(guest.connect()).toEqual([]);
  });
});
