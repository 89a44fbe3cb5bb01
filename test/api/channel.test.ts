import { expect, test } from 'vitest';
import type { Channel, ChannelOptions, Packet } from '../../src/api/index.ts';
import { eight, openFirst, settled, someOffer, twoBuses, twoEnds, watch } from './two-ends.ts';

/** Every state-change callback writes its name down. */
function logging(who: string, log: string[]): ChannelOptions<Channel> {
  return {
    onOpened: () => log.push(`${who} opened`),
    onStarted: () => void log.push(`${who} started`),
    onPostStarted: () => void log.push(`${who} postStarted`),
    onSuspended: () => void log.push(`${who} suspended`),
    onClosed: (end) => void log.push(`${who} closed: ${end.reason}`),
  };
}

test('the state changes of an open cycle come in order at both ends, with the reason of the end', async () => {
  const log: string[] = [];
  const { client, scheduler, settle } = await twoEnds({ offer: logging('host', log), open: logging('guest', log) });
  await settled(scheduler, client.close());
  await settle();

  expect(log.filter((line) => line.startsWith('host'))).toEqual([
    'host opened',
    'host started',
    'host postStarted',
    'host suspended',
    'host closed: closedByPeer',
  ]);
  expect(log.filter((line) => line.startsWith('guest'))).toEqual([
    'guest opened',
    'guest started',
    'guest postStarted',
    'guest suspended',
    'guest closed: closed',
  ]);
});

test('a callback that returns a promise is waited for before the next, and before open resolves', async () => {
  const log: string[] = [];
  const { host, guest, settle } = await twoBuses();
  someOffer(host);
  await settle();
  const steps: (() => void)[] = [];
  const wait = (name: string) => (): Promise<void> => {
    log.push(name);
    return new Promise((resolve) => steps.push(resolve));
  };

  const client = watch(
    openFirst(guest, { onOpened: wait('opened'), onStarted: wait('started'), onPostStarted: wait('postStarted') }),
  );
  for (const name of ['opened', 'started', 'postStarted']) {
    await settle();
    expect(log.at(-1)).toBe(name);
    expect(client.state).toBe('pending');
    steps.shift()?.();
  }
  await settle();

  expect(client.state).toBe('resolved');
});

test('opened() resolves once per open cycle, and with false when there will be no more', async () => {
  const { host, guest, scheduler, settle } = await twoBuses();
  const server = someOffer(host);
  const first = watch(server.opened());
  await settle();
  expect(first.state).toBe('pending');

  const client = await settled(scheduler, openFirst(guest));
  expect(first.value).toBe(true);
  expect(await server.opened()).toBe(true);

  await settled(scheduler, client.close());
  const second = watch(server.opened());
  await settle();
  expect(second.state).toBe('pending');

  await settled(scheduler, openFirst(guest));
  expect(second.value).toBe(true);

  await settled(scheduler, server.close());
  expect(await server.opened()).toBe(false);
});

test('opened() ends with an abort', async () => {
  const { host } = await twoBuses();
  const abort = new AbortController();
  const opened = watch(someOffer(host).opened({ signal: abort.signal }));

  abort.abort(new Error('enough'));
  await Promise.resolve();
  await Promise.resolve();

  expect(opened.error).toEqual(new Error('enough'));
});

test('send tells when bytes wait for room, flush when they are in the ring, and all arrive in order', async () => {
  const received: number[] = [];
  const { client, settle } = await twoEnds({
    open: { outgoingRingPages: 1 },
    offer: {
      onPacket: (packet) => {
        received.push(packet.bytes[0] as number);
        packet.complete();
      },
    },
  });
  const sent: number[] = [];
  let isRoom = true;
  for (let number = 0; isRoom; number++) {
    isRoom = client.send(new Uint8Array(1000).fill(number));
    sent.push(number);
  }
  const flushed = watch(client.flush());
  expect(client.trySend(eight(99))).toBe(false);
  await Promise.resolve();
  expect(flushed.state).toBe('pending');

  await settle();

  expect(flushed.state).toBe('resolved');
  expect(received).toEqual(sent);
  expect(client.trySend(eight(99))).toBe(true);
  await client.flush();
});

