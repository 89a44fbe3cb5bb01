/** Every scenario, in the order in which they run. */
import { abandon } from './abandon.ts';
import { bareFour } from './bare.ts';
import { commandLine } from './command-line.ts';
import { customDevice } from './custom-device.ts';
import { disk, diskTwo } from './disk.ts';
import { hotPlug } from './hot-plug.ts';
import { hotUnit } from './hot-unit.ts';
import { panic, panicWithoutBus } from './panic.ts';
import { reboot } from './reboot.ts';
import { rescind } from './rescind.ts';
import type { Scenario } from './scenario.ts';
import { stop } from './stop.ts';
import { versions } from './versions.ts';

export const SCENARIOS: readonly Scenario[] = [
  bareFour,
  versions,
  disk,
  diskTwo,
  hotPlug,
  hotUnit,
  customDevice,
  rescind,
  reboot,
  panic,
  panicWithoutBus,
  stop,
  abandon,
  commandLine,
];
