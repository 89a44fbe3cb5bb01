/** No bus at all: the machine itself, with four processors, and somebody at its console. */
import type { Scenario } from './scenario.ts';

export const bareFour: Scenario = {
  name: 'bare-four',
  job: 'bare',
  cpus: 4,
  prepare: () => ({
    console: (line, machine) => {
      if (line.includes('GUEST: say something')) machine.type(new TextEncoder().encode('typed at the console\r'));
    },
  }),
};
