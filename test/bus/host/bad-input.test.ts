/**
 * What a host does with each kind of bad control message. The numbers are those of the project's table of bad input
 * (24 to 59: the control plane); the answers are what OpenVMM's server gives, made safe where it would panic.
 */
import { describe, expect, test } from 'vitest';
import {
  CloseChannel,
  encodeGpadl,
  GpadlBody,
  InitiateContact,
  InitiateContactLegacy,
  MESSAGES,
  ModifyChannel,
  messageSize,
  OpenChannel,
  OpenReservedChannel,
  Pause,
  RequestOffers,
  Unload,
} from '../../../src/wire/messages/index.ts';
import { FeatureFlag, VmbusVersion } from '../../../src/wire/versions.ts';
import { wholePages, ZEROS_120 } from '../../peers/scripted-guest.ts';
import { bytesOf } from '../bytes.ts';
import { someHost, someOfferedChannel, someOpenChannel } from './some-host.ts';

const FAILURE = 0x8000_ffff;
const GUEST_MESSAGES = MESSAGES.filter(({ direction }) => direction === 'guest-to-host');
const HOST_MESSAGES = MESSAGES.filter(({ direction }) => direction === 'host-to-guest');

/** A message of zeros with the type set. */
function zeros(type: number, bytes: number): Uint8Array {
  const message = new Uint8Array(bytes);
  new DataView(message.buffer).setUint32(0, type, true);
  return message;
}

/** Everything about a bus except how many messages it dropped. */
function shape(bus: { inspect(): object }): object {
  return { ...bus.inspect(), droppedMessages: 0 };
}

