export { DueScheduler } from './due-scheduler.ts';
export { EVENT_WORDS, EventReceiver, EventSender } from './event-words.ts';
export { Poller, type PollerLoop, type PollerOptions, PollHandle, type PollSource, threadPoller } from './poller.ts';
export { SpinWindow, type SpinWindowOptions } from './spin-window.ts';
