/** The guest's kernel dies: once without a console for its log, so that only the crash registers tell, and once without
 * the bus, so that only the console does. */
import { noteBus } from './host-end.ts';
import type { Scenario } from './scenario.ts';

export const panic: Scenario = {
  name: 'panic',
  job: 'panic',
  hasKernelLog: false,
  prepare: (context) => ({ attach: (environment) => noteBus(environment, context) }),
};

export const panicWithoutBus: Scenario = { name: 'panic-without-bus', job: 'panic-without-bus', prepare: () => ({}) };