describe('lengths and types', () => {
  test.each([0, 1, 4, 7])('row 24: a message of %i bytes is dropped', (bytes) => {
    const { guest, bus, dropped } = someOpenChannel();
    const before = shape(bus);

    guest.send(new Uint8Array(bytes).fill(3));

    expect(guest.received).toEqual([]);
    expect(dropped).toHaveLength(1);
    expect(shape(bus)).toEqual(before);
  });

  test.each(
    GUEST_MESSAGES.filter(({ name }) => name !== 'InitiateContact').map(({ name, type }) => [name, type] as const),
  )('row 25: %s shorter than its layout is dropped, at every length', (_, type) => {
    const { guest, bus, dropped, offer } = someHost();
    offer(1);
    const features = FeatureFlag.ModifyConnection | FeatureFlag.PauseResume;
    guest.connect(VmbusVersion.COPPER, { features });
    const before = shape(bus);
    const least = type === 21 ? 40 : messageSize(type, VmbusVersion.COPPER, features);

    for (let bytes = 8; bytes < least; bytes++) guest.send(zeros(type, bytes));

    expect(dropped).toHaveLength(least - 8);
    expect(guest.received).toEqual([]);
    expect(shape(bus)).toEqual(before);
  });

  test('row 25: a contact cut short is dropped, and one byte more makes it whole', () => {
    const { guest, bus, dropped } = someHost();
    const message = InitiateContactLegacy.encode({
      version: VmbusVersion.WIN8,
      targetVp: 0,
      interruptPageGpa: 0n,
      parentToChildMonitorGpa: 0n,
      childToParentMonitorGpa: 0n,
    });

    for (let bytes = 8; bytes < 40; bytes++) guest.send(message.subarray(0, bytes));
    expect(dropped).toHaveLength(32);
    expect(bus.state).toBe('disconnected');
    guest.send(message);

    expect(bus.state).toBe('connected');
  });

  test('row 25: the drop says what was found, what is needed, and in which message', () => {
    const { guest, dropped } = someOpenChannel();

    guest.send(CloseChannel.encode({ channelId: 1 }).subarray(0, 11));

    expect(dropped).toEqual(['CloseChannel has 11 bytes, 12 are needed here']);
  });

  test('row 26: a message longer than its layout is taken', () => {
    const { guest, device } = someOpenChannel();
    const message = new Uint8Array(240).fill(0xa5);
    message.set(CloseChannel.encode({ channelId: 1 }));

    guest.send(message);

    expect(device.calls).toContain('closeRequested');
  });

  test('a message longer than any can be is dropped', () => {
    const { guest, device, dropped } = someOpenChannel();
    const message = new Uint8Array(241);
    message.set(CloseChannel.encode({ channelId: 1 }));

    guest.send(message);

    expect(device.calls).toEqual([]);
    expect(dropped).toHaveLength(1);
  });

  test.each([0, 30, 0xffff_ffff])('row 27: unknown type %i is dropped', (type) => {
    const { guest, bus, dropped } = someOpenChannel();
    const before = shape(bus);

    guest.send(zeros(type, 240));

    expect(dropped).toEqual([expect.stringContaining(`unknown type ${type}`)]);
    expect(shape(bus)).toEqual(before);
  });

  test.each([
    ['OpenReservedChannel at 3.0', VmbusVersion.WIN8_1, 18],
    ['TlConnectRequest at 3.0', VmbusVersion.WIN8_1, 21],
    ['ModifyChannel at 4.0', VmbusVersion.WIN10, 22],
    ['ModifyConnection at 5.3', VmbusVersion.IRON, 25],
    ['Pause at 5.3', VmbusVersion.IRON, 27],
    ['ModifyConnection at 6.0 without its feature', VmbusVersion.COPPER, 25],
    ['Pause at 6.0 without its feature', VmbusVersion.COPPER, 27],
    ['Resume at 6.0 without its feature', VmbusVersion.COPPER, 29],
  ])('row 28: %s is dropped', (_, version, type) => {
    const { guest, dropped, offer } = someHost();
    offer(1);
    guest.connect(version);

    guest.send(zeros(type, 240));

    expect(guest.received).toEqual([]);
    expect(dropped).toHaveLength(1);
  });

  test.each([FeatureFlag.GuestSpecifiedSignalParameters, FeatureFlag.ChannelInterruptRedirection])(
    'row 29: with feature bit %i an OpenChannel of 148 bytes is dropped, without an OpenResult',
    (features) => {
      const { guest, channel, dropped } = someOfferedChannel();
      guest.connect(VmbusVersion.COPPER, { features });
      guest.createGpadl(1, 1);
      guest.takeAll();

      guest.open(1);

      expect(guest.received).toEqual([]);
      expect(channel.state).toBe('offered');
      expect(dropped).toEqual(['OpenChannel has 148 bytes, 156 are needed here']);
    },
  );

  test.each(HOST_MESSAGES.map(({ name, type }) => [name, type] as const))(
    'row 30: %s, which only a host sends, is dropped',
    (_, type) => {
      const { guest, bus, dropped } = someOpenChannel();
      const before = shape(bus);

      guest.send(zeros(type, 240));

      expect(guest.received).toEqual([]);
      expect(dropped).toHaveLength(1);
      expect(shape(bus)).toEqual(before);
    },
  );
});

