import { describe, expect, test } from 'vitest';
import { GpadlHeader } from '../../../src/wire/messages/index.ts';
import {
  STATUS_CANCELLED,
  STATUS_DEVICE_NOT_CONNECTED,
  STATUS_DEVICE_REMOVED,
  STATUS_NOT_SUPPORTED,
  VMBUS_STATUS_FAILURE,
} from '../../../src/wire/ntstatus.ts';
import { FeatureFlag, VmbusVersion } from '../../../src/wire/versions.ts';
import { wholePages } from '../../peers/scripted-guest.ts';
import { instanceNumber, SCSI_INTERFACE } from '../../peers/scripted-host.ts';
import { someConnectedGuest, someGuestChannel, someGuestWithRing, someOpenGuestChannel } from './some-guest.ts';

describe('offers', () => {
  test('an offer is told with everything that the host said', () => {
    const { bus, host, events } = someConnectedGuest();
    const userDefined = new Uint8Array(120).fill(9);

    host.offer({ channelId: 7, userDefined, monitorId: 3, monitorAllocated: 1, connectionId: 0x2007, flags: 0x10 });

    expect(events).toEqual(['offered 7']);
    expect(bus.offer(7)).toMatchObject({
      relid: 7,
      interfaceId: SCSI_INTERFACE,
      instanceId: instanceNumber(7),
      flags: 0x10,
      userDefined,
      subchannelIndex: 0,
      monitorId: 3,
      monitorAllocated: true,
      dedicatedInterrupt: true,
      connectionId: 0x2007,
      state: 'offered',
      isRescinded: false,
    });
    expect([...bus.offers()]).toHaveLength(1);
  });

  test('a host of 0.13 has no fields for signals: the shared connection 2 it is', () => {
    const { bus, host } = someConnectedGuest({ newestVersion: VmbusVersion.WS2008 });

    host.offer({ channelId: 7, monitorId: 3, monitorAllocated: 1, connectionId: 0x2007 });

    expect(bus.offer(7)).toMatchObject({ connectionId: 2, monitorAllocated: false, dedicatedInterrupt: false });
  });

  test('a rescinded offer stays known until it is released', () => {
    const { bus, host, events } = someGuestChannel();
    const offer = bus.offer(1);

    host.rescind(1);
    expect(offer).toMatchObject({ state: 'rescinded', isRescinded: true });
    bus.release(1);
    bus.release(1);

    expect(events).toEqual(['rescinded 1']);
    expect(host.takeAll()).toEqual([{ name: 'RelIdReleased', channelId: 1 }]);
    expect(bus.offer(1)).toBeUndefined();
  });

  test('a channel may be released without a rescind, but not while it is in use', () => {
    const { bus, host, ringGpadlId, openRequest } = someGuestWithRing();

    expect(() => bus.release(1)).toThrow(expect.objectContaining({ code: 'ERR_STATE' }));
    bus.open(1, openRequest, () => {});
    expect(() => bus.release(1)).toThrow(expect.objectContaining({ code: 'ERR_STATE' }));
    host.openResult(1);
    bus.close(1);
    bus.teardownGpadl(1, ringGpadlId, () => {});
    host.gpadlTorndown(ringGpadlId);
    bus.release(1);

    expect(host.takeAll().at(-1)).toEqual({ name: 'RelIdReleased', channelId: 1 });
  });
});

