import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { Uart } from '../../../../src/transports/kvm/machine/uart.ts';

const DATA = 0;
const IER = 1;
const IIR = 2;
const LCR = 3;
const MCR = 4;
const LSR = 5;
const MSR = 6;
const SCRATCH = 7;

function someUart() {
  const host = {
    interrupts: 0,
    ready: 0,
    interrupt() {
      host.interrupts++;
    },
    outputReady() {
      host.ready++;
    },
    isStopped: () => true,
  };
  return { uart: new Uart(Uart.allocate(), host), host };
}

const text = (bytes: Uint8Array): string => new TextDecoder().decode(bytes);

describe('output', () => {
  test('is what the guest writes to the data register, announced once per look', () => {
    const { uart, host } = someUart();

    for (const byte of new TextEncoder().encode('hello')) uart.write(DATA, byte);

    expect(host.ready).toBe(1);
    expect(uart.hasOutput).toBe(true);
    expect(text(uart.takeOutput())).toBe('hello');
    expect(uart.hasOutput).toBe(false);
  });

  test('that is written while the rest is taken is announced again', () => {
    // A console line stayed in the queue until the next one: the writer had looked whether the queue was empty, the
    // reader took all there was, and then the writer put its byte, announced by nobody.
    const { uart, host } = someUart();
    uart.write(DATA, 65);
    const store = Atomics.store;
    Atomics.store = ((array: Int32Array, index: number, value: number) => {
      Atomics.store = store;
      expect(text(uart.takeOutput())).toBe('A');
      return store(array, index, value);
    }) as typeof Atomics.store;
    try {
      uart.write(DATA, 66);
    } finally {
      Atomics.store = store;
    }

    expect(host.ready).toBe(2);
    expect(text(uart.takeOutput())).toBe('B');
  });

  test('finds the transmitter empty at any time', () => {
    const { uart } = someUart();
    uart.write(DATA, 1);

    expect(uart.read(LSR) & 0x60).toBe(0x60);
  });

  test('of a guest that writes on while nobody takes it is bounded', () => {
    const { uart } = someUart();

    for (let count = 0; count < 100_000; count++) uart.write(DATA, count & 0xff);

    expect(uart.takeOutput().length).toBe(65536);
  });
});

describe('the transmitter interrupt', () => {
  test('comes when it is enabled, is named once, and comes again after each byte', () => {
    const { uart, host } = someUart();

    uart.write(IER, 2);
    expect(host.interrupts).toBe(1);
    expect([uart.read(IIR), uart.read(IIR)]).toEqual([2, 1]);

    uart.write(DATA, 65);
    expect(host.interrupts).toBe(2);
    expect(uart.read(IIR)).toBe(2);
  });

  test('does not come while it is off', () => {
    const { uart, host } = someUart();

    uart.write(DATA, 65);

    expect(host.interrupts).toBe(0);
    expect(uart.read(IIR)).toBe(1);
  });
});

describe('input', () => {
  test('waits in order, shows in the line status, and interrupts if that is enabled', () => {
    const { uart, host } = someUart();
    uart.write(IER, 1);

    expect(uart.receive(Uint8Array.of(104, 105))).toBe(2);

    expect(host.interrupts).toBe(1);
    expect(uart.read(LSR) & 1).toBe(1);
    expect(uart.read(IIR)).toBe(4);
    expect([uart.read(DATA), uart.read(DATA)]).toEqual([104, 105]);
    expect(uart.read(LSR) & 1).toBe(0);
    expect([uart.read(IIR), uart.read(DATA)]).toEqual([1, 0]);
  });

  test('that came before the interrupt was enabled interrupts then', () => {
    const { uart, host } = someUart();
    uart.receive(Uint8Array.of(1));
    expect(host.interrupts).toBe(0);

    uart.write(IER, 1);

    expect(host.interrupts).toBe(1);
  });

  test('that the guest does not read is taken up to a limit', () => {
    const { uart } = someUart();

    expect(uart.receive(new Uint8Array(10_000))).toBe(4096);
  });
});

test('the loop mode that drivers probe with gives data and modem lines back, and nothing to the console', () => {
  const { uart } = someUart();

  uart.write(MCR, 0x1a);
  expect(uart.read(MSR) & 0xf0).toBe(0x90);
  uart.write(DATA, 0x5a);
  expect(uart.read(LSR) & 1).toBe(1);
  expect(uart.read(DATA)).toBe(0x5a);
  expect(uart.read(LSR) & 1).toBe(0);

  expect(uart.hasOutput).toBe(false);
});

test('the divisor hides behind data and interrupt enable while the latch bit is set', () => {
  const { uart, host } = someUart();

  uart.write(LCR, 0x83);
  uart.write(DATA, 0x01);
  uart.write(IER, 0x02);
  expect([uart.read(DATA), uart.read(IER)]).toEqual([1, 2]);
  uart.write(LCR, 0x03);

  expect([uart.read(IER), uart.hasOutput, host.interrupts]).toEqual([0, false, 0]);
  expect(uart.read(LCR)).toBe(3);
});

test('the scratch register keeps a byte, and a reset forgets it', () => {
  const { uart } = someUart();
  uart.write(SCRATCH, 0xa5);
  expect(uart.read(SCRATCH)).toBe(0xa5);

  uart.reset();

  expect(uart.read(SCRATCH)).toBe(0);
});

test('whatever is written to whatever register, every register reads as a byte', () => {
  const access = fc.record({ register: fc.integer({ min: 0, max: 7 }), value: fc.integer({ min: 0, max: 255 }) });
  fc.assert(
    fc.property(fc.array(access, { maxLength: 100 }), (writes) => {
      const { uart } = someUart();
      for (const { register, value } of writes) uart.write(register, value);

      for (let register = 0; register < 8; register++) {
        const value = uart.read(register);
        expect(Number.isInteger(value) && value >= 0 && value <= 255).toBe(true);
      }
    }),
  );
});