describe('contact and connection', () => {
  test.each([0, 0x0005_0004, 0x0006_0001, 0x0004_0002, 0xffff_ffff])(
    'row 31: unknown version %i gets the all-zero VersionResponse of 16 bytes',
    (version) => {
      const { guest, bus } = someHost();

      guest.initiateContact(version, { connectionId: 4 });

      expect(guest.received).toEqual([bytesOf('0f 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00')]);
      expect(bus.state).toBe('disconnected');
    },
  );

  test.each([
    ['2.4', VmbusVersion.WIN8, '01 02 00 00 04 00 02 00'],
    ['5.3', VmbusVersion.IRON, '01 02 00 00 01 00 00 00'],
    ['6.0', VmbusVersion.COPPER, '01 02 00 00 01 00 00 00 00 00 00 00'],
  ])('row 32: one monitor page only fails with state 2 at %s', (_, version, body) => {
    for (const pages of [{ parentToChildMonitorGpa: 0x1000n }, { childToParentMonitorGpa: 0x1000n }]) {
      const { guest, bus } = someHost();

      guest.initiateContact(version, pages);

      expect(guest.received).toEqual([bytesOf(`0f 00 00 00 00 00 00 00 ${body}`)]);
      expect(bus.state).toBe('disconnected');
    }
  });

  test('row 32: below 2.4 one monitor page only looks like an unsupported version', () => {
    const { guest } = someHost();

    guest.initiateContact(VmbusVersion.WIN7, { parentToChildMonitorGpa: 0x1000n });

    expect(guest.take()).toMatchObject({ versionSupported: 0 });
  });

  test('row 33: contact while connected ends the old connection, then negotiates', () => {
    const { guest, bus, device } = someOpenChannel();

    guest.initiateContact(VmbusVersion.WIN10);

    expect(device.calls).toEqual(['closeRequested', 'gpadlTornDown 1', 'released']);
    expect(guest.take()).toMatchObject({ name: 'VersionResponse', versionSupported: 1 });
    expect(bus).toMatchObject({ state: 'connected', version: VmbusVersion.WIN10 });
  });

  test('row 34: a second RequestOffers is ignored', () => {
    const { guest, dropped } = someOfferedChannel();

    guest.requestOffers();

    expect(guest.received).toEqual([]);
    expect(dropped).toHaveLength(1);
  });

  test.each(
    GUEST_MESSAGES.filter(({ name }) => name !== 'InitiateContact').map(({ name, type }) => [name, type] as const),
  )('row 35: %s before contact is dropped', (_, type) => {
    const { guest, bus, dropped, offer } = someHost();
    offer(1);

    guest.send(zeros(type, 240));

    expect(guest.received).toEqual([]);
    expect(dropped).toHaveLength(1);
    expect(bus.state).toBe('disconnected');
  });

  test('row 35: before RequestOffers no channel is known', () => {
    const { guest, dropped, offer } = someHost();
    const { device } = offer(1);
    guest.initiateContact(VmbusVersion.IRON);
    guest.takeAll();

    guest.createGpadl(1, 1);
    guest.open(1);

    expect(device.calls).toEqual([]);
    expect(guest.takeAll()).toMatchObject([{ name: 'GpadlCreated', status: FAILURE }]);
    expect(dropped).toHaveLength(2);
  });

  test('a contact that promises a client id and carries none is dropped, and the old connection stays', () => {
    const { guest, bus, dropped } = someOfferedChannel();

    guest.initiateContact(VmbusVersion.COPPER, { features: FeatureFlag.ClientId });

    expect(guest.received).toEqual([]);
    expect(bus.state).toBe('offering');
    expect(dropped).toHaveLength(1);
  });
});

