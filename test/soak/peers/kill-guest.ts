/** The guest's process of a kill test: runs its load until it is killed, or until its host is. */
import { connectShm } from '../../../src/transports/shm/index.ts';
import { startGuestLoad } from '../load.ts';

const [url] = process.argv.slice(2) as [string];
const connection = await connectShm(url, { pageCount: 1024 });
const load = await startGuestLoad(connection.environment);
await load.lost;
await load.stop();
