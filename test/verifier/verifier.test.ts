/** What the verifier says about drivers that break the rules, and that it says nothing about those that do not. */
import { describe, expect, test } from 'vitest';
import type { ChannelWatch, Finding } from '../../src/channel/index.ts';
import {
  endpointOf,
  Mdl,
  MmGetSystemAddressForMdlSafe,
  out,
  type ScatterView,
  STATUS_SUCCESS,
  VMBUS_CHANNEL_PACKET_EXTERNAL_DATA_FLAG_READ_ONLY,
  type VmbChannel,
  VmbChannelCleanup,
  VmbChannelCreateGpadlFromMdl,
  VmbChannelDeleteGpadl,
  VmbChannelDisable,
  VmbChannelMapGpadl,
  VmbChannelPacketComplete,
  VmbChannelPacketGetExternalData,
  VmbChannelPause,
  VmbChannelSendSynchronousRequest,
  VmbChannelStart,
  VmbChannelUnmapGpadl,
  type VmbPacket,
  VmbPacketAllocate,
  type VmbPacketCompletion,
  VmbPacketFree,
  VmbPacketSend,
  VmbPacketSendWithExternalPfns,
} from '../../src/kmcl/index.ts';
import { formatFinding } from '../../src/verifier/index.ts';
import { type EndpointOptions, nth, type TwoEndpoints, twoEndpoints } from '../kmcl/two-endpoints.ts';

const WAIT = 1;

interface Watched extends TwoEndpoints {
  readonly verifier: ChannelWatch;
}

/** Both ends watched by the loopback's one verifier. */
async function watched(options: EndpointOptions = {}): Promise<Watched> {
  const ends = await twoEndpoints({ ...options, guest: { verifier: true }, host: { verifier: true } });
  return Object.assign(ends, { verifier: ends.guest.verifier as ChannelWatch });
}

function only({ verifier }: Watched): Finding {
  expect(verifier.findings).toHaveLength(1);
  return nth(verifier.findings, 0);
}

async function disable(t: TwoEndpoints, channel: VmbChannel): Promise<void> {
  const disabled = VmbChannelDisable(channel);
  await t.settle();
  await disabled;
}

const steps = (finding: Finding): string[] => finding.history.map(({ what }) => what);

function sendPage(t: TwoEndpoints, pfn: number): VmbPacket {
  const packet = t.packet();
  expect(VmbPacketSendWithExternalPfns(packet, null, 0, [pfn], 1, WAIT)).toBe(STATUS_SUCCESS);
  return packet;
}

function externalView(packet: VmbPacketCompletion, flags: number): ScatterView {
  const mdl = out<Mdl>();
  expect(VmbChannelPacketGetExternalData(packet, flags, mdl)).toBe(STATUS_SUCCESS);
  return MmGetSystemAddressForMdlSafe(mdl.value);
}

