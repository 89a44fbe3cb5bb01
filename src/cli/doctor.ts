/** `vmbus doctor`: what this machine can do, and what to do about the rest. */
import { Command } from 'commander';
import { probeKvm } from '../transports/kvm/index.ts';
import { CommandError, ExitCode } from './exit.ts';

export function doctorCommand(): Command {
  return new Command('doctor')
    .description('say whether virtual machines can run here (vmbus boot), and what to do if not')
    .option('--json', 'print one JSON object', false)
    .addHelpText('before', 'Example: vmbus doctor\n')
    .action(async ({ json }: { json: boolean }) => await doctor(json));
}

async function doctor(json: boolean): Promise<void> {
  const kvm = await probeKvm();
  if (json) {
    process.stdout.write(`${JSON.stringify({ schema: 'vmbus.doctor/1', node: process.version, kvm }, undefined, 2)}\n`);
  } else {
    const extension = kvm.extension === undefined ? 'none shown by the processor' : kvm.extension;
    const lines = [
      `node   ${process.version} on ${process.platform} ${process.arch}`,
      `kvm    ${kvm.state}: ${kvm.detail}`,
      `       hardware extension: ${extension}`,
      ...(kvm.advice === '' ? [] : [`advice ${kvm.advice}`]),
    ];
    process.stdout.write(`${lines.join('\n')}\n`);
  }
  if (kvm.state !== 'usable') throw new CommandError(ExitCode.Failed, `virtual machines cannot run here: ${kvm.state}`);
}
