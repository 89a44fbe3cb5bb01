/** A host whose control messages are in form but not true. */
import { expect, test } from 'vitest';
import {
  endpointOf,
  STATUS_INVALID_DEVICE_STATE,
  STATUS_SUCCESS,
  VmbChannelDisable,
  VmbChannelEnable,
  VmbClientChannelInitSetTargetPnp,
} from '../../src/kmcl/index.ts';
import { GpadlTorndown } from '../../src/wire/messages/index.ts';
import { INSTANCE_ID, INTERFACE_ID, twoEndpoints } from '../kmcl/two-endpoints.ts';

// The guest asked to open a channel whose last open the host had never answered, and the refusal of its own bus flew out
// of the message that confirmed its rings. Found by the random walk, seed 146.
test('a host that lets go of the rings before it answers the open meets no exception, and no second open', async () => {
  const failures: number[] = [];
  const t = await twoEndpoints({
    setUpClient: (client) => {
      VmbClientChannelInitSetTargetPnp(client, INTERFACE_ID, INSTANCE_ID, (_channel, status) => failures.push(status));
    },
    // It never answers the open.
    serverCallbacks: { EvtChannelOpened: () => new Promise(() => {}) },
  });
  const { side } = endpointOf(t.client).inspect() as { side: { ringGpadlId: number } };
  const disabled = VmbChannelDisable(t.client);
  await t.settle();

  t.guest.bus.receive(GpadlTorndown.encode({ gpadlId: side.ringGpadlId }));
  await disabled;
  expect(VmbChannelEnable(t.client)).toBe(STATUS_SUCCESS);
  await t.settle();

  expect(failures).toEqual([STATUS_INVALID_DEVICE_STATE]);
  expect(endpointOf(t.client).stage).toBe('disabled');
  expect(t.guest.pages.freePages).toBe(2048);
});