test('flush rejects when the channel ends before the bytes are in the ring', async () => {
  const { client, scheduler, settle } = await twoEnds();
  await settled(scheduler, client.pause());
  expect(client.send(eight(1))).toBe(false);
  const flushed = watch(client.flush());

  await settled(scheduler, client.close());
  await settle();

  expect(flushed.error).toMatchObject({ code: 'ERR_CLOSED' });
});

test('flush ends with an abort, and the bytes go all the same', async () => {
  const { client, server, scheduler, settle } = await twoEnds();
  await settled(scheduler, client.pause());
  client.send(eight(1));
  const abort = new AbortController();
  const flushed = watch(client.flush({ signal: abort.signal }));

  abort.abort(new Error('enough'));
  client.resume();
  await settle();

  expect(flushed.error).toEqual(new Error('enough'));
  expect(server.statistics.packetsReceived).toBe(1);
});

test('a payload that is too long is refused at once', async () => {
  const { client } = await twoEnds();

  expect(() => client.send(new Uint8Array(4097))).toThrow(expect.objectContaining({ code: 'ERR_PACKET_TOO_BIG' }));
  expect(() => client.trySend(new Uint8Array(4097))).toThrow(expect.objectContaining({ code: 'ERR_PACKET_TOO_BIG' }));
});

test('what was sent before the channel opened and does not fit its ring is told to flush', async () => {
  const { host, guest, scheduler, settle } = await twoBuses();
  const server = someOffer(host, { maxPacketBytes: 8192 });
  server.send(new Uint8Array(8192));
  const flushed = watch(server.flush());
  await settle();

  await settled(scheduler, openFirst(guest, { incomingRingPages: 1 }));

  expect(flushed.error).toMatchObject({ name: 'UsageError', code: 'ERR_PACKET_TOO_BIG' });
});

test('pause waits for the packets that are out, and nothing is delivered until resume', async () => {
  const { client, server, settle } = await twoEnds();
  client.send(eight(1));
  await settle();
  const packet = (await server.packets().next()).value as Packet;
  const paused = watch(server.pause());
  await settle();
  expect(paused.state).toBe('pending');

  packet.complete();
  client.send(eight(2));
  await settle();
  expect(paused.state).toBe('resolved');
  expect(server.statistics.packetsReceived).toBe(1);

  server.resume();
  await settle();
  expect((await server.packets().next()).value?.bytes).toEqual(eight(2));
});

test('giving up the wait for a pause does not undo it', async () => {
  const { client, server, settle } = await twoEnds();
  client.send(eight(1));
  await settle();
  const packet = (await server.packets().next()).value as Packet;
  const abort = new AbortController();
  const paused = watch(server.pause({ signal: abort.signal }));

  abort.abort(new Error('enough'));
  await settle();
  packet.complete();
  client.send(eight(2));
  await settle();

  expect(paused.error).toEqual(new Error('enough'));
  expect(server.statistics.packetsReceived).toBe(1);
});

test('a guest that opens paused is open, and sends nothing before resume', async () => {
  const log: string[] = [];
  const { client, server, settle } = await twoEnds({ open: { isPaused: true, ...logging('guest', log) } });
  expect(client.send(eight(1))).toBe(false);
  await settle();
  expect([client.isOpen, server.statistics.packetsReceived, log]).toEqual([true, 0, ['guest opened']]);

  client.resume();
  await settle();

  expect(server.statistics.packetsReceived).toBe(1);
});

test.each(['pause', 'close', 'resume'] as const)('%s from inside a state-change callback is refused', async (call) => {
  const errors: unknown[] = [];
  await twoEnds({
    open: {
      onPostStarted: async (channel) => {
        try {
          await channel[call]();
        } catch (error) {
          errors.push(error);
        }
      },
    },
  });

  expect(errors).toMatchObject([{ name: 'UsageError', code: 'ERR_STATE' }]);
});

const waits: [string, (channel: Channel, packet: Packet) => Promise<unknown>][] = [
  ['pause', (channel) => channel.pause()],
  ['close', (channel) => channel.close()],
  ['flush', (channel) => channel.flush()],
  ['externalData', (_, packet) => packet.externalData()],
];

