/** The guest's process of an exchange over shm. Reports over the channel to its parent. */
import { connectShm } from '../../../src/transports/shm/index.ts';
import { type ExchangeShape, pagesOf } from '../exchange.ts';
import { exchangeAsGuest } from './exchange-over.ts';

const [url, shapeJson] = process.argv.slice(2) as [string, string];
const shape = JSON.parse(shapeJson) as ExchangeShape;
const connection = await connectShm(url, { pageCount: pagesOf(shape) });
const result = await exchangeAsGuest(connection.environment, shape);
process.send?.(result);
connection.close();
process.disconnect();
