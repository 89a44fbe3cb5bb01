/** A host bus saved in each of its states and restored on another: the guest finds everything as it left it. */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  HostBus,
  type HostBusEvents,
  type HostBusOptions,
  type OfferParams,
  PostStatus,
} from '../../../src/bus/host/index.ts';
import { encodeSavedBus } from '../../../src/bus/host/saved/saved-form.ts';
import { encodeGpadl } from '../../../src/wire/messages/index.ts';
import { ChunkWriter } from '../../../src/wire/saved/index.ts';
import { VmbusVersion } from '../../../src/wire/versions.ts';
import { wholePages } from '../../peers/scripted-guest.ts';
import { instanceNumber, SCSI_INTERFACE } from '../../peers/scripted-host.ts';
import { NotingDevice, type SomeHost, someHost, someOfferedChannel, someOpenChannel } from './some-host.ts';

const refused = expect.objectContaining({ code: 'ERR_SAVED_STATE' });

/** The same guest at a new bus that was restored from the old one. */
function moved(old: Pick<SomeHost, 'bus' | 'guest'>, options: HostBusOptions = {}, handlers: HostBusEvents = {}) {
  const saved = old.bus.save();
  const dropped: string[] = [];
  const bus = new HostBus(old.guest.port, { dropped: (reason) => dropped.push(reason), ...handlers }, options);
  bus.restore(saved);
  old.guest.attach((message, connectionId) => bus.receive(message, connectionId));
  const claim = (n: number, params: Partial<OfferParams> = {}) => {
    const device = new NotingDevice();
    device.offer = bus.offer({ interfaceId: SCSI_INTERFACE, instanceId: instanceNumber(n), ...params }, device);
    return { device, offer: device.offer, open: device.offer.resume() };
  };
  return { bus, guest: old.guest, dropped, claim };
}

describe('a channel', () => {
  test('that is open stays open under its id, and the device is given what it was opened with', () => {
    const old = someOpenChannel();

    const { claim, guest } = moved(old);
    const { offer, open, device } = claim(1);

    expect(open).toEqual(old.device.opens[0]);
    expect([offer.state, offer.relid, offer.connectionId]).toEqual(['open', 1, old.channel.connectionId]);
    expect(device.calls).toEqual([]);
    expect(guest.takeAll()).toEqual([]);
  });

  test('that is only offered stays offered, and opens at the new device', () => {
    const old = someOfferedChannel();
    old.guest.takeAll();

    const { claim, guest } = moved(old);
    const { device, open } = claim(1);
    guest.createGpadl(1, 1);
    guest.open(1);

    expect(open).toBe(undefined);
    expect(device.calls).toEqual(['gpadlCreated 1 8', 'openRequested']);
    expect(guest.takeAll().map(({ name }) => name)).toEqual(['GpadlCreated', 'OpenChannelResult']);
  });

  test('whose open was not answered asks the new device', () => {
    const old = someOfferedChannel();
    old.device.openAnswer = undefined;
    old.guest.createGpadl(1, 1);
    old.guest.open(1, { openId: 5 });
    old.guest.takeAll();

    const { claim, guest } = moved(old);
    const { device, offer } = claim(1);

    expect(device.opens.map(({ openId }) => openId)).toEqual([5]);
    expect(guest.takeAll()).toEqual([{ name: 'OpenChannelResult', channelId: 1, openId: 5, status: 0 }]);
    expect(offer.state).toBe('open');
  });

  test('that the old device was closing is closed: the new one holds nothing', () => {
    const old = someOpenChannel();
    old.device.answersClose = false;
    old.guest.close(1);

    const { claim, guest } = moved(old);
    const { offer, device } = claim(1);
    guest.teardownGpadl(1, 1);

    expect(offer.state).toBe('offered');
    expect(device.calls).toEqual(['gpadlTornDown 1']);
    expect(guest.takeAll().map(({ name }) => name)).toEqual(['GpadlTorndown']);
  });

  test('that the guest closes before a device has come is offered to that device', () => {
    const old = someOpenChannel();

    const { claim, guest } = moved(old);
    guest.close(1);
    const { offer, open } = claim(1);

    expect([offer.state, open]).toEqual(['offered', undefined]);
  });

  test('that was revoked waits for the guest to let go, and its successor gets the id', () => {
    const old = someOpenChannel();
    old.channel.revoke();
    old.guest.takeAll();

    const { claim, guest, bus } = moved(old);
    const { offer } = claim(1);
    const before = offer.state;
    guest.release(1);

    expect(before).toBe('held');
    expect([offer.state, offer.relid]).toEqual(['offered', 1]);
    expect(bus.revokeUnclaimed()).toBe(0);
  });

  test('that no device takes up is rescinded at last, and only that one', () => {
    const old = someHost();
    old.offer(1);
    old.offer(2);
    old.guest.connect();
    old.guest.takeAll();

    const { bus, claim, guest } = moved(old);
    claim(1);

    expect(bus.revokeUnclaimed()).toBe(1);
    expect(guest.takeAll()).toEqual([{ name: 'RescindChannelOffer', channelId: 2 }]);
  });

  test('is offered a second time only once', () => {
    const { claim } = moved(someOpenChannel());
    claim(1);

    expect(() => claim(1)).toThrow(expect.objectContaining({ code: 'ERR_STATE' }));
  });
});

