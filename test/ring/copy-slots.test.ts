import { expect, test } from 'vitest';
import { copyFloats, copySlots, copyWords, delicateSlots } from '../../src/ring/copy-slots.ts';

const PATTERNS = Uint32Array.from([...delicateSlots()].flat());
const SLOTS = PATTERNS.length / 2;

test('NaNs of every kind keep their bits, also once the loop is compiled', () => {
  const target = new Uint32Array(PATTERNS.length);
  const [from, to] = [new Float64Array(PATTERNS.buffer), new Float64Array(target.buffer)];
  const [fromWords, toWords] = [new Int32Array(PATTERNS.buffer), new Int32Array(target.buffer)];
  const changed = new Set<number>();

  // Some hundred thousand slots: more than V8 needs to compile the loop twice.
  for (let round = 0; round < 5000; round++) {
    target.fill(0);
    copySlots(to, toWords, 0, from, fromWords, 0, SLOTS);
    if (Buffer.compare(Buffer.from(target.buffer), Buffer.from(PATTERNS.buffer)) !== 0) changed.add(round);
  }

  expect([...changed]).toEqual([]);
});

test.each([0, 1, 2, 3, 4, 5, 7, 8, 9, 31])('%i slots move to where they should, in floats and in words', (count) => {
  const source = Float64Array.from({ length: 40 }, (_, index) => index + 1);
  const [floats, words] = [new Float64Array(40), new Float64Array(40)];

  copyFloats(floats, 5, source, 3, count);
  copyWords(new Int32Array(words.buffer), 10, new Int32Array(source.buffer), 6, count * 2);

  const expected = Float64Array.from({ length: 40 }, (_, index) => (index >= 5 && index < 5 + count ? index - 1 : 0));
  expect(floats).toEqual(expected);
  expect(words).toEqual(expected);
});
