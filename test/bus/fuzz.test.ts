/**
 * Random, cut and flipped messages in random order, with random answers of devices and drivers between them. Whatever
 * comes: nothing is thrown, everything stays accounted for, and an honest peer is served afterwards.
 */
import fc from 'fast-check';
import { expect, test } from 'vitest';
import type { HostOffer } from '../../src/bus/host/index.ts';
import { FeatureFlag, VmbusVersion } from '../../src/wire/versions.ts';
import { wholePages } from '../peers/scripted-guest.ts';
import { instanceNumber } from '../peers/scripted-host.ts';
import { someGuest } from './guest/some-guest.ts';
import { type NotingDevice, someHost } from './host/some-host.ts';
import { expectGuestInvariants, expectHostInvariants } from './invariants.ts';
import { randomMessage } from './random-message.ts';

const LIMITS = { maxGpadls: 6, maxGpadlsInProgress: 2, maxGpadlPages: 9000 };
const RUNS = { numRuns: 60 };
/** Long runs: what matters happens after a few things went right. */
const LONG = { minLength: 40, maxLength: 150, size: 'max' } as const;

type HostStep =
  | {
      readonly is: 'honest';
      readonly what: 'create' | 'open' | 'close' | 'teardown' | 'release' | 'modify';
      readonly n: number;
      readonly id: number;
    }
  | { readonly is: 'message'; readonly message: Uint8Array; readonly connectionId: number }
  | { readonly is: 'connect'; readonly version: number; readonly features: number }
  | {
      readonly is: 'device';
      readonly n: number;
      readonly act: 'yes' | 'no' | 'revoke' | 'map' | 'unmap';
      readonly id: number;
    }
  | { readonly is: 'offer'; readonly n: number };

const hostStep: fc.Arbitrary<HostStep> = fc.oneof(
  {
    weight: 12,
    arbitrary: fc.record({
      is: fc.constant('message' as const),
      message: randomMessage('guest-to-host', ['InitiateContact', 'Unload', 'Pause', 'RelIdReleased']),
      connectionId: fc.constantFrom(1, 4),
    }),
  },
  {
    weight: 12,
    arbitrary: fc.record({
      is: fc.constant('honest' as const),
      what: fc.constantFrom('create', 'create', 'open', 'open', 'close', 'teardown', 'release', 'modify'),
      n: fc.integer({ min: 1, max: 4 }),
      id: fc.integer({ min: 1, max: 5 }),
    }),
  },
  {
    weight: 1,
    arbitrary: fc.record({
      is: fc.constant('connect' as const),
      version: fc.constantFrom(VmbusVersion.WIN8, VmbusVersion.IRON, VmbusVersion.COPPER),
      features: fc.constantFrom(0, FeatureFlag.PauseResume | FeatureFlag.ModifyConnection, 0x27),
    }),
  },
  {
    weight: 10,
    arbitrary: fc.record({
      is: fc.constant('device' as const),
      n: fc.nat(3),
      act: fc.constantFrom('yes', 'yes', 'yes', 'yes', 'no', 'revoke', 'map', 'map', 'unmap', 'unmap'),
      id: fc.nat(5),
    }),
  },
  { weight: 1, arbitrary: fc.record({ is: fc.constant('offer' as const), n: fc.nat(3) }) },
);

/** Answers what the device was asked, if it was asked anything. */
function answer(offer: HostOffer, ok: boolean): void {
  const { state } = offer;
  if (state === 'opening' || state === 'openingReleased') offer.opened(ok);
  else if (state === 'closing' || state === 'reopening' || state === 'closingReleased') offer.closed();
}

