/**
 * What a guest does with each kind of bad control message. The numbers are those of the project's table of bad input
 * (24 to 59: the control plane). The host is no more trusted here than the guest is there.
 */
import { describe, expect, test } from 'vitest';
import { PostStatus } from '../../../src/bus/control-port.ts';
import {
  AllOffersDelivered,
  CloseReservedResponse,
  MESSAGES,
  ModifyConnectionResponse,
  messageSize,
  PauseResponse,
  RescindChannelOffer,
  TlConnectResult,
  UnloadComplete,
  VersionResponse,
} from '../../../src/wire/messages/index.ts';
import { VmbusVersion } from '../../../src/wire/versions.ts';
import { wholePages } from '../../peers/scripted-guest.ts';
import { instanceNumber, SCSI_INTERFACE } from '../../peers/scripted-host.ts';
import { bytesOf } from '../bytes.ts';
import { someConnectedGuest, someGuest, someGuestChannel, someOpenGuestChannel } from './some-guest.ts';

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
    const { bus, host, dropped } = someOpenGuestChannel();
    const before = shape(bus);

    host.send(new Uint8Array(bytes).fill(2));

    expect(dropped).toHaveLength(1);
    expect(shape(bus)).toEqual(before);
  });

  test.each(
    HOST_MESSAGES.filter(({ name }) => name !== 'VersionResponse').map(({ name, type }) => [name, type] as const),
  )('row 25: %s shorter than its layout is dropped, at every length', (_, type) => {
    const { bus, host, dropped, events } = someOpenGuestChannel({ newestVersion: VmbusVersion.COPPER });
    const before = shape(bus);
    events.length = 0;
    const least = messageSize(type, VmbusVersion.COPPER, bus.features);

    for (let bytes = 8; bytes < least; bytes++) host.send(zeros(type, bytes));

    expect(dropped).toHaveLength(least - 8);
    expect(events).toEqual([]);
    expect(shape(bus)).toEqual(before);
  });

  test('row 26: a message longer than its layout is taken', () => {
    const { host, events } = someGuestChannel();
    const message = new Uint8Array(240).fill(0xa5);
    message.set(RescindChannelOffer.encode({ channelId: 1 }));

    host.send(message);

    expect(events).toEqual(['rescinded 1']);
  });

  test.each([0, 30, 0xffff_ffff])('row 27: unknown type %i is dropped', (type) => {
    const { bus, host, dropped } = someOpenGuestChannel();
    const before = shape(bus);

    host.send(zeros(type, 240));

    expect(dropped).toEqual([expect.stringContaining(`unknown type ${type}`)]);
    expect(shape(bus)).toEqual(before);
  });

  test.each([
    ['ModifyChannelResponse at 5.2', VmbusVersion.V5_2, 24],
    ['TlConnectResult at 4.0', VmbusVersion.WIN10, 23],
    ['UnloadComplete at 0.13', VmbusVersion.WS2008, 17],
    ['PauseResponse at 5.3', VmbusVersion.IRON, 28],
    ['ModifyConnectionResponse at 5.3', VmbusVersion.IRON, 26],
  ])('row 28: %s is dropped', (_, newestVersion, type) => {
    const { bus, host, dropped } = someConnectedGuest({ newestVersion });
    const before = shape(bus);

    host.send(zeros(type, 240));

    expect(dropped).toEqual([expect.stringContaining('on a connection of version')]);
    expect(shape(bus)).toEqual(before);
  });

  test.each(GUEST_MESSAGES.map(({ name, type }) => [name, type] as const))(
    'row 30: %s, which only a guest sends, is dropped',
    (_, type) => {
      const { bus, host, dropped } = someOpenGuestChannel({ newestVersion: VmbusVersion.COPPER });
      const before = shape(bus);

      host.send(zeros(type, 240));

      expect(host.posted).toEqual([]);
      expect(dropped).toHaveLength(1);
      expect(shape(bus)).toEqual(before);
    },
  );
});

