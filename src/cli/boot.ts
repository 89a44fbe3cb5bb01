/** `vmbus boot`: an unmodified Linux on /dev/kvm with our host end of VMBus behind it. */
import { closeSync, openSync, writeSync } from 'node:fs';
import { Command, Option } from 'commander';
import type { HostEnvironment, HostVmbus, HostVmbusOptions } from '../channel/index.ts';
import {
  bootVirtualMachine,
  MAX_CPUS,
  TextWatch,
  type VirtualMachine,
  type VirtualMachineExit,
} from '../transports/kvm/index.ts';
import { ALL_VERSIONS, formatVersion } from '../wire/versions.ts';
import { DISK_HELP, parseDiskSpec } from './disk-spec.ts';
import { CommandError, ExitCode } from './exit.ts';
import { MessageLog } from './message-log.ts';
import { parseSize, parseTime, wholeNumber } from './quantity.ts';
import { ServedDisks } from './served-disks.ts';

/** How a machine ended, as the exit code. Power-off is 0; what the command itself could not do is 1 and 2. */
const EXIT_CODES: Record<VirtualMachineExit['reason'], number> = {
  'power-off': ExitCode.Fine,
  reset: 10,
  panic: 11,
  timeout: 12,
  'triple-fault': 13,
  fault: 14,
  stopped: 15,
};

interface BootCommandOptions {
  readonly kernel: string;
  readonly initrd?: string;
  readonly append: string;
  readonly disk: string[];
  readonly cpus: number;
  readonly memory: number;
  readonly console: string;
  readonly expect?: string;
  readonly timeout?: number;
  readonly maxVersion?: number;
  readonly restart: boolean;
  readonly logMessages?: string | true;
  readonly json: boolean;
}

export function bootCommand(): Command {
  return new Command('boot')
    .description('boot a Linux kernel on /dev/kvm: it finds Hyper-V, our VMBus, and a disk on it')
    .requiredOption('--kernel <file>', 'a bzImage')
    .option('--initrd <file>', 'the initial RAM disk')
    .option('--append <text>', 'kernel command line', 'console=ttyS0')
    .option('--disk <file>', 'a disk image, as FILE or FILE,ro; see below; again for more', collect, [])
    .option('--cpus <count>', `virtual processors, 1 to ${MAX_CPUS}`, wholeNumber(1, MAX_CPUS), 1)
    .option('--memory <size>', 'RAM, as 256M', parseSize, 256 * 2 ** 20)
    .option('--console <where>', 'stdio, none, or file:PATH', 'stdio')
    .option('--expect <text>', 'stop with code 0 once the console says this, end with code 1 if it never does')
    .option('--timeout <time>', 'end the machine after this long, as 3m', parseTime)
    .option('--restart', 'boot again when the guest resets itself', false)
    .addOption(
      new Option('--max-version <version>', 'newest VMBus version to agree to, as 5.2').argParser(parseVersion),
    )
    .option('--log-messages [file]', 'write every control message and packet, decoded, to a file or to stderr')
    .option('--json', 'print how the machine ended as one JSON object on stdout, the console on stderr', false)
    .addHelpText(
      'before',
      'Example: vmbus boot --kernel vmlinuz --initrd initrd.img --disk disk.img --expect "login:" --timeout 3m\n',
    )
    .addHelpText(
      'after',
      `${DISK_HELP}\nExit codes: ${Object.entries(EXIT_CODES)
        .map(([reason, code]) => `${code} ${reason}`)
        .join(', ')}.`,
    )
    .action(boot);
}

async function boot(options: BootCommandOptions): Promise<void> {
  const console = openConsole(options.console, options.json);
  const log =
    options.logMessages === undefined
      ? undefined
      : new MessageLog(options.logMessages === true ? '-' : options.logMessages);
  const disks = await ServedDisks.open(options.disk.map(parseDiskSpec));
  let machine: VirtualMachine | undefined;
  let isFound = false;
  const watch = options.expect === undefined ? undefined : new TextWatch(options.expect);
  const interrupted = (): void => void machine?.stop();
  try {
    for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.once(signal, interrupted);
    machine = await bootVirtualMachine({
      kernel: options.kernel,
      initrd: options.initrd,
      append: options.append,
      cpus: options.cpus,
      memoryBytes: options.memory,
      timeoutMs: options.timeout,
      onReset: options.restart ? 'restart' : 'exit',
      console(bytes) {
        console.write(bytes);
        if (isFound || watch === undefined || watch.push(bytes) < 0) return;
        isFound = true;
        void machine?.stop();
      },
      attach: (environment) => attach(environment, options, disks, log),
    });
    const exit = await machine.exited;
    conclude(exit, isFound, options);
  } finally {
    for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.off(signal, interrupted);
    await disks.close();
    await log?.close();
    console.close();
  }
}

function attach(
  environment: HostEnvironment,
  options: BootCommandOptions,
  disks: ServedDisks,
  log: MessageLog | undefined,
): HostVmbus {
  const cap: HostVmbusOptions = options.maxVersion === undefined ? {} : { newestVersion: options.maxVersion };
  const guest = disks.offerTo(environment, {
    ...cap,
    ...(log === undefined ? {} : { events: log.events(() => guest.vmbus.bus) }),
  });
  if (log !== undefined) for (const channel of guest.vmbus.channels) channel.tap = log.tap;
  return guest.vmbus;
}

/** Says how it ended. @throws CommandError with the code of the end */
function conclude(exit: VirtualMachineExit, isFound: boolean, options: BootCommandOptions): void {
  const { reason, detail, boots } = exit;
  if (options.json) {
    process.stdout.write(`${JSON.stringify({ schema: 'vmbus.boot/1', reason, detail, boots, isFound })}\n`);
  }
  if (isFound) return;
  const said = `the machine ended: ${reason}${detail === undefined ? '' : ` (${detail})`}`;
  if (options.expect !== undefined) {
    const code = reason === 'power-off' ? ExitCode.Failed : EXIT_CODES[reason];
    throw new CommandError(code, `${said}; its console never said "${options.expect}"`);
  }
  if (reason !== 'power-off') throw new CommandError(EXIT_CODES[reason], said);
}

interface Console {
  write(bytes: Uint8Array): void;
  close(): void;
}

function openConsole(where: string, isJson: boolean): Console {
  if (where === 'none') return { write: () => {}, close: () => {} };
  if (where === 'stdio') {
    const stream = isJson ? process.stderr : process.stdout;
    return { write: (bytes) => void stream.write(bytes), close: () => {} };
  }
  const path = /^file:(.+)$/.exec(where)?.[1];
  if (path === undefined) {
    throw new CommandError(ExitCode.WrongUsage, `"${where}" is no console: say stdio, none, or file:PATH`);
  }
  const fd = openForWriting(path);
  return { write: (bytes) => void writeSync(fd, bytes), close: () => closeSync(fd) };
}

function openForWriting(path: string): number {
  try {
    return openSync(path, 'w');
  } catch (cause) {
    throw new CommandError(ExitCode.Failed, `cannot write ${path}: ${(cause as Error).message}`, { cause });
  }
}

function parseVersion(text: string): number {
  const version = ALL_VERSIONS.find((known) => formatVersion(known) === text);
  if (version !== undefined) return version;
  const known = ALL_VERSIONS.map(formatVersion).join(', ');
  throw new CommandError(ExitCode.WrongUsage, `"${text}" is no VMBus version: say one of ${known}`);
}

function collect(value: string, previous: readonly string[]): string[] {
  return [...previous, value];
}
