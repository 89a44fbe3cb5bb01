/** No bus at all: the machine itself. */
import type { Scenario } from './scenario.ts';

export const bare: Scenario = { name: 'bare', job: 'bare', prepare: () => ({}) };
