/**
 * Processes that leave while their machine runs, each in its own way: what they had must go with them, and soon.
 */
import { spawn } from 'node:child_process';
import { existsSync, readdirSync, readlinkSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import type { Scenario, ScenarioContext } from './scenario.ts';

/** How the process leaves, and what its parent sees of that. */
export const WAYS_TO_LEAVE = ['exit', 'throw', 'return', 'SIGINT', 'SIGTERM', 'SIGKILL'] as const;
export type WayToLeave = (typeof WAYS_TO_LEAVE)[number];

export const abandon: Scenario = {
  name: 'abandon',
  run: async (context) => {
    for (const way of WAYS_TO_LEAVE) await leave(context, way);
    context.note(`processes with KVM open: ${kvmUsers()}`);
  },
};

async function leave(context: ScenarioContext, way: WayToLeave): Promise<void> {
  const script = fileURLToPath(new URL('./abandon-child.js', import.meta.url));
  const child = spawn(process.execPath, [script, context.planFile, way], { stdio: ['ignore', 'pipe', 'ignore'] });
  let output = '';
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    output += text;
    // The guest runs by now; a signal is the child's parent's to send.
    if (way.startsWith('SIG') && output.includes('running')) child.kill(way as NodeJS.Signals);
  });
  const [code, signal] = await new Promise<[number | null, string | null]>((resolve) => {
    child.once('exit', (...ending) => resolve(ending));
  });
  context.note(
    `${way}: ${signal ?? `status ${code}`}, ${output.includes('running') ? 'while the guest ran' : 'too early'}`,
  );
}

/** Processes that hold a descriptor of KVM. */
function kvmUsers(): number {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name) && existsSync(`/proc/${name}/fd`))
    .filter((pid) => descriptors(pid).some((target) => target.includes('kvm'))).length;
}

function descriptors(pid: string): string[] {
  try {
    return readdirSync(`/proc/${pid}/fd`).map((fd) => readlinkSync(`/proc/${pid}/fd/${fd}`));
  } catch {
    return []; // It ended while we looked.
  }
}
