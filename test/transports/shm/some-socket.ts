/** A fresh path in a directory that does not exist yet: the listener makes it, private, and removes it. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

export interface SomeSocket {
  readonly path: string;
  readonly url: string;
  /** The directory around it all, mode 0700. */
  readonly directory: string;
  remove(): void;
}

export function someSocket(): SomeSocket {
  const directory = mkdtempSync(join(tmpdir(), 'vmbus-test-'));
  const path = join(directory, 'private', 'host.sock');
  return { path, url: `shm:${path}`, directory, remove: () => rmSync(directory, { recursive: true, force: true }) };
}
