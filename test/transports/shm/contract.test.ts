import { connectShm, listenShm, type ShmGuest } from '../../../src/transports/shm/index.ts';
import { transportContract } from '../contract.ts';
import { someSocket } from './some-socket.ts';

// Both ends in one process: the same file, pipes and frames as between two, which `processes.test.ts` looks at.
transportContract('shm', async () => {
  const socket = someSocket();
  const attached: ShmGuest[] = [];
  const listener = await listenShm(socket.url, { onGuest: (guest) => attached.push(guest) });
  const connection = await connectShm(socket.url, { pageCount: 4 });
  const [guest] = attached as [ShmGuest];
  return {
    guest: connection.environment,
    host: guest.environment,
    loseGuest: () => connection.close(),
    loseHost: () => guest.close(),
    close: async () => {
      connection.close();
      await listener.close();
      socket.remove();
    },
  };
});