test('no guest can make the host throw, lose count, or refuse the next honest guest', () => {
  fc.assert(
    fc.property(fc.array(hostStep, LONG), (steps) => {
      const { bus, guest, offer } = someHost(LIMITS);
      const devices: { device: NotingDevice; offer: HostOffer; maps: number[] }[] = [];
      const place = (n: number) => {
        const made = offer(n + 1, { monitorLatency100ns: n });
        made.device.openAnswer = undefined;
        made.device.answersClose = false;
        devices[n] = { ...made, maps: [] };
      };
      for (let n = 0; n < 4; n++) place(n);

      guest.connect();

      for (const step of steps) {
        if (step.is === 'message') guest.send(step.message, step.connectionId);
        else if (step.is === 'honest') honest(step.what, step.n, step.id);
        else if (step.is === 'connect') {
          guest.initiateContact(step.version, { features: step.features });
          guest.requestOffers();
        } else if (step.is === 'offer') {
          const old = devices[step.n];
          if (old !== undefined && ['revoked', 'gone'].includes(old.offer.state) && old.maps.length === 0)
            place(step.n);
        } else {
          const { offer: channel, maps } = devices[step.n] as (typeof devices)[number];
          if (step.act === 'yes' || step.act === 'no') answer(channel, step.act === 'yes');
          else if (step.act === 'revoke') channel.revoke();
          else if (step.act === 'map' && channel.mapGpadl(step.id) !== undefined) maps.push(step.id);
          else if (step.act === 'unmap') {
            const id = maps.pop();
            if (id !== undefined) channel.unmapGpadl(id);
          }
        }
        expectHostInvariants(bus.inspect(), LIMITS);
      }

      // The guest dies; the devices let go of what they hold; the next guest finds everything in order.
      bus.reset();
      for (const { offer: channel, maps } of devices) {
        for (const id of maps.splice(0)) channel.unmapGpadl(id);
        answer(channel, false);
      }
      expect(bus.inspect()).toMatchObject({ state: 'disconnected', gpadls: { count: 0, inProgress: 0, pageCount: 0 } });
      for (let n = 0; n < 4; n++) if (['revoked', 'gone'].includes(devices[n]?.offer.state ?? '')) place(n);
      for (const { device } of devices) Object.assign(device, { openAnswer: true, answersClose: true });
      guest.received.length = 0;
      expect(guest.connect().map(({ channelId }) => channelId)).toEqual([1, 2, 3, 4]);
      guest.createGpadl(3, 1);
      guest.open(3);
      expect(guest.takeAll().map(({ status }) => status)).toEqual([0, 0]);

      function honest(what: (HostStep & { is: 'honest' })['what'], n: number, id: number): void {
        if (what === 'create') guest.createGpadl(n, id, wholePages(id * 12));
        else if (what === 'open') openHonestly(n, id);
        else if (what === 'close') guest.close(n);
        else if (what === 'teardown') guest.teardownGpadl(n, id);
        else if (what === 'release') guest.release(n);
        else guest.modify(n, id);
      }

      /** In the form that the connection needs, over a list of the channel if it has one. */
      function openHonestly(n: number, id: number): void {
        const { features, channels } = bus.inspect();
        const ring = channels.find(({ relid }) => relid === n)?.gpadls.find(({ state }) => state === 'accepted');
        const open = { ringGpadlId: ring?.id ?? id };
        guest.open(n, (features & 3) === 0 ? open : { ...open, connectionId: n, eventFlag: n });
      }
    }),
    RUNS,
  );
});

type GuestStep =
  | { readonly is: 'message'; readonly message: Uint8Array }
  | { readonly is: 'honest'; readonly what: 'offer' | 'answer'; readonly n: number }
  | {
      readonly is: 'driver';
      readonly act: 'connect' | 'disconnect' | 'create' | 'teardown' | 'open' | 'close' | 'modify' | 'release' | 'tl';
      readonly n: number;
    };

const guestStep: fc.Arbitrary<GuestStep> = fc.oneof(
  {
    weight: 6,
    arbitrary: fc.record({
      is: fc.constant('message' as const),
      message: randomMessage('host-to-guest', ['RescindChannelOffer', 'UnloadComplete']),
    }),
  },
  {
    weight: 6,
    arbitrary: fc.record({
      is: fc.constant('honest' as const),
      what: fc.constantFrom('offer', 'answer', 'answer'),
      n: fc.integer({ min: 1, max: 3 }),
    }),
  },
  {
    weight: 8,
    arbitrary: fc.record({
      is: fc.constant('driver' as const),
      act: fc.constantFrom(
        'connect',
        'disconnect',
        'create',
        'create',
        'teardown',
        'open',
        'open',
        'close',
        'modify',
        'release',
        'tl',
      ),
      n: fc.integer({ min: 1, max: 3 }),
    }),
  },
);