describe('packets', () => {
  test('a second completion names both call sites and the story of the packet', async () => {
    const t = await watched();
    VmbPacketSend(t.packet(), null, 0, null, WAIT);
    await t.settle();
    const { packet } = nth(t.received, 0);
    const completeRightly = (): void => VmbChannelPacketComplete(packet, null, 0);
    const completeAgain = (): void => VmbChannelPacketComplete(packet, null, 0);

    completeRightly();

    expect(completeAgain).toThrow(expect.objectContaining({ rule: 'K-221' }));
    const finding = only(t);
    expect(finding.rule).toBe('K-221');
    expect(steps(finding)).toEqual(['delivered', 'completed']);
    expect(finding.firstSite).toContain('completeRightly');
    expect(finding.firstSite).toContain('verifier.test.ts');
    expect(finding.secondSite).toContain('completeAgain');
    expect(finding.secondSite).not.toContain('/src/kmcl/');
  });

  // Without a verifier the object serves the next packet, which the late call then completes.
  test('a second completion is found even when the next packet has arrived meanwhile', async () => {
    const t = await watched();
    VmbPacketSend(t.packet(), null, 0, null, WAIT);
    await t.settle();
    const { packet } = nth(t.received, 0);
    VmbChannelPacketComplete(packet, null, 0);
    VmbPacketSend(t.packet(), null, 0, null, WAIT);
    await t.settle();

    expect(() => VmbChannelPacketComplete(packet, null, 0)).toThrow(expect.objectContaining({ rule: 'K-221' }));
    expect(t.received).toHaveLength(2);
    expect(only(t).rule).toBe('K-221');
  });

  test('a freed packet is known even when another was allocated since', async () => {
    const t = await watched();
    const packet = t.packet();
    VmbPacketFree(packet);
    const other = t.packet();

    expect(() => VmbPacketSend(packet, null, 0, null, 0)).toThrow(expect.objectContaining({ rule: 'K-132' }));

    const finding = only(t);
    expect(steps(finding)).toEqual(['allocated', 'freed']);
    expect(other).not.toBe(packet);
  });

  test('a packet that is sent twice at once shows where the first send was', async () => {
    const t = await watched();
    const packet = t.packet();
    const sendFirst = (): number => VmbPacketSend(packet, null, 0, null, WAIT);
    sendFirst();

    expect(() => VmbPacketSend(packet, null, 0, null, WAIT)).toThrow(expect.objectContaining({ rule: 'K-154' }));

    const finding = only(t);
    expect(steps(finding)).toEqual(['allocated', 'sent', 'in ring']);
    expect(finding.firstSite).toContain('sendFirst');
  });

  test('a packet that nobody freed is a leak at cleanup, with the place of its allocation', async () => {
    const t = await watched();
    const allocateAndForget = (): VmbPacket | null => VmbPacketAllocate(t.client);
    allocateAndForget();
    await disable(t, t.client);

    VmbChannelCleanup(t.client);

    const finding = only(t);
    expect(finding).toMatchObject({ rule: 'K-132', secondSite: null });
    expect(finding.firstSite).toContain('allocateAndForget');
  });

  test('a packet that frees itself, and one that is freed in its routine, are no leaks', async () => {
    const t = await watched({ onServerPacket: (_c, packet) => VmbChannelPacketComplete(packet, null, 0) });
    VmbPacketSend(VmbPacketAllocate(t.client) as VmbPacket, null, 0, null, WAIT);
    const own = t.packet();
    VmbPacketSend(own, null, 0, null, WAIT);
    await t.settle();
    VmbPacketFree(own);
    await disable(t, t.client);

    VmbChannelCleanup(t.client);

    expect(t.verifier.check()).toEqual([]);
  });

  test('a send that nobody answers is overdue after half a minute, once', async () => {
    const t = await watched();
    VmbPacketSend(t.packet(), null, 0, null, WAIT);
    await t.settle();

    t.scheduler.advance(29_999);
    expect(t.verifier.check()).toEqual([]);
    t.scheduler.advance(1);
    t.verifier.check();
    t.verifier.check();

    const rules = t.verifier.findings.map(({ rule }) => rule);
    expect(rules.sort()).toEqual(['K-107', 'K-151']);
    expect(t.verifier.findings.find(({ rule }) => rule === 'K-151')?.what).toContain('30000 ms ago');
  });

  test('a pause that waits for a packet held too long says which', async () => {
    const t = await watched();
    VmbPacketSend(t.packet(), null, 0, null, 0);
    await t.settle();
    t.scheduler.advance(40_000);

    const paused = VmbChannelPause(t.server);
    await t.settle();

    const finding = only(t);
    expect(finding).toMatchObject({ rule: 'K-107', subject: 'incoming packet 1' });
    VmbChannelPacketComplete(nth(t.received, 0).packet, null, 0);
    await paused;
  });
});

describe('memory', () => {
  test.each([1, 3])('an MDL of %i pieces that is touched after completion names the completion', async (pieces) => {
    const t = await watched();
    const mdl = Mdl.chain(...Array.from({ length: pieces }, (_, index) => Mdl.fromPfns(t.memory, [100 + 2 * index])));
    VmbPacketSend(t.packet(), null, 0, mdl, WAIT);
    await t.settle();
    const { packet } = nth(t.received, 0);
    const view = externalView(packet, 0);
    const complete = (): void => VmbChannelPacketComplete(packet, null, 0);
    const touch = (): void => view.write(0, Uint8Array.of(1));
    touch();
    complete();

    expect(touch).toThrow(expect.objectContaining({ code: 'ERR_STATE' }));

    const finding = only(t);
    expect(finding.rule).toBe('K-241');
    expect(steps(finding)).toEqual(['delivered', 'mapped', 'completed']);
    expect(finding.firstSite).toContain('complete');
    expect(finding.secondSite).toContain('touch');
  });

  test('pages that the host only reads and the guest changes in flight are found at both ends', async () => {
    const t = await watched();
    sendPage(t, 100);
    await t.settle();
    const { packet } = nth(t.received, 0);
    externalView(packet, VMBUS_CHANNEL_PACKET_EXTERNAL_DATA_FLAG_READ_ONLY);

    t.memory.page(100)[7] = 1;
    VmbChannelPacketComplete(packet, null, 0);
    await t.settle();

    expect(t.verifier.findings.map(({ rule, channel }) => [rule, channel])).toEqual([
      ['K-245', expect.stringContaining('host')],
      ['K-189', expect.stringContaining('guest')],
    ]);
    expect(nth(t.verifier.findings, 1).firstSite).toContain('sendPage');
  });

  test('pages changed between the send and the mapping are found at the guest', async () => {
    const t = await watched();
    sendPage(t, 100);
    t.memory.page(100)[7] = 1;
    await t.settle();
    const { packet } = nth(t.received, 0);

    externalView(packet, VMBUS_CHANNEL_PACKET_EXTERNAL_DATA_FLAG_READ_ONLY);
    VmbChannelPacketComplete(packet, null, 0);
    await t.settle();

    expect(only(t).rule).toBe('K-189');
  });

  test('a host that writes into pages it asked to write is in its right', async () => {
    const t = await watched();
    sendPage(t, 100);
    await t.settle();
    const { packet } = nth(t.received, 0);

    externalView(packet, 0).write(0, Uint8Array.of(1, 2, 3));
    VmbChannelPacketComplete(packet, null, 0);
    await t.settle();

    expect(t.verifier.check()).toEqual([]);
  });

  test('the inline bytes are the caller’s again after the send', async () => {
    const t = await watched({ onServerPacket: (_c, packet) => VmbChannelPacketComplete(packet, null, 0) });
    const bytes = new Uint8Array(8);
    VmbPacketSend(t.packet(), bytes, 8, null, WAIT);

    bytes.fill(9);
    await t.settle();

    expect(t.verifier.check()).toEqual([]);
  });
});

