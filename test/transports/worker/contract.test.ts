import { expect, test } from 'vitest';
import { GuestMemory } from '../../../src/memory/index.ts';
import { createWorkerLink, openWorkerGuest, openWorkerHost } from '../../../src/transports/worker/index.ts';
import { transportContract } from '../contract.ts';
import { until } from '../until.ts';

// Both ends in one thread: the same words, mailbox and wake-ups as between two, which `threads.test.ts` looks at.
transportContract('worker', async () => {
  const link = createWorkerLink({ memory: GuestMemory.allocate(4, { shared: true }) });
  const guest = openWorkerGuest(link.guest);
  const host = openWorkerHost(link.host);
  return {
    guest: guest.environment,
    host: host.environment,
    loseGuest: () => guest.close(),
    loseHost: () => host.close(),
    close: () => {
      guest.close();
      host.close();
    },
  };
});

test('memory that is not shared between threads is refused, not copied in silence', () => {
  expect(() => createWorkerLink({ memory: GuestMemory.allocate(1) })).toThrow(
    expect.objectContaining({ code: 'ERR_ARGUMENT' }),
  );
});

test('the end of one side cannot be opened as the other', () => {
  const link = createWorkerLink({ memory: GuestMemory.allocate(1, { shared: true }) });

  expect(() => openWorkerGuest(link.host)).toThrow(/the host's end/);
  expect(() => openWorkerHost(link.guest)).toThrow(/the guest's end/);
  link.host.port.close();
});

test('a peer that breaks the mailbox ends the link, not the process', async () => {
  const link = createWorkerLink({ memory: GuestMemory.allocate(1, { shared: true }) });
  const host = openWorkerHost(link.host);
  const guest = openWorkerGuest(link.guest);
  const reasons: string[] = [];
  host.environment.onLost((reason) => reasons.push(reason));

  new Int32Array(link.guest.control).fill(0x7fff_ffff);
  guest.environment.signal(1);
  await until(() => reasons.length > 0);
  guest.close();

  expect(reasons).toEqual([expect.stringContaining('the mailbox claims')]);
});
