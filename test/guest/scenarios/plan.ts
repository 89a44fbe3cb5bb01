/** What the scenarios run with. */
import { readFileSync } from 'node:fs';
import type { BootOptions } from '../../../src/transports/kvm/index.ts';
import type { MachineScenario } from './scenario.ts';

export interface Plan {
  /** Paths of the guest's kernel and initial RAM disk. */
  readonly kernel: string;
  readonly initrd: string;
  /** The disk image that scenarios copy. */
  readonly diskImage: string;
  readonly scenarios: readonly string[];
  readonly timeoutMs: number;
}

export function readPlan(file: string): Plan {
  return JSON.parse(readFileSync(file, 'utf8')) as Plan;
}

/** The machine that a scenario boots, without its host end. */
export function machineOptions(
  plan: Plan,
  scenario: Pick<MachineScenario, 'job' | 'cpus' | 'hasKernelLog'>,
): BootOptions {
  const log = scenario.hasKernelLog === false ? '' : 'console=ttyS0 ';
  return {
    kernel: plan.kernel,
    initrd: plan.initrd,
    append: `${log}quiet loglevel=6 mitigations=off random.trust_cpu=on job=${scenario.job}`,
    cpus: scenario.cpus,
    timeoutMs: plan.timeoutMs,
  };
}