test.each(waits)('%s waits, so a packet callback may not call it', async (_, call) => {
  const errors: unknown[] = [];
  const { client, settle } = await twoEnds({
    offer: {
      onPacket: (packet, channel) => {
        call(channel, packet).catch((error: unknown) => errors.push(error));
        packet.complete();
      },
    },
  });

  client.send(eight());
  await settle();

  expect(errors).toMatchObject([{ name: 'UsageError', code: 'ERR_STATE' }]);
});

test('a request waits, so a packet callback may not make one, unless it runs at PASSIVE', async () => {
  const outcomes: unknown[] = [];
  const { client, server, settle } = await twoEnds({
    offer: {
      onPacket: (packet, channel) => {
        packet.complete();
        channel.request(eight(1)).then(
          (reply) => outcomes.push(reply),
          (error: unknown) => outcomes.push(error),
        );
      },
    },
    open: { onPacket: (packet) => packet.complete(eight(8)) },
  });
  client.send(eight());
  await settle();
  server.setPassiveOnly(true);
  client.send(eight());
  await settle();

  expect(outcomes).toEqual([expect.objectContaining({ code: 'ERR_STATE' }), eight(8)]);
});

test('after its end a channel is neither paused nor resumed', async () => {
  const { client, scheduler } = await twoEnds();
  await settled(scheduler, client.close());

  await expect(client.pause()).rejects.toMatchObject({ code: 'ERR_CLOSED' });
  expect(() => client.resume()).toThrow(expect.objectContaining({ code: 'ERR_CLOSED' }));
  await client.close();
});

test('await using closes in the reverse order of making', async () => {
  const log: string[] = [];
  const { host, guest, scheduler, settle } = await twoBuses();
  const server = someOffer(host, { onClosed: () => void log.push('server closed') });
  await settle();

  const work = async (): Promise<void> => {
    await using bus = guest;
    await using channel = await openFirst(bus, { onClosed: () => void log.push('client closed') });
    await using gpadl = await channel.createGpadl({ pfns: bus.pages.allocate(1) });
    log.push(`open with GPADL ${gpadl.id > 0}`);
    void channel.closed.then(() =>
      log.push(`GPADL deleted before: ${gpadl.isDeleted}, bus connected: ${bus.isConnected}`),
    );
  };
  await settled(scheduler, work());

  expect(log).toEqual([
    'open with GPADL true',
    'client closed',
    'server closed',
    'GPADL deleted before: true, bus connected: true',
  ]);
  expect(server.isOpen).toBe(false);
  expect(guest.isConnected).toBe(false);
});

test('the tap sees packets and states, and inspect tells what is where', async () => {
  const seen: string[] = [];
  const { client, server, settle } = await twoEnds();
  client.tap = {
    packetSent: (_, _bytes, _at, packetBytes) => seen.push(`sent ${packetBytes}`),
    stateChanged: (_, from, to) => seen.push(`${from} to ${to}`),
  };

  client.send(eight(1));
  await settle();
  void client.pause();
  await settle();
  client.tap = null;

  expect(seen).toEqual(['sent 24', 'active to suspending', 'suspending to draining', 'draining to paused']);
  expect(client.tap).toBe(null);
  expect(server.inspect()).toMatchObject({ name: 'server', untakenPackets: 1, lastEnd: null });
});

test('a guest’s channel knows its MMIO space and its interrupt latency while it is open', async () => {
  const { client, scheduler } = await twoEnds({ offer: { mmioMegabytes: 8 } });
  expect(client.mmioSpace?.bytes).toBe(8 * 2 ** 20);

  client.interruptLatency100ns = 500;
  expect(client.interruptLatency100ns).toBe(500);
  expect(() => {
    client.interruptLatency100ns = 65536;
  }).toThrow(expect.objectContaining({ code: 'ERR_ARGUMENT' }));

  await settled(scheduler, client.close());
  expect(client.mmioSpace).toBe(null);
  expect(() => {
    client.interruptLatency100ns = 1;
  }).toThrow(expect.objectContaining({ code: 'ERR_STATE' }));
});
