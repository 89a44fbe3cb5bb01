#!/usr/bin/env node
/** The `vmbus` executable. */
import { ExitCode } from './exit.ts';
import { run } from './program.ts';

// A reader that went away (`vmbus … | head`) is no fault of ours and wants no more output.
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code === 'EPIPE') process.exit(ExitCode.Fine);
  throw error;
});

process.exitCode = await run(process.argv.slice(2));