describe('contact', () => {
  test.each(HOST_MESSAGES.map(({ name, type }) => [name, type] as const))(
    'row 35: %s before contact is dropped',
    (_, type) => {
      const { bus, host, dropped, events } = someGuest();

      host.send(zeros(type, 240));

      expect(dropped).toHaveLength(1);
      expect(events).toEqual([]);
      expect(bus.state).toBe('disconnected');
    },
  );

  test.each(
    HOST_MESSAGES.filter(({ name }) => name !== 'VersionResponse').map(({ name, type }) => [name, type] as const),
  )('row 35: %s before the version is agreed is dropped', (_, type) => {
    const { bus, host, dropped, events } = someGuest();
    bus.connect();

    host.send(zeros(type, 240));

    expect(dropped).toHaveLength(1);
    expect(events).toEqual([]);
    expect(bus.state).toBe('connecting');
  });

  test('a VersionResponse that nobody waits for is dropped', () => {
    const { bus, host, dropped } = someConnectedGuest();

    host.send(VersionResponse.encode({ versionSupported: 1, connectionState: 0, messageConnectionId: 9 }));
    host.send(VersionResponse.encode({ versionSupported: 0, connectionState: 0, messageConnectionId: 0 }));
    host.send(VersionResponse.encode({ versionSupported: 1, connectionState: 2, messageConnectionId: 0 }));

    expect(dropped).toHaveLength(3);
    expect(bus).toMatchObject({ state: 'connected', version: VmbusVersion.IRON });
  });

  test('row 57: below 5.0 nine bytes of VersionResponse are enough', () => {
    const { bus, host } = someGuest({ newestVersion: VmbusVersion.WIN10_RS3_0 });
    bus.connect();

    host.send(bytesOf('0f 00 00 00 00 00 00 00 01'));

    expect(bus.version).toBe(VmbusVersion.WIN10_RS3_0);
  });

  test('row 57: eight bytes are not, and the guest goes on waiting', () => {
    const { bus, host, dropped } = someGuest({ newestVersion: VmbusVersion.WIN10_RS3_0 });
    bus.connect();

    host.send(bytesOf('0f 00 00 00 00 00 00 00'));

    expect(dropped).toHaveLength(1);
    expect(bus.state).toBe('connecting');
  });

  test('row 57: from 5.0 sixteen bytes are needed: the message connection stands there', () => {
    const { bus, host, dropped } = someGuest({ newestVersion: VmbusVersion.IRON });
    bus.connect();

    host.send(bytesOf('0f 00 00 00 00 00 00 00 01 00 00 00 01 00 00'));

    expect(dropped).toHaveLength(1);
    expect(bus.state).toBe('connecting');
  });

  test('at 6.0 a yes of sixteen bytes lacks the features; a no needs none', () => {
    const { bus, host, dropped } = someGuest();
    bus.connect();
    host.takeAll();

    host.send(bytesOf('0f 00 00 00 00 00 00 00 01 00 00 00 01 00 00 00'));
    expect(dropped).toHaveLength(1);
    expect(bus.state).toBe('connecting');
    host.send(bytesOf('0f 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00'));

    expect(host.take()).toMatchObject({ version: VmbusVersion.IRON });
  });
});

describe('offers', () => {
  test.each([0, 2048, 0xffff_ffff])('row 50: an offer with channel id %i is dropped', (channelId) => {
    const { bus, host, dropped, events } = someConnectedGuest();

    host.offer({ channelId, instanceId: instanceNumber(1) });

    expect(events).toEqual([]);
    expect(host.posted).toEqual([]);
    expect(dropped).toHaveLength(1);
    expect([...bus.offers()]).toEqual([]);
  });

  test('row 51: an id that is offered already is dropped, and the first offer stays', () => {
    const { bus, host, dropped, events } = someGuestChannel();

    host.offer({ channelId: 1, instanceId: instanceNumber(99) });

    expect(events).toEqual([]);
    expect(host.posted).toEqual([]);
    expect(dropped).toHaveLength(1);
    expect(bus.offer(1)?.instanceId).toBe(instanceNumber(1));
  });

  test('row 52: a second primary of the same instance is dropped and its id released', () => {
    const { bus, host, dropped, events } = someGuestChannel();

    host.offer({ channelId: 2, instanceId: instanceNumber(1) });

    expect(events).toEqual([]);
    expect(host.takeAll()).toEqual([{ name: 'RelIdReleased', channelId: 2 }]);
    expect(dropped).toHaveLength(1);
    expect([...bus.offers()]).toHaveLength(1);
  });

  test('row 52: a second sub-channel of the same index is dropped and its id released', () => {
    const { host, events } = someGuestChannel();
    host.offer({ channelId: 2, instanceId: instanceNumber(1), subchannelIndex: 1 });

    host.offer({ channelId: 3, instanceId: instanceNumber(1), subchannelIndex: 1 });

    expect(events).toEqual(['offered 2']);
    expect(host.takeAll()).toEqual([{ name: 'RelIdReleased', channelId: 3 }]);
  });

  test('row 52: a host that repeats itself and takes nothing cannot make the guest keep messages without end', () => {
    const { bus, host } = someConnectedGuest({ maxUnsentMessages: 10 });
    host.offer({ channelId: 1 });
    host.postStatus = PostStatus.InsufficientBuffers;

    for (let n = 0; n < 100; n++) host.offer({ channelId: 2, instanceId: instanceNumber(1) });

    expect(bus.inspect().unsentMessages).toBe(10);
  });

  test('row 53: a sub-channel without its primary is dropped', () => {
    const { host, dropped, events } = someConnectedGuest();

    host.offer({ channelId: 2, instanceId: instanceNumber(1), subchannelIndex: 1 });

    expect(events).toEqual([]);
    expect(host.posted).toEqual([]);
    expect(dropped).toHaveLength(1);
  });

  test('row 53: a primary of another class, or one that is rescinded, does not count', () => {
    const { host, dropped } = someConnectedGuest();
    host.offer({ channelId: 1 });
    host.offer({ channelId: 2 });
    host.rescind(2);

    const otherClass = '57164f39-9115-4e78-ab55-382f3bd5422d';
    host.offer({ channelId: 3, instanceId: instanceNumber(1), interfaceId: otherClass, subchannelIndex: 1 });
    host.offer({ channelId: 4, instanceId: instanceNumber(2), subchannelIndex: 1 });

    expect(dropped).toHaveLength(2);
  });

  test('a host cannot offer more than 2047 channels', () => {
    const { bus, host } = someConnectedGuest();

    for (let channelId = 0; channelId < 3000; channelId++) host.offer({ channelId });

    expect([...bus.offers()]).toHaveLength(2047);
  });

  test('row 54: a rescind of an unknown id is ignored, and so is a second rescind', () => {
    const { host, events } = someGuestChannel();

    host.rescind(9);
    host.rescind(0);
    host.rescind(1);
    host.rescind(1);

    expect(events).toEqual(['rescinded 1']);
  });
});