describe('GPADLs', () => {
  test('header and bodies go out in order, ids count up from 0xe1e10', () => {
    const { bus, host, ends, ended } = someGuestChannel();

    const first = bus.createGpadl(1, wholePages(40), ended('first'));
    const second = bus.createGpadl(1, wholePages(1), ended('second'));
    expect(GpadlHeader.parse(host.posted[0]?.message as Uint8Array)).toMatchObject({ rangeBytes: 328, rangeCount: 1 });
    expect(host.takeAll().map(({ name }) => name)).toEqual(['GpadlHeader', 'GpadlBody', 'GpadlHeader']);
    host.gpadlCreated(1, second);
    host.gpadlCreated(1, first);

    expect([first, second]).toEqual([0xe1e10, 0xe1e11]);
    expect(ends).toEqual(['second 0', 'first 0']);
  });

  test('a refusal ends the creation and keeps nothing', () => {
    const { bus, host, ends, ended } = someGuestChannel();
    const id = bus.createGpadl(1, wholePages(1), ended('create'));

    host.gpadlCreated(1, id, VMBUS_STATUS_FAILURE);

    expect(ends).toEqual(['create 8000ffff']);
    expect(bus.inspect().gpadlCount).toBe(0);
  });

  test('a success code other than 0 is a failure here', () => {
    const { bus, host, ends, ended } = someGuestChannel();
    const id = bus.createGpadl(1, wholePages(1), ended('create'));

    host.gpadlCreated(1, id, 0x103);

    expect(ends).toEqual(['create 8000ffff']);
  });

  test('a teardown ends when the host says so', () => {
    const { bus, host, ringGpadlId, ends, ended } = someGuestWithRing();

    bus.teardownGpadl(1, ringGpadlId, ended('teardown'));
    expect(host.takeAll()).toEqual([{ name: 'GpadlTeardown', channelId: 1, gpadlId: ringGpadlId }]);
    expect(ends).toEqual([]);
    host.gpadlTorndown(ringGpadlId);

    expect(ends).toEqual(['teardown 0']);
  });

  test('a list that is being created or torn down cannot be torn down', () => {
    const { bus, ringGpadlId } = someGuestWithRing();
    const id = bus.createGpadl(1, wholePages(1), () => {});

    expect(() => bus.teardownGpadl(1, id, () => {})).toThrow(expect.objectContaining({ code: 'ERR_STATE' }));
    bus.teardownGpadl(1, ringGpadlId, () => {});
    expect(() => bus.teardownGpadl(1, ringGpadlId, () => {})).toThrow(expect.objectContaining({ code: 'ERR_STATE' }));
  });

  test('a list of 8191 pages in one range cannot be named, and nothing is sent', () => {
    const { bus, host } = someGuestChannel();

    expect(() => bus.createGpadl(1, wholePages(8191), () => {})).toThrow(
      expect.objectContaining({ code: 'ERR_ARGUMENT' }),
    );

    expect(host.posted).toEqual([]);
  });
});

describe('open and close', () => {
  test('the worked example: 148 bytes below 6.0', () => {
    const { bus, host, openRequest, ends, ended } = someGuestWithRing();

    bus.open(1, { ...openRequest, targetVp: 1 }, ended('open'));
    expect(host.posted[0]?.message).toHaveLength(148);
    expect(host.take()).toMatchObject({
      name: 'OpenChannel',
      channelId: 1,
      openId: 1,
      ringGpadlId: openRequest.ringGpadlId,
      targetVp: 1,
      downstreamPageOffset: 4,
    });
    host.openResult(1);

    expect(ends).toEqual(['open 0']);
    expect(bus.offer(1)?.state).toBe('open');
  });

  test('row 29: 156 bytes at 6.0 when the guest names its signals, from the offer unless told otherwise', () => {
    const features = FeatureFlag.GuestSpecifiedSignalParameters;
    const { bus, host, openRequest } = someGuestWithRing({ newestVersion: VmbusVersion.COPPER, features });

    bus.open(1, openRequest, () => {});
    host.openResult(1, VMBUS_STATUS_FAILURE);
    bus.open(1, { ...openRequest, connectionId: 77, eventFlag: 78, openFlags: 1 }, () => {});

    expect(host.posted.map(({ message }) => message.length)).toEqual([156, 156]);
    expect(host.takeAll()).toMatchObject([
      { connectionId: 0x2001, eventFlag: 1, openFlags: 0 },
      { connectionId: 77, eventFlag: 78, openFlags: 0 },
    ]);
  });

  test('row 29: 156 bytes at 6.0 when interrupts may be redirected', () => {
    const features = FeatureFlag.ChannelInterruptRedirection;
    const { bus, host, openRequest } = someGuestWithRing({ newestVersion: VmbusVersion.COPPER, features });

    bus.open(1, { ...openRequest, openFlags: 1 }, () => {});

    expect(host.take()).toMatchObject({ connectionId: 0, eventFlag: 0, openFlags: 1 });
  });

  test('148 bytes at 6.0 without either', () => {
    const { bus, host, openRequest } = someGuestWithRing({ newestVersion: VmbusVersion.COPPER, features: 0 });

    bus.open(1, openRequest, () => {});

    expect(host.posted[0]?.message).toHaveLength(148);
  });

  test('a failed open can be tried again', () => {
    const { bus, host, openRequest, ends, ended } = someGuestWithRing();

    bus.open(1, openRequest, ended('first'));
    host.openResult(1, VMBUS_STATUS_FAILURE);
    bus.open(1, openRequest, ended('second'));
    host.openResult(1);

    expect(ends).toEqual(['first 8000ffff', 'second 0']);
  });

  test('closing sends CloseChannel, and nothing on a closed channel', () => {
    const { bus, host } = someOpenGuestChannel();

    bus.close(1);
    bus.close(1);
    bus.close(99);

    expect(host.takeAll()).toEqual([{ name: 'CloseChannel', channelId: 1 }]);
    expect(bus.offer(1)?.state).toBe('offered');
  });

  test.each([
    ['a channel that is opening', (guest: ReturnType<typeof someGuestWithRing>) => guest.openRequest],
    ['a GPADL that is not there', () => ({ ringGpadlId: 3, downstreamPageOffset: 4, targetVp: 0 })],
  ])('opening %s is the caller’s mistake', (_, request) => {
    const guest = someGuestWithRing();
    guest.bus.open(1, guest.openRequest, () => {});
    const open = () => guest.bus.open(1, request(guest), guest.ended('never'));

    expect(open).toThrow(expect.objectContaining({ code: 'ERR_STATE' }));
    guest.host.openResult(1);

    expect(guest.ends).toEqual([]);
  });

  test('121 bytes of user data do not fit, and nothing changes', () => {
    const { bus, host, openRequest } = someGuestWithRing();
    const userData = new Uint8Array(121);

    expect(() => bus.open(1, { ...openRequest, userData }, () => {})).toThrow(
      expect.objectContaining({ code: 'ERR_ARGUMENT' }),
    );

    expect(host.posted).toEqual([]);
    expect(bus.offer(1)?.state).toBe('offered');
  });
});

