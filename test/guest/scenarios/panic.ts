/** The guest's kernel dies: with the bus, so that the crash registers tell, and without, so that only the console does. */
import { noteBus } from './host-end.ts';
import type { Scenario } from './scenario.ts';

export const panic: Scenario = {
  name: 'panic',
  job: 'panic',
  prepare: (context) => ({ attach: (environment) => noteBus(environment, context) }),
};

export const panicWithoutBus: Scenario = { name: 'panic-without-bus', job: 'panic-without-bus', prepare: () => ({}) };
