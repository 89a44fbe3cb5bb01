/** What `bench/main.ts` runs: one suite per file in `bench/suites/`, listed in its `index.ts`. */
import type { Row } from './report.ts';

export interface SuiteContext {
  /** True for contests that the command line asks for; a suite skips the work of the others. */
  wants(contest: string): boolean;
  /** True for a smoke run: everything runs, nothing long enough to be believed. */
  readonly isQuick: boolean;
  /** A word on what goes on, for people (stderr). */
  progress(text: string): void;
  /** Says how figures came about; printed below the table and kept in the JSON. */
  note(text: string): void;
}

export interface Suite {
  readonly name: string;
  /** What a user would feel, in a line. */
  readonly title: string;
  run(context: SuiteContext): Promise<Row[]> | Row[];
}
