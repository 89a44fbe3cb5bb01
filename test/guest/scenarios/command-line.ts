/** The commands: `vmbus doctor`, and `vmbus boot` to the end, to an expected text, and to Ctrl-C. */
import { type ChildProcess, spawn } from 'node:child_process';
import { copyFileSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { TextWatch } from '../../../src/transports/kvm/index.ts';
import { machineOptions, readPlan } from './plan.ts';
import type { Scenario, ScenarioContext } from './scenario.ts';

export const commandLine: Scenario = {
  name: 'command-line',
  run: async (context) => {
    const doctor = await vmbus(['doctor', '--json']);
    writeFileSync(join(context.folder, 'doctor.json'), doctor.output);
    context.note(`doctor: status ${doctor.code}`);

    const image = join(context.folder, 'disk.img');
    copyFileSync(context.diskImage, image);
    const console = join(context.folder, 'console.log');
    const trace = join(context.folder, 'trace.txt');
    const disk = ['--disk', image, '--console', `file:${console}`, '--log-messages', trace, '--json'];
    const boot = await vmbus([...bootArguments(context, 'disk'), ...disk]);
    writeFileSync(join(context.folder, 'boot.json'), boot.output);
    context.note(`boot: status ${boot.code}`);
    rmSync(image);

    const expected = await vmbus([...bootArguments(context, 'bare'), '--expect', 'GUEST: job bare']);
    context.note(
      `expect: status ${expected.code}, ${expected.output.includes('GUEST: job bare') ? 'said' : 'not said'}`,
    );

    const running = new TextWatch('Linux version');
    const interrupted = await vmbus(bootArguments(context, 'bare'), (bytes, child) => {
      if (running.push(bytes) >= 0) child.kill('SIGINT');
    });
    context.note(`interrupted: status ${interrupted.code}`);
  },
};

function bootArguments(context: ScenarioContext, job: string): string[] {
  const plan = readPlan(context.planFile);
  const { append = '' } = machineOptions(plan, { job });
  const timeout = `${Math.round(plan.timeoutMs / 1000)}s`;
  return ['boot', '--kernel', plan.kernel, '--initrd', plan.initrd, '--append', append, '--timeout', timeout];
}

/** Runs the installed package's command. */
async function vmbus(
  args: readonly string[],
  watch?: (bytes: Uint8Array, child: ChildProcess) => void,
): Promise<{ code: number | null; output: string }> {
  const manifest = fileURLToPath(import.meta.resolve('vmbus/package.json'));
  const { bin } = JSON.parse(readFileSync(manifest, 'utf8')) as { bin: { vmbus: string } };
  const child = spawn(process.execPath, [join(dirname(manifest), bin.vmbus), ...args], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const chunks: Uint8Array[] = [];
  child.stdout.on('data', (bytes: Uint8Array) => {
    chunks.push(bytes);
    watch?.(bytes, child);
  });
  const code = await new Promise<number | null>((resolve, reject) => {
    child.once('error', reject);
    child.once('close', resolve);
  });
  return { code, output: Buffer.concat(chunks).toString() };
}