describe('modify channel', () => {
  test('from 5.3 the answer ends it', () => {
    const { bus, host, ends, ended } = someOpenGuestChannel();

    bus.modifyChannel(1, 3, ended('modify'));
    expect(host.takeAll()).toEqual([{ name: 'ModifyChannel', channelId: 1, targetVp: 3 }]);
    expect(() => bus.modifyChannel(1, 4, ended('never'))).toThrow(expect.objectContaining({ code: 'ERR_STATE' }));
    host.modified(1, VMBUS_STATUS_FAILURE);

    expect(ends).toEqual(['modify 8000ffff']);
  });

  test('at 4.1 there is no answer: it ends at once', () => {
    const { bus, host, ends, ended } = someOpenGuestChannel({ newestVersion: VmbusVersion.WIN10_RS3_0 });

    bus.modifyChannel(1, 3, ended('modify'));

    expect(ends).toEqual(['modify 0']);
    expect(host.takeAll()).toHaveLength(1);
  });

  test('below 4.1 it is not supported, and nothing is sent', () => {
    const { bus, host, ends, ended } = someOpenGuestChannel({ newestVersion: VmbusVersion.WIN10 });

    bus.modifyChannel(1, 3, ended('modify'));

    expect(ends).toEqual([`modify ${STATUS_NOT_SUPPORTED.toString(16)}`]);
    expect(host.posted).toEqual([]);
  });

  test('a closed channel has no target to change', () => {
    const { bus } = someGuestChannel();

    expect(() => bus.modifyChannel(1, 3, () => {})).toThrow(expect.objectContaining({ code: 'ERR_STATE' }));
  });
});

