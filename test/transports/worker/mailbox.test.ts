import { expect, test } from 'vitest';
import { PostStatus } from '../../../src/bus/control-port.ts';
import { MAILBOX_BYTES, MailboxReader, MailboxWriter } from '../../../src/transports/worker/mailbox.ts';

function someMailbox() {
  const bytes = new Uint8Array(new SharedArrayBuffer(MAILBOX_BYTES));
  const words = new Int32Array(bytes.buffer);
  let toReader = 0;
  let toWriter = 0;
  const writer = new MailboxWriter(bytes, () => toReader++);
  const reader = new MailboxReader(bytes, () => toWriter++);
  const read = () => {
    const messages: number[] = [];
    reader.read((message, connectionId) => messages.push(connectionId * 1000 + (message[0] ?? -1)));
    return messages;
  };
  return { bytes, words, writer, reader, read, nudges: () => ({ toReader, toWriter }) };
}

test('what does not fit waits behind it, in order, and the reader tells the writer when there is room', () => {
  const { writer, read, nudges } = someMailbox();

  for (let value = 0; value < 100; value++) expect(writer.post(value, Uint8Array.of(value))).toBe(PostStatus.Success);
  expect(writer.canFlush).toBe(false);
  const first = read();
  expect(first).toEqual(Array.from({ length: 64 }, (_, value) => value * 1001));
  expect(nudges().toWriter).toBe(1);
  expect(writer.canFlush).toBe(true);
  expect(writer.flush()).toBe(true);

  expect(read()).toEqual(Array.from({ length: 36 }, (_, index) => (index + 64) * 1001));
  expect(writer.flush()).toBe(false);
});

test('a reader that never reads costs the writer a bounded backlog', () => {
  const { writer } = someMailbox();

  let posted = 0;
  while (writer.post(1, Uint8Array.of(1)) === PostStatus.Success) posted++;

  expect(posted).toBe(64 + 8192);
  expect(writer.post(1, Uint8Array.of(1))).toBe(PostStatus.InsufficientBuffers);
});

test('slots are used again and again, in order', () => {
  const { writer, read } = someMailbox();

  for (let round = 0; round < 3; round++) {
    for (let value = 0; value < 50; value++) writer.post(1, Uint8Array.of(value));
    expect(read()).toHaveLength(50);
  }
});

test('an index or a length that cannot be ends the link', () => {
  const { words, writer, reader } = someMailbox();
  const ignore = () => {};

  Atomics.store(words, 0, 65);
  expect(() => reader.read(ignore)).toThrow(expect.objectContaining({ code: 'ERR_TRANSPORT' }));
  Atomics.store(words, 0, 0);
  writer.post(1, new Uint8Array(8));
  words[256 / 4 + 1] = 241;

  expect(() => reader.read(ignore)).toThrow(/claims 0xf1 bytes/);
});

test('a message does not change while its sink reads it', () => {
  const { bytes, writer, reader } = someMailbox();
  writer.post(1, Uint8Array.of(1, 2, 3));

  reader.read((message) => {
    bytes.fill(0xff, 256);
    expect([...message]).toEqual([1, 2, 3]);
  });
});

test('a sink that throws loses its own message only', () => {
  const { writer, reader, read } = someMailbox();
  for (let value = 0; value < 3; value++) writer.post(1, Uint8Array.of(value));

  expect(() =>
    reader.read(() => {
      throw new Error('a bug in a driver');
    }),
  ).toThrow('a bug in a driver');

  expect(read()).toEqual([1001, 1002]);
});
