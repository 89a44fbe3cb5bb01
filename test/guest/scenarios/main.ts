/**
 * Runs scenarios one after another with the installed package, and leaves a folder of results for each: the guest's
 * console, what the host end noted, how the machine ended, and whether anything of it is left.
 *
 * Usage: node main.js PLAN RESULTS
 */
import { closeSync, mkdirSync, openSync, readdirSync, readlinkSync, writeFileSync, writeSync } from 'node:fs';
import { stat } from 'node:fs/promises';
import { join } from 'node:path';
import { bootVirtualMachine, type VirtualMachine, type VirtualMachineExit } from '../../../src/transports/kvm/index.ts';
import { SCENARIOS } from './index.ts';
import { Notes } from './notes.ts';
import { machineOptions, readPlan } from './plan.ts';
import type { MachineScenario, Scenario, ScenarioContext, ScenarioResult } from './scenario.ts';

const [planFile = '', results = ''] = process.argv.slice(2);
const plan = readPlan(planFile);
// Starts libuv's threads, which stay: the count of threads is then the same before and after each scenario.
await stat(planFile);
for (const name of plan.scenarios) {
  const scenario = SCENARIOS.find((candidate) => candidate.name === name);
  if (scenario === undefined) throw new Error(`there is no scenario ${name}`);
  const result = await runScenario(scenario, join(results, name));
  const outcome = result.error ?? `${result.exit?.reason ?? 'done'} ${result.exit?.detail ?? ''}`;
  process.stdout.write(
    `scenario ${name}: ${outcome.split('\n')[0]} after ${(result.milliseconds / 1000).toFixed(1)} s\n`,
  );
}

async function runScenario(scenario: Scenario, folder: string): Promise<ScenarioResult> {
  mkdirSync(folder, { recursive: true });
  const notes = new Notes();
  const context: ScenarioContext = { folder, diskImage: plan.diskImage, planFile, note: (text) => notes.add(text) };
  const started = performance.now();
  const threadsBefore = threadCount();
  let exit: VirtualMachineExit | undefined;
  let error: string | undefined;
  try {
    if ('run' in scenario) await scenario.run(context);
    else exit = await bootMachine(scenario, context);
  } catch (cause) {
    error = (cause as Error).stack ?? String(cause);
  }
  const result: ScenarioResult = {
    exit,
    error,
    notes: notes.lines,
    milliseconds: Math.round(performance.now() - started),
    kvmDescriptorsLeft: kvmDescriptors(),
    threads: [threadsBefore, threadCount()],
  };
  writeFileSync(join(folder, 'result.json'), JSON.stringify(result, undefined, 2));
  return result;
}

async function bootMachine(scenario: MachineScenario, context: ScenarioContext): Promise<VirtualMachineExit> {
  const prepared = await scenario.prepare(context);
  const log = openSync(join(context.folder, 'console.log'), 'w');
  const decoder = new TextDecoder();
  let line = '';
  let machine: VirtualMachine | undefined;
  try {
    machine = await bootVirtualMachine({
      ...machineOptions(plan, scenario),
      onReset: scenario.onReset,
      attach: prepared.attach,
      console: (bytes) => {
        writeSync(log, bytes);
        const lines = (line + decoder.decode(bytes, { stream: true })).split('\n');
        line = lines.pop() ?? '';
        for (const complete of lines) {
          if (machine === undefined) continue;
          // What the machine's parts say of themselves, for whoever has to find out why.
          if (complete.includes('GUEST: gave up')) context.note(`gave up: ${JSON.stringify(machine.inspect())}`);
          prepared.console?.(complete.trimEnd(), machine);
        }
      },
    });
    return await machine.exited;
  } finally {
    await prepared.finish?.();
    closeSync(log);
  }
}

function threadCount(): number {
  return readdirSync('/proc/self/task').length;
}

/** What of KVM this process has open: the device, machines, processors. */
function kvmDescriptors(): string[] {
  return readdirSync('/proc/self/fd')
    .map((fd) => {
      try {
        return readlinkSync(`/proc/self/fd/${fd}`);
      } catch {
        return ''; // The descriptor of the listing itself is closed by now.
      }
    })
    .filter((target) => target.includes('kvm'));
}
