import { expect, test } from 'vitest';
import { ExitMailbox } from '../../../../src/transports/kvm/machine/exit-mailbox.ts';

function someMailbox() {
  const mailbox = new ExitMailbox(ExitMailbox.allocate());
  const received: string[] = [];
  const sink = {
    message: (connectionId: number, bytes: Uint8Array) =>
      received.push(`message ${connectionId} ${[...bytes].join(' ')}`),
    signalled: (connectionId: number) => received.push(`signal ${connectionId}`),
  };
  return { mailbox, received, sink };
}

test('messages and signals come out in the order in which they went in', () => {
  const { mailbox, received, sink } = someMailbox();
  mailbox.putMessage(1, Uint8Array.of(1, 2));
  mailbox.putSignal(7, () => false);
  mailbox.putMessage(4, Uint8Array.of());

  expect(mailbox.drain(sink, () => true)).toBe(3);

  expect(received).toEqual(['message 1 1 2', 'signal 7', 'message 4 ']);
  expect(mailbox.isEmpty).toBe(true);
});

test('a message that may not be taken yet holds what is behind it', () => {
  const { mailbox, received, sink } = someMailbox();
  mailbox.putSignal(7, () => false);
  mailbox.putMessage(1, Uint8Array.of(1));
  mailbox.putSignal(8, () => false);

  mailbox.drain(sink, () => false);
  expect(received).toEqual(['signal 7']);
  expect(mailbox.isEmpty).toBe(false);

  mailbox.drain(sink, () => true);
  expect(received).toEqual(['signal 7', 'message 1 1', 'signal 8']);
});

test('nothing mixes over many rounds of the mailbox', () => {
  const { mailbox, received, sink } = someMailbox();
  const expected: string[] = [];
  for (let round = 0; round < 1000; round++) {
    const bytes = Uint8Array.from({ length: round % 241 }, (_, index) => (round + index) & 0xff);
    expect(mailbox.putMessage(1, bytes)).toBe(true);
    expected.push(`message 1 ${[...bytes].join(' ')}`);
    if (round % 50 === 49) mailbox.drain(sink, () => true);
  }

  expect(received).toEqual(expected);
});

test('what a sink causes to be put while it runs waits for the next look', () => {
  const { mailbox, received, sink } = someMailbox();
  mailbox.putSignal(1, () => false);

  const taken = mailbox.drain({ ...sink, signalled: () => mailbox.putSignal(2, () => false) }, () => true);

  expect(taken).toBe(1);
  expect(received).toEqual([]);
  expect(mailbox.isEmpty).toBe(false);
});
