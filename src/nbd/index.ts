export type { NbdExport, NbdExtent } from './nbd-export.ts';
export { MAX_PAYLOAD_BYTES, NbdErrno } from './protocol.ts';
export { type NbdServer, type NbdServerOptions, serveNbd } from './server.ts';
