import { expect, test } from 'vitest';
import {
  STATUS_INVALID_PARAMETER_4,
  STATUS_INVALID_PARAMETER_5,
  STATUS_INVALID_PARAMETER_6,
  STATUS_INVALID_PARAMETER_7,
  STATUS_SUCCESS,
  VmbPacketSendWithExternalMdl,
} from '../../src/kmcl/index.ts';
import { Mdl } from '../../src/memory/index.ts';
import { rangesOf, sentPackets, type TwoEndpoints, twoEndpoints } from './two-endpoints.ts';

const WAIT = 1;
const FORCE = 2;

/** Three pieces: 1000 bytes from 100 in page 10; 5000 from 4000 in pages 20, 22, 21; 300 from 0 in page 30. */
function someChain(t: TwoEndpoints): Mdl {
  return Mdl.chain(
    Mdl.fromPfns(t.memory, [10], 100, 1000),
    Mdl.fromPfns(t.memory, [20, 22, 21], 4000, 5000),
    Mdl.fromPfns(t.memory, [30], 0, 300),
  );
}

async function send(
  offset: number,
  length: number,
  flags: number,
): Promise<{ status: number; ranges: ReturnType<typeof rangesOf> }> {
  const t = await twoEndpoints();
  const sent = sentPackets(t.client);
  const status = VmbPacketSendWithExternalMdl(t.packet(), null, 0, someChain(t), offset, length, flags);
  return { status, ranges: sent.length === 0 ? [] : rangesOf(sent[0]) };
}

test('K-167 without WAIT the send is refused and nothing is sent', async () => {
  expect(await send(0, 10, 0)).toEqual({ status: STATUS_INVALID_PARAMETER_7, ranges: [] });
});

test('K-168 without an MDL the send is refused', async () => {
  const t = await twoEndpoints();

  expect(VmbPacketSendWithExternalMdl(t.packet(), null, 0, null as never, 0, 0, WAIT)).toBe(STATUS_INVALID_PARAMETER_4);
});

test('K-169 length 0 sends all from the offset on', async () => {
  expect((await send(500, 0, WAIT)).ranges).toEqual([
    { byteCount: 500, byteOffset: 600, pfns: [10] },
    { byteCount: 5000, byteOffset: 4000, pfns: [20, 22, 21] },
    { byteCount: 300, byteOffset: 0, pfns: [30] },
  ]);
});

test('K-170 offset and length describe exactly those bytes', async () => {
  expect((await send(990, 20, WAIT)).ranges).toEqual([
    { byteCount: 10, byteOffset: 1090, pfns: [10] },
    { byteCount: 10, byteOffset: 4000, pfns: [20] },
  ]);
  expect((await send(1096, 1, WAIT)).ranges).toEqual([{ byteCount: 1, byteOffset: 0, pfns: [22] }]);
  expect((await send(6299, 1, WAIT)).ranges).toEqual([{ byteCount: 1, byteOffset: 299, pfns: [30] }]);
});

test('K-171 members that the offset skips give no range', async () => {
  expect((await send(6000, 0, WAIT)).ranges).toEqual([{ byteCount: 300, byteOffset: 0, pfns: [30] }]);
});

test('K-172 with FORCE the length may go to the end of the first MDL’s last page', async () => {
  expect(await send(0, 4096 - 100, WAIT | FORCE)).toEqual({
    status: STATUS_SUCCESS,
    ranges: [{ byteCount: 3996, byteOffset: 100, pfns: [10] }],
  });
});

test('K-173 with FORCE one byte more is refused', async () => {
  expect(await send(0, 4096 - 100 + 1, WAIT | FORCE)).toEqual({ status: STATUS_INVALID_PARAMETER_6, ranges: [] });
});

test('K-174 with FORCE there is one range, of the first MDL', async () => {
  expect((await send(0, 0, WAIT | FORCE)).ranges).toEqual([{ byteCount: 1000, byteOffset: 100, pfns: [10] }]);
  expect((await send(200, 10, WAIT | FORCE)).ranges).toEqual([{ byteCount: 10, byteOffset: 300, pfns: [10] }]);
});

test('K-175 without FORCE a length or offset beyond the chain is refused', async () => {
  expect((await send(0, 6300, WAIT)).status).toBe(STATUS_SUCCESS);
  expect((await send(0, 6301, WAIT)).status).toBe(STATUS_INVALID_PARAMETER_6);
  expect((await send(6300, 0, WAIT)).status).toBe(STATUS_INVALID_PARAMETER_5);
  expect((await send(-1, 0, WAIT)).status).toBe(STATUS_INVALID_PARAMETER_5);
});
