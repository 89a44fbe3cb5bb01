/** What a scenario is: a guest's job, the machine it runs on, and what the host end does meanwhile. */
import type { BootOptions, VirtualMachine, VirtualMachineExit } from '../../../src/transports/kvm/index.ts';

export interface Scenario {
  /** File name of its results. */
  readonly name: string;
  /** The guest's shell script, `jobs/<job>.sh`. */
  readonly job: string;
  readonly cpus?: number;
  readonly onReset?: BootOptions['onReset'];
  /** Prepares this run's host end. */
  readonly prepare: (context: ScenarioContext) => PreparedScenario | Promise<PreparedScenario>;
}

export interface ScenarioContext {
  /** Empty folder for this scenario's files; what is left in it is part of the results. */
  readonly folder: string;
  /** The disk image of the plan, not to be changed. */
  readonly diskImage: string;
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
}
