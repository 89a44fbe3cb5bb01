/** Runs the command line as a person does: a process of its own, what it printed, how it ended. */
import { spawn } from 'node:child_process';
import { type Compiled, compile } from '../soak/compiled.ts';

export interface CliRun {
  readonly exitCode: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

const CLI_ENTRY = 'src/cli/main.ts';

/** Compiles the command line for one test file; what it starts by URL is an entry of its own. */
export function compileCli(): Compiled {
  return compile([CLI_ENTRY, 'src/cli/demo/host-worker.ts']);
}

export function cliPath(compiled: Compiled): string {
  return compiled.pathOf(CLI_ENTRY);
}

/** @param environment variables beside, or instead of, this process's own */
export function runCli(
  compiled: Compiled,
  args: readonly string[],
  environment: NodeJS.ProcessEnv = {},
): Promise<CliRun> {
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, [cliPath(compiled), ...args], {
      stdio: ['ignore', 'pipe', 'pipe'],
      env: { ...process.env, ...environment },
    });
    let stdout = '';
    let stderr = '';
    child.stdout.setEncoding('utf8').on('data', (text: string) => {
      stdout += text;
    });
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      stderr += text;
    });
    child.on('error', reject);
    child.on('close', (exitCode) => resolve({ exitCode, stdout, stderr }));
  });
}
