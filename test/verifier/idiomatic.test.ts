/** The verifier under `Channel`: the same rules, the same stories. */
import { expect, test } from 'vitest';
import type { Packet } from '../../src/api/index.ts';
import type { ChannelWatch } from '../../src/channel/index.ts';
import type { ChannelSetup, TwoEnds } from '../api/two-ends.ts';
import { settled, twoEnds } from '../api/two-ends.ts';

type Watched = TwoEnds & { readonly verifier: ChannelWatch };

/** The host's end is watched. */
async function watched(setup: ChannelSetup = {}): Promise<Watched> {
  const ends = await twoEnds({ ...setup, host: { verifier: true } });
  return Object.assign(ends, { verifier: ends.host.vmbus.verifier as ChannelWatch });
}

test('a packet that is completed twice tells its story', async () => {
  const packets: Packet[] = [];
  const t = await watched({ offer: { onPacket: (packet) => void packets.push(packet) } });
  const reply = t.client.request(Uint8Array.of(1));
  await t.settle();
  const [packet] = packets;
  const completeOnce = (): void => packet?.complete();
  completeOnce();
  await settled(t.scheduler, reply);

  expect(() => packet?.complete()).toThrow(expect.objectContaining({ code: 'ERR_STATE' }));

  expect(t.verifier.findings).toHaveLength(1);
  expect(t.verifier.findings[0]).toMatchObject({ rule: 'K-221', subject: 'incoming packet 1' });
  expect(t.verifier.findings[0]?.firstSite).toContain('completeOnce');
});

test('pages that a host promised to read only, and wrote, are found', async () => {
  const t = await watched({
    offer: {
      onPacket: (packet) => {
        const reader = packet.tryExternalData({ isReadOnly: true });
        // The type has no `write`; the object does.
        (reader as unknown as { write(at: number, bytes: Uint8Array): void }).write(0, Uint8Array.of(1));
        packet.complete();
      },
    },
  });

  await settled(t.scheduler, t.client.request(new Uint8Array(8), { pfns: t.guest.pages.allocate(1) }));

  expect(t.verifier.findings.map(({ rule }) => rule)).toEqual(['K-245']);
});

test('a close behind an await of onPostStarted is refused, where it would wait for itself', async () => {
  let refused: unknown;
  const t = await watched({
    offer: {
      onPostStarted: async (channel) => {
        await new Promise<void>((resolve) => setImmediate(resolve));
        await channel.close().catch((error: unknown) => {
          refused = error;
        });
      },
    },
  });

  expect(refused).toMatchObject({ code: 'ERR_STATE' });
  expect(t.verifier.findings.map(({ rule }) => rule)).toEqual(['K-097']);
  expect(t.verifier.findings[0]?.secondSite).toContain('idiomatic.test.ts');
});

test('a channel that does nothing wrong has no findings', async () => {
  const t = await watched({ offer: { onPacket: (packet) => packet.complete(Uint8Array.of(7)) } });

  for (let count = 0; count < 20; count++) await settled(t.scheduler, t.client.request(Uint8Array.of(1)));
  await settled(t.scheduler, t.client.close());
  await settled(t.scheduler, t.server.close());

  expect(t.verifier.check()).toEqual([]);
});