describe('answers that nobody waits for', () => {
  test('row 36: an open result for a channel that is not opening is dropped', () => {
    const { bus, host, dropped } = someOpenGuestChannel();

    host.openResult(1);
    host.openResult(9);

    expect(dropped).toHaveLength(2);
    expect(bus.offer(1)?.state).toBe('open');
  });

  test('an open result with another open id is dropped, and the right one still counts', () => {
    const { bus, host, ends, ended, dropped } = someGuestChannel();
    const ringGpadlId = bus.createGpadl(1, wholePages(8), () => {});
    host.gpadlCreated(1, ringGpadlId);
    bus.open(1, { ringGpadlId, downstreamPageOffset: 4, targetVp: 0, openId: 77 }, ended('open'));

    host.openResult(1, 0, 78);
    expect(ends).toEqual([]);
    host.openResult(1, 0, 77);

    expect(ends).toEqual(['open 0']);
    expect(dropped).toEqual([expect.stringContaining('78')]);
  });

  test('rows 41 to 46: GPADL answers with a wrong channel, a wrong id or twice are dropped', () => {
    const { bus, host, ends, ended, dropped } = someGuestChannel();
    host.offer({ channelId: 2 });
    const id = bus.createGpadl(1, wholePages(8), ended('create'));

    host.gpadlCreated(2, id);
    host.gpadlCreated(1, id + 1);
    host.gpadlTorndown(id);
    expect(ends).toEqual([]);
    host.gpadlCreated(1, id);
    host.gpadlCreated(1, id);
    host.gpadlTorndown(id);

    expect(ends).toEqual(['create 0']);
    expect(dropped).toHaveLength(5);
    expect(bus.inspect().channels[0]?.gpadls).toEqual([{ id, state: 'created', pageCount: 8 }]);
  });

  test('row 55: a ModifyChannelResponse that nobody waits for is dropped', () => {
    const { host, dropped } = someOpenGuestChannel();

    host.modified(1);
    host.modified(9);

    expect(dropped).toHaveLength(2);
  });

  test('row 49: an UnloadComplete that nobody waits for is dropped', () => {
    const { bus, host, dropped } = someOpenGuestChannel();

    host.send(UnloadComplete.encode({}));

    expect(dropped).toHaveLength(1);
    expect(bus.state).toBe('connected');
  });

  test('row 34: a second AllOffersDelivered is dropped', () => {
    const { host, events, dropped } = someConnectedGuest();

    host.send(AllOffersDelivered.encode({}));

    expect(events).toEqual([]);
    expect(dropped).toHaveLength(1);
  });

  test('answers to hvsock connects, pauses and changes of the connection that were never asked are dropped', () => {
    const { bus, host, dropped } = someOpenGuestChannel({ newestVersion: VmbusVersion.COPPER });
    const before = shape(bus);

    host.send(
      TlConnectResult.encode({
        guestEndpointId: instanceNumber(1),
        hostServiceId: SCSI_INTERFACE,
        status: 0xc000_0236,
      }),
    );
    host.send(PauseResponse.encode({}));
    host.send(ModifyConnectionResponse.encode({ connectionState: 0 }));
    host.send(CloseReservedResponse.encode({ channelId: 1 }));

    expect(dropped).toHaveLength(4);
    expect(shape(bus)).toEqual(before);
  });
});
