/** Every scenario, in the order in which they run. */
import { bare } from './bare.ts';
import type { Scenario } from './scenario.ts';

export const SCENARIOS: readonly Scenario[] = [bare];
