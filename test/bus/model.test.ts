/**
 * Guest and host back to back under random interleavings. Both are honest here, so in the end they must agree on
 * everything, nothing may be left over, and each callback has run exactly once.
 */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { ALL_VERSIONS, formatVersion, VmbusVersion } from '../../src/wire/versions.ts';
import { expectGuestInvariants, expectHostInvariants } from './invariants.ts';
import { TwoEnds } from './two-ends.ts';

const UNLIMITED = { maxGpadls: 8192, maxGpadlsInProgress: 256, maxGpadlPages: 327_680 };

/** What the guest believes about each channel, in the host's words. */
function guestView({ guest }: TwoEnds): unknown[] {
  const asHost: Readonly<Record<string, string>> = { rescinded: 'revoked' };
  return guest
    .inspect()
    .channels.map(({ relid, state, gpadls }) => {
      // What a revoked channel has left is the host's business only: a driver learns of the revoke, and lets go.
      const ids = state === 'rescinded' ? [] : gpadls.map(({ id, state: at }) => `${id} ${at}`);
      return { relid, state: asHost[state] ?? state, gpadls: ids.sort() };
    })
    .sort((a, b) => a.relid - b.relid);
}

function hostView({ host }: TwoEnds): unknown[] {
  const asGuest: Readonly<Record<string, string>> = { accepted: 'created' };
  return host
    .inspect()
    .channels.filter(({ relid }) => relid !== 0)
    .map(({ relid, state, gpadls }) => {
      const ids = state === 'revoked' ? [] : gpadls.map(({ id, state: at }) => `${id} ${asGuest[at] ?? at}`);
      return { relid, state, gpadls: ids.sort() };
    })
    .sort((a, b) => a.relid - b.relid);
}

/** What honest ends may drop of each other: answers that a rescind has overtaken, an open whose ring has gone. */
const GUEST_MAY_DROP = /^(no GPADL \d+|nobody modifies channel|no channel \d+ is offered|an offer after unload)/;
/** At 0.13 nothing confirms the unload, so the guest may hear of the old connection after it. */
const OLD_GUEST_MAY_DROP = /before contact|which nobody asked for/;
const HOST_MAY_DROP = /^(channel \d+ is not opened|body for GPADL \d+, which is not in progress)/;

describe.each([ALL_VERSIONS.at(-1), ALL_VERSIONS[6], ALL_VERSIONS[1], ALL_VERSIONS[0]] as number[])(
  'guest and host at version %i',
  (newestVersion) => {
    test(`agree in the end, whatever the order of steps (${formatVersion(newestVersion)})`, () => {
      fc.assert(
        fc.property(fc.integer({ min: 1, max: 0x7fff_ffff }), fc.integer({ min: 1, max: 5 }), (seed, deviceCount) => {
          const ends = new TwoEnds(seed, deviceCount, { newestVersion });

          for (let steps = 0; steps < 400; steps++) {
            ends.step();
            if (steps % 20 === 0) {
              expectHostInvariants(ends.host.inspect(), UNLIMITED);
              expectGuestInvariants(ends.guest.inspect());
            }
            expect(ends.waits.find(({ ends: count }) => count > 1)).toBeUndefined();
          }
          ends.settle();

          expect(guestView(ends)).toEqual(hostView(ends));
          const guestDropped = ends.guestDropped.filter((reason) => !GUEST_MAY_DROP.test(reason));
          const isOld = newestVersion === VmbusVersion.WS2008;
          expect(guestDropped.filter((reason) => !(isOld && OLD_GUEST_MAY_DROP.test(reason)))).toEqual([]);
          expect(ends.hostDropped.filter((reason) => !HOST_MAY_DROP.test(reason))).toEqual([]);
          // Only a list that an open channel still uses may keep somebody waiting.
          const waiting = ends.waits.filter(({ ends: count }) => count === 0).map(({ what }) => what);
          const open = ends.guest.inspect().channels.filter(({ state }) => state === 'open');
          const allowed = open.map(({ relid }) => `teardown on ${relid}`);
          expect(waiting.filter((what) => !allowed.includes(what))).toEqual([]);

          ends.guest.disconnect();
          ends.settle();

          expect(ends.waits.filter(({ ends: count }) => count !== 1)).toEqual([]);
          expect(ends.guest.inspect()).toMatchObject({ state: 'disconnected', gpadlCount: 0, channels: [] });
          expect(ends.host.inspect()).toMatchObject({ state: 'disconnected', gpadls: { count: 0, pageCount: 0 } });
          expect(ends.host.inspect().channels.filter(({ relid }) => relid !== 0)).toEqual([]);
        }),
        { numRuns: 40 },
      );
    });
  },
);

test('the same seed is the same run', () => {
  const [one, two] = [new TwoEnds(77, 3), new TwoEnds(77, 3)];

  for (let steps = 0; steps < 500; steps++) {
    one.step();
    two.step();
  }

  expect(one.guest.inspect()).toEqual(two.guest.inspect());
  expect(one.host.inspect()).toEqual(two.host.inspect());
  expect(one.waits.length).toBeGreaterThan(10);
});