describe('open and close', () => {
  test('row 36: OpenChannel on an opening channel is dropped, the first one counts', () => {
    const { guest, device, channel } = someOfferedChannel();
    device.openAnswer = undefined;
    guest.createGpadl(1, 1);
    guest.takeAll();

    guest.open(1, { openId: 10 });
    guest.open(1, { openId: 11 });
    channel.opened(true);

    expect(guest.takeAll()).toMatchObject([{ openId: 10, status: 0 }]);
    expect(device.opens).toHaveLength(1);
  });

  test('row 36: OpenChannel on an open channel is dropped, without an OpenResult', () => {
    const { guest, device, dropped, channel } = someOpenChannel();

    guest.open(1, { openId: 11 });

    expect(guest.received).toEqual([]);
    expect(device.calls).toEqual([]);
    expect(dropped).toHaveLength(1);
    expect(channel.state).toBe('open');
  });

  test('row 37: OpenChannel during close opens again when the device let go', () => {
    const { guest, device, channel } = someOpenChannel();
    device.answersClose = false;

    guest.close(1);
    guest.open(1, { openId: 2 });
    expect(device.calls).toEqual(['closeRequested']);
    channel.closed();

    expect(device.calls).toEqual(['closeRequested', 'openRequested']);
    expect(guest.takeAll()).toMatchObject([{ name: 'OpenChannelResult', openId: 2, status: 0 }]);
  });

  test.each([
    ['an unknown GPADL', { ringGpadlId: 7 }],
    ['no upstream ring', { downstreamPageOffset: 0 }],
    ['no downstream ring', { downstreamPageOffset: 8 }],
    ['a downstream ring far outside', { downstreamPageOffset: 0xffff_ffff }],
  ])('row 38: OpenChannel with %s fails with OpenResult 0x8000ffff', (_, open) => {
    const { guest, device, channel } = someOfferedChannel();
    guest.createGpadl(1, 1);
    guest.takeAll();

    guest.open(1, open);

    expect(guest.takeAll()).toEqual([{ name: 'OpenChannelResult', channelId: 1, openId: 1, status: FAILURE }]);
    expect(device.opens).toEqual([]);
    expect(channel.state).toBe('offered');
  });

  test.each([
    ['two ranges', [...wholePages(4), ...wholePages(4, 0x2000)]],
    ['a late start', [{ byteCount: 8192, byteOffset: 8, pfns: [1, 2, 3] }]],
    ['a broken last page', [{ byteCount: 8000, byteOffset: 0, pfns: [1, 2] }]],
  ])('row 38: a ring GPADL with %s cannot be opened', (_, ranges) => {
    const { guest } = someOfferedChannel();
    guest.createGpadl(1, 1, ranges);
    guest.takeAll();

    guest.open(1, { downstreamPageOffset: 1 });

    expect(guest.take()).toMatchObject({ name: 'OpenChannelResult', status: FAILURE });
  });

  test('row 38: a GPADL of which words are missing is no ring', () => {
    const { guest } = someOfferedChannel();
    guest.send(encodeGpadl(1, 1, wholePages(40))[0] as Uint8Array);

    guest.open(1, { ringGpadlId: 1 });

    expect(guest.take()).toMatchObject({ name: 'OpenChannelResult', status: FAILURE });
  });

  test('row 39: OpenChannel after the rescind is ignored, without an OpenResult', () => {
    const { guest, channel, device } = someOfferedChannel();
    guest.createGpadl(1, 1);
    channel.revoke();
    guest.takeAll();

    guest.open(1);

    expect(guest.received).toEqual([]);
    expect(device.opens).toEqual([]);
  });

  test('row 40: CloseChannel on a closed channel is dropped', () => {
    const { guest, device, dropped } = someOfferedChannel();

    guest.close(1);

    expect(guest.received).toEqual([]);
    expect(device.calls).toEqual([]);
    expect(dropped).toEqual([expect.stringContaining('closeRequested is out of turn: channel 1 is offered')]);
  });
});

