import { test } from 'vitest';
import { runGuests } from './guest-run.ts';

test('try', async () => {
  const run = await runGuests({
    series: process.env['SERIES'] ?? '6.1',
    scenarios: (process.env['SCEN'] ?? 'bare').split(','),
    timeoutMs: 120_000,
  });
  for (const s of (process.env['SCEN'] ?? 'bare').split(',')) {
    process.stdout.write(run.console(s) + JSON.stringify(run.result(s), null, 1) + '\n');
  }
}, 900_000);