describe('GPADLs', () => {
  test('keep their pages and may be mapped by the new device', () => {
    const old = someOpenChannel();
    old.guest.createGpadl(1, 77, wholePages(3, 0x2000));
    old.guest.takeAll();

    const { claim } = moved(old);
    const gpadl = claim(1).offer.mapGpadl(77);

    expect(gpadl?.ranges).toEqual(wholePages(3, 0x2000));
    expect(gpadl?.pageCount).toBe(3);
  });

  test('that the guest wants back, and that only the old device had mapped, go back at once', () => {
    const old = someOpenChannel();
    old.guest.createGpadl(1, 77);
    old.channel.mapGpadl(77);
    old.guest.teardownGpadl(1, 77);
    old.guest.takeAll();

    const { guest } = moved(old);

    expect(guest.takeAll()).toEqual([{ name: 'GpadlTorndown', gpadlId: 77 }]);
  });

  test('of an open ring stay with it until it is closed', () => {
    const old = someOpenChannel();
    old.guest.teardownGpadl(1, 1);

    const { claim, guest } = moved(old);
    const { device, offer } = claim(1);
    const before = guest.takeAll();
    guest.close(1);

    expect(before).toEqual([]);
    expect(device.calls).toContain('closeRequested');
    expect(offer.state).toBe('offered');
    expect(guest.takeAll()).toEqual([{ name: 'GpadlTorndown', gpadlId: 1 }]);
  });

  test('in the middle of their messages are completed by the rest of them', () => {
    const old = someOfferedChannel();
    const messages = encodeGpadl(1, 9, wholePages(60));
    old.guest.send(messages[0] as Uint8Array);
    old.guest.takeAll();

    const { claim, guest } = moved(old);
    const { device } = claim(1);
    for (const message of messages.slice(1)) guest.send(message);

    expect(messages.length).toBeGreaterThan(1);
    expect(device.calls).toEqual(['gpadlCreated 9 60']);
  });
});

