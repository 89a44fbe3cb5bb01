import fc from 'fast-check';
import { expect, test } from 'vitest';
import { TextWatch } from '../../../src/transports/kvm/text-watch.ts';

const bytes = (text: string): Uint8Array => new TextEncoder().encode(text);

test('a text is found where it ends', () => {
  expect(new TextWatch('login:').push(bytes('host login: '))).toBe(11);
});

test('a text is found however the stream was cut', () => {
  const watch = new TextWatch('abcabd');

  expect([watch.push(bytes('abca')), watch.push(bytes('bcab')), watch.push(bytes('d'))]).toEqual([-1, -1, 1]);
});

test('a text is found exactly when the stream contains it', () => {
  const letters = fc.string({ unit: fc.constantFrom('a', 'b'), minLength: 0, maxLength: 40 });
  const wanted = fc.string({ unit: fc.constantFrom('a', 'b'), minLength: 1, maxLength: 6 });
  fc.assert(
    fc.property(wanted, fc.array(letters, { maxLength: 6 }), (text, parts) => {
      const watch = new TextWatch(text);
      let consumed = 0;
      let foundAt = -1;
      for (const part of parts) {
        const at = foundAt < 0 ? watch.push(bytes(part)) : -1;
        if (at >= 0) foundAt = consumed + at;
        consumed += part.length;
      }

      const index = parts.join('').indexOf(text);
      expect(foundAt).toBe(index < 0 ? -1 : index + text.length);
    }),
  );
});
