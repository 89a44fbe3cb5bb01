export { EventLoopScheduler } from '../event-loop-scheduler.ts';
export { createLoopback, type Loopback, type LoopbackOptions } from './loopback.ts';