describe('GPADLs', () => {
  test('row 41: an id used twice on a channel fails, and the first list stays', () => {
    const { guest, channel } = someOfferedChannel();
    guest.createGpadl(1, 1, wholePages(8));
    guest.takeAll();

    guest.createGpadl(1, 1, wholePages(3));

    expect(guest.take()).toMatchObject({ name: 'GpadlCreated', gpadlId: 1, status: FAILURE });
    expect(channel.gpadl(1)?.pageCount).toBe(8);
  });

  test('row 42: an id in progress on another channel fails, and the first list goes on', () => {
    const { guest, offer } = someHost();
    const { offer: first } = offer(1);
    offer(2);
    guest.connect();
    const [header, body] = encodeGpadl(1, 5, wholePages(30)) as [Uint8Array, Uint8Array];

    guest.send(header);
    guest.createGpadl(2, 5, wholePages(3));
    guest.send(body);

    expect(guest.takeAll()).toMatchObject([
      { channelId: 2, gpadlId: 5, status: FAILURE },
      { channelId: 1, gpadlId: 5, status: 0 },
    ]);
    expect(first.gpadl(5)?.pageCount).toBe(30);
  });

  test('row 43: a body without a header is dropped, without a reply', () => {
    const { guest, dropped } = someOfferedChannel();
    guest.createGpadl(1, 1);
    guest.takeAll();

    guest.send(GpadlBody.encode({ messageNumber: 0, gpadlId: 1 }));
    guest.send(GpadlBody.encode({ messageNumber: 0, gpadlId: 9 }));

    expect(guest.received).toEqual([]);
    expect(dropped).toHaveLength(2);
  });

  test('row 44: surplus data in a body is cut off', () => {
    const { guest, channel } = someOfferedChannel();
    const [header, body] = encodeGpadl(1, 1, wholePages(30)) as [Uint8Array, Uint8Array];
    const full = new Uint8Array(240).fill(0xff);
    full.set(body);

    guest.send(header);
    guest.send(full);

    expect(guest.take()).toMatchObject({ name: 'GpadlCreated', status: 0 });
    expect(channel.gpadl(1)?.ranges).toMatchObject(wholePages(30));
  });

  test('row 44: surplus data in a header is cut off', () => {
    const { guest, channel } = someOfferedChannel();
    const full = new Uint8Array(240).fill(0xff);
    full.set(encodeGpadl(1, 1, wholePages(3))[0] as Uint8Array);

    guest.send(full);

    expect(channel.gpadl(1)?.ranges).toMatchObject(wholePages(3));
  });

  test('row 45: teardown of the ring GPADL of an open channel is answered after the close', () => {
    const { guest, device } = someOpenChannel();

    guest.teardownGpadl(1, 1);
    expect(guest.received).toEqual([]);
    expect(device.calls).toEqual(['gpadlTornDown 1']);
    guest.close(1);

    expect(guest.takeAll()).toEqual([{ name: 'GpadlTorndown', gpadlId: 1 }]);
  });

  test('row 46: a second teardown is dropped: one GpadlTorndown', () => {
    const { guest, dropped } = someOpenChannel();

    guest.teardownGpadl(1, 1);
    guest.teardownGpadl(1, 1);
    guest.close(1);
    guest.teardownGpadl(1, 1);

    expect(guest.takeAll()).toEqual([{ name: 'GpadlTorndown', gpadlId: 1 }]);
    expect(dropped).toHaveLength(2);
  });

  test('row 46: teardown of a list of which words are missing is dropped, and the list goes on', () => {
    const { guest } = someOfferedChannel();
    const [header, body] = encodeGpadl(1, 1, wholePages(30)) as [Uint8Array, Uint8Array];

    guest.send(header);
    guest.teardownGpadl(1, 1);
    guest.send(body);

    expect(guest.takeAll()).toMatchObject([{ name: 'GpadlCreated', status: 0 }]);
  });

  test('a header or a teardown for a channel that does not exist: failure, and silence', () => {
    const { guest, dropped } = someOfferedChannel();

    guest.createGpadl(9, 1);
    guest.teardownGpadl(9, 1);

    expect(guest.takeAll()).toEqual([{ name: 'GpadlCreated', channelId: 9, gpadlId: 1, status: FAILURE }]);
    expect(dropped).toHaveLength(2);
  });
});

