/** A GPADL whose creation outlives the open cycle that it was meant for. */
import { expect, test } from 'vitest';
import {
  out,
  STATUS_DEVICE_REMOVED,
  VmbChannelCreateGpadlFromMdl,
  VmbChannelDisable,
  type VmbClientChannel,
} from '../../src/kmcl/index.ts';
import { Mdl } from '../../src/memory/index.ts';
import { twoEndpoints } from './two-endpoints.ts';

// The driver could not delete it any more, nobody did, and no leak was reported. Found by the random walk.
test('K-125 a GPADL confirmed after Closed has returned is taken back, and its creation says so', async () => {
  const gpadl = out<number>();
  let created: Promise<number> | undefined;
  const t = await twoEndpoints({
    clientCallbacks: {
      EvtChannelClosed: (channel) => {
        const mdl = Mdl.fromPfns(t.memory, [100]);
        created = VmbChannelCreateGpadlFromMdl(channel as VmbClientChannel, 0, mdl, 0, 0, gpadl);
      },
    },
  });

  const disabled = VmbChannelDisable(t.client);
  await t.settle();
  await disabled;

  expect(await created).toBe(STATUS_DEVICE_REMOVED);
  expect(gpadl.isEmpty).toBe(true);
  expect(t.guest.bus.inspect().gpadlCount).toBe(0);
  expect(t.host.bus.inspect().gpadls.count).toBe(0);
});
