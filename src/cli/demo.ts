/** `vmbus demo`: the first five minutes. */
import { Command, Option } from 'commander';
import { printReport, toJson } from './demo/demo-report.ts';
import { DEFAULT_TRANSPORT, DEMO_TRANSPORTS, type DemoTransport } from './demo/demo-transport.ts';
import { runDemo } from './demo/run-demo.ts';
import { CommandError, ExitCode } from './exit.ts';
import { createProgress } from './progress.ts';
import { wholeNumber } from './quantity.ts';

/** PFNs of one transfer: what the storage device takes in one request (1 MiB). */
const MAX_PFNS = 256;

interface DemoCommandOptions {
  readonly write: boolean;
  readonly depth: number;
  readonly pfns: number;
  readonly transport: DemoTransport;
  readonly json: boolean;
}

export function demoCommand(): Command {
  return new Command('demo')
    .description('read a whole disk over VMBus by page frame numbers, and show what travelled')
    .argument('[FILE]', 'the disk; never written to', process.execPath)
    .option('--write', 'also write a pattern to a scratch copy, read it back and compare', false)
    .option('--depth <count>', 'transfers under way at once', wholeNumber(1, 256), 32)
    .option('--pfns <count>', 'pages per transfer', wholeNumber(1, MAX_PFNS), MAX_PFNS)
    .addOption(
      new Option('--transport <kind>', 'between host and guest: two processes, two threads, or one event loop')
        .choices(DEMO_TRANSPORTS)
        .default(DEFAULT_TRANSPORT),
    )
    .option('--json', 'print one JSON object', false)
    .addHelpText('before', 'Example: vmbus demo --depth 8 --pfns 64\n')
    .action(demo);
}

async function demo(file: string, options: DemoCommandOptions): Promise<void> {
  const progress = createProgress('reading', !options.json);
  const report = await runDemo({
    file,
    writes: options.write,
    outstanding: options.depth,
    pagesPerTransfer: options.pfns,
    transport: options.transport,
    onProgress: progress.show,
  }).finally(progress.stop);

  if (report.paddingBytes > 0) {
    process.stderr.write(
      `vmbus: note: ${file} ends inside a block; the disk shows ${report.paddingBytes} zero bytes behind it\n`,
    );
  }
  process.stdout.write(options.json ? `${JSON.stringify(toJson(report), undefined, 2)}\n` : printReport(report));
  if (report.sha256.file !== report.sha256.disk) {
    throw new CommandError(ExitCode.Failed, 'the disk read back other bytes than the file holds');
  }
  if (report.write?.matches === false) {
    throw new CommandError(ExitCode.Failed, 'the scratch copy read back other bytes than were written');
  }
}