describe('release, unload, ids, modify', () => {
  test('row 47: RelIdReleased on an opening channel is dropped', () => {
    const { guest, device, channel } = someOfferedChannel();
    device.openAnswer = undefined;
    guest.createGpadl(1, 1);
    guest.open(1);

    guest.release(1);

    expect(channel.state).toBe('opening');
  });

  test('row 47: RelIdReleased on an open channel is dropped', () => {
    const { guest, channel, dropped } = someOpenChannel();

    guest.release(1);

    expect(channel.state).toBe('open');
    expect(dropped).toHaveLength(1);
  });

  test('row 48: unload with open channels closes all, then UnloadComplete', () => {
    const { guest, device, bus } = someOpenChannel();

    guest.unload();

    expect(device.calls).toEqual(['closeRequested', 'gpadlTornDown 1', 'released']);
    expect(guest.takeAll()).toEqual([{ name: 'UnloadComplete' }]);
    expect(bus.state).toBe('disconnected');
  });

  test('row 49: unload when not connected is dropped, without UnloadComplete', () => {
    const { guest, dropped } = someHost();

    guest.send(Unload.encode({}));

    expect(guest.received).toEqual([]);
    expect(dropped).toHaveLength(1);
  });

  test('row 49: a second unload while the first is under way gets no answer of its own', () => {
    const { guest, device, channel } = someOpenChannel();
    device.answersClose = false;

    guest.unload();
    guest.unload();
    channel.closed();

    expect(guest.takeAll()).toEqual([{ name: 'UnloadComplete' }]);
  });

  test.each([0, 2048, 0xffff_ffff])('row 50: channel id %i is unknown to every message', (channelId) => {
    const { guest, bus, dropped } = someOpenChannel();
    const before = shape(bus);

    guest.open(channelId);
    guest.close(channelId);
    guest.release(channelId);
    guest.modify(channelId, 0);
    guest.createGpadl(channelId, 3);
    guest.teardownGpadl(channelId, 3);

    expect(guest.takeAll()).toMatchObject([
      { name: 'ModifyChannelResponse', channelId, status: FAILURE },
      { name: 'GpadlCreated', channelId, status: FAILURE },
    ]);
    expect(dropped).toHaveLength(6);
    expect(shape(bus)).toEqual(before);
  });

  test('row 55: ModifyChannel on a closed channel fails at 5.3', () => {
    const { guest } = someOfferedChannel();

    guest.modify(1, 0);

    expect(guest.takeAll()).toEqual([{ name: 'ModifyChannelResponse', channelId: 1, status: FAILURE }]);
  });

  test('row 55: ModifyChannel to VP 0xffffffff fails', () => {
    const { guest, device } = someOpenChannel();

    guest.modify(1, 0xffff_ffff);

    expect(guest.takeAll()).toMatchObject([{ status: FAILURE }]);
    expect(device.calls).toEqual([]);
  });

  test('row 55: below 5.3 the same is silent', () => {
    const { guest, offer } = someHost();
    offer(1);
    guest.connect(VmbusVersion.V5_2);

    guest.modify(1, 0);

    expect(guest.received).toEqual([]);
  });

  test('row 56: a VP that does not exist is refused for open and modify, and logged for contact', () => {
    const { guest, device, dropped } = someOfferedChannel({ vpCount: 2 });
    guest.createGpadl(1, 1);
    guest.takeAll();

    guest.open(1, { targetVp: 2 });
    guest.open(1, { targetVp: 1 });
    guest.modify(1, 2);
    guest.initiateContact(VmbusVersion.IRON, { targetVp: 2 });

    expect(guest.takeAll()).toMatchObject([
      { name: 'OpenChannelResult', status: FAILURE },
      { name: 'OpenChannelResult', status: 0 },
      { name: 'ModifyChannelResponse', status: FAILURE },
    ]);
    expect(device.calls).not.toContain('targetVpChanged 2');
    expect(dropped.at(-1)).toContain('VP 2');
  });

  test.each([
    ['RequestOffers', RequestOffers.encode({})],
    [
      'OpenChannel',
      OpenChannel.encode({
        channelId: 1,
        openId: 1,
        ringGpadlId: 1,
        targetVp: 0,
        downstreamPageOffset: 4,
        userData: ZEROS_120,
      }),
    ],
    ['CloseChannel', CloseChannel.encode({ channelId: 1 })],
    ['ModifyChannel', ModifyChannel.encode({ channelId: 1, targetVp: 0 })],
    ['Pause', Pause.encode({})],
  ])('row 58: %s while paused is dropped, and the pause goes on', (_, message) => {
    const { guest, bus, dropped, offer } = someHost();
    offer(1);
    guest.connect(VmbusVersion.COPPER, { features: FeatureFlag.PauseResume });
    guest.send(Pause.encode({}));
    guest.takeAll();

    guest.send(message);

    expect(guest.received).toEqual([]);
    expect(bus.state).toBe('paused');
    expect(dropped).toEqual([expect.stringContaining('while paused')]);
  });

  test('row 59: an untrusted message on a trusted connection is dropped', () => {
    const { guest, bus, dropped, offer } = someHost({ trustedConnectionId: 0x800074 });
    offer(1);
    guest.initiateContact(VmbusVersion.COPPER, { connectionId: 0x800074 });
    guest.takeAll();

    guest.send(RequestOffers.encode({}), 1);
    guest.send(Unload.encode({}), 4);
    guest.send(
      InitiateContact.encode({
        version: VmbusVersion.IRON,
        targetVp: 0,
        targetSint: 2,
        targetVtl: 0,
        features: 0,
        parentToChildMonitorGpa: 0n,
        childToParentMonitorGpa: 0n,
      }),
      4,
    );
    expect(dropped).toHaveLength(3);
    expect(bus).toMatchObject({ state: 'connected', version: VmbusVersion.COPPER });
    guest.send(RequestOffers.encode({}), 0x800074);

    expect(guest.takeAll().map(({ name }) => name)).toEqual(['OfferChannel', 'AllOffersDelivered']);
  });
});

