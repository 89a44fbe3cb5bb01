/** The host's process of a kill test: serves every guest that comes until it is killed. */
import { listenShm } from '../../../src/transports/shm/index.ts';
import { startHostLoad } from '../load.ts';

const [url] = process.argv.slice(2) as [string];
await listenShm(url, {
  onGuest: ({ environment }) => {
    const load = startHostLoad(environment);
    void load.lost.then(() => load.stop());
  },
});
process.send?.('listening');
