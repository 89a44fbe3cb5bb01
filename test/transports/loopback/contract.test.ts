import { GuestMemory } from '../../../src/memory/index.ts';
import { createLoopback } from '../../../src/transports/loopback/index.ts';
import { transportContract } from '../contract.ts';

transportContract('loopback', async () => {
  const loopback = createLoopback({ memory: GuestMemory.allocate(4) });
  return {
    guest: loopback.guest,
    host: loopback.host,
    loseGuest: () => loopback.loseGuest('the guest went'),
    loseHost: () => loopback.loseHost('the host went'),
    close: () => {},
  };
});
