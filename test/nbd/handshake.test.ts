import { expect, test } from 'vitest';
import { goData, optionHeader, RawClient, setContext, u32 } from './raw-client.ts';
import { serving } from './serving.ts';
import { someExport } from './some-export.ts';

const MIB = 2 ** 20;
/** HAS_FLAGS, SEND_FLUSH, SEND_FUA, SEND_TRIM, SEND_WRITE_ZEROES, CAN_MULTI_CONN. */
const FLAGS = 0b1_0110_1101;

test('the greeting is NBDMAGIC, IHAVEOPT and the two flags', async () => {
  const { path } = await serving(someExport());
  const client = await RawClient.connect(path);

  const greeting = await client.take(18);

  expect(greeting.toString('latin1')).toBe('NBDMAGICIHAVEOPT\0\x03');
});

test('EXPORT_NAME answers size, flags and 124 zeros, which the client may decline', async () => {
  const { path } = await serving(someExport(MIB));
  const padded = await RawClient.greeted(path, 1);
  const bare = await RawClient.greeted(path, 3);

  padded.send(optionHeader(1, 0));
  bare.send(optionHeader(1, 0));

  const answer = await padded.take(134);
  expect(answer.readBigUInt64BE(0)).toBe(BigInt(MIB));
  expect(answer.readUInt16BE(8)).toBe(FLAGS);
  expect(answer.subarray(10)).toEqual(Buffer.alloc(124));
  expect(await bare.take(10)).toEqual(answer.subarray(0, 10));
});

test('GO answers size and flags, block sizes and a description, then the transmission begins', async () => {
  const { path } = await serving(someExport(MIB, { description: 'for tests', preferredBytes: 65536 }));
  const client = await RawClient.greeted(path);

  const replies = await client.option(7, goData(''));

  expect(replies.map(({ type, data }) => [type, data.toString('hex')])).toEqual([
    [3, '0000' + '0000000000100000' + '016d'],
    [3, '0003' + '00000200' + '00010000' + '02000000'],
    [3, `0002${Buffer.from('for tests').toString('hex')}`],
    [1, ''],
  ]);
});

test('INFO answers the same and goes on', async () => {
  const { path } = await serving(someExport(MIB));
  const client = await RawClient.greeted(path);

  const first = await client.option(6, goData(''));
  const second = await client.option(7, goData(''));

  expect(first).toEqual(second);
});

test('a read-only export without a cache offers neither writes nor flush', async () => {
  const { path } = await serving(someExport(MIB, { readOnly: true, canFlush: false }));
  const client = await RawClient.greeted(path);

  const [info] = await client.option(7, goData(''));

  expect(info?.data.readUInt16BE(10)).toBe(0b1_0000_0011);
});

test('LIST names every export', async () => {
  const { path } = await serving({ '': someExport(), 'gr\u00fcn': someExport() });
  const client = await RawClient.greeted(path);

  const replies = await client.option(3, Buffer.alloc(0));

  expect(replies.map(({ type }) => type)).toEqual([2, 2, 1]);
  expect(replies[1]?.data.subarray(4).toString('utf8')).toBe('gr\u00fcn');
});

test('an export that is not there is an error for GO, and the end for EXPORT_NAME', async () => {
  const { path, ended, endedCount } = await serving(someExport());
  const client = await RawClient.greeted(path);

  const replies = await client.option(7, goData('other'));
  client.send(optionHeader(1, 5), Buffer.from('other'));
  await client.ended();
  await endedCount(1);

  expect(replies).toHaveLength(1);
  expect(replies[0]).toMatchObject({ type: 0x8000_0006 });
  expect(replies[0]?.data.toString()).toContain('"other"');
  expect(ended[0]).toMatchObject({ code: 'ERR_MESSAGE', message: expect.stringContaining('"other"') });
});

test('ABORT is answered, then the connection ends', async () => {
  const { path, ended, endedCount } = await serving(someExport());
  const client = await RawClient.greeted(path);

  const replies = await client.option(2, Buffer.alloc(0));
  await client.ended();
  await endedCount(1);

  expect(replies).toEqual([{ type: 1, data: Buffer.alloc(0) }]);
  expect(ended).toEqual([undefined]);
});

test('an option that nobody knows is refused, data and all, and the next one is answered', async () => {
  const { path } = await serving(someExport());
  const client = await RawClient.greeted(path);

  const starttls = await client.option(5, Buffer.alloc(0));
  const unknown = await client.option(0xffff_ffff, Buffer.alloc(1000, 7));
  const list = await client.option(3, Buffer.alloc(0));

  expect([starttls, unknown, list].map((replies) => replies.at(-1)?.type)).toEqual([0x8000_0001, 0x8000_0001, 1]);
});

