import fc from 'fast-check';
import { expect, test } from 'vitest';
import { MemoryBackend } from '../../../src/devices/scsi/memory-backend.ts';
import { type FaultRule, parseFaultRule } from '../../../src/images/faults/fault-rule.ts';
import { FaultyBackend, type FaultyBackendOptions } from '../../../src/images/faults/faulty-backend.ts';
import { seededRandom } from '../../../src/images/faults/random.ts';
import { FlatImage } from '../../../src/images/flat-image.ts';
import { ScatterView } from '../../../src/memory/scatter-view.ts';
import { readAll } from '../disk-model.ts';
import { JournalFile } from '../journal-file.ts';

const BLOCKS = 64;

function someFaulty(rules: readonly FaultRule[], options: FaultyBackendOptions = {}) {
  return new FaultyBackend(new MemoryBackend(new Uint8Array(BLOCKS * 512).fill(1)), rules, options);
}

const block = (fill: number, blocks = 1) => ScatterView.over([new Uint8Array(blocks * 512).fill(fill)]);

test('without rules it is the store that it wraps', async () => {
  const disk = someFaulty([]);

  await disk.write(512, block(2), false);
  await disk.writeZeroes(1024, 512, true, false);
  await disk.discard(0, 512);
  await disk.flush();

  const bytes = await readAll(disk);
  expect([bytes[0], bytes[512], bytes[1024], bytes[1536]]).toEqual([0, 2, 0, 1]);
  expect(disk).toMatchObject({ discardGranularityBytes: 0, discardReadsZeros: true, sizeBytes: BLOCKS * 512 });
});

test('discards reach a store that knows them', async () => {
  const file = new JournalFile(new Uint8Array(BLOCKS * 512).fill(1));
  const inner = new FlatImage(file, { dataBytes: BLOCKS * 512, blockBytes: 512, identity: 'x' });
  const disk = new FaultyBackend(inner, [{ what: 'error', on: 'discard', every: 2 }]);

  await disk.discard(0, 512);
  await expect(disk.discard(512, 512)).rejects.toMatchObject({ fault: 'write' });

  const bytes = await readAll(disk);
  expect([bytes[0], bytes[512]]).toEqual([0, 1]);
  expect(disk.discardGranularityBytes).toBe(4096);
});

test('every third write fails, and stores nothing', async () => {
  const disk = someFaulty([{ what: 'error', on: 'write', every: 3, fault: 'no space' }]);
  const outcomes: string[] = [];

  for (let index = 0; index < 7; index++) {
    const outcome = disk.write(index * 512, block(9), false).then(
      () => 'ok',
      (error: { fault: string }) => error.fault,
    );
    outcomes.push(await outcome);
  }

  expect(outcomes).toEqual(['ok', 'ok', 'no space', 'ok', 'ok', 'no space', 'ok']);
  const bytes = await readAll(disk);
  expect([bytes[512], bytes[1024], bytes[5 * 512]]).toEqual([9, 1, 1]);
});

test('a rule may be about some bytes, and end after some times', async () => {
  const disk = someFaulty([{ what: 'error', on: 'read', fromBytes: 1024, toBytes: 2048, times: 2 }]);
  const read = (at: number) =>
    disk
      .read(at, block(0))
      .then(() => 'ok')
      .catch(() => 'failed');

  const outcomes = [await read(512), await read(1024), await read(2048), await read(1536), await read(1024)];

  expect(outcomes).toEqual(['ok', 'failed', 'ok', 'failed', 'ok']);
});

test('a flush and a read fail as such', async () => {
  const disk = someFaulty([{ what: 'error' }]);

  await expect(disk.flush()).rejects.toMatchObject({ fault: 'write' });
  await expect(disk.read(0, block(0))).rejects.toMatchObject({ fault: 'read' });
});

