/** No bus at all: the machine itself, with one processor and with four. */
import type { Scenario } from './scenario.ts';

export const bare: Scenario = { name: 'bare', job: 'bare', prepare: () => ({}) };
export const bareFour: Scenario = { name: 'bare-four', job: 'bare', cpus: 4, prepare: () => ({}) };