describe('limits', () => {
  test('GPADLs in progress are counted: one more fails, and a finished one makes room', () => {
    const { guest, bus } = someOfferedChannel({ maxGpadlsInProgress: 2 });
    const lists = [1, 2, 3].map((id) => encodeGpadl(1, id, wholePages(30)) as [Uint8Array, Uint8Array]);

    for (const [header] of lists) guest.send(header);
    expect(guest.takeAll()).toMatchObject([{ gpadlId: 3, status: FAILURE }]);
    expect(bus.inspect().gpadls.inProgress).toBe(2);
    guest.send((lists[0] as [Uint8Array, Uint8Array])[1]);
    guest.createGpadl(1, 3, wholePages(30));

    expect(guest.takeAll()).toMatchObject([
      { gpadlId: 1, status: 0 },
      { gpadlId: 3, status: 0 },
    ]);
  });

  test('GPADLs are counted', () => {
    const { guest } = someOfferedChannel({ maxGpadls: 2 });

    for (const id of [1, 2, 3]) guest.createGpadl(1, id);

    expect(guest.takeAll().map(({ status }) => status)).toEqual([0, 0, FAILURE]);
  });

  test('pages are counted from the announcement on, and come back with the teardown', () => {
    const { guest, bus } = someOfferedChannel({ maxGpadlPages: 50 });

    guest.createGpadl(1, 1, wholePages(40));
    guest.send(encodeGpadl(1, 2, wholePages(40))[0] as Uint8Array);
    guest.teardownGpadl(1, 1);
    guest.createGpadl(1, 3, wholePages(50));

    expect(guest.takeAll()).toMatchObject([
      { gpadlId: 1, status: 0 },
      { gpadlId: 2, status: FAILURE },
      { name: 'GpadlTorndown' },
      { gpadlId: 3, status: 0 },
    ]);
    expect(bus.inspect().gpadls).toEqual({ count: 1, inProgress: 0, pageCount: 50 });
  });

  test('a channel id stays taken while the guest does not release it: then no more can be offered', () => {
    const { guest, offer } = someHost();
    guest.connect();
    for (let n = 1; n <= 2047; n++) offer(n).offer.revoke();
    guest.takeAll();

    expect(() => offer(5000)).toThrow(expect.objectContaining({ code: 'ERR_RESOURCES' }));
    guest.release(700);

    expect(offer(5000).offer.relid).toBe(700);
  });

  test('reserved messages with a ring that is not there fail like others', () => {
    const { guest } = someOfferedChannel();

    guest.send(
      OpenReservedChannel.encode({ channelId: 1, targetVp: 0, targetSint: 2, ringGpadlId: 9, downstreamPageOffset: 1 }),
    );

    expect(guest.takeAll()).toMatchObject([{ name: 'OpenChannelResult', openId: 0, status: FAILURE }]);
  });
});
