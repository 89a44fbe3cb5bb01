import { describe, expect, test } from 'vitest';
import { PanicWatch } from '../../../src/transports/kvm/panic-watch.ts';

const bytes = (text: string): Uint8Array => new TextEncoder().encode(text);

describe('a panic on the console', () => {
  test.each([
    ['with a time stamp', '[    1.234567] Kernel panic - not syncing: sysrq triggered crash\r\n'],
    ['with a time stamp and a processor', '[    1.234567][   T31] Kernel panic - not syncing: sysrq triggered crash\n'],
    ['bare', 'Kernel panic - not syncing: sysrq triggered crash\n'],
  ])('%s is reported with its reason', (_, line) => {
    const watch = new PanicWatch();

    expect(watch.console(bytes(`something else\n${line}`))).toBe(true);

    expect(watch.report).toBe('sysrq triggered crash');
  });

  test('is seen though its line comes byte by byte', () => {
    const watch = new PanicWatch();

    for (const byte of bytes('[ 1.0] Kernel panic - not syncing: x\n')) watch.console(Uint8Array.of(byte));

    expect(watch.report).toBe('x');
  });

  test.each([
    '$ echo Kernel panic - not syncing: joke\n',
    'Kernel panic - not syncing: no end of line',
    'all is well\n',
  ])('is not %j', (text) => {
    const watch = new PanicWatch();

    expect(watch.console(bytes(text))).toBe(false);
  });

  test('is the first one, and a console without line ends takes no memory', () => {
    const watch = new PanicWatch();
    for (let count = 0; count < 1000; count++) watch.console(new Uint8Array(1000).fill(65));
    watch.console(bytes('\nKernel panic - not syncing: first\nKernel panic - not syncing: second\n'));

    expect(watch.report).toBe('first');
  });
});

describe('a panic in the crash registers', () => {
  test('is reported in the words of the guest', () => {
    const watch = new PanicWatch();

    watch.registers([1n, 2n, 3n, 4n, 5n], '<0>[ 1.0] Kernel panic - not syncing: out of memory\n<4> more');

    expect(watch.report).toBe('out of memory');
  });

  test('without words is reported as numbers', () => {
    const watch = new PanicWatch();

    watch.registers([0xen, 0x8100n, 0n, 0n, 0n], undefined);

    expect(watch.report).toBe('crash registers 0xe 0x8100 0x0 0x0 0x0');
  });
});
