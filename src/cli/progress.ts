/** A progress bar on standard error, when that is a terminal; nothing otherwise. */
import { SingleBar } from 'cli-progress';
import { formatBytes } from './quantity.ts';

export interface Progress {
  show(bytes: number, totalBytes: number): void;
  stop(): void;
}

/** @param label one word for what goes on, such as `reading` */
export function createProgress(label: string, isWanted = true): Progress {
  if (!isWanted || !process.stderr.isTTY) return { show: () => {}, stop: () => {} };
  const bar = new SingleBar({
    format: `${label} {bar} {percentage}%  {done} of {all}`,
    stream: process.stderr,
    clearOnComplete: true,
    hideCursor: true,
  });
  let isStarted = false;
  return {
    show(bytes, totalBytes) {
      const payload = { done: formatBytes(bytes), all: formatBytes(totalBytes) };
      if (!isStarted) bar.start(totalBytes, bytes, payload);
      else bar.update(bytes, payload);
      isStarted = true;
    },
    stop: () => bar.stop(),
  };
}
