/** Asking for PASSIVE while work is already queued at DISPATCH. */
import { expect, test } from 'vitest';
import { currentIrql, Irql } from '../../src/channel/index.ts';
import {
  VmbChannelPacketComplete,
  VmbChannelSetIncomingProcessingAtPassive,
  VmbChannelSetTransactionQuota,
  type VmbPacketCompletion,
  VmbPacketSend,
} from '../../src/kmcl/index.ts';
import { nth, twoEndpoints } from './two-endpoints.ts';

// The turn that the completion had queued still ran at DISPATCH. Found by the random walk, seed 93.
test('K-230 packets come at PASSIVE from the call on, even those whose turn was queued before', async () => {
  const levels: number[] = [];
  const held: VmbPacketCompletion[] = [];
  const t = await twoEndpoints({
    onServerPacket: (_channel, packet) => {
      levels.push(currentIrql());
      held.push(packet);
    },
  });
  VmbChannelSetTransactionQuota(t.server, 1);
  for (let count = 0; count < 2; count++) VmbPacketSend(t.packet(), null, 0, null, 0);
  await t.settle();

  VmbChannelPacketComplete(nth(held, 0), null, 0);
  VmbChannelSetIncomingProcessingAtPassive(t.server, true);
  await t.settle();

  expect(levels).toEqual([Irql.Dispatch, Irql.Passive]);
});
