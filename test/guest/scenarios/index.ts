/** Every scenario, in the order in which they run. */
import { bare, bareFour } from './bare.ts';
import { disk, diskTwo } from './disk.ts';
import type { Scenario } from './scenario.ts';
import { versions } from './versions.ts';

export const SCENARIOS: readonly Scenario[] = [bare, bareFour, versions, disk, diskTwo];