test('a torn write stores some blocks, never all, and fails; a silent one says nothing', async () => {
  await fc.assert(
    fc.asyncProperty(fc.nat(), fc.integer({ min: 1, max: BLOCKS }), fc.boolean(), async (seed, blocks, silent) => {
      const disk = someFaulty([{ what: 'torn', silent }], { seed });

      const outcome = await disk.write(0, block(2, blocks), false).then(
        () => 'ok',
        () => 'failed',
      );

      const bytes = await readAll(disk);
      const stored = Array.from({ length: BLOCKS }, (_, index) => bytes.subarray(index * 512, (index + 1) * 512));
      expect(stored.every((one) => one.every((byte) => byte === one[0]))).toBe(true);
      expect(stored.slice(0, blocks).some((one) => one[0] === 1)).toBe(true);
      expect(stored.slice(blocks).every((one) => one[0] === 1)).toBe(true);
      expect(outcome).toBe(silent ? 'ok' : 'failed');
    }),
  );
});

test('zeros can be torn too', async () => {
  const disk = someFaulty([{ what: 'torn' }]);

  await expect(disk.writeZeroes(0, BLOCKS * 512, true, false)).rejects.toThrow('is torn by rule');

  expect(new Set(await readAll(disk))).toEqual(new Set([0, 1]));
});

test('delays are asked for, and come before the call', async () => {
  const waits: number[] = [];
  const delay = async (delayMs: number) => {
    waits.push(delayMs);
  };
  const disk = someFaulty(
    [
      { what: 'delay', delayMs: 30 },
      { what: 'delay', on: 'read' },
    ],
    { delay },
  );

  await disk.read(0, block(0));
  await disk.flush();

  expect(waits).toEqual([30, 100, 30]);
});

test('the same seed brings the same faults', async () => {
  const run = async (seed: number) => {
    const faults: number[] = [];
    const onFault = (_rule: FaultRule, _call: string, at: number) => faults.push(at);
    const disk = someFaulty([{ what: 'error', probability: 0.3 }], { seed, onFault });
    for (let index = 0; index < BLOCKS; index++) await disk.read(index * 512, block(0)).catch(() => undefined);
    return faults;
  };

  const first = await run(7);

  expect(first).toEqual(await run(7));
  expect(first).not.toEqual(await run(8));
  expect(first.length).toBeGreaterThan(5);
  expect(first.length).toBeLessThan(40);
});

test('random numbers are spread over 0 to 1', () => {
  const random = seededRandom(3);

  const drawn = Array.from({ length: 10_000 }, () => Math.floor(random() * 10));

  for (let tenth = 0; tenth < 10; tenth++) {
    const count = drawn.filter((one) => one === tenth).length;
    expect(Math.abs(count - 1000)).toBeLessThan(150);
  }
});

test.each<[text: string, rule: FaultRule]>([
  ['error', { what: 'error' }],
  ['error:on=read,every=100', { what: 'error', on: 'read', every: 100 }],
  ['torn:probability=0.01,silent', { what: 'torn', probability: 0.01, silent: true }],
  ['error:on=write,fault=no space,times=3', { what: 'error', on: 'write', fault: 'no space', times: 3 }],
  ['delay:delayMs=250,fromBytes=512,toBytes=1024', { what: 'delay', delayMs: 250, fromBytes: 512, toBytes: 1024 }],
])('the rule %s is understood', (text, rule) => {
  expect(parseFaultRule(text)).toEqual(rule);
});

test.each([
  '',
  'explode',
  'error:on=erase',
  'error:every=0',
  'error:every=x',
  'error:times=1.5',
  'error:probability=2',
  'error:fromBytes=-1',
  'error:fault=rust',
  'error:what=torn',
  'error:every',
  'torn:on=read',
  'delay:delayMs=1e99',
  'error:silent=maybe',
])('the rule %s is refused', (text) => {
  expect(() => parseFaultRule(text)).toThrow(expect.objectContaining({ code: 'ERR_ARGUMENT' }));
});
