/** A few of the kills that `npm run soak` does by the hundred. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { BlockLedger, fillUnit, UNIT_BYTES } from '../soak/block-ledger.ts';
import { cutPower } from '../soak/power-cut.ts';
import { cliPath, compileCli } from './run-cli.ts';

test('a host that is killed under writes and flushes keeps all that was flushed, on raw, overlay and VHDX', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'vmbus-power-cut-'));
  const compiled = compileCli();
  try {
    const result = await cutPower({ main: cliPath(compiled), folder, rounds: 5, seed: 6 });

    expect(result).toMatchObject({ cuts: 5 });
    expect(result.writes).toBeGreaterThan(50);
    expect(result.cutOff).toBeGreaterThan(5);
    expect(result.keptUnits).toBeGreaterThan(50);
  } finally {
    compiled.remove();
    rmSync(folder, { recursive: true, force: true });
  }
}, 120_000);

/** One unit, written so often, kept so often; then what a disk shows of it. */
function ledgerWith(writes: number, kept: number): BlockLedger {
  const ledger = new BlockLedger(4, 'zeros');
  const scratch = new Uint8Array(UNIT_BYTES);
  for (let write = 1; write <= writes; write++) {
    ledger.claim(1, 1);
    ledger.beginWrite(1, 1, scratch);
    ledger.end(1, 1, false);
    if (write === kept) ledger.beginFlush()();
  }
  return ledger;
}

function unitOf(number: number, unit = 1): Uint8Array {
  const bytes = new Uint8Array(UNIT_BYTES);
  if (number > 0) fillUnit(bytes, 0, unit, number);
  return bytes;
}

test.each([
  ['the write that was flushed', unitOf(2)],
  ['a later one', unitOf(3)],
  ['some sectors of either', Uint8Array.from([...unitOf(2).subarray(0, 1024), ...unitOf(3).subarray(1024)])],
])('%s is what a disk may show', (_, bytes) => {
  expect(() => ledgerWith(3, 2).settle(1, bytes)).not.toThrow();
});

test.each([
  ['an older write', unitOf(1), /write 1, though write 2 was flushed/],
  ['zeros', unitOf(0), /zeros, though write 2 was flushed/],
  ['a write that nobody asked for', unitOf(4), /write 4, though only 3 were asked for/],
  ["another unit's bytes", unitOf(2, 3), /foreign bytes/],
  ['half a sector', Uint8Array.from([...unitOf(2).subarray(0, 300), ...unitOf(3).subarray(300)]), /torn/],
])('%s is what a disk must not show', (_, bytes, message) => {
  expect(() => ledgerWith(3, 2).settle(1, bytes)).toThrow(message);
});

test('zeros are right before any flush, and after a discard whatever was flushed before it', () => {
  const discarded = ledgerWith(3, 2);
  discarded.claim(1, 1);
  discarded.beginDiscard(1, 1);

  expect(() => ledgerWith(3, 0).settle(1, unitOf(0))).not.toThrow();
  expect(() => discarded.settle(1, unitOf(0))).not.toThrow();
});
