#!/usr/bin/env node
/** The `vmbus` command: one file per subcommand, and here only what they share. */
import { readFileSync } from 'node:fs';
import { Command, CommanderError } from 'commander';
import { demoCommand } from './demo.ts';
import { ExitCode, exitCodeOf, explain } from './exit.ts';

const { version } = JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8')) as {
  version: string;
};

/** The whole command line. @throws what a command throws, and CommanderError for usage, help and version */
export function createProgram(): Command {
  return new Command('vmbus')
    .description("Hyper-V's VMBus in user space: hosts, guests, devices and what travels between them")
    .version(version)
    .addHelpText('before', 'Example: vmbus demo --depth 8\n')
    .configureHelp({ showGlobalOptions: true })
    .exitOverride()
    .addCommand(demoCommand());
}

/** Runs one command line. @returns the exit code; nothing is thrown */
export async function main(args: readonly string[]): Promise<ExitCode> {
  const program = createProgram();
  for (const command of program.commands) command.exitOverride();
  try {
    await program.parseAsync(args, { from: 'user' });
    return ExitCode.Fine;
  } catch (error) {
    // Commander has already said what is wrong with the usage; help and version end here too, with code 0.
    if (error instanceof CommanderError) return error.exitCode === 0 ? ExitCode.Fine : ExitCode.WrongUsage;
    process.stderr.write(`vmbus: ${explain(error)}\n`);
    return exitCodeOf(error);
  }
}

// A reader that went away (`vmbus … | head`) is no fault of ours and wants no more output.
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code === 'EPIPE') process.exit(ExitCode.Fine);
  throw error;
});

process.exitCode = await main(process.argv.slice(2));
