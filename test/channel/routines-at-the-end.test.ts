/** The moment in which a channel ends and the routines of all that was under way run, one after the other. */
import { expect, test } from 'vitest';
import {
  STATUS_CANCELLED,
  VmbChannelDisable,
  VmbChannelPacketComplete,
  type VmbPacket,
  VmbPacketFree,
  VmbPacketSend,
} from '../../src/kmcl/index.ts';
import { somePacket, twoEndpoints } from '../kmcl/two-endpoints.ts';

const WAIT = 1;

// All packets counted as idle as soon as the first routine ran: that routine could send, or free, a packet whose own
// routine was still to come, which then ran for the wrong send, or on a freed packet. Found by the random walk, seed 5.
test('a routine that runs because the channel ends cannot send or free a packet whose routine has not run', async () => {
  const t = await twoEndpoints();
  const order: string[] = [];
  const first: VmbPacket = somePacket(t.client, (_packet, status) => {
    order.push(`first ${status === STATUS_CANCELLED}`);
    for (const use of [() => VmbPacketSend(second, null, 0, null, WAIT), () => VmbPacketFree(second)]) {
      try {
        use();
        order.push('allowed');
      } catch (error) {
        order.push((error as { rule: string }).rule);
      }
    }
  });
  const second: VmbPacket = somePacket(t.client, (packet) => {
    order.push('second');
    VmbPacketFree(packet);
  });
  for (const packet of [first, second]) VmbPacketSend(packet, null, 0, null, WAIT);

  const disabled = VmbChannelDisable(t.client);
  await t.settle();

  expect(order).toEqual(['first true', 'K-154', 'K-135', 'second']);
  for (const { packet } of t.received) VmbChannelPacketComplete(packet, null, 0);
  await t.settle();
  await disabled;
});