describe('GPADLs', () => {
  async function someGpadl(t: Watched): Promise<number> {
    const gpadl = out<number>();
    const createHere = async (): Promise<number> =>
      await VmbChannelCreateGpadlFromMdl(t.client, 0, Mdl.fromPfns(t.memory, [100]), 0, 0, gpadl);
    const created = createHere();
    await t.settle();
    expect(await created).toBe(STATUS_SUCCESS);
    return gpadl.value;
  }

  test('one that is left at Closed is a leak, and names who created it', async () => {
    const t = await watched();
    await someGpadl(t);

    const disabled = VmbChannelDisable(t.client);
    await expect(t.settle()).rejects.toMatchObject({ rule: 'K-125' });
    await t.settle();
    await disabled;

    const finding = only(t);
    expect(finding).toMatchObject({ rule: 'K-125', secondSite: null });
    expect(finding.subject).toMatch(/^GPADL \d+$/);
    expect(finding.firstSite).toContain('createHere');
  });

  test('deleting one that is mapped names the mapping and the delete', async () => {
    const t = await watched();
    const gpadl = await someGpadl(t);
    const mapHere = (): number => VmbChannelMapGpadl(t.server, 0, gpadl, out<Mdl>());
    expect(mapHere()).toBe(STATUS_SUCCESS);
    const deleteHere = (): Promise<void> => VmbChannelDeleteGpadl(t.client, gpadl);

    const deleted = deleteHere();
    await t.settle();

    const finding = only(t);
    expect(finding.rule).toBe('K-260');
    expect(finding.firstSite).toContain('mapHere');
    expect(finding.secondSite).toContain('deleteHere');
    VmbChannelUnmapGpadl(t.server, gpadl);
    await t.settle();
    await deleted;
  });

  test('its MDL is dead after the unmapping', async () => {
    const t = await watched();
    const gpadl = await someGpadl(t);
    const mdl = out<Mdl>();
    VmbChannelMapGpadl(t.server, 0, gpadl, mdl);
    VmbChannelUnmapGpadl(t.server, gpadl);

    expect(() => mdl.value.view()).toThrow();

    expect(only(t)).toMatchObject({ rule: 'K-241', subject: `GPADL ${gpadl}` });
    const deleted = VmbChannelDeleteGpadl(t.client, gpadl);
    await t.settle();
    await deleted;
  });
});

