/** A guest that attaches and then stops dead, with its connection open: neither here nor gone. */
import { connectShm } from '../../../src/transports/shm/index.ts';

const connection = await connectShm(process.argv[2] as string, { pageCount: 1 });
connection.environment.control.post(1, Uint8Array.of(1));
setImmediate(() => process.kill(process.pid, 'SIGSTOP'));
