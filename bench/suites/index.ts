/** Every suite, in the order they run. A new one is a file here that exports a `Suite`, and a line below. */
import type { Suite } from '../harness/suite.ts';
import { diskSuite } from './disk.ts';
import { ringSuite } from './ring.ts';

export const SUITES: readonly Suite[] = [ringSuite, diskSuite];