describe('the connection', () => {
  test('goes on under its version, and its owner hears of it', () => {
    const old = someOpenChannel();
    const heard: number[] = [];

    const { bus } = moved(old, {}, { connected: (version) => heard.push(version) });

    expect([bus.state, bus.version, bus.features]).toEqual([old.bus.state, old.bus.version, old.bus.features]);
    expect(heard).toEqual([VmbusVersion.IRON]);
  });

  test('messages that the guest had not taken come from the new host, in order', () => {
    const old = someOfferedChannel();
    old.guest.takeAll();
    old.guest.postStatus = PostStatus.InsufficientBuffers;
    old.guest.createGpadl(1, 1);
    old.guest.open(1);
    old.guest.postStatus = PostStatus.Success;

    const { guest } = moved(old);

    expect(guest.takeAll().map(({ name }) => name)).toEqual(['GpadlCreated', 'OpenChannelResult']);
  });

  test('an unload that waited for an old device is answered', () => {
    const old = someOpenChannel();
    old.device.answersClose = false;
    old.guest.unload();
    const before = old.guest.takeAll();

    const { bus, guest } = moved(old);

    expect(before).toEqual([]);
    expect(guest.takeAll().map(({ name }) => name)).toEqual(['UnloadComplete']);
    expect(bus.state).toBe('disconnected');
  });

  test('a guest that unloads before devices have come leaves nothing behind', () => {
    const old = someOpenChannel();

    const { bus, guest, claim } = moved(old);
    guest.unload();
    const { offer } = claim(1);

    expect(guest.takeAll().map(({ name }) => name)).toEqual(['UnloadComplete']);
    expect([offer.state, offer.relid]).toEqual(['unassigned', 0]);
    expect(bus.inspect().gpadls.count).toBe(0);
  });

  test.each<[string, HostBusOptions]>([
    ['a version', { newestVersion: VmbusVersion.WIN10 }],
    ['virtual processors', { vpCount: 0 }],
    ['room for GPADLs', { maxGpadls: 0 }],
    ['room for pages', { maxGpadlPages: 7 }],
  ])('a host without %s that the guest uses refuses it, and is as new', (_what, options) => {
    const old = someOpenChannel();
    const saved = old.bus.save();
    const bus = new HostBus(old.guest.port, {}, options);

    expect(() => bus.restore(saved)).toThrow(expect.objectContaining({ name: 'PeerError' }));

    expect(bus.inspect()).toEqual(new HostBus(old.guest.port, {}, options).inspect());
  });

  test('a bus that was used already cannot be restored', () => {
    const old = someOpenChannel();

    expect(() => old.bus.restore(old.bus.save())).toThrow(expect.objectContaining({ code: 'ERR_STATE' }));
  });
});

describe('the saved form', () => {
  test('saving what was restored gives the same bytes', () => {
    const old = someOpenChannel();
    const saved = old.bus.save();

    expect(moved(old).bus.save()).toEqual(saved);
  });

  test('every truncation and every flipped bit is refused, and the bus is as new', () => {
    const old = someOpenChannel();
    const saved = old.bus.save();
    const bus = new HostBus(old.guest.port);
    const asNew = bus.inspect();

    for (let length = 0; length < saved.length; length++) {
      expect(() => bus.restore(saved.subarray(0, length))).toThrow(refused);
    }
    for (let bit = 0; bit < saved.length * 8; bit += 3) {
      const flipped = saved.slice();
      flipped[bit >> 3] = (flipped[bit >> 3] as number) ^ (1 << (bit & 7));
      expect(() => bus.restore(flipped)).toThrow(refused);
    }

    expect(bus.inspect()).toEqual(asNew);
  });

  test('contents that cannot be are refused although their checksum is right', () => {
    const old = someOpenChannel();
    const payload = old.bus.save().subarray(24);

    fc.assert(
      fc.property(fc.nat(payload.length - 1), fc.nat(255), (at, value) => {
        const changed = payload.slice();
        changed[at] = value;
        const bytes = new ChunkWriter().next({ kind: 0x100, payload: changed, isLast: true });
        const bus = new HostBus(old.guest.port);
        try {
          bus.restore(bytes);
        } catch (error) {
          expect(error).toEqual(expect.objectContaining({ name: 'PeerError' }));
          expect(bus.inspect()).toEqual(new HostBus(old.guest.port).inspect());
          return;
        }
        // What is possible must also work: the guest goes on without a crash.
        bus.revokeUnclaimed();
        bus.reset();
      }),
      { numRuns: 3000 },
    );
  });

  test('two channels under one id are refused', () => {
    const channel = {
      params: {
        interfaceId: SCSI_INTERFACE,
        instanceId: instanceNumber(1),
        subchannelIndex: 0,
        flags: 0,
        mmioMegabytes: 0,
        mmioMegabytesOptional: 0,
        userDefined: new Uint8Array(0),
        monitorLatency100ns: 0,
        targetVtl: 0,
        order: 0,
      },
      state: { at: 'offered' },
      relid: 1,
      monitorId: 255,
    } as const;
    const twin = { ...channel, params: { ...channel.params, instanceId: instanceNumber(2) } };
    const bytes = encodeSavedBus({
      connection: { at: 'disconnected' },
      wasConnected: false,
      outbox: { unsent: [], held: undefined },
      tlConnects: [],
      channels: [channel, twin],
      gpadls: [],
    });

    expect(() => new HostBus({ post: () => PostStatus.Success }).restore(bytes)).toThrow(refused);
  });
});
