/** Every suite, in the order they run. A new one is a file here that exports a `Suite`, and a line below. */
import type { Suite } from '../harness/suite.ts';

/** Loaded when they are wanted: one suite's layers need not even compile for another to run. */
const SUITES: Readonly<Record<string, () => Promise<Suite>>> = {
  ring: async () => (await import('./ring.ts')).ringSuite,
  threads: async () => (await import('./threads.ts')).threadsSuite,
  processes: async () => (await import('./processes.ts')).processesSuite,
  verifier: async () => (await import('./verifier.ts')).verifierSuite,
  disk: async () => (await import('./disk.ts')).diskSuite,
};

/** @param filter a suite's name for that one alone; anything else for all of them */
export async function loadSuites(filter: string): Promise<Suite[]> {
  const one = SUITES[filter];
  return await Promise.all((one === undefined ? Object.values(SUITES) : [one]).map((load) => load()));
}
