import { GuestMemory } from '../../../src/memory/index.ts';
import { createWorkerLink, openWorkerGuest, openWorkerHost } from '../../../src/transports/worker/index.ts';
import { transportContract } from '../contract.ts';

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