test.each<[name: string, option: number, data: Buffer]>([
  ['LIST with data', 3, Buffer.from([0])],
  ['STRUCTURED_REPLY with data', 8, Buffer.from([0])],
  ['GO with nothing', 7, Buffer.alloc(0)],
  ['GO with a name longer than the data', 7, Buffer.concat([u32(100), Buffer.from('x'), Buffer.alloc(2)])],
  ['GO with a name of 4 GiB', 7, Buffer.concat([u32(0xffff_ffff), Buffer.alloc(6)])],
  ['GO with more infos than data', 7, Buffer.concat([u32(0), Buffer.from([0xff, 0xff])])],
  ['GO with data behind its end', 7, Buffer.concat([goData(''), Buffer.from([1])])],
  ['a name longer than names are', 6, goData('x'.repeat(4097))],
  ['SET_META_CONTEXT with a lying count', 10, Buffer.concat([u32(0), u32(0xffff_ffff)])],
  ['SET_META_CONTEXT with a lying query', 10, Buffer.concat([u32(0), u32(1), u32(50), Buffer.from('base:')])],
  ['SET_META_CONTEXT before structured replies', 10, setContext('', 'base:allocation')],
])('%s is refused as invalid, and the negotiation goes on', async (_name, option, data) => {
  const { path } = await serving(someExport(MIB, { extents: async () => [] }));
  const client = await RawClient.greeted(path);

  const replies = await client.option(option, data);

  expect(replies.map(({ type }) => type)).toEqual([0x8000_0003]);
  expect((await client.option(7, goData(''))).at(-1)?.type).toBe(1);
});

test('the allocation context is offered where the export knows its extents', async () => {
  const { path } = await serving({ '': someExport(MIB, { extents: async () => [] }), plain: someExport() });
  const client = await RawClient.greeted(path);
  await client.option(8, Buffer.alloc(0));

  const listed = await client.option(9, setContext(''));
  const byNamespace = await client.option(9, setContext('', 'base:'));
  const chosen = await client.option(10, setContext('', 'qemu:dirty-bitmap:x', 'base:allocation'));
  const notThere = await client.option(10, setContext('plain', 'base:allocation'));
  const noExport = await client.option(10, setContext('other', 'base:allocation'));

  const context = (id: number) => ({ type: 4, data: Buffer.concat([u32(id), Buffer.from('base:allocation')]) });
  const ack = { type: 1, data: Buffer.alloc(0) };
  expect(listed).toEqual([context(0), ack]);
  expect(byNamespace).toEqual([context(0), ack]);
  expect(chosen).toEqual([context(1), ack]);
  expect(notThere).toEqual([ack]);
  expect(noExport[0]?.type).toBe(0x8000_0006);
});

test.each<[name: string, bytes: Buffer]>([
  ['client flags that are not defined', u32(0x8000_0003)],
  ['an option that does not begin as one', Buffer.concat([u32(3), Buffer.from('GET / HTTP/1.1\r\n\r\n')])],
  ['an option of 4 GiB', Buffer.concat([u32(3), optionHeader(3, 0xffff_ffff)])],
  ['a request before the choice', Buffer.concat([u32(3), Buffer.from('2560951300000000', 'hex'), Buffer.alloc(20)])],
  ['endless options', Buffer.concat([u32(3), ...Array.from({ length: 1001 }, () => optionHeader(99, 0))])],
])('%s end the connection, and the next client is served', async (_name, bytes) => {
  const { path, ended, endedCount } = await serving(someExport());
  const client = await RawClient.connect(path);

  client.send(bytes);
  await client.ended();
  await endedCount(1);

  expect(ended[0]).toMatchObject({ code: 'ERR_MESSAGE', message: expect.stringContaining('connection closed') });
  await RawClient.ready(path);
});

test('a negotiation byte by byte is one too', async () => {
  const { path } = await serving(someExport());
  const client = await RawClient.connect(path);
  await client.take(18);

  await client.trickle(
    Buffer.concat([u32(3), optionHeader(99, 3), Buffer.from('abc'), optionHeader(7, 6), goData('')]),
  );

  const refused = await client.take(20);
  expect(refused.readUInt32BE(12)).toBe(0x8000_0001);
});

test('a client that leaves in the middle of an option is forgotten', async () => {
  const { path, ended, endedCount, server } = await serving(someExport());
  const client = await RawClient.greeted(path);

  client.send(optionHeader(7, 100), Buffer.alloc(10));
  client.end();
  await endedCount(1);

  expect(ended).toEqual([undefined]);
  expect(server.connectionCount).toBe(0);
});

test('a client that never chooses is cut off', async () => {
  const { path, ended, endedCount } = await serving(someExport(), { handshakeTimeoutMs: 1 });
  const client = await RawClient.connect(path);

  await client.ended();
  await endedCount(1);

  expect(ended[0]).toMatchObject({ message: expect.stringContaining('chose no export in time') });
});
