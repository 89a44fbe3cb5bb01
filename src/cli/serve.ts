/** `vmbus serve scsi`: a host in a process of its own; guests attach over a socket and shared memory. */
import { resolve } from 'node:path';
import { Command } from 'commander';
import type { HostVmbusOptions } from '../channel/index.ts';
import { listenShm, type ShmGuest } from '../transports/shm/index.ts';
import { formatVersion } from '../wire/versions.ts';
import { DISK_HELP, formatPlace, parseDiskSpec } from './disk-spec.ts';
import { watchForInterruption } from './interruption.ts';
import { MessageLog } from './message-log.ts';
import { type Say, sayFor, sayRarely } from './say.ts';
import { ServedDisks } from './served-disks.ts';

interface ServeOptions {
  readonly listen: string;
  readonly json: boolean;
  readonly logMessages?: string | true;
}

export function serveCommand(): Command {
  const scsi = new Command('scsi')
    .description('serve disk images on SCSI controllers to any number of guests, until Ctrl-C')
    .argument('<disk...>', 'FILE[,ro][,cd][,lun=N][,overlay=F][,format=FORMAT][,fault=RULE]')
    .requiredOption('--listen <path>', 'socket for guests, in a folder that only you can enter (it is made if missing)')
    .option('--log-messages [file]', 'write every control message and packet, decoded, to a file or to stderr')
    .option('--json', 'say what happens as JSON Lines on stdout', false)
    .addHelpText('before', 'Example: vmbus serve scsi disk.img --listen /run/user/1000/vmbus/disk.sock\n')
    .addHelpText('after', DISK_HELP)
    .action(serveScsi);
  return new Command('serve').description('be a host').addCommand(scsi);
}

async function serveScsi(specs: readonly string[], options: ServeOptions): Promise<void> {
  const say = sayFor(options);
  const interruption = watchForInterruption();
  const disks = await ServedDisks.open(specs.map(parseDiskSpec));
  const log =
    options.logMessages === undefined
      ? undefined
      : new MessageLog(options.logMessages === true ? '-' : options.logMessages);
  const sayFault = sayRarely(say, 'fault');
  disks.onFault = ({ place, spec }, error) => {
    const reason = error instanceof Error ? error.message : String(error);
    sayFault('fault', { place: formatPlace(place), path: spec.path, reason });
  };
  try {
    const listener = await listenShm(`shm:${resolve(options.listen)}`, {
      onGuest: (guest) => serveGuest(guest, disks, say, log),
      onRefused: (reason) => say('refused', { reason }),
    });
    for (const { place, spec, backend } of disks.disks) {
      const { sizeBytes, blockBytes, readOnly } = backend;
      say('disk', { place: formatPlace(place), path: spec.path, sizeBytes, blockBytes, readOnly });
    }
    say('listening', { path: listener.path, disks: specs.length });
    const signal = await interruption.arrived;
    say('stopping', { signal });
    await disks.close();
    await listener.close();
    say('stopped');
  } catch (error) {
    await disks.close();
    throw error;
  } finally {
    interruption.release();
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
