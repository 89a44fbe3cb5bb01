/** `vmbus serve scsi`: a host in a process of its own; guests attach over a socket and shared memory. */
import { resolve } from 'node:path';
import { Command } from 'commander';
import type { HostVmbusOptions } from '../channel/index.ts';
import { listenShm, type ShmGuest } from '../transports/shm/index.ts';
import { formatVersion } from '../wire/versions.ts';
import { MessageLog } from './message-log.ts';
import { parseDiskSpec, ServedDisks } from './served-disks.ts';

interface ServeOptions {
  readonly listen: string;
  readonly json: boolean;
  readonly logMessages?: string | true;
}

export function serveCommand(): Command {
  const scsi = new Command('scsi')
    .description('serve disk images, each on a SCSI controller of its own, to any number of guests')
    .argument('<file...>', 'FILE, or FILE,ro for read-only')
    .requiredOption('--listen <path>', 'socket for guests, in a folder that only you can enter (it is made if missing)')
    .option('--log-messages [file]', 'write every control message and packet, decoded, to a file or to stderr')
    .option('--json', 'say what happens as JSON Lines on stdout', false)
    .addHelpText('before', 'Example: vmbus serve scsi disk.img --listen /run/user/1000/vmbus/disk.sock\n')
    .action(serveScsi);
  return new Command('serve').description('be a host').addCommand(scsi);
}

async function serveScsi(files: readonly string[], options: ServeOptions): Promise<void> {
  const disks = await ServedDisks.open(files.map(parseDiskSpec));
  const say = options.json ? sayJson : sayText;
  const log =
    options.logMessages === undefined
      ? undefined
      : new MessageLog(options.logMessages === true ? '-' : options.logMessages);
  try {
    const listener = await listenShm(`shm:${resolve(options.listen)}`, {
      onGuest: (guest) => serveGuest(guest, disks, say, log),
      onRefused: (reason) => say('refused', { reason }),
    });
    say('listening', { path: listener.path, disks: files.length });
    const signal = await interrupted();
    say('stopping', { signal });
    await disks.close();
    await listener.close();
    say('stopped', {});
  } catch (error) {
    await disks.close();
    throw error;
  } finally {
    await log?.close();
  }
}

function serveGuest(guest: ShmGuest, disks: ServedDisks, say: Say, log: MessageLog | undefined): void {
  const { pid } = guest;
  const logged = log?.events(() => served.vmbus.bus);
  const events: HostVmbusOptions['events'] = {
    ...logged,
    connected(version, features) {
      logged?.connected?.(version, features);
      say('connected', { pid, version: formatVersion(version), features });
    },
    lost(reason) {
      logged?.lost?.(reason);
      say('lost', { pid, reason });
      // What is under way still moves bytes of the guest's memory; it is given back when that has ended.
      void served.stop().then(() => guest.close());
    },
  };
  const served = disks.offerTo(guest.environment, { events });
  if (log !== undefined) for (const channel of served.vmbus.channels) channel.tap = log.tap;
  say('attached', { pid });
}

type Say = (event: string, details: Record<string, string | number>) => void;

const sayJson: Say = (event, details) => {
  process.stdout.write(`${JSON.stringify({ event, ...details })}\n`);
};

const sayText: Say = (event, details) => {
  const words = Object.entries(details).map(([name, value]) => `${name} ${value}`);
  process.stderr.write(`vmbus: ${[event, ...words].join(' ')}\n`);
};

/** Resolves with the signal that asks this process to end; a second one ends it at once. */
function interrupted(): Promise<string> {
  return new Promise((resolve) => {
    for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.once(signal, () => resolve(signal));
  });
}
