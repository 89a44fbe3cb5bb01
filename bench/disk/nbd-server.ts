/** NBD servers that Debian has, serving one file read-only on a Unix socket. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';

interface ServerKind {
  readonly name: string;
  readonly debianPackage: string;
  arguments(file: string, socket: string): readonly string[];
}

export const NBD_SERVERS: readonly ServerKind[] = [
  {
    name: 'qemu-nbd',
    debianPackage: 'qemu-utils',
    arguments: (file, socket) => ['--read-only', '--format=raw', '--persistent', `--socket=${socket}`, file],
  },
  {
    name: 'nbdkit',
    debianPackage: 'nbdkit',
    arguments: (file, socket) => ['--foreground', '--readonly', `--unix=${socket}`, 'file', file],
  },
];

/** @throws Error if it is not installed, or does not come up */
export async function startNbdServer(kind: ServerKind, file: string, socket: string): Promise<ChildProcess> {
  const child = spawn(kind.name, kind.arguments(file, socket), { stdio: ['ignore', 'ignore', 'inherit'] });
  const failed = once(child, 'error').then(([error]: Error[]) => {
    const isMissing = (error as NodeJS.ErrnoException).code === 'ENOENT';
    throw isMissing ? new Error(`${kind.name} is not installed (Debian: ${kind.debianPackage})`) : error;
  });
  failed.catch(() => {});
  for (let attempt = 0; !existsSync(socket); attempt++) {
    if (child.exitCode !== null || attempt === 200) throw new Error(`${kind.name} did not come up`);
    await Promise.race([sleep(20), failed]);
  }
  return child;
}
