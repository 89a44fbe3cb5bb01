/**
 * Runs scenarios one after another with the installed package, and leaves a folder of results for each: the guest's
 * console, what the host end noted, how the machine ended.
 *
 * Usage: node main.js PLAN RESULTS
 */
import { closeSync, mkdirSync, openSync, readFileSync, writeFileSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { bootVirtualMachine, type VirtualMachine, type VirtualMachineExit } from '../../../src/transports/kvm/index.ts';
import { SCENARIOS } from './index.ts';
import type { Scenario, ScenarioResult } from './scenario.ts';

export interface Plan {
  /** Paths of the guest's kernel and initial RAM disk. */
  readonly kernel: string;
  readonly initrd: string;
  /** The disk image that scenarios copy. */
  readonly diskImage: string;
  readonly scenarios: readonly string[];
  readonly timeoutMs: number;
}

const [planFile = '', results = ''] = process.argv.slice(2);
const plan = JSON.parse(readFileSync(planFile, 'utf8')) as Plan;
for (const name of plan.scenarios) {
  const scenario = SCENARIOS.find((candidate) => candidate.name === name);
  if (scenario === undefined) throw new Error(`there is no scenario ${name}`);
  const result = await runScenario(scenario, join(results, name));
  const outcome = result.error ?? `${result.exit?.reason} ${result.exit?.detail ?? ''}`;
  process.stdout.write(
    `scenario ${name}: ${outcome.split('\n')[0]} after ${(result.milliseconds / 1000).toFixed(1)} s\n`,
  );
}

async function runScenario(scenario: Scenario, folder: string): Promise<ScenarioResult> {
  mkdirSync(folder, { recursive: true });
  const log = openSync(join(folder, 'console.log'), 'w');
  const notes: string[] = [];
  const started = performance.now();
  let exit: VirtualMachineExit | undefined;
  let error: string | undefined;
  try {
    exit = await boot(scenario, folder, log, notes);
  } catch (cause) {
    error = (cause as Error).stack ?? String(cause);
  } finally {
    closeSync(log);
  }
  const result = { exit, error, notes, milliseconds: Math.round(performance.now() - started) };
  writeFileSync(join(folder, 'result.json'), JSON.stringify(result, undefined, 2));
  return result;
}

async function boot(scenario: Scenario, folder: string, log: number, notes: string[]): Promise<VirtualMachineExit> {
  const prepared = await scenario.prepare({ folder, diskImage: plan.diskImage, note: (text) => notes.push(text) });
  const decoder = new TextDecoder();
  let line = '';
  let machine: VirtualMachine | undefined;
  try {
    machine = await bootVirtualMachine({
      kernel: plan.kernel,
      initrd: plan.initrd,
      append: `console=ttyS0 quiet loglevel=6 mitigations=off random.trust_cpu=on job=${scenario.job}`,
      cpus: scenario.cpus,
      onReset: scenario.onReset,
      timeoutMs: plan.timeoutMs,
      attach: prepared.attach,
      console: (bytes) => {
        writeSync(log, bytes);
        const lines = (line + decoder.decode(bytes, { stream: true })).split('\n');
        line = lines.pop() ?? '';
        for (const complete of lines) if (machine !== undefined) prepared.console?.(complete.trimEnd(), machine);
      },
    });
    return await machine.exited;
  } finally {
    await prepared.finish?.();
  }
}
