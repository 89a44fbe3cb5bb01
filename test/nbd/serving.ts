/** Servers that live as long as a test. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { onTestFinished } from 'vitest';
import type { NbdExport } from '../../src/nbd/nbd-export.ts';
import { type NbdServer, type NbdServerOptions, serveNbd } from '../../src/nbd/server.ts';

export interface Serving {
  readonly server: NbdServer;
  readonly path: string;
  /** Errors of connections that ended, in order. */
  readonly ended: (Error | undefined)[];
  /** Waits until so many connections have ended. */
  endedCount(count: number): Promise<void>;
}

export async function serving(
  exports: NbdExport | Record<string, NbdExport>,
  options: Partial<NbdServerOptions> = {},
): Promise<Serving> {
  const folder = mkdtempSync(join(tmpdir(), 'vmbus-nbd-'));
  const path = join(folder, 's');
  const ended: (Error | undefined)[] = [];
  let wake = (): void => {};
  const server = await serveNbd({
    path,
    exports: 'sizeBytes' in exports ? { '': exports as NbdExport } : exports,
    ...options,
    onDisconnected: (_count, error) => {
      ended.push(error);
      wake();
    },
  });
  onTestFinished(async () => {
    server.destroyConnections();
    await server.close();
    rmSync(folder, { recursive: true, force: true });
  });
  return {
    server,
    path,
    ended,
    async endedCount(count) {
      while (ended.length < count) {
        await new Promise<void>((resolve) => {
          wake = resolve;
        });
      }
    },
  };
}
