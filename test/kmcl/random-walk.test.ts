/**
 * 100,000 steps from seeds: legal and illegal calls at both ends, in any order, with faults of the peer.
 *
 * After each step: no more completions than sends, callbacks in legal order at legal levels, bug checks exactly where a
 * rule asks for one, and nothing thrown for what the peer did. In the end: each send completed once, nothing left.
 *
 * A seed that fails is printed with its last steps; `VMBUS_SEED=17 npx vitest run test/kmcl/random-walk.test.ts` walks it
 * again, `VMBUS_STEPS` makes walks longer or shorter, and `VMBUS_SEEDS` more or fewer. Each fifth walk has a verifier.
 */
import { expect, test } from 'vitest';
import { RandomWalk, type WalkKind } from './walk/random-walk.ts';

const KINDS: readonly WalkKind[] = ['calls', 'scribbles', 'messages'];
const SEEDS = Number(process.env['VMBUS_SEEDS'] ?? 60);
const STEPS_PER_SEED = Number(process.env['VMBUS_STEPS'] ?? 1700);
const onlySeed = process.env['VMBUS_SEED'];
const seeds = onlySeed === undefined ? Array.from({ length: SEEDS }, (_, index) => index + 1) : [Number(onlySeed)];

const kindOf = (seed: number): WalkKind => KINDS[seed % KINDS.length] as WalkKind;

test.each(seeds.map((seed) => [seed, kindOf(seed)] as const))(
  'seed %i (%s): each send completes once, callbacks come in order, nothing is left',
  async (seed, kind) => {
    const walk = new RandomWalk(seed, kind, seed % 5 === 0);

    const failure = await walk.walk(STEPS_PER_SEED).then(
      () => '',
      (error: unknown) => {
        const command = `VMBUS_SEED=${seed} npx vitest run test/kmcl/random-walk.test.ts`;
        const story = error instanceof Error ? error.stack : String(error);
        return `${story}\nlast steps: ${walk.latest.join(', ')}\nagain: ${command}`;
      },
    );

    expect(failure).toBe('');
  },
);
