/** A host that is killed as soon as it listens. */
import { listenShm } from '../../../src/transports/shm/index.ts';

await listenShm(process.argv[2] as string, { onGuest: () => {} });
process.kill(process.pid, 'SIGKILL');
