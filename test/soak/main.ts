/**
 * The long runs: packets across threads and processes, kills, and disks whose host is cut off. Short runs of each are
 * among the tests.
 *
 * `npm run soak`, or `npm run soak -- --packets 1e6 --kills 20 --cuts 10` for less. Exits 1 at the first thing that is wrong.
 */
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { exchangeAcrossProcesses } from './across-processes.ts';
import { exchangeAcrossWorkers } from './across-workers.ts';
import type { ExchangeResult, ExchangeShape } from './exchange.ts';
import { type KillRound, killGuests, killHosts } from './kill-rounds.ts';
import { cutPower } from './power-cut.ts';

/** How much the process may grow over all kills: garbage that was not collected yet, not a leak for each. */
const GROWTH_LIMIT_BYTES = 48 * 2 ** 20;

const { values } = parseArgs({
  options: {
    packets: { type: 'string' },
    kills: { type: 'string' },
    cuts: { type: 'string' },
    seed: { type: 'string' },
  },
});
const packetCount = Number(values.packets ?? 10_000_000);
const kills = Number(values.kills ?? 200);
const cuts = Number(values.cuts ?? 100);
const seed = Number(values.seed ?? Math.floor(Math.random() * 2 ** 31));

const peer = (name: string): URL => new URL(`./peers/${name}.js`, import.meta.url);
const say = (text: string): void => void process.stdout.write(`${text}\n`);
const directory = mkdtempSync(join(tmpdir(), 'vmbus-soak-'));
const url = `shm:${join(directory, 'private', 'host.sock')}`;

say(`seed ${seed}; repeat with: npm run soak -- --seed ${seed}`);
try {
  for (const isScattered of [false, true]) {
    const shape = { packetCount, dataPages: 4, isScattered, maxPayloadBytes: 512, seed };
    const pages = isScattered ? 'scattered pages' : 'pages in a row';
    for (const isDedicated of [false, true]) {
      const run = exchangeAcrossWorkers({ shape, isDedicated, workerUrl: peer('exchange-worker') });
      await report(`two threads, ${pages}, guest ${isDedicated ? 'blocks' : 'on its event loop'}`, shape, run);
    }
    const run = exchangeAcrossProcesses({ shape, url, guestPath: fileURLToPath(peer('exchange-process')) });
    await report(
      `two processes, ${pages}`,
      shape,
      run.then(([result]) => check(result)),
    );
  }
  await killing();
  await cutting();
} finally {
  rmSync(directory, { recursive: true, force: true });
}

async function report(
  name: string,
  shape: ExchangeShape,
  run: Promise<{ guest: ExchangeResult; host: ExchangeResult }>,
): Promise<void> {
  const startedMs = performance.now();
  const { guest, host } = await run;
  const seconds = (performance.now() - startedMs) / 1000;
  for (const { sent, received } of [guest, host]) {
    expectEqual(`${name}: packets sent`, sent, shape.packetCount);
    expectEqual(`${name}: packets received`, received, shape.packetCount);
  }
  const nsPerPacket = (seconds * 1e9) / (2 * shape.packetCount);
  say(
    `${name}: ${shape.packetCount} packets each way in ${seconds.toFixed(1)} s, ${nsPerPacket.toFixed(0)} ns each; ` +
      `${guest.signals} + ${host.signals} signals`,
  );
}

async function killing(): Promise<void> {
  const onRound = (round: number): void => {
    if (round % 20 === 19) say(`  ${round + 1} kills, ${megabytes(process.memoryUsage().rss)} MB resident`);
  };
  // The first rounds warm up: compiled code and pools stay for good.
  await killGuests({ url, victimPath: fileURLToPath(peer('kill-guest')), rounds: 5, seed });
  collect();
  const beforeBytes = process.memoryUsage().rss;
  const half = Math.ceil(kills / 2);
  const { rounds, steadyCompletions } = await killGuests({
    url,
    victimPath: fileURLToPath(peer('kill-guest')),
    rounds: half,
    seed,
    onRound,
  });
  checkKills(`${half} guests killed`, rounds);
  if (steadyCompletions === 0) throw new Error('the steady guest got nothing done');
  say(`  meanwhile the steady guest had ${steadyCompletions} transactions completed`);
  const hostKills = await killHosts({
    url,
    victimPath: fileURLToPath(peer('kill-host')),
    rounds: kills - half,
    seed: seed + 1,
    onRound,
  });
  checkKills(`${kills - half} hosts killed`, hostKills);
  // The last survivor removes what the last host left, in a few turns.
  await new Promise((resolve) => setTimeout(resolve, 1000));
  collect();
  const grownBytes = process.memoryUsage().rss - beforeBytes;
  say(`  resident memory grew by ${megabytes(grownBytes)} MB`);
  if (grownBytes > GROWTH_LIMIT_BYTES) throw new Error(`more than ${megabytes(GROWTH_LIMIT_BYTES)} MB`);
  const mapped = readFileSync('/proc/self/maps', 'utf8').match(/memfd:vmbus-guest/g) ?? [];
  expectEqual('guest memory still mapped', mapped.length, 0);
  expectEqual('files left behind', readdirSync(directory).length, 0);
}

async function cutting(): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), 'vmbus-soak-disks-'));
  try {
    const { writes, flushes, cutOff, keptUnits } = await cutPower({
      main: fileURLToPath(new URL('../../src/cli/main.js', import.meta.url)),
      folder,
      rounds: cuts,
      seed,
      onRound: (round) => {
        if (round % 20 === 19) say(`  ${round + 1} cuts`);
      },
    });
    say(
      `${cuts} hosts cut off under writes to a raw disk, an overlay and a VHDX: ${writes} writes, ${flushes} flushes, ` +
        `${cutOff} requests cut off; all that was flushed was there (${keptUnits} units of 4 KiB in the end)`,
    );
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

function checkKills(name: string, rounds: readonly KillRound[]): void {
  for (const round of rounds) {
    expectEqual(`${name}: transactions still under way`, round.underWayAtTheEnd, 0);
    expectEqual(`${name}: transactions completed twice`, round.doubled, 0);
    if (round.noticedMs > 1000) throw new Error(`${name}: noticed after ${round.noticedMs.toFixed(0)} ms`);
  }
  const noticed = rounds.map(({ noticedMs }) => noticedMs).sort((a, b) => a - b);
  const failed = rounds.reduce((sum, round) => sum + round.failed, 0);
  const started = rounds.reduce((sum, round) => sum + round.started, 0);
  say(
    `${name}: ${started} transactions, ${failed} cut off, each ended once; ` +
      `noticed after ${noticed[noticed.length >> 1]?.toFixed(1)} ms (median), ${noticed.at(-1)?.toFixed(1)} ms (worst)`,
  );
}

function collect(): void {
  globalThis.gc?.();
}

function check<T>(value: T | undefined): T {
  if (value === undefined) throw new Error('the run has no result');
  return value;
}

function expectEqual(what: string, found: number, wanted: number): void {
  if (found !== wanted) throw new Error(`${what}: ${found} instead of ${wanted}`);
}

function megabytes(bytes: number): string {
  return (bytes / 2 ** 20).toFixed(1);
}
