/** The whole command line as a value: every subcommand, and what they share. */
import { readFileSync } from 'node:fs';
import { Command, CommanderError } from 'commander';
import { actionFirst, attachCommand } from './attach.ts';
import { bootCommand } from './boot.ts';
import { demoCommand } from './demo.ts';
import { doctorCommand } from './doctor.ts';
import { ExitCode, exitCodeOf, explain } from './exit.ts';
import { lsCommand } from './ls.ts';
import { serveCommand } from './serve.ts';

/** @throws what a command throws when it is run, and CommanderError for usage, help and version */
export function createProgram(): Command {
  const program = new Command('vmbus')
    .description("Hyper-V's VMBus in user space: hosts, guests, devices and what travels between them")
    .version(packageVersion())
    .addHelpText('before', 'Example: vmbus demo --depth 8\n')
    .exitOverride();
  const commands = [demoCommand(), serveCommand(), attachCommand(), lsCommand(), bootCommand(), doctorCommand()];
  for (const command of commands) program.addCommand(throwing(command));
  return program;
}

/** Runs one command line. @returns the exit code; nothing is thrown */
export async function run(args: readonly string[]): Promise<number> {
  try {
    await createProgram().parseAsync(actionFirst(args), { from: 'user' });
    return ExitCode.Fine;
  } catch (error) {
    // Commander has already said what is wrong with the usage; help and version end here too, with code 0.
    if (error instanceof CommanderError) return error.exitCode === 0 ? ExitCode.Fine : ExitCode.WrongUsage;
    process.stderr.write(`vmbus: ${explain(error)}\n`);
    return exitCodeOf(error);
  }
}

/** A command and all below it throw instead of ending the process. */
function throwing(command: Command): Command {
  for (const inner of command.commands) throwing(inner);
  return command.exitOverride();
}

function packageVersion(): string {
  const text = readFileSync(new URL(import.meta.resolve('vmbus/package.json')), 'utf8');
  return (JSON.parse(text) as { version: string }).version;
}