describe('every callback ends once, in every ending', () => {
  /** A create, a teardown, an open, a modify, all waiting, on channels 1 and 2. */
  function everythingPending() {
    const guest = someGuestWithRing();
    const { bus, host, ended, ringGpadlId, openRequest } = guest;
    host.offer({ channelId: 2 });
    const other = bus.createGpadl(2, wholePages(4), () => {});
    host.gpadlCreated(2, other);
    bus.open(2, { ...openRequest, ringGpadlId: other }, () => {});
    host.openResult(2);
    bus.modifyChannel(2, 1, ended('modify'));
    bus.open(1, openRequest, ended('open'));
    const creating = bus.createGpadl(1, wholePages(4), ended('create'));
    bus.teardownGpadl(1, ringGpadlId, ended('teardown'));
    bus.teardownGpadl(2, other, ended('teardown 2'));
    host.takeAll();
    guest.events.length = 0;
    return { ...guest, creating, other };
  }

  /** The answers that a host would have given, and some twice. */
  function answerAll({ host, creating, ringGpadlId, other }: ReturnType<typeof everythingPending>): void {
    for (let twice = 0; twice < 2; twice++) {
      host.modified(2);
      host.openResult(1);
      host.gpadlCreated(1, creating);
      host.gpadlTorndown(ringGpadlId);
      host.gpadlTorndown(other);
    }
  }

  const removed = STATUS_DEVICE_REMOVED.toString(16);
  const notConnected = STATUS_DEVICE_NOT_CONNECTED.toString(16);

  test('by their answers', () => {
    const guest = everythingPending();

    answerAll(guest);

    expect(guest.ends.sort()).toEqual(['create 0', 'modify 0', 'open 0', 'teardown 0', 'teardown 2 0']);
    expect(guest.dropped).toHaveLength(5);
  });

  test('by a rescind', () => {
    const guest = everythingPending();

    guest.host.rescind(1);
    guest.host.rescind(2);
    answerAll(guest);

    expect(guest.ends.sort()).toEqual([
      `create ${removed}`,
      `modify ${removed}`,
      `open ${removed}`,
      'teardown 0',
      'teardown 2 0',
    ]);
    expect(guest.events).toEqual(['rescinded 1', 'rescinded 2']);
  });

  test('by the loss of the transport', () => {
    const guest = everythingPending();

    guest.bus.lost('gone');
    answerAll(guest);

    expect(guest.ends.sort()).toEqual([
      `create ${notConnected}`,
      `modify ${notConnected}`,
      `open ${notConnected}`,
      'teardown 0',
      'teardown 2 0',
    ]);
    expect(guest.events).toEqual(['rescinded 1', 'rescinded 2', 'disconnected']);
    expect([...guest.bus.offers()]).toEqual([]);
  });

  test('by a disconnect: answers are taken until the host is done, the rest ends then', () => {
    const guest = everythingPending();

    guest.bus.disconnect();
    guest.host.modified(2);
    expect(guest.ends).toEqual(['modify 0']);
    guest.host.unloadComplete();
    answerAll(guest);

    expect(guest.ends.slice(1).sort()).toEqual([
      `create ${notConnected}`,
      `open ${notConnected}`,
      'teardown 0',
      'teardown 2 0',
    ]);
    expect(guest.events).toEqual(['rescinded 1', 'rescinded 2', 'disconnected']);
    expect(guest.bus.inspect()).toMatchObject({ state: 'disconnected', gpadlCount: 0, channels: [] });
  });

  test('a callback that lets go of the other channel does no harm', () => {
    const { bus, host } = someGuestWithRing();
    const ends: number[] = [];
    host.offer({ channelId: 2 });
    host.rescind(2);
    bus.createGpadl(1, wholePages(4), (status) => {
      ends.push(status);
      bus.release(2);
      bus.release(1);
    });

    expect(() => bus.lost('gone')).not.toThrow();

    expect(ends).toEqual([STATUS_DEVICE_NOT_CONNECTED]);
  });

  test('what is asked of a channel that is gone ends before the call returns', () => {
    const { bus, host, ends, ended, openRequest, ringGpadlId } = someGuestWithRing();
    host.rescind(1);

    bus.createGpadl(1, wholePages(1), ended('create'));
    bus.open(1, openRequest, ended('open'));
    bus.modifyChannel(1, 0, ended('modify'));
    bus.teardownGpadl(1, ringGpadlId, ended('teardown'));
    bus.teardownGpadl(1, ringGpadlId, ended('again'));
    bus.createGpadl(9, wholePages(1), ended('unknown'));

    expect(host.posted).toEqual([]);
    expect(ends).toEqual([
      `create ${removed}`,
      `open ${removed}`,
      `modify ${removed}`,
      'teardown 0',
      'again',
      `unknown ${removed}`,
    ]);
  });

  test('what is asked after unload ends before the call returns', () => {
    const { bus, host, ends, ended, openRequest } = someGuestWithRing();
    bus.disconnect();
    host.takeAll();

    bus.createGpadl(1, wholePages(1), ended('create'));
    bus.open(1, openRequest, ended('open'));
    bus.tlConnect({ endpointId: instanceNumber(1), serviceId: SCSI_INTERFACE }, ended('tl'));
    bus.pause(ended('pause'));

    expect(host.posted).toEqual([]);
    expect(ends).toEqual(['create', 'open', 'tl', 'pause'].map((what) => `${what} ${notConnected}`));
  });

  test('an open that is closed again is cancelled', () => {
    const { bus, host, ends, ended, openRequest } = someGuestWithRing();
    bus.open(1, openRequest, ended('open'));

    bus.close(1);
    host.openResult(1);

    expect(ends).toEqual([`open ${STATUS_CANCELLED.toString(16)}`]);
  });
});