describe('levels and callbacks', () => {
  test.each<[string, string, (t: TwoEndpoints) => unknown]>([
    ['VmbChannelPause', 'K-018', (t) => VmbChannelPause(t.server)],
    ['VmbChannelDeleteGpadl', 'K-018', (t) => VmbChannelDeleteGpadl(t.client, 1)],
    [
      'VmbChannelCreateGpadlFromMdl',
      'K-018',
      (t) => VmbChannelCreateGpadlFromMdl(t.client, 0, Mdl.fromPfns(t.memory, [1]), 0, 0, out<number>()),
    ],
    [
      'VmbChannelSendSynchronousRequest',
      'K-211',
      (t) => VmbChannelSendSynchronousRequest(t.client, null, 0, null, WAIT, null, null, null),
    ],
  ])('%s at DISPATCH is %s', async (_name, rule, call) => {
    let refused: Promise<unknown> = Promise.resolve();
    const t: Watched = await watched({
      onServerPacket: (_channel, packet) => {
        refused = (async () => await call(t))();
        refused.catch(() => undefined);
        VmbChannelPacketComplete(packet, null, 0);
      },
    });

    VmbPacketSend(t.packet(), null, 0, null, WAIT);
    await t.settle();

    await expect(refused).rejects.toMatchObject({ rule });
    expect(only(t).rule).toBe(rule);
  });

  const waits: [string, (channel: VmbChannel) => Promise<void>][] = [
    ['Start', async (channel) => VmbChannelStart(channel)],
    ['Pause', (channel) => VmbChannelPause(channel)],
    ['Disable', (channel) => VmbChannelDisable(channel)],
  ];

  // Without a verifier the callback waits for a Disable that waits for the callback, for ever.
  test.each(waits)('VmbChannel%s behind an await of a state-change callback is refused too', async (_name, call) => {
    let refused: unknown;
    const deeper = async (channel: VmbChannel): Promise<void> => {
      await new Promise<void>((resolve) => setImmediate(resolve));
      await call(channel);
    };
    const t = await watched({
      clientCallbacks: {
        EvtChannelPostStarted: async (channel) => {
          await Promise.resolve();
          await deeper(channel).catch((error: unknown) => {
            refused = error;
          });
        },
      },
    });

    expect(refused).toBeDefined();
    expect(refused).toMatchObject({ rule: 'K-097' });
    expect(only(t).secondSite).toContain('deeper');
    expect(endpointOf(t.client).stage).toBe('active');
  });

  test('somebody else may pause while a callback waits', async () => {
    let release = (): void => {};
    const gate = new Promise<void>((resolve) => {
      release = resolve;
    });
    const t = await watched({ clientCallbacks: { EvtChannelPostStarted: async () => await gate } });

    const paused = VmbChannelPause(t.client);
    release();
    await t.settle();
    await paused;

    expect(t.verifier.findings).toEqual([]);
    expect(endpointOf(t.client).stage).toBe('paused');
  });
});

describe('the verifier itself', () => {
  test('a listener is told at once, and the list keeps the first thousand', async () => {
    const t = await watched();
    let told = 0;
    t.verifier.onFinding = () => told++;
    const packet = t.packet();
    VmbPacketFree(packet);

    for (let count = 0; count < 1100; count++) expect(() => VmbPacketFree(packet)).toThrow();

    expect(told).toBe(1100);
    expect(t.verifier.findings).toHaveLength(1000);
    expect(t.verifier.inspect()).toMatchObject({ findingCount: 1100 });
  });

  test('a packet sent a hundred times keeps its origin and its latest steps', async () => {
    const t = await watched({ onServerPacket: (_c, packet) => VmbChannelPacketComplete(packet, null, 0) });
    const packet = t.packet();
    for (let count = 0; count < 100; count++) {
      VmbPacketSend(packet, null, 0, null, WAIT);
      await t.settle();
    }
    VmbPacketFree(packet);

    expect(() => VmbPacketFree(packet)).toThrow();

    const { history } = only(t);
    expect(history).toHaveLength(16);
    expect(history[0]?.what).toBe('allocated');
    expect(history.slice(-2).map(({ what }) => what)).toEqual(['completed with STATUS_SUCCESS', 'freed']);
  });

  test('a finding prints its rule, its story and what to do', async () => {
    const t = await watched();
    const packet = t.packet();
    VmbPacketFree(packet);
    expect(() => VmbPacketFree(packet)).toThrow();

    const text = formatFinding(only(t));

    expect(text.split('\n')[0]).toBe('K-132: the packet handle is not live: never allocated, or freed');
    expect(text).toContain('0.0 ms  allocated');
    expect(text).toMatch(/second {4}.*verifier\.test\.ts/);
    expect(text).toContain('do        Call VmbPacketFree once');
  });

  test('it is off unless asked for, by an option or by VMBUS_VERIFIER=1; false stands above the environment', async () => {
    expect((await twoEndpoints()).guest.verifier).toBeNull();

    process.env['VMBUS_VERIFIER'] = '1';
    try {
      const t = await twoEndpoints({ host: { verifier: false } });
      expect(t.guest.verifier).not.toBeNull();
      expect(endpointOf(t.client).watch).toBe(t.guest.verifier);
      expect(t.host.verifier).toBeNull();
      expect(t.guest.inspect()).toMatchObject({ verifier: { findingCount: 0 } });
    } finally {
      delete process.env['VMBUS_VERIFIER'];
    }
  });
});