test('no host can make the guest throw, end a callback twice, or lose one', () => {
  fc.assert(
    fc.property(fc.array(guestStep, LONG), (steps) => {
      const { bus, host } = someGuest({ newestVersion: VmbusVersion.COPPER });
      const ends: number[] = [];
      const once = () => {
        const index = ends.push(0) - 1;
        return () => {
          ends[index] = (ends[index] as number) + 1;
        };
      };
      bus.connect();
      host.accept();
      for (const channelId of [1, 2, 3]) host.offer({ channelId });

      for (const step of steps) {
        if (step.is === 'message') host.send(step.message);
        else if (step.is === 'honest') honest(step.what, step.n);
        else drive(step.act, step.n);
        expectGuestInvariants(bus.inspect());
        for (const count of ends) expect(count).toBeLessThanOrEqual(1);
      }

      bus.lost('the host has gone');
      expect(ends.every((count) => count === 1)).toBe(true);
      expect(bus.inspect()).toMatchObject({ state: 'disconnected', gpadlCount: 0, channels: [], tlConnects: [] });
      host.posted.length = 0;
      bus.connect();
      host.accept();
      host.offer({ channelId: 1 });
      expect(bus.offer(1)?.state).toBe('offered');

      function honest(what: 'offer' | 'answer', n: number): void {
        const answers: Readonly<Record<string, (message: Record<string, unknown>) => void>> = {
          GpadlHeader: ({ channelId, gpadlId }) => host.gpadlCreated(channelId as number, gpadlId as number),
          GpadlTeardown: ({ gpadlId }) => host.gpadlTorndown(gpadlId as number),
          OpenChannel: ({ channelId, openId }) => host.openResult(channelId as number, 0, openId as number),
          ModifyChannel: ({ channelId }) => host.modified(channelId as number),
          Unload: () => host.unloadComplete(),
        };
        if (what === 'offer') host.offer({ channelId: n });
        else if (bus.state === 'connecting' && host.posted.length > 0) {
          host.posted.splice(0, host.posted.length - 1);
          host.accept();
        } else if (what === 'answer') {
          for (const message of host.takeAll()) answers[message.name]?.(message);
        }
      }

      function drive(act: (GuestStep & { is: 'driver' })['act'], n: number): void {
        const channel = bus.inspect().channels.find(({ relid }) => relid === n);
        const created = channel?.gpadls.find(({ state }) => state === 'created');
        if (act === 'connect' && bus.state === 'disconnected') bus.connect();
        else if (act === 'disconnect' && n === 1) bus.disconnect();
        else if (act === 'create') bus.createGpadl(n, wholePages(4), once());
        else if (act === 'teardown' && created) bus.teardownGpadl(n, created.id, once());
        else if (act === 'open' && created && channel?.state === 'offered') {
          bus.open(n, { ringGpadlId: created.id, downstreamPageOffset: 2, targetVp: 0 }, once());
        } else if (act === 'close') bus.close(n);
        else if (act === 'modify' && channel?.state === 'open' && !channel.isModifying) bus.modifyChannel(n, 0, once());
        else if (act === 'release' && channel?.state === 'rescinded') bus.release(n);
        else if (act === 'tl') {
          const target = {
            endpointId: `00000000-0000-0000-0000-00000000000${n}`,
            serviceId: `00000000-0000-0000-0000-000000000000`,
          };
          if (bus.inspect().tlConnects.length === 0) bus.tlConnect(target, once());
        }
      }
    }),
    RUNS,
  );
});

test('what the guest keeps of a message is a copy: the bytes may change after the call', () => {
  const { bus, host } = someGuest({ newestVersion: VmbusVersion.IRON });
  host.attach((message) => {
    bus.receive(message);
    message.fill(0xff);
  });

  bus.connect();
  host.accept();
  host.offer({ channelId: 1, userDefined: new Uint8Array(120).fill(3) });

  expect(bus.offer(1)).toMatchObject({
    relid: 1,
    instanceId: instanceNumber(1),
    userDefined: new Uint8Array(120).fill(3),
  });
});

test('what the host keeps of a message is a copy: the bytes may change after the call', () => {
  const { bus, guest, offer } = someHost();
  const { device, offer: channel } = offer(1);
  guest.attach((message, connectionId) => {
    bus.receive(message, connectionId);
    message.fill(0xff);
  });

  guest.connect();
  guest.createGpadl(1, 1, wholePages(60));
  guest.open(1, { userData: new Uint8Array(120).fill(3) });

  expect(channel.gpadl(1)?.ranges).toMatchObject(wholePages(60));
  expect(device.opens).toMatchObject([{ userData: new Uint8Array(120).fill(3) }]);
});
