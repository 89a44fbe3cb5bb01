/**
 * Kills one end at a random moment under load, again and again, and looks at what the survivor is left with.
 *
 * The survivor is this process. As a host it outlives every guest and serves one steady guest all the time; as a guest
 * it attaches to one host after the other at the same path.
 */
import { type ChildProcess, fork } from 'node:child_process';
import { connectShm, listenShm } from '../../src/transports/shm/index.ts';
import { type Load, startGuestLoad, startHostLoad } from './load.ts';

export interface KillOptions {
  readonly url: string;
  /** The compiled `peers/kill-guest.ts` or `peers/kill-host.ts`. */
  readonly victimPath: string;
  readonly rounds: number;
  readonly seed: number;
  /** Called after each round, for a progress line. */
  readonly onRound?: (round: number) => void;
}

/** What the survivor saw of one round. */
export interface KillRound {
  /** Transactions that the survivor had begun. */
  readonly started: number;
  /** How many of them were under way when it heard of the death. */
  readonly failed: number;
  readonly underWayAtTheEnd: number;
  readonly doubled: number;
  /** From the kill until the survivor heard of it, milliseconds. */
  readonly noticedMs: number;
}

/** The steady guest shall notice if it is not served, not keep the processor busy. */
const STEADY_PAUSE_MS = 2;

/** Kills guests of this host. @returns what the host saw, and how much its steady guest got done meanwhile */
export async function killGuests(options: KillOptions): Promise<{ rounds: KillRound[]; steadyCompletions: number }> {
  const random = randomFrom(options.seed);
  const rounds: KillRound[] = [];
  let victim: ChildProcess | undefined;
  let afterPackets = 0;
  let arrived: (end: Promise<KillRound>) => void = () => {};
  let isSteady = true;
  const listener = await listenShm(options.url, {
    onGuest: ({ environment }) => {
      if (isSteady) {
        // The first guest is this process itself.
        const load = startHostLoad(environment, { pauseMs: STEADY_PAUSE_MS });
        void load.lost.then(() => load.stop());
        return;
      }
      let killedMs = 0;
      let left = afterPackets;
      const strike = (): void => {
        if (left-- !== 0) return;
        killedMs = performance.now();
        victim?.kill('SIGKILL');
      };
      const load = startHostLoad(environment, { onProgress: strike });
      strike();
      arrived(load.lost.then(() => settle(load, performance.now() - killedMs)));
    },
  });
  const connection = await connectShm(options.url, { pageCount: 1024 });
  const steady = await startGuestLoad(connection.environment, { pauseMs: STEADY_PAUSE_MS });
  isSteady = false;
  for (let round = 0; round < options.rounds; round++) {
    afterPackets = killPoint(random);
    const end = new Promise<Promise<KillRound>>((resolve) => {
      arrived = resolve;
    });
    victim = fork(options.victimPath, [options.url]);
    rounds.push(await await end);
    options.onRound?.(round);
  }
  const steadyCompletions = steady.ledger.succeeded;
  await steady.stop();
  connection.close();
  await listener.close();
  return { rounds, steadyCompletions };
}

/** Kills the host of this guest, then attaches to a new one at the same path. */
export async function killHosts(options: KillOptions): Promise<KillRound[]> {
  const random = randomFrom(options.seed);
  const rounds: KillRound[] = [];
  for (let round = 0; round < options.rounds; round++) {
    const victim = fork(options.victimPath, [options.url]);
    const failure = dies(victim);
    await Promise.race([new Promise((resolve) => victim.once('message', resolve)), failure]);
    const connection = await connectShm(options.url, { pageCount: 1024 });
    let left = killPoint(random);
    let killedMs = 0;
    const strike = (): void => {
      if (left-- !== 0) return;
      killedMs = performance.now();
      victim.kill('SIGKILL');
    };
    const load = await startGuestLoad(connection.environment, { onProgress: strike });
    strike();
    await Promise.race([load.lost, failure]);
    rounds.push(await settle(load, performance.now() - killedMs));
    options.onRound?.(round);
  }
  return rounds;
}

/** Never resolves; rejects if the victim ends by itself, before we killed it. */
function dies(victim: ChildProcess): Promise<never> {
  return new Promise((_resolve, reject) => {
    victim.once('exit', (code, signal) => {
      if (signal !== 'SIGKILL') reject(new Error(`the victim ended by itself with ${code ?? signal}`));
    });
  });
}

async function settle(load: Load, noticedMs: number): Promise<KillRound> {
  await load.stop();
  const { started, failed, underWay, doubled } = load.ledger;
  return { started, failed, underWayAtTheEnd: underWay, doubled, noticedMs };
}

/** After how many packets and completions to kill: often in the first moments, sometimes at full speed. */
function killPoint(random: () => number): number {
  return Math.floor(10 ** (random() * 4)) - 1;
}

/** xorshift32, as in `exchange.ts`; numbers from 0 to 1. */
function randomFrom(seed: number): () => number {
  let state = seed | 1;
  return () => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return (state >>> 0) / 2 ** 32;
  };
}
