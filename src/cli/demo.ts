/** `vmbus demo`: the first five minutes. */
import { SingleBar } from 'cli-progress';
import { Command } from 'commander';
import { printReport, toJson } from './demo/demo-report.ts';
import { runDemo } from './demo/run-demo.ts';
import { CommandError, ExitCode } from './exit.ts';
import { formatBytes, wholeNumber } from './quantity.ts';

/** PFNs of one transfer: what the storage device takes in one request (1 MiB). */
const MAX_PFNS = 256;

interface DemoCommandOptions {
  readonly write: boolean;
  readonly depth: number;
  readonly pfns: number;
  readonly json: boolean;
}

export function demoCommand(): Command {
  return new Command('demo')
    .description('read a whole disk over VMBus by page frame numbers, and show what travelled')
    .argument('[FILE]', 'the disk; never written to', process.execPath)
    .option('--write', 'also write a pattern to a scratch copy, read it back and compare', false)
    .option('--depth <count>', 'transfers under way at once', wholeNumber(1, 256), 32)
    .option('--pfns <count>', 'pages per transfer', wholeNumber(1, MAX_PFNS), MAX_PFNS)
    .option('--json', 'print one JSON object', false)
    .addHelpText('before', 'Example: vmbus demo --depth 8 --pfns 64\n')
    .action(async (file: string, options: DemoCommandOptions) => await demo(file, options));
}

async function demo(file: string, options: DemoCommandOptions): Promise<void> {
  const progress = process.stderr.isTTY && !options.json ? progressBar() : undefined;
  const report = await runDemo({
    file,
    writes: options.write,
    outstanding: options.depth,
    pagesPerTransfer: options.pfns,
    ...(progress === undefined ? {} : { onProgress: progress.show }),
  }).finally(() => progress?.stop());

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

function progressBar(): { show: (bytes: number, totalBytes: number) => void; stop: () => void } {
  const bar = new SingleBar({
    format: 'reading {bar} {percentage}%  {done} of {all}',
    stream: process.stderr,
    clearOnComplete: true,
    hideCursor: true,
  });
  let isStarted = false;
  return {
    show(bytes, totalBytes) {
      const payload = { done: formatBytes(bytes), all: formatBytes(totalBytes) };
      if (!isStarted) bar.start(totalBytes, bytes, payload);
      else bar.update(bytes, payload);
      isStarted = true;
    },
    stop: () => bar.stop(),
  };
}
