/** What a scenario is: a guest's job, the machine it runs on, and what the host end does meanwhile. */
import type { BootOptions, VirtualMachine, VirtualMachineExit } from '../../../src/transports/kvm/index.ts';

export type Scenario = MachineScenario | ProcessScenario;

export interface MachineScenario {
  /** File name of its results. */
  readonly name: string;
  /** The guest's shell script, `jobs/<job>.sh`. */
  readonly job: string;
  readonly cpus?: number;
  readonly onReset?: BootOptions['onReset'];
  /** False: the kernel gets no console, so that only what a job prints is seen. Default true. */
  readonly hasKernelLog?: boolean;
  /** Prepares this run's host end. */
  readonly prepare: (context: ScenarioContext) => PreparedScenario | Promise<PreparedScenario>;
}

/** One that boots no machine in this process. */
export interface ProcessScenario {
  readonly name: string;
  readonly run: (context: ScenarioContext) => Promise<void>;
}

export interface ScenarioContext {
  /** Empty folder for this scenario's files; what is left in it is part of the results. */
  readonly folder: string;
  /** The disk image of the plan, not to be changed. */
  readonly diskImage: string;
  /** The plan's file, for a process of one's own. */
  readonly planFile: string;
  /** A line of the report, for what the console does not show. */
  note(text: string): void;
}

export interface PreparedScenario {
  readonly attach?: BootOptions['attach'];
  /** Console output as it comes. */
  console?(line: string, machine: VirtualMachine): void;
  /** After the machine ended: closes what `prepare` opened. */
  finish?(): void | Promise<void>;
}

/** Written beside the console log. */
export interface ScenarioResult {
  readonly exit: VirtualMachineExit | undefined;
  /** Why it could not run at all. */
  readonly error: string | undefined;
  readonly notes: readonly string[];
  readonly milliseconds: number;
  /** Descriptors of KVM that this process still has afterwards; none, if all is well. */
  readonly kvmDescriptorsLeft: readonly string[];
  /** Threads of this process, before and after. */
  readonly threads: readonly [number, number];
}
