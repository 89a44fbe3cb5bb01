export { createWorkerLink, type WorkerEnd, type WorkerLinkOptions } from './link.ts';
export { type OpenEnd, openWorkerGuest, openWorkerHost, type WorkerOptions } from './worker.ts';
