/** What every transport promises, whatever carries it. Each transport's own test calls `transportContract`. */
import { afterEach, describe, expect, test } from 'vitest';
import { PostStatus } from '../../src/bus/control-port.ts';
import type { GuestEnvironment, HostEnvironment } from '../../src/channel/environment.ts';
import { settle, until } from './until.ts';

export interface ConnectedPair {
  readonly guest: GuestEnvironment;
  readonly host: HostEnvironment;
  /** The guest's end goes without a word. */
  loseGuest(): void;
  loseHost(): void;
  /** Gives everything back, whatever the test did. */
  close(): Promise<void> | void;
}

export function transportContract(name: string, connect: () => Promise<ConnectedPair>): void {
  describe(`the ${name} transport`, () => {
    let pair: ConnectedPair | undefined;
    afterEach(async () => {
      await pair?.close();
      pair = undefined;
    });
    const somePair = async (): Promise<ConnectedPair> => {
      pair = await connect();
      return pair;
    };

    test('copies a control message when it is posted and delivers it later, with its connection', async () => {
      const { guest, host } = await somePair();
      const received: [number[], number][] = [];
      host.onMessage((message, connectionId) => received.push([[...message], connectionId]));
      const message = Uint8Array.of(14, 0, 0, 0, 0, 0, 0, 0);

      expect(guest.control.post(4, message)).toBe(PostStatus.Success);
      message.fill(0xff);
      expect(received).toEqual([]);
      await until(() => received.length > 0);

      expect(received).toEqual([[[14, 0, 0, 0, 0, 0, 0, 0], 4]]);
    });

    test('keeps messages of every length in order, in both directions at once', async () => {
      const { guest, host } = await somePair();
      const atGuest: number[][] = [];
      const atHost: number[][] = [];
      guest.onMessage((message) => atGuest.push([...message]));
      host.onMessage((message) => atHost.push([...message]));
      const messages = Array.from({ length: 241 }, (_, length) =>
        Uint8Array.from({ length }, (_unused, index) => (index * 7 + length) & 0xff),
      );

      for (const message of messages) {
        guest.control.post(1, message);
        host.control.post(0, message);
      }
      await until(() => atGuest.length === messages.length && atHost.length === messages.length);

      expect(atGuest).toEqual(messages.map((message) => [...message]));
      expect(atHost).toEqual(messages.map((message) => [...message]));
    });

    test('carries thousands of messages that were posted in one turn, none lost', async () => {
      const { guest, host } = await somePair();
      const seen: number[] = [];
      guest.onMessage((message) => seen.push((message[0] as number) | ((message[1] as number) << 8)));
      const message = new Uint8Array(196);

      for (let value = 0; value < 4000; value++) {
        message[0] = value & 0xff;
        message[1] = value >>> 8;
        expect(host.control.post(0, message)).toBe(PostStatus.Success);
      }
      await until(() => seen.length === 4000);

      expect(seen).toEqual(Array.from({ length: 4000 }, (_, value) => value));
    });

    test('refuses a message over 240 bytes at once, on either side', async () => {
      const { guest, host } = await somePair();

      for (const end of [guest, host]) {
        expect(() => end.control.post(1, new Uint8Array(241))).toThrow(
          expect.objectContaining({ code: 'ERR_ARGUMENT' }),
        );
      }
    });

    test('a message from inside a sink is delivered after the sink returned', async () => {
      const { guest, host } = await somePair();
      const order: string[] = [];
      host.onMessage(() => {
        order.push('host begins');
        host.control.post(0, Uint8Array.of(2));
        order.push('host ends');
      });
      guest.onMessage(() => order.push('guest'));

      guest.control.post(1, Uint8Array.of(1));
      await until(() => order.length === 3);

      expect(order).toEqual(['host begins', 'host ends', 'guest']);
    });

    test('merges signals of one id until they are delivered, and a signal from the sink is a new edge', async () => {
      const { guest, host } = await somePair();
      const seen: number[] = [];
      host.onSignal((connectionId) => {
        seen.push(connectionId);
        if (seen.length === 2) guest.signal(0x2005);
      });

      for (let round = 0; round < 10; round++) guest.signal(0x2005);
      guest.signal(0x2006);
      expect(seen).toEqual([]);
      await until(() => seen.length === 3);
      await settle();

      expect(seen).toEqual([0x2005, 0x2006, 0x2005]);
    });

    test('carries any id of 32 bits and as many as a guest has channels', async () => {
      const { guest, host } = await somePair();
      const atHost = new Set<number>();
      const atGuest = new Set<number>();
      host.onSignal((connectionId) => atHost.add(connectionId));
      guest.onInterrupt((eventFlag) => atGuest.add(eventFlag));
      const connections = [
        2,
        3,
        0,
        0xffff_ffff,
        ...Array.from({ length: 2040 }, (_, index) => 0x2_0000 + index * 0x1001),
      ];
      const flags = Array.from({ length: 2048 }, (_, flag) => flag);

      for (const connectionId of connections) guest.signal(connectionId);
      for (const eventFlag of flags) host.signal(eventFlag, 0);
      await until(() => atHost.size === connections.length && atGuest.size === flags.length);

      expect(atHost).toEqual(new Set(connections));
      expect(atGuest).toEqual(new Set(flags));
    });

    test('what was written to memory before a signal is there when the signal arrives', async () => {
      const { guest, host } = await somePair();
      const lastPfn = guest.memory.pageCount - 1;
      let seen: number[] | undefined;
      host.onSignal(() => {
        seen = [...host.memory.page(lastPfn).subarray(4092)];
      });

      guest.memory.page(lastPfn).set([1, 2, 3, 4], 4092);
      guest.signal(0x2001);
      await until(() => seen !== undefined);

      expect(seen).toEqual([1, 2, 3, 4]);
    });

    test('goes on after both ends were idle', async () => {
      const { guest, host } = await somePair();
      let signals = 0;
      let interrupts = 0;
      host.onSignal(() => {
        signals++;
        host.signal(1, 0);
      });
      guest.onInterrupt(() => interrupts++);

      for (let round = 1; round <= 20; round++) {
        guest.signal(0x2001);
        await until(() => interrupts === round);
        await settle();
      }

      expect(signals).toBe(20);
    });

    test('tells the host once that its guest is lost, and delivers nothing after that', async () => {
      const { guest, host, loseGuest } = await somePair();
      const events: string[] = [];
      host.onLost(() => {
        events.push('lost');
      });
      host.onSignal(() => events.push('signal'));
      guest.onLost(() => events.push('guest lost'));

      loseGuest();
      loseGuest();
      await until(() => events.length > 0);
      guest.signal(1);
      guest.control.post(1, new Uint8Array(8));
      host.signal(1, 0);
      host.control.post(0, new Uint8Array(8));
      await settle();

      expect(events).toEqual(['lost']);
    });

    test('tells the guest once that its host is lost', async () => {
      const { guest, loseHost } = await somePair();
      const reasons: string[] = [];
      guest.onLost((reason) => reasons.push(reason));

      loseHost();
      await until(() => reasons.length > 0);
      await settle();

      expect(reasons).toHaveLength(1);
      expect(reasons[0]).not.toBe('');
    });
  });
}
