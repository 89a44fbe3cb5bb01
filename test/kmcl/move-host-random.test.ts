/** Whatever the two ends do before, between and after moves: every packet of theirs completes once, and in order. */
import fc from 'fast-check';
import { expect, test } from 'vitest';
import {
  endpointOf,
  STATUS_SUCCESS,
  VmbChannelEnable,
  VmbChannelPacketComplete,
  VmbChannelPause,
  VmbChannelStart,
  VmbPacketSend,
} from '../../src/kmcl/index.ts';
import {
  namesOf,
  newServer,
  restoreChannel,
  type ServerEnd,
  saveable,
  saveChannel,
  sendNamed,
  WAIT,
} from './saving.ts';
import { expectSuccess, type Received } from './two-endpoints.ts';

type Operation =
  | { readonly do: 'hostSends' | 'guestSends'; readonly count: number; readonly bytes: number; readonly waits: boolean }
  | { readonly do: 'hostCompletes' | 'guestCompletes' | 'steps'; readonly count: number }
  | { readonly do: 'pauseGuest' | 'startGuest' | 'saveOnly' | 'move'; readonly guestSteps: number };

const operation: fc.Arbitrary<Operation> = fc.oneof(
  {
    weight: 6,
    arbitrary: fc.record({
      do: fc.constantFrom('hostSends' as const, 'guestSends' as const),
      count: fc.integer({ min: 1, max: 6 }),
      bytes: fc.constantFrom(16, 200, 1000, 1000),
      waits: fc.constantFrom(true, true, false),
    }),
  },
  {
    weight: 6,
    arbitrary: fc.record({
      do: fc.constantFrom('hostCompletes' as const, 'guestCompletes' as const, 'steps' as const),
      count: fc.integer({ min: 1, max: 8 }),
    }),
  },
  {
    weight: 3,
    arbitrary: fc.record({
      do: fc.constantFrom(
        'pauseGuest' as const,
        'startGuest' as const,
        'saveOnly' as const,
        'move' as const,
        'move' as const,
      ),
      guestSteps: fc.nat(30),
    }),
  },
);

/** Completes the oldest of what was received. */
function completeSome(received: Received[], count: number): void {
  for (const { packet } of received.splice(0, count)) VmbChannelPacketComplete(packet, Uint8Array.of(1), 1);
}

/** Packets that waited for the ring at a move, in all runs: the test is worth little without them. */
let waiting = 0;

test('across any number of moves no transaction is lost and none completes twice', async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(operation, { minLength: 10, maxLength: 40 }), async (operations) => {
      const t = await saveable();
      let restoredWaiting = 0;
      const hosts: ServerEnd[] = [t];
      const sent: string[] = [];
      const guestGot: string[] = [];
      const guestHolds: Received[] = [];
      let guestSent = 0;
      let hostGot = 0;
      const current = (): ServerEnd => hosts.at(-1) as ServerEnd;
      const held: Received[] = [];
      const collect = (): void => {
        guestGot.push(...namesOf(t.clientReceived));
        guestHolds.push(...t.clientReceived.splice(0));
        hostGot += current().received.length;
        held.push(...current().received.splice(0));
      };
      const pauseServer = async (): Promise<void> => {
        const paused = VmbChannelPause(current().server);
        t.scheduler.run();
        collect();
        completeSome(held, held.length);
        await t.settle();
        await paused;
        collect();
      };

      for (const op of operations) {
        switch (op.do) {
          case 'hostSends': {
            const names = Array.from({ length: op.count }, (_, index) => `p${sent.length + index}`);
            sent.push(...names);
            sendNamed(current(), names, op.bytes, op.waits ? WAIT : 0);
            break;
          }
          case 'guestSends':
            for (let left = op.count; left > 0; left--) {
              expectSuccess(VmbPacketSend(t.packet(), new Uint8Array(op.bytes), op.bytes, null, op.waits ? WAIT : 0));
              guestSent++;
            }
            break;
          case 'hostCompletes':
            completeSome(held, op.count);
            break;
          case 'guestCompletes':
            completeSome(guestHolds, op.count);
            break;
          case 'steps':
            for (let left = op.count; left > 0; left--) t.scheduler.step();
            break;
          case 'pauseGuest':
            completeSome(guestHolds, guestHolds.length);
            VmbChannelPause(t.client).catch(() => {});
            break;
          case 'startGuest':
            VmbChannelStart(t.client);
            break;
          default: {
            await pauseServer();
            const pieces = saveChannel(current().server, 300);
            // The guest goes on while its host stands still; only control messages must not be lost.
            for (let left = op.guestSteps; left > 0; left--) t.scheduler.step();
            if (op.do === 'move') {
              const next = newServer(t);
              const bus = current().host.save();
              current().host.leave();
              next.host.restore(bus);
              expect(restoreChannel(next.server, pieces)).toBe(STATUS_SUCCESS);
              restoredWaiting += (endpointOf(next.server).inspect() as { outgoing: { queued: number } }).outgoing
                .queued;
              expectSuccess(VmbChannelEnable(next.server));
              hosts.push(next);
            }
            VmbChannelStart(current().server);
          }
        }
        collect();
      }

      VmbChannelStart(t.client);
      for (let rounds = 0; rounds < 20; rounds++) {
        await t.settle();
        collect();
        completeSome(held, held.length);
        completeSome(guestHolds, guestHolds.length);
      }

      waiting += restoredWaiting;
      const completed = hosts.flatMap((host) => host.completed);
      expect(guestGot).toEqual(sent);
      expect(completed.map(({ name }) => String(name)).sort()).toEqual([...sent].sort());
      expect(completed.every(({ status }) => status === STATUS_SUCCESS)).toBe(true);
      expect(hostGot).toBe(guestSent);
      expect(t.completions.length).toBe(guestSent);
      expect(t.completions.every(({ status }) => status === STATUS_SUCCESS)).toBe(true);
      expect(t.log.filter((line) => line === 'client Closed')).toEqual([]);
    }),
    { numRuns: 100 },
  );
  expect(waiting).toBeGreaterThan(20);
}, 60_000);
