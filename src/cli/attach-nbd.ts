/** `vmbus attach PATH --nbd SOCKET`: the disk for every tool that speaks NBD, each byte of it through VMBus. */
import { resolve } from 'node:path';
import { Command } from 'commander';
import { serveNbd } from '../nbd/index.ts';
import { type AttachedDisk, diskOption, withDisk } from './attach-guest.ts';
import { type DiskPlace, formatPlace } from './disk-spec.ts';
import { CommandError, ExitCode } from './exit.ts';
import { type Interruption, watchForInterruption } from './interruption.ts';
import { exportOfDisk } from './nbd/disk-export.ts';
import { DEFAULT_POOL, poolPages, TransferPool } from './nbd/transfer-pool.ts';
import { type Say, sayFor } from './say.ts';

interface NbdOptions {
  readonly disk: DiskPlace;
  readonly json: boolean;
}

export function nbdCommand(): Command {
  return new Command('nbd')
    .description('serve the disk as an NBD export on a Unix socket, until Ctrl-C')
    .argument('<path>', "the host's socket")
    .argument('<socket>', 'where NBD clients connect; only this user may')
    .addOption(diskOption())
    .option('--json', 'say what happens as JSON Lines on stdout', false)
    .addHelpText('before', 'Example: vmbus attach PATH --nbd disk.nbd, then: nbdinfo nbd+unix:///?socket=disk.nbd\n')
    .action(exportAsNbd);
}

async function exportAsNbd(path: string, socket: string, options: NbdOptions): Promise<void> {
  const interruption = watchForInterruption();
  const choice = {
    disk: options.disk,
    outstanding: DEFAULT_POOL.smallCount + DEFAULT_POOL.largeCount,
    pagesPerTransfer: DEFAULT_POOL.largePages,
    pageCount: poolPages(DEFAULT_POOL),
  };
  try {
    await withDisk(path, choice, (attached) =>
      serve(attached, resolve(socket), `${path}, disk ${formatPlace(options.disk)}`, interruption, sayFor(options)),
    );
  } finally {
    interruption.release();
  }
}

async function serve(
  { disk, lost, vmbus }: AttachedDisk,
  socket: string,
  description: string,
  interruption: Interruption,
  say: Say,
): Promise<void> {
  const store = exportOfDisk(disk, new TransferPool(vmbus.pages), description);
  const server = await serveNbd({
    path: socket,
    exports: { '': store },
    onConnected: (clients) => say('client', { clients }),
    onDisconnected: (clients, error) => say('client gone', { clients, ...(error && { reason: error.message }) }),
  });
  say('exporting', { uri: `nbd+unix:///?socket=${encodeURI(socket)}`, sizeBytes: disk.sizeBytes });
  const end = await Promise.race([
    interruption.arrived.then((signal) => ({ signal })),
    lost.then((reason) => ({ reason })),
  ]);
  if ('signal' in end) {
    say('stopping', { signal: end.signal });
    await server.close();
    say('stopped');
    return;
  }
  // Requests under way have failed by now, so clients hear of each before the connection ends; there is nobody to flush.
  await server.close().catch(() => {});
  throw new CommandError(ExitCode.Failed, `the host is gone: ${end.reason}`);
}
