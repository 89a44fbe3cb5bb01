/** `vmbus ls`: what a host offers, in the columns of `lsvmbus`. */
import Table from 'cli-table3';
import { Command } from 'commander';
import type { GuestOffer, GuestVmbus } from '../channel/index.ts';
import { className } from '../wire/class-ids.ts';
import { formatVersion } from '../wire/versions.ts';
import { SPARE_PAGES, withGuest } from './attach-guest.ts';

export function lsCommand(): Command {
  return new Command('ls')
    .description('list what a host offers')
    .argument('<path>', "the host's socket")
    .option('--json', 'print one JSON object', false)
    .addHelpText('before', 'Example: vmbus ls /run/user/1000/vmbus/disk.sock\n')
    .action(listOffers);
}

export async function listOffers(path: string, { json }: { json: boolean }): Promise<void> {
  await withGuest(path, SPARE_PAGES, async (vmbus) => {
    process.stdout.write(json ? `${JSON.stringify(describe(vmbus), undefined, 2)}\n` : print(vmbus));
  });
}

function describe({ bus }: GuestVmbus): Record<string, unknown> {
  return {
    schema: 'vmbus.ls/1',
    version: formatVersion(bus.version),
    features: bus.features,
    offers: [...bus.offers()].map((offer) => ({
      relid: offer.relid,
      class: className(offer.interfaceId),
      interfaceId: offer.interfaceId,
      instanceId: offer.instanceId,
      subchannelIndex: offer.subchannelIndex,
      flags: offer.flags,
      mmioMegabytes: offer.mmioMegabytes,
      monitorId: offer.monitorAllocated ? offer.monitorId : null,
      connectionId: offer.connectionId,
    })),
  };
}

function print({ bus }: GuestVmbus): string {
  const table = new Table({
    head: ['VMBUS ID', 'class', 'class id', 'instance id', 'sub', 'flags', 'connection'],
    style: { head: [], border: [] },
  });
  const row = (offer: GuestOffer): (string | number)[] => [
    offer.relid,
    className(offer.interfaceId) ?? 'unknown',
    offer.interfaceId,
    offer.instanceId,
    offer.subchannelIndex,
    `0x${offer.flags.toString(16)}`,
    `0x${offer.connectionId.toString(16)}`,
  ];
  table.push(...[...bus.offers()].map(row));
  return `VMBus ${formatVersion(bus.version)}\n${table.toString()}\n`;
}
