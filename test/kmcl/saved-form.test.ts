/** The bytes of a saved channel: what they are, and that nothing but them is taken. */
import fc from 'fast-check';
import { beforeAll, expect, test } from 'vitest';
import {
  endpointOf,
  STATUS_DATA_ERROR,
  STATUS_MORE_PROCESSING_REQUIRED,
  STATUS_SUCCESS,
  VmbChannelPause,
  VmbChannelRestoreFromBuffer,
  type VmbServerChannel,
} from '../../src/kmcl/index.ts';
import { newServer, restoreChannel, type Saveable, saveable, saveChannel, sendNamed } from './saving.ts';
import { hex, nth } from './two-endpoints.ts';

let t: Saveable;
let whole: Uint8Array;

beforeAll(async () => {
  t = await saveable();
  sendNamed(t, ['one']);
  await t.settle();
  const paused = VmbChannelPause(t.server);
  await t.settle();
  await paused;
  sendNamed(t, ['two'], 8, 0);
  whole = nth(saveChannel(t.server), 0);
});

/** What a channel has under way, as far as anybody can see. */
function underWay(server: VmbServerChannel): object {
  const { outgoing, incoming } = endpointOf(server).inspect() as { outgoing: object; incoming: object };
  return { outgoing, incoming };
}

test('a channel with one packet in flight and one that waits, byte by byte', () => {
  // Each line a part: the header of a chunk, then what is in it.
  expect(whole).toEqual(
    hex(`
      564d4273 0100 0100 2d000000 00000000 00000000 e16b44c1
        11111111222233334444555555555555 aaaaaaaabbbbccccddddeeeeeeeeeeee 0000 00 01
        00000000 00000000 00
      564d4273 0100 0200 1e000000 01000000 00000000 f491fed3
        12000000  02 01 01000000 00000000 40000000 00000000
        01 03000000 6f6e65
      564d4273 0100 0200 36000000 02000000 00000000 d109b885
        2a000000  01 00 00000000 00000000 08000000 18000000
                  0600 0200 0300 0000 0000000000000000 74776f0000000000
        01 03000000 74776f
      564d4273 0100 0300 04000000 03000000 01000000 3d37607d
        02000000
    `),
  );
});

test('a piece with any bit flipped is refused whole', () => {
  const end = newServer(t);
  const before = underWay(end.server);

  fc.assert(
    fc.property(fc.nat(whole.length * 8 - 1), (bit) => {
      const flipped = whole.slice();
      flipped[bit >> 3] = (flipped[bit >> 3] as number) ^ (1 << (bit & 7));

      expect(VmbChannelRestoreFromBuffer(end.server, flipped, flipped.length)).toBe(STATUS_DATA_ERROR);
      expect(end.calls).toEqual([]);
      expect(underWay(end.server)).toEqual(before);
    }),
    { numRuns: 500 },
  );
  expect(restoreChannel(end.server, [whole])).toBe(STATUS_SUCCESS);
});

test('a save that was cut off anywhere is never taken for a whole one', () => {
  const end = newServer(t);

  for (let length = 0; length < whole.length; length++) {
    const status = VmbChannelRestoreFromBuffer(end.server, whole.slice(0, length), length);
    expect(status === STATUS_DATA_ERROR || status === STATUS_MORE_PROCESSING_REQUIRED).toBe(true);
    // What was asked to go on is abandoned by a piece that is none.
    if (status === STATUS_MORE_PROCESSING_REQUIRED) restoreChannel(end.server, [Uint8Array.of(0)]);
  }

  expect(end.calls).toEqual([]);
  expect(restoreChannel(end.server, [whole])).toBe(STATUS_SUCCESS);
});

test('bytes put in, taken out or replaced are refused, or the same bytes', () => {
  const end = newServer(t);
  const edit = fc.record({
    at: fc.nat(whole.length),
    removed: fc.nat(40),
    inserted: fc.uint8Array({ maxLength: 40 }),
  });

  fc.assert(
    fc.property(edit, ({ at, removed, inserted }) => {
      const edited = new Uint8Array(Buffer.concat([whole.subarray(0, at), inserted, whole.subarray(at + removed)]));
      if (Buffer.compare(edited, whole) === 0) return;

      const status = VmbChannelRestoreFromBuffer(end.server, edited, edited.length);

      if (status === STATUS_MORE_PROCESSING_REQUIRED) restoreChannel(end.server, [Uint8Array.of(0)]);
      else expect(status).toBe(STATUS_DATA_ERROR);
      expect(end.calls).toEqual([]);
    }),
    { numRuns: 500 },
  );
});
