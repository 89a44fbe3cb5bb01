export { type ConnectShmOptions, connectShm, type ShmConnection } from './shm-guest.ts';
export { type ListenShmOptions, listenShm, type ShmGuest, type ShmListener } from './shm-host.ts';
export { parseShmUrl } from './socket-path.ts';
